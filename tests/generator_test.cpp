// The generator as a whole: it learns, the same seed gives the same bits for any number of threads and after
// a stop, files round-trip, and bad input leaves it as it was.
#include <doctest/doctest.h>

#include <maa/generator/paper_training.hpp>

#include "small_generator.hpp"
#include "temporary_folder.hpp"

#include <limits>
#include <set>
#include <thread>

namespace {

using namespace test;

TEST_CASE("a trained generator writes policies that behave like the prompt, not like the other task") {
  SmallGenerator generator{cpu::Backend(2)};
  std::set<std::string> stages;
  const auto data = dataset();
  REQUIRE(generator.fit(data, recipe(), [&](const TrainProgress& progress) {
    stages.insert(std::string(progress.stage));
    return true;
  }));
  CHECK(stages == std::set<std::string>{"embedder", "behavior"});
  for (Index task = 0; task < 2; ++task) {
    const auto policies = generator.generate(demonstration(task, 777), {.count = 3, .seed = 1});
    REQUIRE(policies.size() == 3);
    for (const auto& policy : policies) {
      CHECK(action_error(policy, task) < 0.5 * action_error(policy, 1 - task));
    }
    for (const auto precision : {Precision::bf16_weights, Precision::bf16}) {
      const auto rounded =
          generator.generate(demonstration(task, 777), {.count = 3, .seed = 1, .precision = precision});
      CHECK(largest_difference(rounded[0], policies[0]) < 0.05);
      CHECK(action_error(rounded[0], task) < 0.5 * action_error(rounded[0], 1 - task));
    }
  }
}

TEST_CASE("bits do not depend on threads, stopping and resuming, batching, or saving") {
  const test::TemporaryFolder folder;
  const auto data = dataset();
  auto chosen = recipe(20);
  SmallGenerator one{cpu::Backend(1)};
  REQUIRE(one.fit(data, chosen));

  SmallGenerator four{cpu::Backend(4)};
  REQUIRE(four.fit(data, chosen));
  CHECK(same_bits(one.state().parameters.span(), four.state().parameters.span()));

  // Stopped in every stage, and resumed each time by a new generator.
  chosen.checkpoint = folder / "checkpoint.safetensors";
  chosen.checkpoint_every = 1'000'000;
  bool finished = false;
  for (int attempt = 0; attempt < 20 && !finished; ++attempt) {
    SmallGenerator resumed{cpu::Backend(2)};
    int steps = 0;
    finished = resumed.fit(data, chosen, [&](const TrainProgress&) { return ++steps < 37; });
    CHECK(resumed.trained() == finished);
    if (finished) {
      CHECK(attempt >= 2);
      CHECK(same_bits(one.state().parameters.span(), resumed.state().parameters.span()));
    }
  }
  CHECK(finished);

  // Killed without warning: training goes on from the last periodic checkpoint.
  REQUIRE(std::filesystem::remove(chosen.checkpoint));
  chosen.checkpoint_every = 4;
  struct Killed {};
  SmallGenerator killed{cpu::Backend(2)};
  for (const Index death : {40, 35}) {
    Index steps = 0;
    CHECK_THROWS_AS(killed.fit(data, chosen,
                               [&](const TrainProgress&) {
                                 if (++steps == death) {
                                   throw Killed();
                                 }
                                 return true;
                               }),
                    Killed);
    CHECK_FALSE(killed.trained());
  }
  REQUIRE(killed.fit(data, chosen));
  CHECK(same_bits(one.state().parameters.span(), killed.state().parameters.span()));

  one.save(folder / "generator.safetensors");
  const auto loaded = SmallGenerator::load(folder / "generator.safetensors", cpu::Backend(3));
  const std::vector<Trajectory> prompts{demonstration(0, 1), demonstration(1, 2), demonstration(0, 3)};
  const auto together = one.generate_each(prompts, {.count = 2, .seed = 3});
  const auto again = loaded.generate_each(prompts, {.count = 2, .seed = 3});
  REQUIRE(together.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(same_bits(together[i].weights(), again[i].weights()));
  }
  CHECK_FALSE(same_bits(together[0].weights(), together[1].weights()));
  const auto other = one.generate_each(prompts, {.count = 2, .seed = 4});
  CHECK_FALSE(same_bits(together[0].weights(), other[0].weights()));
}

TEST_CASE("bad prompts, files and data are errors; the generator stays usable") {
  const test::TemporaryFolder folder;
  const auto data = dataset();
  const auto chosen = recipe(0);
  SmallGenerator generator{cpu::Backend(2)};
  CHECK_THROWS_WITH_AS(generator.generate(demonstration(0, 1)), doctest::Contains("trained generator"),
                       Error);
  REQUIRE(generator.fit(data, chosen));
  const auto before = generator.generate(demonstration(0, 1));

  CHECK_THROWS_WITH_AS(generator.generate(Trajectory(11, 6, 2)),
                       doctest::Contains("at least 12 steps, found 11"), Error);
  CHECK_THROWS_WITH_AS(generator.generate(Trajectory(20, 7, 2)), doctest::Contains("found 7 and 2"), Error);
  CHECK_THROWS_WITH_AS(generator.generate(Trajectory(20, 6, 2)), doctest::Contains("reaches success"), Error);
  auto unnamed = chosen;
  unnamed.behavior.augmentation.apply = [](Rng, MatrixView<float>, MatrixView<float>) {};
  CHECK_THROWS_WITH_AS(generator.fit(data, unnamed), doctest::Contains("a name of its own"), Error);
  auto without_demonstrations = chosen;
  without_demonstrations.behavior.demonstrations = {};
  CHECK_THROWS_WITH_AS(generator.fit(data, without_demonstrations, [](const auto&) { return false; }),
                       doctest::Contains("demonstrations per prompt"), Error);
  CHECK_THROWS_WITH_AS(generator.generate(demonstration(0, 1), {.count = 0}),
                       doctest::Contains("count from 1 to 1e+06, found 0"), Error);
  CHECK_THROWS_WITH_AS(generator.fit(Dataset(6, 2, 9, {"plus"})), doctest::Contains("found"), Error);
  auto without = data;
  std::erase_if(without.trajectories,
                [](const Trajectory& trajectory) { return trajectory.task == "minus"; });
  CHECK_THROWS_WITH_AS(generator.fit(without, chosen),
                       doctest::Contains("task 'minus' has policies, but there is no trajectory"), Error);

  generator.save(folder / "generator.safetensors");
  CHECK_THROWS_WITH_AS((Generator<Policy>::load(folder / "generator.safetensors")),
                       doctest::Contains("autoencoder.latent: expected 64, found '16'"), Error);
  CHECK_THROWS_WITH_AS(SmallGenerator::load(folder / "none.safetensors"),
                       doctest::Contains("none.safetensors"), Error);
  const auto after = generator.generate(demonstration(0, 1));
  CHECK(same_bits(before[0].weights(), after[0].weights()));
}

TEST_CASE("every door that a prompt enters by refuses what is none, and says which, where and why") {
  SmallGenerator generator{cpu::Backend(1)};
  REQUIRE(generator.fit(dataset(), recipe(0)));
  const auto good = demonstration(0, 1);
  const std::vector<Policy> policies{Policy::untrained(1), Policy::untrained(2)};
  using Prompts = std::span<const Trajectory>;
  const std::pair<const char*, std::function<void(Prompts)>> doors[] = {
      {"generate", [&](Prompts prompts) { generator.generate(prompts); }},
      {"generate_each", [&](Prompts prompts) { generator.generate_each(prompts); }},
      {"polish", [&](Prompts prompts) { generator.generate_each(prompts, {.polish = {.steps = 1}}); }},
      {"embed", [&](Prompts prompts) { generator.embed(prompts); }},
      {"novelty", [&](Prompts prompts) { generator.novelty(prompts); }},
      {"fit_heads",
       [&](Prompts prompts) { generator.fit_heads(std::span(policies).first(prompts.size()), prompts); }},
      {"uncertainty",
       [&](Prompts prompts) { generator.uncertainty(std::span(policies).first(prompts.size()), prompts); }}};
  struct Case {
    const char* message;
    std::function<void(Trajectory&)> change;
  };
  const auto with_success = [](Index step) { return [step](Trajectory& t) { t.success_step = step; }; };
  const Case cases[] = {
      {"a success step below 20, found -7", with_success(-7)},
      {"a success step below 20, found -1", with_success(-1)},
      {"a success step below 20, found 20", with_success(20)},
      {"a success step below 20, found 500", with_success(500)},
      {"a success step below 20, found 9223372036854775807", with_success(std::numeric_limits<Index>::max())},
      {"a success step below 20, found -9223372036854775808",
       with_success(std::numeric_limits<Index>::min())},
      {"found nan in observation 3 of step 5", [](Trajectory& t) { t.observations()(5, 3) = std::nanf(""); }},
      {"found inf in action 1 of step 19", [](Trajectory& t) { t.actions()(19, 1) = HUGE_VALF; }},
      {"found nan in target action 0 of step 2",
       [](Trajectory& t) {
         t.actions()(2, 0) = std::nanf("");
         t.set_target_actions(t.actions());
         t.actions()(2, 0) = 0;
       }},
      {"found 0 steps", [](Trajectory& t) { t = Trajectory(); }},
      {"found that it was moved from", [](Trajectory& t) { const Trajectory elsewhere(std::move(t)); }},
      {"found 7 and 2", [](Trajectory& t) { t = Trajectory(20, 7, 2); }},
      {"at least 12 steps, found 11", [](Trajectory& t) { t = Trajectory(11, 6, 2); }},
  };
  for (const auto& [name, door] : doors) {
    const std::string of = name;
    CAPTURE(of);
    CHECK(test::error_of([&, &enter = door] { enter(std::vector{good, good}); }) == "no error");
    const auto nothing = test::error_of([&, &enter = door] { enter({}); });
    CAPTURE(nothing);
    CHECK((test::has(nothing, "expected at least one demonstration") || test::has(nothing, "for each of 0")));
    for (const auto& c : cases) {
      auto odd = good;
      c.change(odd);
      for (const std::size_t count : {1, 2}) {
        std::vector<Trajectory> prompts(count, good);
        prompts.back() = odd;
        const auto message = test::error_of([&, &enter = door] { enter(prompts); });
        CAPTURE(message);
        CHECK(test::has(message, c.message));
        CHECK(test::has(message, "demonstration 2 of 2: ") == (count == 2));
      }
    }
  }
  CHECK(test::has(test::error_of([&] { generator.encode({}); }), "at least one policy, found none"));
  CHECK(test::has(test::error_of([&] { generator.decode(std::vector<float>(7)); }), "found 7 numbers"));
}

TEST_CASE("a prompt with a column far from training's gives finite policies and leaves the others' bits") {
  SmallGenerator generator{cpu::Backend(1)};
  REQUIRE(generator.fit(dataset(), recipe(0)));
  const auto left = demonstration(0, 1), right = demonstration(1, 2);
  const std::vector usual{left, demonstration(1, 3), right};
  const auto expected = generator.generate_each(usual);
  for (const float value : {400.0f, 4096.0f, -999.0f, 1e5f, -1e6f, 1e8f}) {
    for (const Index every : {1, 7}) {
      CAPTURE(value);
      auto odd = demonstration(1, 3);
      for (Index step = 0; step < odd.length(); step += every) {
        odd.observations()(step, 3) = value;
      }
      const std::vector prompts{left, odd, right};
      const auto policies = generator.generate_each(prompts, {.polish = {.steps = every == 1 ? 0 : 1}});
      CHECK(is_finite(action_error(policies[1], odd)));
      if (every == 1) {
        CHECK(same_bits(policies[0].weights(), expected[0].weights()));
        CHECK(same_bits(policies[2].weights(), expected[2].weights()));
      }
      const auto refitted = generator.fit_heads(policies, prompts);
      CHECK(is_finite(action_error(refitted[1], odd)));
      const double deviation =
          generator.uncertainty(policies, prompts)[1].deviation(odd.observations().span())[0];
      CHECK(is_finite(deviation));
    }
  }
  auto beyond = demonstration(1, 3);
  beyond.observations()(4, 3) = -3e38f;
  test::check_error("demonstration 2 of 3: prompt: expected observation 3 within 1e+08 times its spread",
                    [&] {
                      generator.generate_each(std::vector{left, beyond, right});
                    });
}

struct AnyEpisodeConfig : SmallConfig {
  static constexpr PromptShape prompt{
      .from = PromptSteps::whole, .steps = 12, .sequence = 3, .success_states = 3};
};
using AnyEpisode = Generator<Policy, AnyEpisodeConfig>;

// As a recorder cuts it: its first steps, and whether it tells of success.
Trajectory cut(const Trajectory& from, Index steps, bool success) {
  Trajectory result(from.observations().row_range(0, steps), from.actions().row_range(0, steps));
  if (success) {
    result.success_step = std::min(*from.success_step, steps - 2);
  }
  result.task = from.task;
  result.run = from.run;
  return result;
}

TEST_CASE("short episodes, failures and those without success flags train and are prompts") {
  const auto with = [](Index steps, bool success) {
    auto data = dataset();
    for (auto& trajectory : data.trajectories) {
      trajectory = cut(trajectory, steps, success);
    }
    return data;
  };
  const auto chosen = recipe(60);
  for (const bool success : {true, false}) {
    for (const Index steps : {7, 20}) {
      AnyEpisode generator{cpu::Backend(2)};
      REQUIRE(generator.fit(with(steps, success), chosen));
      for (Index task = 0; task < 2; ++task) {
        for (const bool flagged : {true, false}) {
          const auto policy = generator.generate(cut(demonstration(task, 777), 10, flagged))[0];
          CHECK(action_error(policy, task) < 0.7 * action_error(policy, 1 - task));
        }
      }
      CHECK_NOTHROW(generator.generate(cut(demonstration(0, 777), 3, false)));
      CHECK_THROWS_WITH_AS(generator.generate(cut(demonstration(0, 777), 2, false)),
                           doctest::Contains("at least 3 steps, found 2"), Error);
    }
  }
  AnyEpisode generator{cpu::Backend(1)};
  CHECK_THROWS_WITH_AS(generator.fit(with(2, false), chosen),
                       doctest::Contains("fit: none of 20 trajectories has at least 3 steps"), Error);
  SmallGenerator strict{cpu::Backend(1)};
  CHECK_THROWS_WITH_AS(strict.fit(with(11, true), chosen),
                       doctest::Contains("fit: none of 20 trajectories has at least 12 steps"), Error);
  CHECK_THROWS_WITH_AS(strict.fit(with(20, false), chosen),
                       doctest::Contains("fit: none of 20 trajectories of at least 12 steps reaches success"),
                       Error);
}

TEST_CASE("where a task has trajectories that reach success, the others are no prompts in training") {
  auto data = dataset();
  AnyEpisode without{cpu::Backend(1)}, with{cpu::Backend(1)};
  const auto chosen = recipe(0);
  REQUIRE(without.fit(data, chosen));
  for (std::uint64_t seed = 50; seed < 53; ++seed) {
    data.add_trajectory(cut(demonstration(0, seed), 20, false));
  }
  REQUIRE(with.fit(data, chosen));
  CHECK(with.state().known_prompts.conditions().size() == without.state().known_prompts.conditions().size());
}

TEST_CASE("trajectories alone train a generator") {
  const TemporaryFolder folder;
  auto data = dataset();
  data.policies.clear();
  data.weights = {};
  data.save(folder / "dataset.safetensors");
  Dataset bare(6, 2, 0, data.tasks);
  bare.trajectories = data.trajectories;
  const auto loaded = Dataset::load(folder / "dataset.safetensors");
  const auto chosen = recipe();
  SmallGenerator generator{cpu::Backend(2)}, again{cpu::Backend(1)};
  REQUIRE(generator.fit(loaded, chosen));
  REQUIRE(again.fit(bare, chosen));
  for (Index task = 0; task < 2; ++task) {
    for (const auto& policy : generator.generate(demonstration(task, 777), {.count = 3, .seed = 1})) {
      CHECK(action_error(policy, task) < 0.5 * action_error(policy, 1 - task));
    }
  }
  CHECK(generator.state().provenance.at("policies") == "0");
  generator.save(folder / "generator.safetensors");
  const auto read = SmallGenerator::load(folder / "generator.safetensors", cpu::Backend(1));
  const auto policies = generator.generate(demonstration(0, 1), {.count = 2});
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(same_bits(policies[i].weights(), read.generate(demonstration(0, 1), {.count = 2})[i].weights()));
    CHECK(same_bits(policies[i].weights(), again.generate(demonstration(0, 1), {.count = 2})[i].weights()));
  }
  // Untrained, all are the network as initialised, which is another for another seed.
  auto untrained = recipe(0);
  const auto base = [&] {
    SmallGenerator fresh{cpu::Backend(1)};
    REQUIRE(fresh.fit(loaded, untrained));
    return fresh.generate(demonstration(0, 1), {.fit_head = false})[0];
  };
  const auto first = base();
  CHECK(largest_difference(first, base()) == 0);
  untrained.seed = 6;
  CHECK(largest_difference(first, base()) > 0.1);
}

