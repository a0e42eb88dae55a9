// The paper's recipe, its presets, and other forms of prompts.
#include <doctest/doctest.h>

#include <maa/generator/paper_training.hpp>

#include "short_recipe.hpp"
#include "small_generator.hpp"
#include "temporary_folder.hpp"

#include <set>

namespace {

using namespace test;

struct SegmentConfig : SmallConfig {
  static constexpr PromptShape prompt{
      .kind = PromptKind::segments, .segments = 2, .steps = 9, .sequence = 3, .success_states = 2};
};
struct TrajectoryConfig : SmallConfig {
  static constexpr ConditionParts condition = ConditionParts::h;
};

TEST_CASE("stages are the paper's, and training goes on where it stopped to the same bits") {
  const test::TemporaryFolder folder;
  const auto data = dataset();
  auto chosen = shortened(PaperRecipe::paper(24, 20), 12, 8);
  SmallGenerator whole{cpu::Backend(1)};
  std::set<std::string> stages;
  REQUIRE(whole.fit(data, chosen, [&](const TrainProgress& progress) {
    stages.insert(std::string(progress.stage));
    return true;
  }));
  CHECK(stages == std::set<std::string>{"autoencoder", "embedder", "denoiser"});
  chosen.checkpoint = folder / "checkpoint.safetensors";
  bool finished = false;
  for (int attempt = 0; attempt < 20 && !finished; ++attempt) {
    SmallGenerator resumed{cpu::Backend(2)};
    int steps = 0;
    finished = resumed.fit(data, chosen, [&](const TrainProgress&) { return ++steps < 7; });
    if (finished) {
      CHECK(attempt >= 5);
      CHECK(same_bits(whole.state().parameters.span(), resumed.state().parameters.span()));
    }
  }
  CHECK(finished);
}

TEST_CASE("a condition may be restricted to one of the embeddings") {
  const auto data = dataset();
  const auto prompt = demonstration(0, 777);
  constexpr Index size = SmallConfig::embedding_size;
  for (const auto parts : {ConditionParts::h, ConditionParts::v}) {
    for (const bool normalized : {false, true}) {
      auto chosen = shortened(PaperRecipe::paper(24, 20), 2, 8);
      chosen.condition = parts;
      chosen.denoiser.normalize_condition = normalized;
      SmallGenerator generator{cpu::Backend(1)};
      REQUIRE(generator.fit(data, chosen));
      const test::TemporaryFolder folder;
      generator.save(folder / "generator.safetensors");
      const auto loaded = SmallGenerator::load(folder / "generator.safetensors", cpu::Backend(1));
      const auto condition = loaded.embed(std::span(&prompt, 1));
      const auto seen = [&](Index first) {
        return std::any_of(condition.begin() + first, condition.begin() + first + size,
                           [](float value) { return value != 0; });
      };
      CHECK(seen(0) == (parts == ConditionParts::h));
      CHECK(seen(size) == (parts == ConditionParts::v));
    }
  }
  auto chosen = shortened(PaperRecipe::paper(24, 20), 2, 8);
  chosen.condition = ConditionParts::v;
  Generator<Policy, TrajectoryConfig> without{cpu::Backend(1)};
  CHECK_THROWS_AS(without.fit(data, chosen), Error);
}

struct AnyEpisodeConfig : SmallConfig {
  static constexpr PromptShape prompt{
      .from = PromptSteps::whole, .steps = 12, .sequence = 3, .success_states = 3};
};

TEST_CASE("the paper's recipe keeps the paper's requirements in every configuration") {
  const auto chosen = shortened(PaperRecipe::paper(24, 20), 1, 8);
  Generator<Policy, AnyEpisodeConfig> generator{cpu::Backend(1)};
  auto data = dataset();
  for (auto& trajectory : data.trajectories) {
    trajectory.success_step.reset();
  }
  CHECK_THROWS_WITH_AS(generator.fit(data, chosen),
                       doctest::Contains("none of 20 trajectories of at least 12 steps reaches success"),
                       Error);
  auto alone = dataset();
  alone.policies.clear();
  CHECK_THROWS_WITH_AS(
      generator.fit(alone, chosen),
      doctest::Contains("this recipe learns from policies' weights; expected some, found none "
                        "beside 20 trajectories"),
      Error);
  data.trajectories.clear();
  Trajectory brief(11, 6, 2);
  brief.task = "plus";
  brief.success_step = 3;
  data.add_trajectory(std::move(brief));
  CHECK_THROWS_WITH_AS(generator.fit(data, chosen),
                       doctest::Contains("none of 1 trajectories has at least 12 steps"), Error);
  CHECK(generator.fit(dataset(), chosen));
}

TEST_CASE("the presets of paper and code train, and segments stand in for success") {
  auto chosen = shortened(PaperRecipe::paper(24, 20), 3, 8);
  SUBCASE("paper") {
    SmallGenerator generator{cpu::Backend(2)};
    CHECK(generator.fit(dataset(), chosen));
    CHECK(generator.generate(demonstration(0, 1)).size() == 1);
  }
  SUBCASE("reference") {
    chosen = shortened(PaperRecipe::reference(24, 20), 3, 8);
    SmallGenerator generator{cpu::Backend(2)};
    CHECK(generator.fit(dataset(), chosen));
    CHECK(generator.generate(demonstration(0, 1), {.guidance = {2}}).size() == 1);
  }
  SUBCASE("segments") {
    Generator<Policy, SegmentConfig> generator{cpu::Backend(2)};
    CHECK(generator.fit(dataset(), chosen));
    auto prompt = demonstration(0, 1);
    prompt.success_step.reset();
    CHECK(generator.generate(prompt).size() == 1);
  }
  SUBCASE("h alone needs no success") {
    Generator<Policy, TrajectoryConfig> generator{cpu::Backend(2)};
    CHECK(generator.fit(dataset(), chosen));
    auto prompt = demonstration(0, 1);
    prompt.success_step.reset();
    CHECK(generator.generate(prompt).size() == 1);
  }
}

TEST_CASE("the reference recipe is the public code's, and the paper's shares what the paper leaves open") {
  const auto paper = PaperRecipe::paper(100, 50), reference = PaperRecipe::reference(100, 50);
  for (const auto& recipe : {paper, reference}) {  // epochs of whole batches; every parameter decays
    CHECK(recipe.autoencoder.train.steps == 3000 * 3);
    CHECK(recipe.denoiser.train.steps == 1000);
    for (const auto* train : {&recipe.autoencoder.train, &recipe.embedder.train, &recipe.denoiser.train}) {
      CHECK(train->decay_all);
      CHECK(train->drop_last);
      CHECK(train->clip_norm == 0);
    }
  }
  CHECK(paper.embedder.train.steps == 300 * 3);
  CHECK(reference.embedder.train.steps == 400 * 3);
  CHECK(paper.diffusion.prediction_type == PredictionType::epsilon);
  CHECK(PaperRecipe::paper(100, 50, PredictionType::sample).diffusion.prediction_type ==
        PredictionType::sample);
  CHECK(reference.diffusion.prediction_type == PredictionType::sample);
  CHECK(reference.autoencoder.input_noise == 1e-3);
  CHECK(reference.autoencoder.latent_noise == 1e-2);
  CHECK(paper.autoencoder.input_noise == 1e-4);
  CHECK(paper.autoencoder.latent_noise == 1e-3);
  const auto& rate = reference.denoiser.train.learning_rate;
  CHECK(rate.at(0, 1000) == 2e-4);
  CHECK(rate.at(10, 1000) == 2e-4);
  CHECK(rate.at(5, 1000) == doctest::Approx(1e-9 + (2e-4 - 1e-9) / 2));
  CHECK(rate.minimum == 1e-9);
  CHECK(reference.denoiser.train.ema == 0);
  CHECK(paper.denoiser.train.ema == 0.9999);
}

TEST_CASE(
    "epochs count what is trained on: no held-out runs and tasks, no trajectories that are no prompts") {
  auto data = dataset();
  for (std::size_t i = 0; i < data.trajectories.size(); ++i) {
    data.trajectories[i].run = static_cast<std::int64_t>(i % 3);
  }
  data.trajectories[0].success_step.reset();
  for (const auto condition : {ConditionParts::both, ConditionParts::h}) {
    for (const bool whole_task : {false, true}) {
      auto chosen = PaperRecipe::paper(1, 1);
      chosen.condition = condition;
      if (whole_task) {
        chosen.validation_tasks = {"minus"};
      }
      GeneratorState<Network, SmallConfig> state;
      const detail::TrainingData<Network, SmallConfig> trained(data, chosen, chosen.data_use(), state);
      const auto counts = training_counts(data, chosen, SmallConfig::prompt, SmallConfig::condition);
      CHECK(counts.policies == std::ssize(trained.split.train.policies));
      CHECK(counts.policies == (whole_task ? 8 : 16));
      CHECK(counts.prompts == std::ssize(trained.prompts));
      CHECK(counts.prompts < 20);
    }
  }
}

// Latents of 64 numbers by a network whose last layer reads 16 channels.
struct NarrowConfig : SmallConfig {
  static constexpr Index latent_size = 64;
};

TEST_CASE(
    "the paper's prediction of noise stays at what its last layer leaves; the clean sample's does not") {
  const auto data = dataset();
  const auto loss_of = [&](PredictionType prediction) {
    auto chosen = shortened(PaperRecipe::paper(24, 20, prediction), 2, 16);
    chosen.denoiser.train.steps = 600;
    chosen.denoiser.train.learning_rate = {.base = 3e-3};
    Generator<Policy, NarrowConfig> generator{cpu::Backend(2)};
    double sum = 0;
    REQUIRE(generator.fit(data, chosen, [&](const TrainProgress& progress) {
      sum += progress.stage == "denoiser" && progress.step > 500 ? progress.loss : 0;
      return true;
    }));
    return sum / 100;
  };
  CHECK(loss_of(PredictionType::epsilon) > 0.98 * (1 - 16.0 / 64));
  CHECK(loss_of(PredictionType::sample) < 0.2);
}

// The numbers of a generator's condition, and its embedder's weights.
template <class Generator>
auto embedder_of(const Generator& generator) {
  using Model = typename Generator::Model;
  constexpr Index offset = parameter_count<typename Model::AutoencoderModel>;
  return generator.state().parameters.span().subspan(offset, parameter_count<typename Model::EmbedderModel>);
}
Dataset with_units(float factor) {
  auto data = dataset();
  for (auto& trajectory : data.trajectories) {
    for (float& x : trajectory.observations().span()) {
      x *= factor;
    }
  }
  return data;
}

TEST_CASE("the public code embeds prompts as they are, by an embedder trained on features within limits") {
  // Powers of two change no bit of what is within limits, and so none of training.
  auto chosen = shortened(PaperRecipe::reference(24, 20), 40, 8);
  SmallGenerator usual{cpu::Backend(1)}, scaled{cpu::Backend(1)};
  REQUIRE(usual.fit(dataset(), chosen));
  REQUIRE(scaled.fit(with_units(8), chosen));
  CHECK(same_bits(embedder_of(usual), embedder_of(scaled)));
  const auto& encoder = usual.state().prompt_encoder;
  CHECK(std::ranges::all_of(encoder.observation_normalizer().offset, [](float x) { return x == 0; }));
  CHECK(std::ranges::all_of(encoder.observation_normalizer().scale, [](float x) { return x == 1; }));
  CHECK(encoder.action_normalizer().scale[0] == 1);
  auto prompt = demonstration(0, 1), larger = prompt;
  for (float& x : larger.observations().span()) {
    x *= 8;
  }
  const auto as_is = usual.embed(std::span(&prompt, 1)),
             larger_condition = usual.embed(std::span(&larger, 1));
  CHECK_FALSE(same_bits(as_is.span(), larger_condition.span()));
  // The paper's way: both are of normalised features.
  chosen.raw_conditions = false;
  SmallGenerator normalised{cpu::Backend(1)};
  REQUIRE(normalised.fit(dataset(), chosen));
  REQUIRE(scaled.fit(with_units(8), chosen));
  CHECK(
      same_bits(normalised.embed(std::span(&prompt, 1)).span(), scaled.embed(std::span(&larger, 1)).span()));
}

TEST_CASE("the paper's prompts are not clamped to the limits of training") {
  for (const auto& recipe : {PaperRecipe::paper(24, 20), PaperRecipe::reference(24, 20)}) {
    SmallGenerator generator{cpu::Backend(1)};
    REQUIRE(generator.fit(dataset(), shortened(recipe, 2, 8)));
    const auto with = [&](float value) {
      auto prompt = demonstration(0, 1);
      prompt.observations()(0, 1) = value;
      return generator.embed(std::span(&prompt, 1));
    };
    CHECK_FALSE(same_bits(with(20).span(), with(30).span()));
  }
}

// Whether a recipe trains on data of which only every so-manieth trajectory reaches success (0: none), and
// the generator then takes a failure for a prompt.
template <class Recipe>
void check_failures(Recipe chosen, std::size_t every) {
  auto data = dataset();
  for (std::size_t i = 0; i < data.trajectories.size(); ++i) {
    if (every == 0 || i % every != 0) {
      data.trajectories[i].success_step.reset();
    }
  }
  auto failure = demonstration(0, 1);
  failure.success_step.reset();
  const Index successes = every == 0 ? 0 : 20 / static_cast<Index>(every);
  for (const auto parts : {ConditionParts::h, ConditionParts::both}) {
    CAPTURE(static_cast<int>(parts));
    chosen.condition = parts;
    SmallGenerator generator{cpu::Backend(1)};
    if (parts == ConditionParts::both && every == 0) {
      CHECK_THROWS_WITH_AS(generator.fit(data, chosen), doctest::Contains("reaches success"), Error);
      continue;
    }
    GeneratorState<Network, SmallConfig> state;
    const detail::TrainingData<Network, SmallConfig> trained(data, chosen, chosen.data_use(), state);
    const bool h = parts == ConditionParts::h;
    CHECK(std::ssize(trained.prompts) == (h ? 20 : successes));
    CHECK(std::ssize(trained.contrasted) == (successes > 0 ? successes : 20));
    for (const Index position : trained.contrasted) {
      const auto number = trained.prompts[static_cast<std::size_t>(position)];
      CHECK((trained.trajectory(number).success_step || every == 0));
    }
    REQUIRE(generator.fit(data, chosen));
    if (!h) {
      CHECK_THROWS_WITH_AS(generator.generate(failure), doctest::Contains("reaches success"), Error);
      continue;
    }
    const test::TemporaryFolder folder;
    generator.save(folder / "generator.safetensors");
    const auto loaded = SmallGenerator::load(folder / "generator.safetensors", cpu::Backend(1));
    const auto made = generator.generate(failure), again = loaded.generate(failure);
    CHECK(same_bits(made[0].weights(), again[0].weights()));
    auto success = failure;
    success.success_step = 3;  // which is not shown
    CHECK(same_bits(made[0].weights(), loaded.generate(success)[0].weights()));
  }
}

TEST_CASE("where h alone is the condition, failures are prompts, in training and at run time") {
  for (const std::size_t every : {2, 0}) {
    check_failures(shortened(PaperRecipe::paper(24, 20), 3, 8), every);
    check_failures(shortened(PaperRecipe::reference(24, 20), 3, 8), every);
    check_failures(shortened(recipe(), 3, 8), every);
  }
}

}  // namespace
