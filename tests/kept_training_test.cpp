// No finished training is lost: what save() or load() would refuse is refused before the first step, and the
// checkpoint stays until its owner removes it.
#include <doctest/doctest.h>

#include <maa/generator/paper_training.hpp>

#include "short_recipe.hpp"
#include "small_generator.hpp"
#include "temporary_folder.hpp"

#include <limits>

namespace test {

// A recipe of the caller's own that trains the embedder alone and fits nothing else.
struct BareRecipe : maa::FitOptions {
  maa::TrainOptions train;
  maa::DataUse data_use() const { return {}; }
  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    FitOptions::describe(visit, self);
    visit("train", self.train);
  }
};

}  // namespace test

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config, class Backend>
bool train_stages(Fitting<Network, Config, Backend>& fitting, const test::BareRecipe& recipe) {
  EmbedderOptions options;
  options.train = recipe.train;
  EmbedderStage<Network, Config, Backend> stage(fitting.backend(), fitting.data(), options);
  return fitting.run().train(stage,
                             parameter_count<typename GeneratorModel<Network, Config>::AutoencoderModel>);
}

}  // namespace detail
MAA_NAMESPACE_END

namespace {

using namespace test;

// The message of fit(), which must not have taken a step.
template <class Recipe>
std::string refusal(const Dataset& data, const Recipe& recipe) {
  SmallGenerator generator{cpu::Backend(1)};
  Index steps = 0;
  const auto message = error_of([&] {
    generator.fit(data, recipe, [&](const TrainProgress&) {
      ++steps;
      return true;
    });
  });
  CHECK(steps == 0);
  CHECK_FALSE(generator.trained());
  return message;
}

Dataset with_task(const std::string& name) {
  auto data = dataset();
  data.tasks[0] = name;
  for (auto& trajectory : data.trajectories) {
    trajectory.task = trajectory.task == "plus" ? name : trajectory.task;
  }
  return data;
}

TEST_CASE("a finished training stays in its checkpoint, and a rerun returns at once with the same bits") {
  const TemporaryFolder folder;
  const auto data = with_noise_task(1);
  auto behavior = shortened(recipe(), 7, 8);
  behavior.validation_tasks = {"noise"};  // the fallback is kept, too
  const auto check = [&](auto chosen) {
    chosen.checkpoint = folder / "checkpoint.safetensors";
    chosen.checkpoint_every = 5;
    SmallGenerator first{cpu::Backend(1)}, again{cpu::Backend(2)};
    REQUIRE(first.fit(data, chosen));
    REQUIRE(std::filesystem::exists(chosen.checkpoint));
    CHECK(has(error_of([&] { first.save(folder / "none/generator.safetensors"); }), "No such file"));
    Index steps = 0;
    REQUIRE(again.fit(data, chosen, [&](const TrainProgress&) { return ++steps > 0; }));
    CHECK(steps == 0);
    first.save(folder / "first.safetensors");
    again.save(folder / "again.safetensors");
    CHECK(read_bytes(folder / "first.safetensors") == read_bytes(folder / "again.safetensors"));
    CHECK_NOTHROW(SmallGenerator::load(folder / "again.safetensors"));
    CHECK(std::filesystem::remove(chosen.checkpoint));
  };
  check(behavior);
  check(shortened(PaperRecipe::paper(24, 20), 7, 8));
}

TEST_CASE("a last checkpoint that cannot be written loses no training, an earlier one stops it") {
  const TemporaryFolder folder;
  auto chosen = shortened(recipe(), 6, 8);
  const auto inner = folder / "inner";
  chosen.checkpoint = inner / "checkpoint.safetensors";
  chosen.checkpoint_every = 4;
  const auto fit = [&](SmallGenerator& generator, Index last) {
    std::filesystem::create_directory(inner);
    return error_of([&] {
      generator.fit(dataset(), chosen, [&](const TrainProgress& progress) {
        if (progress.stage == "behavior" && progress.step == last) {
          std::filesystem::remove_all(inner);
        }
        return true;
      });
    });
  };
  SmallGenerator kept{cpu::Backend(1)}, straight{cpu::Backend(1)}, stopped{cpu::Backend(1)};
  const auto message = fit(kept, 6);
  CHECK(has(message, "the generator is trained, but its checkpoint is not written"));
  CHECK(has(message, "No such file or directory"));
  REQUIRE(kept.trained());
  CHECK(has(fit(stopped, 4), "No such file or directory"));
  CHECK_FALSE(stopped.trained());
  chosen.checkpoint.clear();
  REQUIRE(straight.fit(dataset(), chosen));
  CHECK(same_bits(kept.state().parameters.span(), straight.state().parameters.span()));
}

TEST_CASE("names that no file can hold are refused before the first step") {
  const auto chosen = shortened(recipe(), 2, 8);
  CHECK(has(refusal(with_task("caf\xe9"), chosen), "expected UTF-8"));
  CHECK(has(refusal(with_task(std::string(4097, 'a')), chosen), "at most 4096 bytes"));
  auto named = chosen;
  named.behavior.augmentation = {"\xff", [](Rng, MatrixView<float>, MatrixView<float>) {}};
  CHECK(has(refusal(dataset(), named), "expected UTF-8"));
  CHECK(has(refusal(with_task("caf\xe9"), shortened(PaperRecipe::paper(24, 20), 2, 8)), "expected UTF-8"));
  // Odd ones that files hold.
  const TemporaryFolder folder;
  for (const auto& name : {std::string("a\0b", 3), std::string("\n\"\\\x1b"), std::string()}) {
    SmallGenerator generator{cpu::Backend(1)};
    REQUIRE(generator.fit(with_task(name), chosen));
    generator.save(folder / "generator.safetensors");
    CHECK(SmallGenerator::load(folder / "generator.safetensors").state().provenance.at("task.0") == name);
  }
}

TEST_CASE("a validation task that is named twice or that there is not is refused before the first step") {
  const auto data = with_noise_task(1);
  const auto check = [&](auto chosen) {
    chosen.validation_tasks = {"noise", "noise"};
    CHECK(has(refusal(data, chosen), "validation_tasks: expected each task once, found 'noise' twice"));
    chosen.validation_tasks = {"nois"};
    CHECK(has(refusal(data, chosen), "validation_tasks: expected tasks of the dataset, found 'nois'"));
  };
  check(shortened(recipe(), 2, 8));
  check(shortened(PaperRecipe::paper(24, 20), 2, 8));
  FitOptions twice;
  twice.validation_tasks = {"plus", "noise", "plus"};
  CHECK(has(error_of([&] { training_counts(data, twice); }), "found 'plus' twice"));
}

TEST_CASE("a checkpoint that cannot be written is refused before the first step") {
  const TemporaryFolder folder;
  auto chosen = shortened(recipe(), 2, 8);
  const auto refused = [&](const std::filesystem::path& path, const char* message) {
    chosen.checkpoint = path;
    const auto found = refusal(dataset(), chosen);
    CAPTURE(found);
    CHECK(has(found, message));
  };
  refused(folder / "none/checkpoint", "No such file or directory");
  refused(folder / "", "expected a regular file");
  refused("/dev/full", "expected a regular file");
  refused(folder / std::string(5'000, 'x'), "File name too long");
  write_bytes(folder / "file", "");
  refused(folder / "file/checkpoint", "Not a directory");
}

TEST_CASE("a recipe of the caller's that fits little makes a generator that loads") {
  const TemporaryFolder folder;
  BareRecipe chosen;
  chosen.check = false;
  chosen.train = {.steps = 3, .batch = 8};
  SmallGenerator generator{cpu::Backend(1)};
  REQUIRE(generator.fit(dataset(), chosen));
  generator.save(folder / "generator.safetensors");
  const auto loaded = SmallGenerator::load(folder / "generator.safetensors", cpu::Backend(1));
  CHECK(same_bits(loaded.generate(demonstration(0, 1))[0].weights(),
                  generator.generate(demonstration(0, 1))[0].weights()));
  for (auto change :
       {+[](BareRecipe& r) { r.guidance.clear(); }, +[](BareRecipe& r) { r.sampling.steps = 101; },
        +[](BareRecipe& r) { r.sampling.eta = 2; }}) {
    auto changed = chosen;
    change(changed);
    CHECK(has(refusal(dataset(), changed), "expected"));
  }
}

// All options that are numbers, one after the other, at values that no use has.
template <class Recipe>
class OddNumber : public detail::FieldVisitor<OddNumber<Recipe>> {
 public:
  OddNumber(Index number, double value)
      : detail::FieldVisitor<OddNumber>(""), number_(number), value_(value) {}
  template <class T>
  void field(T& value, Limits) {
    if constexpr (detail::is_list<T>) {
      if constexpr (detail::FieldNumber<typename T::value_type>) {
        value.resize(1);
        field(value.front(), {});
      }
    } else if constexpr (std::is_floating_point_v<T> || (std::is_integral_v<T> && std::is_signed_v<T>)) {
      if (number_-- == 0) {
        name = this->path();
        const bool fits = std::is_floating_point_v<T> ||
                          (value_ >= -0x1p62 && value_ <= 0x1p62);  // others have no meaning as integers
        value = fits ? static_cast<T>(value_) : static_cast<T>(-1);
      }
    }
  }
  std::string name;

 private:
  Index number_;
  double value_;
};
template <class Recipe>
void check_odd_numbers(const Recipe& chosen) {
  for (const double value : {std::numeric_limits<double>::quiet_NaN(),
                             std::numeric_limits<double>::infinity(), 1e300, -1e300, -1e9, 0x1p60}) {
    for (Index number = 0;; ++number) {
      auto changed = chosen;
      OddNumber<Recipe> change(number, value);
      Recipe::describe(change, changed);
      if (change.name.empty()) {
        REQUIRE(number > 1);
        break;
      }
      CAPTURE(change.name);
      CAPTURE(value);
      CHECK(has(error_of([&] { check_fields(changed, "x"); }), change.name));
    }
  }
}

TEST_CASE("options are checked when given: whatever is no number, negative or huge is named") {
  auto with_columns = recipe();
  with_columns.behavior.corrective.effector = {0};
  with_columns.behavior.corrective.objects = {0};
  check_odd_numbers(with_columns);
  check_odd_numbers(PaperRecipe::paper(24, 20));
  check_odd_numbers(GenerateOptions());
  check_odd_numbers(SamplingOptions());
  const auto refused = [](const char* message, auto change) {
    auto changed = shortened(recipe(), 2, 8);
    change(changed);
    const auto found = refusal(dataset(), changed);
    CAPTURE(found);
    CHECK(has(found, message));
  };
  refused("checkpoint_every, found 0", [](auto& r) { r.checkpoint_every = 0; });
  refused("checkpoint_every, found -1", [](auto& r) { r.checkpoint_every = -1; });
  refused("validation_every from 1", [](auto& r) { r.validation_every = 0; });
  refused("learning_rate.base from 0 to 100", [](auto& r) { r.behavior.train.learning_rate.base = 1e3; });
  refused("huber_width of 0 or from", [](auto& r) { r.behavior.huber_width = 1e-30; });
  refused("temperature from 1e-09", [](auto& r) { r.embedder.temperature = 1e-300; });
  refused("at least one guidance", [](auto& r) { r.guidance.clear(); });
  refused("columns of 6", [](auto& r) { r.behavior.corrective = {.effector = {5}, .axes = 2}; });
  constexpr auto paper = [](Index policies, Index prompts) { return PaperRecipe::paper(policies, prompts); };
  for (PaperRecipe (*make)(Index, Index) : {+paper, &PaperRecipe::reference}) {
    for (const auto& [policies, prompts] : std::vector<std::pair<Index, Index>>{
             {-5, -5}, {-1, 5}, {5, -1}, {Index{1} << 62, 5}, {5, std::numeric_limits<Index>::max()}}) {
      CHECK(has(error_of([&] { make(policies, prompts); }), "numbers of policies and prompts from 0"));
    }
  }
  const cpu::Backend backend(1);
  const std::array<float, 4> initial{};
  TrainOptions options{.batch = 1, .learning_rate = {.base = -1}};
  CHECK(has(
      error_of([&] { Trainer<float, cpu::Backend>(backend, tensors_of<Linear<3, 1>>(), options, initial); }),
      "trainer: expected learning_rate.base"));
}

TEST_CASE("weights that the last step leaves without a finite value are an Error") {
  auto chosen = shortened(recipe(), 1, 8);
  chosen.embedder.train.steps = 60;
  chosen.embedder.train.weight_decay = 1e6;  // times the rate: 1e8 per step
  chosen.embedder.train.learning_rate = {.kind = LearningRateKind::constant, .base = 100};
  SmallGenerator generator{cpu::Backend(1)};
  CHECK(has(error_of([&] { generator.fit(dataset(), chosen); }), "finite"));
  chosen.embedder.train.steps = 5;  // the weights of the first steps still make a finite loss
  CHECK(has(error_of([&] { generator.fit(dataset(), chosen); }), "finite"));
  CHECK_FALSE(generator.trained());
  // Numbers that grow without one that is not finite are said to come from training, too.
  for (const double rate : {10.0, 100.0}) {
    auto large = shortened(recipe(), 200, 8);
    large.behavior.train.learning_rate = {.kind = LearningRateKind::constant, .base = rate};
    const auto message = error_of([&] { generator.fit(dataset(), large); });
    CAPTURE(message);
    CHECK(has(message, "training"));
    CHECK(has(message, "lower the learning rate"));
  }
}

}  // namespace
