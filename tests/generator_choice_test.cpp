// What is made of validation tasks, and the choice between candidates.
#include <doctest/doctest.h>

#include "small_generator.hpp"
#include "temporary_folder.hpp"

#include <limits>
#include <map>
#include <optional>
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
  chosen.guidance = {1, 0};
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
  constexpr auto head_size = static_cast<std::size_t>(parameter_count<SmallGenerator::Model::HeadModel>);
  CHECK(same_bits(early.span().last(head_size), generator.state().fallback_head.span()));

  // Each prompt gets the generated policy or the fallback, and both occur among prompts of all kinds.
  std::vector<Trajectory> prompts;
  for (std::uint64_t i = 0; i < 8; ++i) {
    prompts.push_back(demonstration(static_cast<Index>(i % 2), 700 + i));
    prompts.push_back(data.trajectories[data.trajectories.size() - 1 - i % 4]);
  }
  const auto picked = generator.generate_each(prompts);
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
  CHECK(loaded.state().choice_margins.size() == 3);
  CHECK(same_bits(loaded.state().choice_margins.span(), generator.state().choice_margins.span()));
  CHECK(loaded.state().variance_scale == generator.state().variance_scale);
  const auto again = loaded.generate_each(prompts);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    CHECK(same_bits(again[i].weights(), picked[i].weights()));
  }
  const auto novelty = generator.novelty(prompts);
  CHECK(novelty == loaded.novelty(prompts));
  CHECK(std::ranges::any_of(novelty, [](double value) { return value > 1; }));
  // The nearest prompt of training to itself is itself.
  CHECK(generator.novelty({&data.trajectories.front(), 1}).front() < 1e-3);
}

TEST_CASE("guidance falls only where the error on validation tasks does by a tenth") {
  const auto chosen = [](double all, double half, double none) {
    return detail::guidance_by_error([&](double guidance) {
      return guidance == 1 ? all : guidance == 0 ? none : half;
    });
  };
  CHECK(chosen(1, 0.95, 0.91) == 1);
  CHECK(chosen(1, 0.89, 0.85) == 0.5);
  CHECK(chosen(1, 0.95, 0.89) == 0);
  CHECK(chosen(1, 0.8, 0.7) == 0);
  CHECK(detail::guidance_by_error([](double) { return std::optional<double>(); }) == 1);
}

TEST_CASE(
    "prompts unlike those trained on get the guidance that validation tasks said, the others their own") {
  const auto data = with_noise_task(1);
  auto chosen = validated(60);
  SmallGenerator generator{cpu::Backend(2)};
  chosen.guidance = {1};
  REQUIRE(generator.fit(data, chosen));
  CHECK(std::set<double>{0, 0.5, 1}.contains(generator.state().settings.unknown_guidance));
  // Without validation tasks nothing says so.
  SmallGenerator without{cpu::Backend(2)};
  chosen.validation_tasks.clear();
  REQUIRE(without.fit(dataset(), chosen));
  CHECK(without.state().settings.unknown_guidance == 1);

  std::vector<Trajectory> prompts{data.trajectories[0]};
  for (const auto& trajectory : data.trajectories) {
    if (prompts.size() == 1 && generator.novelty({&trajectory, 1})[0] > 1) {
      prompts.push_back(trajectory);
    }
  }
  REQUIRE(generator.novelty(prompts)[0] <= 1);
  REQUIRE(prompts.size() == 2);
  for (const double guidance : {0.0, 0.5, 1.0}) {
    CAPTURE(guidance);
    auto state = std::make_unique<SmallGenerator::State>(generator.state());
    state->settings.unknown_guidance = guidance;
    const SmallGenerator changed(std::move(state));
    const auto found = changed.generate_each(prompts);
    const auto known = generator.generate_each(prompts, {.guidance = {1}});
    const auto unknown = generator.generate_each(prompts, {.guidance = {guidance}});
    CHECK(same_bits(found[0].weights(), known[0].weights()));
    CHECK(same_bits(found[1].weights(), unknown[1].weights()));
  }
}