TEST_CASE("several demonstrations make one prompt") {
  const auto chosen = recipe();
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(dataset(), chosen));
  const auto prompt = demonstration(0, 1);
  const std::vector<Trajectory> twice{prompt, prompt};
  const std::vector<Trajectory> mixed{prompt, demonstration(1, 2)};
  const GenerateOptions plain{.guidance = {1}, .fit_head = false};
  const auto single = generator.generate(prompt, plain);
  // Twice the same is the same condition (up to the order of sums), but twice the pairs for the head.
  CHECK(largest_difference(single[0], generator.generate(twice, plain)[0]) < 1e-4);
  CHECK(largest_difference(single[0], generator.generate(mixed, plain)[0]) > 1e-3);
}

TEST_CASE("several threads may generate at once") {
  const auto chosen = recipe(0);
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(dataset(), chosen));
  const auto expected = generator.generate(demonstration(0, 1), {.count = 4});
  std::array<bool, 4> same{};
  std::vector<std::thread> threads;
  for (auto& result : same) {
    threads.emplace_back([&] {
      result = true;
      for (int repeat = 0; repeat < 5; ++repeat) {
        const auto policies = generator.generate(demonstration(0, 1), {.count = 4});
        result = result && same_bits(policies[3].weights(), expected[3].weights());
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  CHECK(same == std::array<bool, 4>{true, true, true, true});
}

TEST_CASE("any policy's head can be refitted to demonstrations") {
  const auto chosen = recipe(0);
  SmallGenerator generator{cpu::Backend(2)};
  const auto data = dataset();
  REQUIRE(generator.fit(data, chosen));
  const std::vector<Policy> before{Policy::untrained(1), Policy::untrained(2)};
  const std::vector<Trajectory> prompts{demonstration(0, 1), demonstration(0, 2), demonstration(1, 3),
                                        demonstration(1, 4)};
  const auto after = generator.fit_heads(before, prompts);
  REQUIRE(after.size() == 2);
  for (Index task = 0; task < 2; ++task) {
    const auto i = static_cast<std::size_t>(task);
    CHECK(action_error(after[i], task) < 0.7 * action_error(before[i], task));
    // Only the mean head changes; other layers are the same up to the rounding of the normaliser.
    const auto layout = Network::layout();
    for (Index j = 0; j < layout.mean.weight_offset; ++j) {
      const auto at = static_cast<std::size_t>(j);
      CHECK(after[i].weights()[at] == doctest::Approx(before[i].weights()[at]).epsilon(1e-4));
    }
  }
  CHECK_THROWS_WITH_AS(generator.fit_heads(before, std::span(prompts).first(3)), doctest::Contains("found 3"),
                       Error);
}

// Two tasks of one trunk whose policies answer to either side and differ in their noise: log_std is about -1
// in the first and -2.4 in the second, by `state_weight` more or less as the state is.
Policy noisy_policy(Index task, Rng& rng, float state_weight) {
  Buffer<float> weights{Policy::untrained(1).weights()};
  const auto layout = Network::layout();
  const auto& [mean, log_std] = std::pair(layout.mean, *layout.log_std);
  for (Index i = 0; i < mean.in * mean.out; ++i) {
    weights[mean.weight_offset + i] *= task == 0 ? 1.5f : -1.5f;
    weights[log_std.weight_offset + i] = state_weight * static_cast<float>(1 + 0.2 * rng.normal());
  }
  for (Index j = 0; j < mean.out; ++j) {
    weights[log_std.bias_offset + j] = (task == 0 ? -1.0f : -2.4f) + static_cast<float>(0.05 * rng.normal());
  }
  return Policy(weights.span());
}
// At a trajectory's states [T, 2].
Buffer<float> log_std_of(const Policy& policy, const Trajectory& trajectory) {
  Workspace workspace;
  Buffer<float> log_std(2 * trajectory.length());
  policy_batch_infer(cpu::Backend(1), Network::layout(),
                     MatrixView<const float>(policy.weights().data(), 1, Policy::parameter_size),
                     SequenceView<const float>(trajectory.observations().data, 1, trajectory.length(), 6),
                     workspace.sequence<float>(1, trajectory.length(), 2),
                     SequenceView<float>(log_std.data(), 1, trajectory.length(), 2));
  return log_std;
}

enum class Told { by_makers, by_runs, by_targets, by_actions };

// Trajectories with or without noise, of two tasks.
Dataset noisy_tasks(Told told, float state_weight) {
  const bool alone = told == Told::by_targets || told == Told::by_actions;
  Dataset data(6, 2, alone ? 0 : Policy::parameter_size, {"loud", "calm"});
  Rng rng(8);
  for (Index task = 0; task < 2; ++task) {
    for (std::int64_t run = 0; run < 3; ++run) {
      const auto policy = noisy_policy(task, rng, state_weight);
      if (!alone) {
        data.add_policy({task, run, 0}, policy.weights());
      }
      for (Index i = 0; i < 8; ++i) {
        Trajectory trajectory(30, 6, 2);
        rng.fill_normal(trajectory.observations().span());
        Buffer<float> targets(60);
        policy.act_batch(trajectory.observations().span(), targets.span());
        for (Index step = 0; step < 30; ++step) {
          std::array<float, 2> action;
          policy.sample(trajectory.observations().row_span(step).first<6>(), action, rng);
          for (Index j = 0; j < 2; ++j) {
            // What cannot be told from other policies' says nothing of makers.
            trajectory.actions()(step, j) = alone                   ? action[static_cast<std::size_t>(j)]
                                            : told == Told::by_runs ? 0.5f * targets[2 * step + j]
                                                                    : targets[2 * step + j];
          }
        }
        if (told == Told::by_targets) {
          trajectory.set_target_actions(MatrixView<const float>(targets.data(), 30, 2));
        }
        trajectory.success_step = 20;
        trajectory.task = data.tasks[static_cast<std::size_t>(task)];
        trajectory.run = run;
        data.add_trajectory(std::move(trajectory));
      }
    }
  }
  return data;
}

TEST_CASE("generated policies are as noisy as those of their task, whoever tells") {
  for (const auto told : {Told::by_makers, Told::by_runs, Told::by_targets, Told::by_actions}) {
    CAPTURE(static_cast<int>(told));
    const bool by_policies = told == Told::by_makers || told == Told::by_runs;
    const float state_weight = 0.3f;
    const auto data = noisy_tasks(told, state_weight);
    SmallGenerator generator{cpu::Backend(2)};
    REQUIRE(generator.fit(data, recipe(by_policies ? 150 : 400)));
    const auto policies = generator.generate_each(data.trajectories);
    for (Index task = 0; task < 2; ++task) {
      Rng rng(1);
      const auto typical = noisy_policy(task, rng, state_weight);
      double difference = 0, squares = 0, count = 0;
      for (std::size_t i = 0; i < policies.size(); ++i) {
        const auto& prompt = data.trajectories[i];
        if (prompt.task != data.tasks[static_cast<std::size_t>(task)]) {
          continue;
        }
        const auto expected = log_std_of(typical, prompt), found = log_std_of(policies[i], prompt);
        for (Index k = 0; k < found.size(); ++k) {
          const auto error = static_cast<double>(found[k]) - static_cast<double>(expected[k]);
          difference += error;
          squares += error * error;
          count += 1;
        }
      }
      CHECK(std::abs(difference / count) < (by_policies ? 0.1 : 0.2));
      CHECK(std::sqrt(squares / count) < (by_policies ? 0.15 : 0.5));
    }
  }
}

TEST_CASE("noise that does not depend on the state is generated as such") {
  const auto data = noisy_tasks(Told::by_makers, 0);
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(data, recipe(150)));
  const auto policies = generator.generate_each(data.trajectories);
  const auto head = *Network::layout().log_std;
  for (std::size_t i = 0; i < policies.size(); ++i) {
    const auto numbers = policies[i].weights().subspan(static_cast<std::size_t>(head.weight_offset));
    const auto weight = numbers.first(static_cast<std::size_t>(head.in * head.out));
    CHECK(std::ranges::all_of(weight, [](float x) { return x == 0; }));
    const float expected = data.trajectories[i].task == "loud" ? -1.0f : -2.4f;
    for (const float x : numbers.subspan(weight.size(), 2)) {
      CHECK(x == doctest::Approx(expected).epsilon(0.15));
    }
  }
}

TEST_CASE("the paper's recipe generates log_std through its autoencoder") {
  const auto data = noisy_tasks(Told::by_makers, 0.3f);
  for (auto chosen : {PaperRecipe::paper(6, 48, PredictionType::sample), PaperRecipe::reference(6, 48)}) {
    chosen.validation_fraction = 0;
    chosen.autoencoder.train.steps = 310;  // a restart's end
    chosen.embedder.train.steps = 310;
    chosen.denoiser.train.steps = 630;
    SmallGenerator generator{cpu::Backend(2)};
    REQUIRE(generator.fit(data, chosen));
    const auto policies = generator.generate_each(data.trajectories);
    const auto mean_of = [&](std::size_t first) {
      double sum = 0;
      for (std::size_t i = first; i < first + 24; ++i) {
        for (const float x : log_std_of(policies[i], data.trajectories[i])) {
          sum += static_cast<double>(x) / (24 * 60);
        }
      }
      return sum;
    };
    CHECK(mean_of(0) > mean_of(24) + 0.4);  // of 1.4, by so short a training
  }
}

TEST_CASE("where the zoo's policies are equally noisy, generated ones are, too") {
  auto data = noisy_tasks(Told::by_makers, 0);
  for (Index i = 0; i < data.policy_count(); ++i) {
    std::fill_n(data.weight_matrix().row(i) + Network::layout().log_std->weight_offset, 26, -1.5f);
  }
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(data, recipe(10)));
  for (const auto& policy : generator.generate_each(data.trajectories)) {
    CHECK(std::ranges::all_of(policy.weights().last(26), [](float x) { return x == -1.5f; }));
  }
}

}  // namespace
