// What is made of validation tasks, and the choice between candidates.
#include <doctest/doctest.h>

#include "small_generator.hpp"
#include "temporary_folder.hpp"

#include <limits>
#include <map>
#include <set>

namespace {

using namespace test;

BehaviorRecipe validated(Index steps) {
  auto result = recipe(steps);
  result.embedder.train.steps = 20;
  result.validation_tasks = {"noise"};
  result.behavior.demonstrations = {2, 1};
  result.validation_every = 4;
  return result;
}

TEST_CASE("a task named for validation has no part in training") {
  auto chosen = validated(12);
  SmallGenerator normal{cpu::Backend(2)}, large{cpu::Backend(2)}, without{cpu::Backend(2)};
  REQUIRE(normal.fit(with_noise_task(1), chosen));
  REQUIRE(large.fit(with_noise_task(1e3f, 7), chosen));
  chosen.validation_tasks.clear();
  REQUIRE(without.fit(dataset(), chosen));
  const auto check_same = [&](const auto& values) {
    CHECK(same_bits(values(normal.state()), values(without.state())));
    CHECK(same_bits(values(large.state()), values(without.state())));
  };
  check_same([](const auto& state) { return state.parameters.span(); });
  check_same([](const auto& state) { return state.standardizer.mean().span(); });
  check_same([](const auto& state) { return state.standardizer.deviation().span(); });
  check_same([](const auto& state) { return state.standardizer.observations().scale.span(); });
  check_same([](const auto& state) { return state.prompt_encoder.observation_normalizer().offset.span(); });
  check_same([](const auto& state) { return state.latent.scale.span(); });
}

TEST_CASE("the fallback is the unconditioned policy of the best validation, and a candidate") {
  const test::TemporaryFolder folder;
  const auto data = with_noise_task(1);
  auto chosen = validated(60);
  chosen.behavior.train.learning_rate.base = 2e-2;
  chosen.guidance = {1};
  std::map<Index, double> validations;
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(data, chosen, [&](const TrainProgress& progress) {
    if (progress.stage == "behavior" && progress.validation) {
      validations[progress.step] = *progress.validation;
    }
    return true;
  }));
  const auto best = std::ranges::min_element(validations, {}, [](const auto& entry) { return entry.second; });
  REQUIRE(best->first < 60);

  // The same training, stopped right after the best one: the checkpoint holds the weights of that moment.
  auto ended = chosen;
  ended.checkpoint = folder / "checkpoint.safetensors";
  SmallGenerator stopped{cpu::Backend(2)};
  REQUIRE_FALSE(stopped.fit(data, ended, [&](const TrainProgress& progress) {
    return progress.stage != "behavior" || progress.step < best->first;
  }));
  using Part = SmallGenerator::Model::WithoutEncoders;
  Buffer<float> early(parameter_count<Part>);
  read_parameters(SafetensorsReader(ended.checkpoint), tensors_of<Part>("trainer.average."), early.span());
  CHECK(same_bits(early.span().last(2), generator.state().fallback_head.span()));

  // Each prompt gets the generated policy or the fallback, and both occur among prompts of all kinds.
  std::vector<Trajectory> prompts;
  for (std::uint64_t i = 0; i < 8; ++i) {
    prompts.push_back(demonstration(static_cast<Index>(i % 2), 700 + i));
    prompts.push_back(data.trajectories[data.trajectories.size() - 1 - i % 4]);
  }
  const auto picked = generator.generate_each(prompts, {.trust_known = false});
  const auto generated = generator.generate_each(prompts, {.guidance = {1}});
  Index kept = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    kept += same_bits(picked[i].weights(), generated[i].weights()) ? 1 : 0;
  }
  CHECK(kept > 0);
  CHECK(kept < static_cast<Index>(prompts.size()));

  generator.save(folder / "generator.safetensors");
  const auto loaded = SmallGenerator::load(folder / "generator.safetensors");
  CHECK(same_bits(loaded.state().fallback_policy.span(), generator.state().fallback_policy.span()));
  const auto again = loaded.generate_each(prompts, {.trust_known = false});
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    CHECK(same_bits(again[i].weights(), picked[i].weights()));
  }

  // Prompts that training knows get the first candidate, and the choice is as it was for the others.
  const auto trusting = generator.generate_each(prompts);
  const auto novelty = generator.novelty(prompts);
  CHECK(novelty == loaded.novelty(prompts));
  Index turned = 0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto& expected = novelty[i] > 1 ? picked[i] : generated[i];
    CHECK(same_bits(trusting[i].weights(), expected.weights()));
    turned += same_bits(trusting[i].weights(), picked[i].weights()) ? 0 : 1;
  }
  CHECK(turned > 0);
  CHECK(std::ranges::any_of(novelty, [](double value) { return value > 1; }));
  // The nearest prompt of training to itself is itself.
  CHECK(generator.novelty({&data.trajectories.front(), 1}).front() < 1e-3);
}

TEST_CASE("the fallback survives stopping and resuming, to the bit") {
  const test::TemporaryFolder folder;
  const auto data = with_noise_task(1);
  auto chosen = validated(60);
  chosen.behavior.train.learning_rate.base = 2e-2;
  SmallGenerator whole{cpu::Backend(1)};
  REQUIRE(whole.fit(data, chosen));
  chosen.checkpoint = folder / "checkpoint.safetensors";
  bool finished = false;
  int attempts = 0;
  while (!finished && ++attempts < 30) {
    SmallGenerator resumed{cpu::Backend(2)};
    int steps = 0;
    finished = resumed.fit(data, chosen, [&](const TrainProgress&) { return ++steps < 7; });
    if (finished) {
      CHECK(same_bits(whole.state().parameters.span(), resumed.state().parameters.span()));
      CHECK(same_bits(whole.state().fallback_policy.span(), resumed.state().fallback_policy.span()));
    }
  }
  CHECK(finished);
  CHECK(attempts > 8);
}

