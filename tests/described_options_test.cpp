// What follows from the one description of options and models: files and checkpoints of another kind are
// refused, for every field that is described, whatever it is.
#include <doctest/doctest.h>

#include <maa/generator/paper_training.hpp>

#include "short_recipe.hpp"
#include "small_generator.hpp"
#include "temporary_folder.hpp"

#include <cmath>

namespace {

using namespace test;

// Another value of a field that is within its limits.
class FieldChange : public detail::FieldVisitor<FieldChange> {
 public:
  explicit FieldChange(Index number) : FieldVisitor(""), number_(number) {}

  template <class T>
  void field(T& value, Limits limits) {
    if (number_-- == 0) {
      name = path();
      change(value, limits);
    }
  }
  std::string name;  // of the changed field

 private:
  template <class T>
  static void change(T& value, Limits limits) {
    if constexpr (detail::EnumWithNames<T>) {
      value = static_cast<T>((static_cast<std::size_t>(value) + 1) % names_of(value).size());
    } else if constexpr (std::same_as<T, bool>) {
      value = !value;
    } else if constexpr (std::same_as<T, std::string>) {
      value = value == "minus" ? "plus" : "minus";  // a task of the data
    } else if constexpr (detail::is_list<T>) {
      value.emplace_back();
      change(value.back(), limits);
    } else {
      const auto now = static_cast<double>(value);
      for (const double next : {now / 2, now + 1, now + 0.5}) {
        const auto other = static_cast<T>(next);
        if (other != value && limits.allows(static_cast<double>(other))) {
          value = other;
          return;
        }
      }
      FAIL("no other value within the limits");
    }
  }