TEST_CASE("margins of another number than the candidates' are refused by name") {
  const test::TemporaryFolder folder;
  auto chosen = validated(4);
  chosen.guidance = {1, 0};
  SmallGenerator generator{cpu::Backend(1)};
  REQUIRE(generator.fit(with_noise_task(1), chosen));
  REQUIRE(generator.state().choice_margins.size() == 3);
  generator.save(folder / "generator.safetensors");
  const SafetensorsReader reader(folder / "generator.safetensors");
  const auto load_with = [&](std::optional<std::vector<float>> margins) {
    SafetensorsWriter writer;
    for (const auto& [key, value] : reader.metadata()) {
      writer.set_metadata(key, value);
    }
    for (const auto& tensor : reader.tensors()) {
      if (tensor.name != "choice.margins") {
        writer.add_owned(tensor.name, tensor.shape, reader.read<float>(tensor.name));
      }
    }
    if (margins) {
      writer.add("choice.margins", {std::ssize(*margins)}, std::span<const float>(*margins));
    }
    writer.write(folder / "changed.safetensors");
    return SmallGenerator::load(folder / "changed.safetensors");
  };
  const auto check_refused = [&](std::optional<std::vector<float>> margins, const char* text) {
    CHECK_THROWS_WITH_AS(load_with(std::move(margins)), doctest::Contains(text), Error);
  };
  check_refused({{0, 1}}, "choice.margins");
  check_refused({{0, 1, 2, 3}}, "choice.margins");
  check_refused({{0, std::numeric_limits<float>::quiet_NaN(), 1}}, "choice.margins");
  check_refused(std::nullopt, "choice.margins");
  const auto loaded = load_with(std::vector<float>{0, 1, 2});
  CHECK(loaded.state().choice_margins[2] == 2);
  CHECK(load_with(std::vector<float>()).state().choice_margins.empty());
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
      CHECK(same_bits(whole.state().choice_margins.span(), resumed.state().choice_margins.span()));
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

TEST_CASE("heads of known prompts, and of no others, follow the prompt less") {
  const auto data = dataset();
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(data, recipe()));
  auto strange = demonstration(0, 950);
  for (float& action : strange.actions().span()) {
    action = -action;
  }
  const std::vector<Trajectory> prompts = {data.trajectories.front(), strange};
  const auto novelty = generator.novelty(prompts);
  REQUIRE(novelty[0] <= 1);
  REQUIRE(novelty[1] > 1);
  const auto with = [&](bool trust, double guidance) {
    return generator.generate_each(prompts, {.guidance = {guidance}, .trust_known = trust});
  };
  const auto trusting = with(true, 1), not_trusting = with(false, 1);
  CHECK_FALSE(same_bits(trusting[0].weights(), not_trusting[0].weights()));
  CHECK(same_bits(trusting[1].weights(), not_trusting[1].weights()));
  // Without its condition no prompt is known.
  CHECK(same_bits(with(true, 0)[0].weights(), with(false, 0)[0].weights()));
}

// What a policy does in the world's units, with noise that is executed.
Trajectory shown_by(const Policy& policy, std::uint64_t seed, double noise = 0) {
  Trajectory trajectory(20, 6, 2);
  Rng rng(seed);
  rng.fill_normal(trajectory.observations().span());
  policy.act_batch(trajectory.observations().span(), trajectory.actions().span());
  for (float& action : trajectory.actions().span()) {
    action += static_cast<float>(noise * rng.normal());
  }
  trajectory.success_step = 14;
  trajectory.task = "plus";
  return trajectory;
}