TEST_CASE("validation is the error of what generate() makes without a condition") {
  // One trajectory is all there is of the validation task, so the prompts and states that are drawn are
  // known.
  const auto data = with_noise_task(1, 1);
  auto chosen = validated(40);
  chosen.behavior.demonstrations = {1};
  chosen.behavior.queries = 2000;  // each of the 20 steps about equally often
  double last = 0;
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(data, chosen, [&](const TrainProgress& progress) {
    last = progress.validation.value_or(last);
    return true;
  }));
  const auto& prompt = data.trajectories.back();
  const auto error = [&](const GenerateOptions& how) {
    double sum = 0;
    for (const auto& policy : generator.generate(prompt, how)) {
      sum += action_error(policy, prompt);
    }
    return sum / static_cast<double>(how.count);
  };
  const double deployed = error({.count = 20, .guidance = {0}});
  CAPTURE(deployed);
  CHECK(last == doctest::Approx(deployed).epsilon(0.01));
  CHECK(error({.count = 20, .guidance = {0}, .fit_head = false}) > 1.1 * deployed);
}

TEST_CASE("bad choices of validation tasks are errors") {
  SmallGenerator generator{cpu::Backend(2)};
  auto chosen = validated(5);
  const auto check = [&](const Dataset& data, std::vector<std::string> tasks, const char* text) {
    chosen.validation_tasks = std::move(tasks);
    CHECK_THROWS_WITH_AS(generator.fit(data, chosen), doctest::Contains(text), Error);
  };
  check(with_noise_task(1), {"nosie"}, "found 'nosie'; the nearest are noise");
  check(with_noise_task(1), {"plus", "mins"}, "the nearest are minus");
  check(with_noise_task(1), {"plus", "minus", "noise"}, "not for validation");
  check(with_noise_task(1, 0), {"noise"}, "validation task 'noise': there is no trajectory");
}

// Checks the choice among `guidances` for a trained generator. Of `alike` ones, all prompts get the first,
// although another is better for some; of others, not.
template <class GeneratorT>
void check_choice(const GeneratorT& generator, const std::vector<double>& guidances, bool alike) {
  std::vector<Trajectory> prompts;
  for (std::uint64_t i = 0; i < 24; ++i) {
    prompts.push_back(demonstration(static_cast<Index>(i % 2), 700 + i));
  }
  const auto with = [&](std::vector<double> guidance) {
    return generator.generate_each(prompts, {.guidance = std::move(guidance), .trust_known = false});
  };
  const auto best = with(guidances);
  std::vector<std::vector<Policy>> each;
  for (const double guidance : guidances) {
    each.push_back(with({guidance}));
  }
  std::set<std::size_t> used;
  bool held_back = false;  // by the margin
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto same = std::ranges::find_if(
        each, [&](const auto& policies) { return same_bits(policies[i].weights(), best[i].weights()); });
    REQUIRE(same != each.end());
    used.insert(static_cast<std::size_t>(same - each.begin()));
    if constexpr (!GeneratorT::Model::has_head) {  // then measured on the whole support set
      constexpr Index pairs = 2 * SmallConfig::prompt.pairs();
      Trajectory seen(pairs, 6, 2);
      generator.state().prompt_encoder.write_spread_pairs(prompts[i], seen.observations(), seen.actions());
      std::vector<double> errors;
      for (const auto& policies : each) {
        errors.push_back(action_error(policies[i], seen));
      }
      const auto least = std::ranges::min_element(errors);
      const double bar = std::min(0.9 * errors.front(), errors.front() - 0.0025);
      CHECK(same - each.begin() == (*least < bar ? least - errors.begin() : 0));
      held_back = held_back || (least != errors.begin() && *least >= bar);
    }
  }
  CHECK((used.size() == 1) == alike);
  CHECK((GeneratorT::Model::has_head || held_back == alike));
  CHECK_THROWS_WITH_AS(with({std::nan("")}), doctest::Contains("found nan"), Error);
}

struct HeadlessConfig : SmallConfig {
  static constexpr Index head_rank = 0;
};

TEST_CASE("of several guidances the policy is returned that agrees clearly better with the prompt") {
  auto chosen = recipe();
  SUBCASE("with the Bayesian head") {
    chosen.guidance = {0, 0.5, 1};
    SmallGenerator generator{cpu::Backend(2)};
    REQUIRE(generator.fit(dataset(), chosen));
    check_choice(generator, chosen.guidance, false);
    CHECK(same_bits(generator.generate(demonstration(0, 1), {.guidance = chosen.guidance})[0].weights(),
                    generator.generate(demonstration(0, 1))[0].weights()));
  }
  SUBCASE("without") {
    Generator<Policy, HeadlessConfig> generator{cpu::Backend(2)};
    REQUIRE(generator.fit(dataset(), chosen));
    check_choice(generator, {0.8, 0, 1}, false);
    check_choice(generator, {1, 0.99, 1.01}, true);
  }
}

}  // namespace