  Index number_;
};

template <class Recipe>
void check_every_field(Recipe chosen) {
  const TemporaryFolder folder;
  const auto data = dataset();
  chosen.checkpoint = folder / "checkpoint.safetensors";
  SmallGenerator generator{cpu::Backend(1)};
  REQUIRE_FALSE(generator.fit(data, chosen, [](const TrainProgress&) { return false; }));
  const auto fields = std::ssize(fields_of(chosen));
  REQUIRE(fields > 20);
  for (Index number = 0; number < fields; ++number) {
    auto changed = chosen;
    FieldChange change(number);
    Recipe::describe(change, changed);
    CAPTURE(change.name);
    REQUIRE(fields_of(changed) != fields_of(chosen));
    // The field's own error is told by name, except where the options are refused before, as columns of
    // positions that the observations do not have.
    CHECK_THROWS_WITH_AS(generator.fit(data, changed), doctest::Contains(change.name.c_str()), Error);
  }
  auto other = data;
  other.trajectories.back().observations()(3, 1) += 1e-3f;
  CHECK_THROWS_WITH_AS(generator.fit(other, chosen), doctest::Contains("data.content: expected"), Error);
  other.trajectories.pop_back();
  CHECK_THROWS_WITH_AS(generator.fit(other, chosen), doctest::Contains("data.trajectories: expected"), Error);
  CHECK(generator.fit(data, chosen));
}

TEST_CASE("training goes on only with the same options and data: every field counts") {
  check_every_field(shortened(recipe(), 3, 8));
  check_every_field(shortened(PaperRecipe::paper(24, 20), 3, 8));
}

TEST_CASE("a generator is loaded only as the type that it is: every constant counts") {
  const TemporaryFolder folder;
  SmallGenerator generator{cpu::Backend(1)};
  REQUIRE(generator.fit(dataset(), shortened(recipe(), 1, 8)));
  const auto path = folder / "generator.safetensors";
  generator.save(path);
  const SafetensorsReader reader(path);
  const auto rewrite = [&](const std::string& name, const std::string& text) {
    SafetensorsWriter writer;
    for (const auto& [key, value] : reader.metadata()) {
      writer.set_metadata(key, key == name ? text : value);
    }
    for (const auto& tensor : reader.tensors()) {
      if (tensor.dtype == Dtype::F32) {
        writer.add_owned(tensor.name, tensor.shape, reader.read<float>(tensor.name));
      }
    }
    writer.write(folder / "changed.safetensors");
  };
  const auto structure = structure_of<SmallGenerator::Model>("model.");
  REQUIRE(structure.size() > 20);
  for (const auto& field : structure) {
    CAPTURE(field.name);
    rewrite(field.name, field.text + "x");
    CHECK_THROWS_WITH_AS(SmallGenerator::load(folder / "changed.safetensors"),
                         doctest::Contains(field.name.substr(6).c_str()), Error);
  }
  for (const auto& field : fields_of(generator.state().settings, "settings.")) {
    CAPTURE(field.name);
    rewrite(field.name, "x");
    CHECK_THROWS_WITH_AS(SmallGenerator::load(folder / "changed.safetensors"),
                         doctest::Contains(field.name.c_str()), Error);
  }
  rewrite("", "");
  CHECK_NOTHROW(SmallGenerator::load(folder / "changed.safetensors"));
}

// Policies of the same shape that act differently, and a denoiser that normalises in other groups.
using OtherNetwork =
    MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::relu>, Hidden<12, Activation::relu>>,
               Heads::mean_and_log_std, Squash::none>;
struct OtherGroups : SmallConfig {
  template <Index Latent, Index Condition>
  using Denoiser = UNet1d<Latent, Condition, Levels<16, 32>, 3, 8, 16>;
};

TEST_CASE("a generator of another activation, squash or number of groups is refused by name") {
  const TemporaryFolder folder;
  SmallGenerator generator{cpu::Backend(1)};
  REQUIRE(generator.fit(dataset(), shortened(recipe(), 1, 8)));
  generator.save(folder / "generator.safetensors");
  CHECK_THROWS_WITH_AS(
      (Generator<MlpPolicy<OtherNetwork>, SmallConfig>::load(folder / "generator.safetensors")),
      doctest::Contains("policy.activations: expected [relu, relu], found '[elu, relu]'; "
                        "policy.squash: expected none, found 'tanh'"),
      Error);
  CHECK_THROWS_WITH_AS((Generator<Policy, OtherGroups>::load(folder / "generator.safetensors")),
                       doctest::Contains("denoiser.groups: expected 8, found '4'"), Error);
}

// Stands for a value of any member.
struct AnyMember {
  template <class T>
  operator T() const {
    return T();
  }
};
// How many members an aggregate has.
template <class T, class... Members>
consteval std::size_t member_count() {
  if constexpr (requires { T{Members{}..., AnyMember{}}; }) {
    return member_count<T, Members..., AnyMember>();
  } else {
    return sizeof...(Members);
  }
}
// Counts the fields of one struct, not of those in it.
struct MemberVisitor {
  std::size_t members = 0;
  void operator()(std::string_view, auto&&) { ++members; }
  void operator()(std::string_view, Limits, auto&&) { ++members; }
};
template <class T>
std::size_t described_members() {
  MemberVisitor visitor;
  T options{};
  T::describe(visitor, options);
  return visitor.members;
}

TEST_CASE("every member of every struct of options is described, but for those that say why not") {
  const auto check = []<class T>(const T&, std::size_t left_out = 0) {
    CHECK(member_count<T>() == described_members<T>() + left_out);
  };
  check(LearningRate());
  check(TrainOptions(), 1);  // seed, which fit derives
  check(DiffusionOptions());
  check(SamplingOptions());
  check(PromptShape());
  check(CorrectiveAugmentation());
  check(AutoencoderOptions());
  check(EmbedderOptions());
  check(DenoiserOptions());
  check(BehaviorOptions());
  check(FitOptions(), 2);       // where and how often checkpoints are written
  check(GenerateOptions(), 2);  // sampling, described by itself, and the callback
  check(GenerationSettings());
  // Recipes: FitOptions and members of their own.
  CHECK(described_members<PaperRecipe>() ==
        described_members<FitOptions>() + member_count<PaperRecipe>() - 1);
  CHECK(described_members<BehaviorRecipe>() == described_members<FitOptions>() + 3);
}

TEST_CASE("options survive as text, and what is out of its limits is named") {
  BehaviorRecipe chosen;
  chosen.behavior.corrective = {.effector = {1, 2}, .objects = {3}, .gain = 1.0 / 3};
  chosen.validation_tasks = {"a task, with \"quotes\" and \\", "another", ""};
  std::map<std::string, std::string> texts;
  for (const auto& [name, text] : fields_of(chosen, "x.")) {
    texts[name] = text;
  }
  CHECK(fields_of(read_fields<BehaviorRecipe>(texts, "file", "x."), "x.") == fields_of(chosen, "x."));
  CHECK(read_fields<BehaviorRecipe>(texts, "file", "x.").validation_tasks == chosen.validation_tasks);
  const auto refused = [&](const char* name, const char* text, const char* message) {
    auto changed = texts;
    changed[name] = text;
    CHECK_THROWS_WITH_AS(read_fields<BehaviorRecipe>(changed, "file", "x."), doctest::Contains(message),
                         Error);
  };
  refused("x.behavior.train.steps", "12a", "file: expected a number for x.behavior.train.steps, found '12a'");
  refused("x.behavior.train.steps", "-1", "x.behavior.train.steps from 0 to 1e+09, found -1");
  refused("x.sampling.eta", "nan", "x.sampling.eta from 0 to 1, found nan");
  refused("x.sampling.sampler", "euler", "one of [\"ddim\", \"ddpm\"] for x.sampling.sampler, found 'euler'");
  refused("x.embedder.symmetric", "1", "true or false for x.embedder.symmetric, found '1'");
  refused("x.guidance", "1, 2", "a list for x.guidance");
  std::string many = "[1";
  for (int i = 1; i <= 100; ++i) {
    many += ", 1";
  }
  refused("x.guidance", (many + "]").c_str(), "at most 100 elements of x.guidance, found 101");
  refused("x.validation_tasks", "[\"a]", "a list for x.validation_tasks");
  refused("x.validation_tasks", "[\"a\"b]", "a list for x.validation_tasks");
  texts.erase("x.seed");
  CHECK_THROWS_WITH_AS(read_fields<BehaviorRecipe>(texts, "file", "x."),
                       doctest::Contains("'x.seed', found none"), Error);
  chosen.sampling.sampler = static_cast<SamplerKind>(9);
  CHECK_THROWS_WITH_AS(check_fields(chosen, "fit"),
                       doctest::Contains("sampling.sampler from 0 to 1, found 9"), Error);
}

}  // namespace