TEST_CASE(
    "a policy that made training's trajectories is given where it acts more like the prompt, unless it "
    "failed") {
  Policy::Box box;
  box.centre = {1, -2};
  box.half_width = {3, 0.5f};
  std::vector<Policy> policies;
  Dataset data(6, 2, Policy::parameter_size, {"plus", "minus"});
  data.interface = PolicyInterface::of(Policy(Policy::untrained(0).weights(), box));
  for (std::int64_t run = 0; run < 5; ++run) {
    const auto seed = static_cast<std::uint64_t>(run);
    policies.emplace_back(Policy::untrained(seed).weights(), box);
    data.add_policy({0, run, 0}, policies.back().weights());
    for (std::uint64_t i = 0; i < 2 && run < 4; ++i) {  // the last acts in none
      data.add_trajectory(shown_by(policies.back(), 10 * seed + i));
      data.trajectories.back().run = run;
      if (run == 3 && i == 1) {
        data.trajectories.back().success_step.reset();
      }
    }
  }
  auto chosen = recipe(4);
  chosen.guidance = {1};
  SmallGenerator fitted{cpu::Backend(2)};
  REQUIRE(fitted.fit(data, chosen));
  CHECK(fitted.state().kept_policies.size() == 3 * Policy::parameter_size);
  const TemporaryFolder folder;
  fitted.save(folder / "generator.safetensors");
  const auto generator = SmallGenerator::load(folder / "generator.safetensors", cpu::Backend(1));
  std::vector<Trajectory> prompts;
  for (std::size_t i = 0; i < policies.size(); ++i) {
    prompts.push_back(shown_by(policies[i], 100 + i, 0.02));
  }
  const auto same = [](const Policy& one, const Policy& other) {
    return same_bits(one.weights(), other.weights()) && one.box() == other.box();
  };
  GenerateOptions two;
  two.count = 2;
  auto none = two;
  none.look_up = false;
  const auto plain = generator.generate_each(prompts, none);
  for (const Index steps : {0, 5}) {
    CAPTURE(steps);
    two.polish.steps = steps;
    const auto found = generator.generate_each(prompts, two);
    for (std::size_t i = 0; i < policies.size(); ++i) {
      CAPTURE(i);
      CHECK(same(found[2 * i], policies[i]) == (i < 3));
      CHECK(generator.looked_up(found[2 * i]) == (i < 3));
      CHECK_FALSE(generator.looked_up(found[2 * i + 1]));
      CHECK(same(found[2 * i], plain[2 * i]) == (i >= 3 && steps == 0));
      CHECK_FALSE(generator.looked_up(plain[2 * i]));
    }
  }
  // All demonstrations of a prompt count.
  const std::vector<Trajectory> together{shown_by(policies[1], 7, 0.3), shown_by(policies[1], 8)};
  CHECK(same(generator.generate(together)[0], policies[1]));
  chosen.keep_policies = false;
  REQUIRE(fitted.fit(data, chosen));
  CHECK(fitted.state().kept_policies.empty());
  two.polish.steps = 0;
  CHECK(same(fitted.generate_each(prompts, two)[0], plain[0]));
  // A task without any success has nothing to go by, whatever the others tell.
  chosen.condition = ConditionParts::h;
  chosen.keep_policies = true;
  data.add_policy({1, 4, 0}, policies[4].weights());
  data.add_trajectory(shown_by(policies[4], 40));
  data.trajectories.back().task = "minus";
  data.trajectories.back().run = 4;
  data.trajectories.back().success_step.reset();
  REQUIRE(fitted.fit(data, chosen));
  CHECK(fitted.state().kept_policies.size() == 4 * Policy::parameter_size);
  CHECK(same(fitted.generate(prompts[4])[0], policies[4]));
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

// The log evidence of prompts, one for each policy whose head is not fitted; rows [prompts, parameters] are
// for normalised observations.
std::vector<double> evidence_of(const SmallGenerator& generator, MatrixView<const float> policies,
                                std::span<const float> head, std::span<const Trajectory> prompts) {
  using Head = SmallGenerator::Model::HeadModel;
  const detail::PromptPath<Network, SmallConfig> path(generator.state());
  const cpu::Backend backend(1);
  Workspace workspace, host;
  constexpr Index density = 2;  // a generator's
  const auto support = path.allocate_support(policies.rows, 1, density, workspace);
  for (Index i = 0; i < policies.rows; ++i) {
    path.write_support(prompts[static_cast<std::size_t>(i)], i, Rng(1), support);
  }
  const auto w = bind<Head>(head);
  const auto saved =
      Head::forward(backend, Network::layout(), w, policies, SequenceView<const float>(support.observations),
                    SequenceView<const float>(support.actions),
                    workspace.matrix<float>(policies.rows, policies.cols), workspace, {.density = density});
  std::vector<double> evidence(prompts.size());
  Head::log_evidence(backend, w, saved, {.density = density}, evidence, host);
  return evidence;
}

// The scores of all candidates, [candidates][prompts]: those of the guidances, then the fallback, if there is
// one.
std::vector<std::vector<double>> scores_of(const SmallGenerator& generator,
                                           const std::vector<Trajectory>& prompts, std::uint64_t seed) {
  using Head = SmallGenerator::Model::HeadModel;
  const auto& state = generator.state();
  constexpr auto head_size = static_cast<std::size_t>(parameter_count<Head>);
  const auto count = std::ssize(prompts);
  Workspace workspace;
  const auto rows = workspace.matrix<float>(count, Policy::parameter_size);
  std::vector<std::vector<double>> scores;
  for (const double guidance : state.settings.guidance) {
    const auto policies =
        generator.generate_each(prompts, {.seed = seed, .guidance = {guidance}, .fit_head = false});
    for (Index i = 0; i < count; ++i) {
      state.standardizer.unfold(policies[static_cast<std::size_t>(i)].weights().data(), rows.row(i));
    }
    scores.push_back(evidence_of(generator, rows, state.parameters.span().last(head_size), prompts));
  }
  if (!state.fallback_policy.empty()) {
    for (Index i = 0; i < count; ++i) {
      std::ranges::copy(state.fallback_policy, rows.row(i));
    }
    scores.push_back(evidence_of(generator, rows, state.fallback_head.span(), prompts));
  }
  return scores;
}

TEST_CASE("the choice is the candidate of the greatest evidence, by more than its margin") {
  auto data = with_noise_task(1);
  for (std::uint64_t i = 0; i < 50; ++i) {
    data.add_trajectory(demonstration(static_cast<Index>(i % 2), 300 + i));
  }
  std::vector<Trajectory> known, prompts;
  std::ranges::copy_if(data.trajectories, std::back_inserter(known),
                       [](const Trajectory& trajectory) { return trajectory.task != "noise"; });
  for (std::uint64_t i = 0; i < 24; ++i) {
    prompts.push_back(i % 3 < 2 ? demonstration(static_cast<Index>(i % 3), 700 + i)
                                : data.trajectories[20 + i / 3 % 4]);
  }
  auto chosen = validated(150);
  chosen.guidance = {-4, 1, 4};  // the first is the worst
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(data, chosen));
  const auto& margins = generator.state().choice_margins;
  REQUIRE(margins.size() == 4);
  CHECK(margins[0] == 0);
  CHECK(std::ranges::all_of(margins, [](float margin) { return margin >= 0; }));
  CHECK(margins[1] > 0);
  CHECK(margins[2] > 0);

  // Among the guidances asked for without margins; the generator's own choice with them.
  for (const bool own : {false, true}) {
    CAPTURE(own);
    std::vector<std::vector<Policy>> candidates;
    for (const double guidance : chosen.guidance) {
      candidates.push_back(generator.generate_each(prompts, {.seed = 3, .guidance = {guidance}}));
    }
    auto scores = scores_of(generator, prompts, 3);
    if (!own) {
      scores.pop_back();  // the fallback is no guidance
    }
    const auto picked = generator.generate_each(
        prompts, {.seed = 3, .guidance = own ? std::vector<double>() : chosen.guidance});
    std::set<std::size_t> used;
    bool by_margin = false;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      std::size_t best = 0, greatest = 0;
      const auto gain = [&](std::size_t k) {
        return scores[k][i] - (own ? static_cast<double>(margins[static_cast<Index>(k)]) : 0);
      };
      bool close = false;
      for (std::size_t k = 1; k < scores.size(); ++k) {
        close = close || std::abs(gain(k) - gain(best)) < 1e-3;
        best = gain(k) > gain(best) ? k : best;
        greatest = scores[k][i] > scores[greatest][i] ? k : greatest;
      }
      const auto same = std::ranges::find_if(candidates, [&](const auto& policies) {
        return same_bits(policies[i].weights(), picked[i].weights());
      });
      const auto found = static_cast<std::size_t>(same - candidates.begin());  // none: the fallback
      CAPTURE(i);
      CHECK((found == best || close));
      used.insert(found);
      by_margin = by_margin || (found != greatest && !close);
    }
    CHECK(used.size() > 1);
    CHECK(by_margin == own);
  }

  // The noise that the margins were measured with, and other noise.
  for (const std::uint64_t seed : {0x6d617267, 1}) {
    const auto scores = scores_of(generator, known, seed);
    const auto first = generator.generate_each(known, {.seed = seed, .guidance = {-4}});
    const auto picked = generator.generate_each(known, {.seed = seed});
    std::set<std::size_t> leave;
    for (std::size_t k = 1; k < scores.size(); ++k) {
      const auto margin = static_cast<double>(margins[static_cast<Index>(k)]);
      Index above = 0;
      for (std::size_t i = 0; i < known.size(); ++i) {
        if (scores[k][i] - scores[0][i] > margin + 1e-3) {
          ++above;
          leave.insert(i);
        }
      }
      CAPTURE(k);
      CHECK(above <= std::ssize(known) * (seed == 1 ? 3 : 1) / 20 + 1);
    }
    Index left = 0;
    for (std::size_t i = 0; i < known.size(); ++i) {
      left += same_bits(first[i].weights(), picked[i].weights()) ? 0 : 1;
    }
    CHECK(left >= std::ssize(leave));
    CHECK(left <= 3 * std::ssize(known) / (seed == 1 ? 10 : 20));
  }
}

