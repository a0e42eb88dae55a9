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

}  // namespace
