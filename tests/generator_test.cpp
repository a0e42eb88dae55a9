// The generator as a whole: it learns, the same seed gives the same bits for any number of threads and after
// a stop, files round-trip, and bad input leaves it as it was.
#include <doctest/doctest.h>

#include <maa/generator.hpp>

#include "small_config.hpp"
#include "temporary_folder.hpp"

#include <limits>
#include <map>
#include <set>
#include <thread>

namespace {

using namespace maa;
using test::SmallConfig;

using Network = MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::elu>, Hidden<12, Activation::relu>>>;
using Policy = MlpPolicy<Network>;

struct SegmentConfig : SmallConfig {
  static constexpr PromptShape prompt{
      .kind = PromptKind::segments, .segments = 2, .steps = 9, .sequence = 3, .success_states = 2};
};
struct TrajectoryConfig : SmallConfig {
  static constexpr ConditionParts condition = ConditionParts::h;
};
using SmallGenerator = Generator<Policy, SmallConfig>;

// A task's behaviour: actions that follow the observation, towards one side or the other. Observations look
// alike in both tasks; only the actions tell them apart.
void demonstrate(Index task, Trajectory& trajectory, Rng& rng) {
  Buffer<float> targets(trajectory.length() * 2);
  rng.fill_normal(trajectory.observations().span());
  for (Index t = 0; t < trajectory.length(); ++t) {
    const float* o = trajectory.observations().row(t);
    const float sign = task == 0 ? 1.0f : -1.0f;
    trajectory.actions()(t, 0) = std::tanh(o[0] + sign);
    trajectory.actions()(t, 1) = std::tanh(0.5f * o[2] - sign);
  }
  std::copy_n(trajectory.actions().data, targets.size(), targets.data());
  trajectory.set_target_actions(MatrixView<const float>(targets.data(), trajectory.length(), 2));
}

Trajectory demonstration(Index task, std::uint64_t seed) {
  Trajectory trajectory(20, 6, 2);
  Rng rng(seed);
  demonstrate(task, trajectory, rng);
  trajectory.success_step = 14;
  trajectory.task = task == 0 ? "plus" : "minus";
  trajectory.run = -1;
  return trajectory;
}

Dataset dataset() {
  Dataset data(6, 2, Policy::parameter_size, {"plus", "minus"});
  const auto base = Policy::untrained(1);
  Rng rng(2);
  for (Index task = 0; task < 2; ++task) {
    for (Index run = 0; run < 3; ++run) {
      for (Index step = 0; step < 4; ++step) {
        Buffer<float> weights{base.weights()};
        for (float& weight : weights) {
          weight += static_cast<float>(0.05 * rng.normal() + 0.1 * static_cast<double>(task));
        }
        data.add_policy({task, run, step}, weights.span());
      }
    }
    for (std::uint64_t i = 0; i < 10; ++i) {
      data.add_trajectory(demonstration(task, 100 * static_cast<std::uint64_t>(task) + i));
    }
  }
  return data;
}

FitOptions options() {
  auto result = FitOptions::fixed();
  result.autoencoder.train.steps = 60;
  result.autoencoder.train.batch = 8;
  result.embedder.train.steps = 60;
  result.embedder.train.batch = 16;
  result.denoiser.train.steps = 60;
  result.denoiser.train.batch = 8;
  result.behavior.train.steps = 150;
  result.behavior.train.batch = 8;
  result.behavior.train.learning_rate.base = 3e-3;
  result.behavior.queries = 24;
  result.seed = 5;
  return result;
}

double action_error(const Policy& policy, const Trajectory& expected) {
  double sum = 0;
  std::array<float, 2> action;
  for (Index t = 0; t < expected.length(); ++t) {
    policy.act(expected.observations().row_span(t).first<6>(), action);
    for (std::size_t j = 0; j < 2; ++j) {
      const double difference =
          static_cast<double>(action[j]) - static_cast<double>(expected.actions()(t, static_cast<Index>(j)));
      sum += difference * difference;
    }
  }
  return sum / static_cast<double>(2 * expected.length());
}
double action_error(const Policy& policy, Index task) {
  return action_error(policy, demonstration(task, 9'999));
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

double largest_difference(const Policy& a, const Policy& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.weights().size(); ++i) {
    largest = std::max(largest, static_cast<double>(std::abs(a.weights()[i] - b.weights()[i])));
  }
  return largest;
}

TEST_CASE("a condition may be restricted to one of the embeddings") {
  const auto data = dataset();
  const auto prompt = demonstration(0, 777);
  constexpr Index size = SmallConfig::embedding_size;
  for (const auto parts : {ConditionParts::h, ConditionParts::v}) {
    for (const bool normalized : {false, true}) {
      auto chosen = options();
      for (auto* train : {&chosen.autoencoder.train, &chosen.embedder.train, &chosen.denoiser.train,
                          &chosen.behavior.train}) {
        train->steps = 2;
      }
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
  auto chosen = options();
  chosen.condition = ConditionParts::v;
  Generator<Policy, TrajectoryConfig> without{cpu::Backend(1)};
  CHECK_THROWS_AS(without.fit(data, chosen), Error);
}

TEST_CASE("a trained generator writes policies that behave like the prompt, not like the other task") {
  SmallGenerator generator{cpu::Backend(2)};
  std::set<std::string> stages;
  const auto data = dataset();
  REQUIRE(generator.fit(data, options(), [&](const TrainProgress& progress) {
    stages.insert(std::string(progress.stage));
    return true;
  }));
  CHECK(stages == std::set<std::string>{"autoencoder", "embedder", "denoiser", "behavior"});
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
  auto chosen = options();
  chosen.behavior.train.steps = 20;
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
      CHECK(attempt >= 4);
      CHECK(same_bits(one.state().parameters.span(), resumed.state().parameters.span()));
    }
  }
  CHECK(finished);

  // Killed without warning: training goes on from the last periodic checkpoint.
  chosen.checkpoint_every = 16;
  struct Killed {};
  SmallGenerator killed{cpu::Backend(2)};
  for (const Index death : {40, 101}) {
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

TEST_CASE("other options than the checkpoint's are an error") {
  const test::TemporaryFolder folder;
  const auto data = dataset();
  auto chosen = options();
  chosen.checkpoint = folder / "checkpoint.safetensors";
  SmallGenerator generator{cpu::Backend(2)};
  CHECK_FALSE(generator.fit(data, chosen, [](const TrainProgress& progress) { return progress.step < 5; }));
  chosen.embedder.train.steps += 1;
  CHECK_THROWS_WITH_AS(generator.fit(data, chosen), doctest::Contains("same data and options"), Error);
}

TEST_CASE("bad prompts, files and data are errors; the generator stays usable") {
  const test::TemporaryFolder folder;
  const auto data = dataset();
  auto chosen = options();
  chosen.behavior.train.steps = 0;
  SmallGenerator generator{cpu::Backend(2)};
  CHECK_THROWS_WITH_AS(generator.generate(demonstration(0, 1)), doctest::Contains("trained generator"),
                       Error);
  REQUIRE(generator.fit(data, chosen));
  const auto before = generator.generate(demonstration(0, 1));

  CHECK_THROWS_WITH_AS(generator.generate(Trajectory(11, 6, 2)),
                       doctest::Contains("at least 12 steps, found 11"), Error);
  CHECK_THROWS_WITH_AS(generator.generate(Trajectory(20, 7, 2)), doctest::Contains("found 7 and 2"), Error);
  CHECK_THROWS_WITH_AS(generator.generate(Trajectory(20, 6, 2)), doctest::Contains("reaches success"), Error);
  CHECK_THROWS_WITH_AS(generator.generate(demonstration(0, 1), {.count = 0}),
                       doctest::Contains("positive count"), Error);
  CHECK_THROWS_WITH_AS(generator.fit(Dataset(6, 2, 9, {"plus"})), doctest::Contains("found"), Error);
  auto without = data;
  std::erase_if(without.trajectories,
                [](const Trajectory& trajectory) { return trajectory.task == "minus"; });
  CHECK_THROWS_WITH_AS(generator.fit(without, chosen), doctest::Contains("found none for 'minus'"), Error);

  generator.save(folder / "generator.safetensors");
  CHECK_THROWS_WITH_AS((Generator<Policy>::load(folder / "generator.safetensors")),
                       doctest::Contains("latent 2 x 16"), Error);
  CHECK_THROWS_WITH_AS(SmallGenerator::load(folder / "none.safetensors"),
                       doctest::Contains("none.safetensors"), Error);
  const auto after = generator.generate(demonstration(0, 1));
  CHECK(same_bits(before[0].weights(), after[0].weights()));
}

TEST_CASE("several demonstrations make one prompt") {
  auto chosen = options();
  chosen.behavior.train.steps = 0;
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(dataset(), chosen));
  const auto prompt = demonstration(0, 1);
  const std::vector<Trajectory> twice{prompt, prompt};
  const std::vector<Trajectory> mixed{prompt, demonstration(0, 2)};
  const GenerateOptions plain{.guidance = {1}, .correct_head = false};
  const auto single = generator.generate(prompt, plain);
  // Twice the same is the same condition (up to the order of sums), but twice the pairs for the head.
  CHECK(largest_difference(single[0], generator.generate(twice, plain)[0]) < 1e-4);
  CHECK(largest_difference(single[0], generator.generate(mixed, plain)[0]) > 1e-3);
}

// A third task with its own policies and trajectories of noise, `scale` times a normal one's size.
Dataset with_noise_task(float scale, Index trajectories = 4) {
  auto data = dataset();
  data.tasks.push_back("noise");
  Rng rng(77);
  const auto base = Policy::untrained(1);
  for (Index step = 0; step < 3; ++step) {
    Buffer<float> weights{base.weights()};
    for (float& weight : weights) {
      weight += scale * static_cast<float>(rng.normal());
    }
    data.add_policy({2, 0, step}, weights.span());
  }
  for (Index i = 0; i < trajectories; ++i) {
    Trajectory trajectory(20, 6, 2);
    rng.fill_normal(trajectory.observations().span(), static_cast<double>(scale));
    rng.fill_uniform(trajectory.actions().span(), -0.9, 0.9);
    trajectory.success_step = 14;
    trajectory.task = "noise";
    trajectory.run = i % 2 == 0 ? -1 : 0;
    data.add_trajectory(std::move(trajectory));
  }
  return data;
}

FitOptions validated(Index steps) {
  auto result = options();
  result.autoencoder.train.steps = result.embedder.train.steps = result.denoiser.train.steps = 20;
  result.behavior.train.steps = steps;
  result.behavior.validation_tasks = {"noise"};
  result.behavior.keep = Keep::best;
  result.behavior.demonstrations = {2, 1};
  result.validation_every = 4;
  return result;
}

TEST_CASE("a task named for validation has no part in training") {
  auto chosen = validated(12);
  chosen.behavior.keep = Keep::last;
  SmallGenerator normal{cpu::Backend(2)}, large{cpu::Backend(2)}, without{cpu::Backend(2)};
  REQUIRE(normal.fit(with_noise_task(1), chosen));
  REQUIRE(large.fit(with_noise_task(1e3f, 7), chosen));
  chosen.behavior.validation_tasks.clear();
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

TEST_CASE("the behaviour stage ends with the weights of its best validation") {
  const test::TemporaryFolder folder;
  const auto data = with_noise_task(1);
  auto chosen = validated(60);
  chosen.behavior.train.learning_rate.base = 2e-2;
  std::map<Index, double> validations;
  SmallGenerator kept{cpu::Backend(2)};
  REQUIRE(kept.fit(data, chosen, [&](const TrainProgress& progress) {
    if (progress.stage == "behavior" && progress.validation) {
      validations[progress.step] = *progress.validation;
    }
    return true;
  }));
  REQUIRE(validations.size() == 15);
  const auto best = std::ranges::min_element(validations, {}, [](const auto& entry) { return entry.second; });
  REQUIRE(best->second < validations.at(60));  // it rises again

  // Stopped right after the best one: the checkpoint holds the weights of that moment.
  chosen.checkpoint = folder / "checkpoint.safetensors";
  SmallGenerator stopped{cpu::Backend(2)};
  REQUIRE_FALSE(stopped.fit(data, chosen, [&](const TrainProgress& progress) {
    return progress.stage != "behavior" || progress.step < best->first;
  }));
  using Model = SmallGenerator::Model;
  using Part = Model::WithoutEncoders;
  Buffer<float> expected(parameter_count<Part>);
  const SafetensorsReader reader(chosen.checkpoint);
  read_parameters(reader, tensors_of<Part>("trainer.average."), expected.span());
  const auto found = kept.state().parameters.span().last(static_cast<std::size_t>(expected.size()));
  CHECK(same_bits(found, expected.span()));

  chosen.checkpoint.clear();
  chosen.behavior.keep = Keep::last;
  SmallGenerator last{cpu::Backend(2)};
  REQUIRE(last.fit(data, chosen));
  CHECK_FALSE(same_bits(last.state().parameters.span(), kept.state().parameters.span()));
}

TEST_CASE("the fallback is the unconditioned policy of the best validation, and a candidate") {
  const test::TemporaryFolder folder;
  const auto data = with_noise_task(1);
  auto chosen = validated(60);
  chosen.behavior.train.learning_rate.base = 2e-2;
  chosen.behavior.keep = Keep::best_fallback;
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

  // The same training, ended there by its own choice of the best, without a condition.
  auto ended = chosen;
  ended.behavior.keep = Keep::best;
  ended.guidance = {0};
  SmallGenerator early{cpu::Backend(2)};
  REQUIRE(early.fit(data, ended));
  const auto head = early.state().parameters.span().last(2);
  CHECK(same_bits(head, generator.state().fallback_head.span()));

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

TEST_CASE("the best weights survive stopping and resuming, to the bit") {
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
    }
  }
  CHECK(finished);
  CHECK(attempts > 8);
  // What validation measures is part of what a checkpoint belongs to.
  SmallGenerator other{cpu::Backend(2)};
  REQUIRE_FALSE(other.fit(data, chosen, [](const TrainProgress& progress) { return progress.step < 3; }));
  chosen.behavior.keep = Keep::last;
  CHECK_THROWS_WITH_AS(other.fit(data, chosen), doctest::Contains("same data and options"), Error);
}

TEST_CASE("validation is the error of what generate() makes") {
  // One trajectory is all there is of the validation task, so the prompts and states that are drawn are
  // known.
  const auto data = with_noise_task(1, 1);
  auto chosen = validated(40);
  chosen.behavior.demonstrations = {1};
  chosen.behavior.queries = 2000;  // each of the 20 steps about equally often
  double lowest = std::numeric_limits<double>::infinity();
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(data, chosen, [&](const TrainProgress& progress) {
    lowest = progress.stage == "behavior" ? std::min(lowest, progress.validation.value_or(lowest)) : lowest;
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
  const double deployed = error({.count = 20});
  CAPTURE(deployed);
  CHECK(lowest == doctest::Approx(deployed).epsilon(0.01));
  CHECK(error({.count = 20, .correct_head = false}) > 1.1 * deployed);
}

TEST_CASE("bad choices of validation tasks are errors") {
  SmallGenerator generator{cpu::Backend(2)};
  auto chosen = validated(5);
  const auto check = [&](const Dataset& data, std::vector<std::string> tasks, const char* text) {
    chosen.behavior.validation_tasks = std::move(tasks);
    CHECK_THROWS_WITH_AS(generator.fit(data, chosen), doctest::Contains(text), Error);
  };
  check(with_noise_task(1), {"nosie"}, "found 'nosie'; the nearest are noise");
  check(with_noise_task(1), {"plus", "mins"}, "the nearest are minus");
  check(with_noise_task(1), {"plus", "minus", "noise"}, "not for validation");
  check(with_noise_task(1, 0), {"noise"}, "usable as prompt for the validation task 'noise'");
}

TEST_CASE("of several guidances the policy is returned that agrees best with the prompt, by a margin") {
  SmallGenerator generator{cpu::Backend(2)};
  auto chosen = options();
  chosen.behavior.train.steps = 20;
  generator.fit(dataset(), chosen);
  const std::vector<double> guidances{1, 0.5, 0};
  std::vector<Trajectory> prompts;
  for (std::uint64_t i = 0; i < 12; ++i) {
    prompts.push_back(demonstration(static_cast<Index>(i % 2), 700 + i));
  }
  const auto with = [&](std::vector<double> guidance, bool head, double margin = 0, double difference = 0) {
    return generator.generate_each(prompts, {.guidance = std::move(guidance),
                                             .guidance_margin = margin,
                                             .guidance_difference = difference,
                                             .trust_known = false,
                                             .correct_head = head});
  };
  for (const bool head : {false, true}) {
    CAPTURE(head);
    const auto best = with(guidances, head);
    constexpr double margin = 0.025;
    const auto careful = with(guidances, head, margin);
    std::set<bool> by_margin;
    std::vector<std::vector<Policy>> each;
    for (const double guidance : guidances) {
      each.push_back(with({guidance}, head));
    }
    std::set<std::size_t> used;
    std::vector<double> gaps(prompts.size());  // what the best gains on the first
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const auto same = std::ranges::find_if(each, [&](const std::vector<Policy>& policies) {
        return std::ranges::equal(policies[i].weights(), best[i].weights());
      });
      REQUIRE(same != each.end());
      used.insert(static_cast<std::size_t>(same - each.begin()));
      if (!head) {  // measured on the pairs that a head would see
        const auto error = [&](const Policy& policy) {
          constexpr Index pairs = 2 * SmallConfig::prompt.pairs();
          Trajectory seen(pairs, 6, 2);
          generator.state().prompt_encoder.write_spread_pairs(prompts[i], seen.observations(),
                                                              seen.actions());
          return action_error(policy, seen);
        };
        for (const auto& policies : each) {
          CHECK(error(best[i]) <= error(policies[i]) * (1 + 1e-5));
        }
        const auto& first = each.front()[i];
        if (!std::ranges::equal(best[i].weights(), first.weights())) {
          gaps[i] = error(first) - error(best[i]);
          const bool enough = error(best[i]) < (1 - margin) * error(first);
          by_margin.insert(enough);
          CHECK(std::ranges::equal(careful[i].weights(), (enough ? best[i] : first).weights()));
        }
      }
    }
    CHECK(used.size() > 1);
    CHECK(by_margin.size() == (head ? 0 : 2));  // both cases occurred
    if (!head) {
      std::erase(gaps, 0.0);
      std::ranges::sort(gaps);
      REQUIRE(gaps.size() > 1);
      const double difference = (gaps.front() + gaps.back()) / 2;
      const auto apart = with(guidances, head, 0, difference);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < prompts.size(); ++i) {
        const bool first = std::ranges::equal(apart[i].weights(), each.front()[i].weights());
        CHECK((first || std::ranges::equal(apart[i].weights(), best[i].weights())));
        kept += first ? 1 : 0;
      }
      const auto enough = std::ranges::count_if(gaps, [&](double gap) { return gap > difference; });
      CHECK(kept == prompts.size() - static_cast<std::size_t>(enough));
    }
  }
  CHECK(std::ranges::equal(with({}, true).front().weights(), with(chosen.guidance, true).front().weights()));
  CHECK_THROWS_WITH_AS(with(guidances, true, 1.5), doctest::Contains("found 1.5"), Error);
  CHECK_THROWS_WITH_AS(with(guidances, true, 0, -1), doctest::Contains("found -1"), Error);
}

TEST_CASE("several threads may generate at once") {
  auto chosen = options();
  chosen.behavior.train.steps = 0;
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
  auto chosen = options();
  chosen.behavior.train.steps = 0;
  SmallGenerator generator{cpu::Backend(2)};
  const auto data = dataset();
  REQUIRE(generator.fit(data, chosen));
  const std::vector<Policy> before{Policy::untrained(1), Policy::untrained(2)};
  const std::vector<Trajectory> prompts{demonstration(0, 1), demonstration(0, 2), demonstration(1, 3),
                                        demonstration(1, 4)};
  const auto after = generator.adapt(before, prompts);
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
  CHECK_THROWS_WITH_AS(generator.adapt(before, std::span(prompts).first(3)), doctest::Contains("found 3"),
                       Error);
}

TEST_CASE("the presets of paper and code train, and segments stand in for success") {
  auto chosen = FitOptions::paper(24, 20);
  chosen.autoencoder.train.steps = chosen.embedder.train.steps = chosen.denoiser.train.steps = 3;
  SUBCASE("paper") {
    SmallGenerator generator{cpu::Backend(2)};
    CHECK(generator.fit(dataset(), chosen));
    CHECK(generator.generate(demonstration(0, 1)).size() == 1);
  }
  SUBCASE("reference") {
    chosen = FitOptions::reference(24, 20);
    chosen.autoencoder.train.steps = chosen.embedder.train.steps = chosen.denoiser.train.steps = 3;
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