struct HeadlessConfig : SmallConfig {
  static constexpr Index head_rank = 0;
};

TEST_CASE("of several guidances without a head the policy is returned that errs least on the prompt") {
  auto chosen = recipe();
  chosen.guidance = {0.8, 0, 1};
  Generator<Policy, HeadlessConfig> generator{cpu::Backend(2)};
  REQUIRE(generator.fit(dataset(), chosen));
  CHECK(generator.state().choice_margins.empty());
  std::vector<Trajectory> prompts;
  for (std::uint64_t i = 0; i < 24; ++i) {
    prompts.push_back(demonstration(static_cast<Index>(i % 2), 700 + i));
  }
  const auto with = [&](std::vector<double> guidance) {
    return generator.generate_each(prompts, {.guidance = std::move(guidance)});
  };
  const auto best = with(chosen.guidance);
  const auto by_default = with({});
  std::vector<std::vector<Policy>> each;
  for (const double guidance : chosen.guidance) {
    each.push_back(with({guidance}));
  }
  std::set<std::size_t> used;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    constexpr Index pairs = 2 * SmallConfig::prompt.pairs();
    Trajectory seen(pairs, 6, 2);
    generator.state().prompt_encoder.write_spread_pairs(prompts[i], seen.observations(), seen.actions());
    std::vector<double> errors;
    for (const auto& policies : each) {
      errors.push_back(action_error(policies[i], seen));
    }
    const auto least = static_cast<std::size_t>(std::ranges::min_element(errors) - errors.begin());
    CHECK(same_bits(best[i].weights(), each[least][i].weights()));
    CHECK(same_bits(best[i].weights(), by_default[i].weights()));
    used.insert(least);
  }
  CHECK(used.size() > 1);
  CHECK_THROWS_WITH_AS(with({std::nan("")}), doctest::Contains("found nan"), Error);
}

}  // namespace
