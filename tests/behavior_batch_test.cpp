// What the behaviour stage asks of a prompt's policy: states of those that act alike, and what their recorded
// actions or the policy that made the prompt say.
#include <doctest/doctest.h>

#include <maa/generator/paper_training.hpp>

#include "small_generator.hpp"

#include <map>
#include <optional>
#include <set>

namespace {

using namespace test;

// Of one trunk; `sign` is which way the last layer answers.
Policy answering(float sign) {
  Buffer<float> weights{Policy::untrained(1).weights()};
  const auto& mean = Network::layout().mean;
  for (Index i = 0; i < mean.in * mean.out; ++i) {
    weights[mean.weight_offset + i] *= 3 * sign;
  }
  return Policy(weights.span());
}

// What `policy` does at states that are drawn around a centre; recorded with noise.
Trajectory episode(const Policy& policy, const std::string& task, std::int64_t run, float centre,
                   double spread, std::uint64_t seed, double noise = 0) {
  Trajectory trajectory(20, 6, 2);
  Rng rng(seed);
  for (float& x : trajectory.observations().span()) {
    x = centre + static_cast<float>(spread * rng.normal());
  }
  policy.act_batch(trajectory.observations().span(), trajectory.actions().span());
  const Buffer<float> targets(trajectory.actions().span());
  trajectory.set_target_actions(MatrixView<const float>(targets.data(), trajectory.length(), 2));
  for (float& action : trajectory.actions().span()) {
    action += static_cast<float>(noise * rng.normal());
  }
  trajectory.success_step = 14;
  trajectory.task = task;
  trajectory.run = run;
  return trajectory;
}

// "split" has two runs of opposite styles, which stay near one state; "wide" has one run and states of all
// kinds; "held" is like "wide".
Dataset runs() {
  Dataset data(6, 2, Policy::parameter_size, {"split", "wide", "held"});
  std::uint64_t seed = 1;
  const auto add = [&](const std::string& task, std::int64_t run, float sign, float centre, double spread) {
    const auto policy = answering(sign);
    data.add_policy({data.task_index(task), run, 0}, policy.weights());
    for (Index i = 0; i < 10; ++i) {
      data.add_trajectory(episode(policy, task, run, centre, spread, seed++, 0.05));
    }
  };
  add("split", 0, 1, 1.5f, 0.1);
  add("split", 1, -1, 1.5f, 0.1);
  add("wide", 0, 0.7f, -0.5f, 1);
  add("held", 0, -0.4f, -0.5f, 1);
  return data;
}

struct Fixture {
  Dataset data = runs();
  GeneratorState<Network, SmallConfig> state;
  BehaviorRecipe options = recipe();
  std::optional<detail::TrainingData<Network, SmallConfig>> prepared;
  std::map<std::vector<float>, std::pair<Index, Index>> steps;  // by normalised observation
  Workspace workspace;

  explicit Fixture(Styles styles = Styles::automatic) {
    options.behavior.train.batch = 40;
    options.behavior.queries = 100;
    options.behavior.styles = styles;
    options.behavior.prompt_action_noise = 0;
    options.validation_tasks = {"held"};
    prepared.emplace(data, options, options.data_use(), state);
    for (Index i = 0; i < std::ssize(data.trajectories); ++i) {
      const auto& trajectory = data.trajectories[static_cast<std::size_t>(i)];
      Buffer<float> rows(trajectory.observations().span());
      state.standardizer.observations().apply({rows.data(), trajectory.length(), 6});
      for (Index t = 0; t < trajectory.length(); ++t) {
        steps[std::vector<float>(rows.data() + 6 * t, rows.data() + 6 * t + 6)] = {i, t};
      }
    }
    REQUIRE(std::ssize(steps) == 20 * std::ssize(data.trajectories));
  }
  // As check() finds them.
  void find_makers() {
    for (std::size_t i = 0; i < data.trajectories.size(); ++i) {
      prepared->makers[i] = static_cast<Index>(i) / 10;
    }
  }
  auto batch(const detail::TaskTrajectories& task, Index demonstrations) {
    return detail::BehaviorBatch<Network, SmallConfig>(
        *prepared, state, options.behavior, options.behavior.train.batch,
        demonstrations, [&](Index, Rng&) -> const auto& { return task; }, Rng(3), workspace);
  }
  std::pair<Index, Index> step(SequenceView<float> of, Index sample, Index row) const {
    const float* from = of.data + (sample * of.length + row) * 6;
    return steps.at(std::vector<float>(from, from + 6));
  }
  Index style(Index trajectory) const {
    return prepared->style_of_trajectory[static_cast<std::size_t>(trajectory)];
  }
  // The one policy of `data` that made the sample's demonstrations, -1 for several.
  Index maker_of_support(const detail::SupportSet& support, Index sample) const {
    const Index first = step(support.observations, sample, 0).first / 10;
    for (Index row = 0; row < support.observations.length; ++row) {
      if (step(support.observations, sample, row).first / 10 != first) {
        return -1;
      }
    }
    return first;
  }
};

double distance(const float* a, const float* b) {
  return test::larger(static_cast<double>(std::abs(a[0] - b[0])), static_cast<double>(std::abs(a[1] - b[1])));
}

TEST_CASE("a prompt's maker answers its queries, a share of them at states of any training trajectory") {
  Fixture fixture;
  fixture.find_makers();
  for (const double share : {0.3, 1.0}) {
    fixture.options.behavior.maker_queries = share;
    for (std::size_t task = 0; task < 2; ++task) {
      CAPTURE(share);
      CAPTURE(task);
      const auto batch = fixture.batch(fixture.prepared->training_tasks[task], 2);
      std::map<Index, Index> prompts;  // by maker
      Index own = 0, total = 0;
      double worst = 0;
      for (Index i = 0; i < fixture.options.behavior.train.batch; ++i) {
        const Index maker = fixture.maker_of_support(batch.support, i);
        REQUIRE(maker >= 0);
        ++prompts[maker];
        const Policy policy(fixture.data.weight_matrix().row_span(maker));
        for (Index q = 0; q < batch.observations.length; ++q, ++total) {
          const auto [trajectory, step] = fixture.step(batch.observations, i, q);
          REQUIRE(trajectory < 30);  // not of the task held out
          own += trajectory / 10 == maker ? 1 : 0;
          const auto seen = fixture.data.trajectories[static_cast<std::size_t>(trajectory)].observations();
          std::array<float, 2> action;
          policy.act(seen.row_span(step), action);
          worst = test::larger(
              worst, distance(action.data(), batch.actions.data + 2 * (i * batch.actions.length + q)));
        }
      }
      CHECK(worst < 1e-5);
      CHECK(prompts.size() == (task == 0 ? 2 : 1));
      // A third of any training trajectories are the prompt's own.
      CHECK(std::abs(static_cast<double>(own) / static_cast<double>(total) - (1 - share * 2 / 3)) < 0.04);
    }
  }
}

TEST_CASE("without a maker, or a share for it, queries are recorded steps of the prompt's style") {
  for (const bool makers : {true, false}) {
    for (const auto styles : {Styles::automatic, Styles::run, Styles::task}) {
      Fixture fixture(styles);
      if (makers) {
        fixture.find_makers();
        fixture.options.behavior.maker_queries = 0;
      }
      const auto batch = fixture.batch(fixture.prepared->training_tasks.front(), 2);
      std::array<Index, 2> of_run{};
      for (Index i = 0; i < fixture.options.behavior.train.batch; ++i) {
        const Index shown = fixture.step(batch.support.observations, i, 0).first;
        CHECK((fixture.maker_of_support(batch.support, i) >= 0 || styles == Styles::task));
        for (Index q = 0; q < batch.observations.length; ++q) {
          const auto [trajectory, step] = fixture.step(batch.observations, i, q);
          REQUIRE(fixture.style(trajectory) == fixture.style(shown));
          REQUIRE(trajectory < 20);
          ++of_run[static_cast<std::size_t>(trajectory / 10 == shown / 10)];
          const auto& recorded = fixture.data.trajectories[static_cast<std::size_t>(trajectory)];
          REQUIRE(distance(recorded.target_actions().row(step),
                           batch.actions.data + 2 * (i * batch.actions.length + q)) == 0);
        }
      }
      CHECK((of_run[0] > 0) == (styles == Styles::task));
    }
  }
}

TEST_CASE("without targets the recorded actions are the answer") {
  Fixture fixture;
  for (auto& trajectory : fixture.data.trajectories) {
    Trajectory bare(trajectory.observations(), trajectory.actions());
    std::tie(bare.task, bare.run, bare.success_step) =
        std::tie(trajectory.task, trajectory.run, trajectory.success_step);
    trajectory = std::move(bare);
  }
  const auto batch = fixture.batch(fixture.prepared->training_tasks.back(), 1);
  for (Index q = 0; q < batch.observations.length; ++q) {
    const auto [trajectory, step] = fixture.step(batch.observations, 0, q);
    CHECK(distance(fixture.data.trajectories[static_cast<std::size_t>(trajectory)].actions().row(step),
                   batch.actions.data + 2 * q) == 0);
  }
}

TEST_CASE("what validates is of the validation tasks alone") {
  Fixture fixture;
  fixture.find_makers();
  fixture.options.behavior.maker_queries = 0;
  REQUIRE(fixture.prepared->validation_tasks.size() == 1);
  const auto batch = fixture.batch(fixture.prepared->validation_tasks.front(), 1);
  for (Index i = 0; i < fixture.options.behavior.train.batch; ++i) {
    CHECK(fixture.maker_of_support(batch.support, i) == 3);
    for (Index q = 0; q < batch.observations.length; ++q) {
      CHECK(fixture.step(batch.observations, i, q).first >= 30);
    }
  }
}

TEST_CASE("makers teach what their runs never recorded") {
  auto chosen = recipe(250);
  chosen.check = true;
  chosen.validation_tasks = {"held"};
  const auto data = runs();
  // At states that the runs of "split" have nothing of.
  const auto error = [&](double share) {
    chosen.behavior.maker_queries = share;
    SmallGenerator generator{cpu::Backend(2)};
    REQUIRE(generator.fit(data, chosen));
    double sum = 0;
    for (const float sign : {1.0f, -1.0f}) {
      const auto maker = answering(sign);
      for (std::uint64_t i = 0; i < 4; ++i) {
        const auto policy = generator.generate(episode(maker, "split", 0, 1.5f, 0.1, 500 + i),
                                               {.guidance = {1}, .look_up = false})[0];
        sum += action_error(policy, episode(maker, "wide", 0, -0.5f, 1, 600 + i)) / 8;
      }
    }
    return sum;
  };
  const double with = error(0.5), without = error(0);
  CAPTURE(with);
  CAPTURE(without);
  CHECK(with < 0.2 * without);
}

TEST_CASE(
    "the paper's recipe pairs policies with the trajectories that they made, and else with their run's") {
  Dataset data(6, 2, Policy::parameter_size, {"one", "other"});
  const float signs[] = {1, 0.5f, -1};
  std::uint64_t seed = 1;
  for (const std::int64_t run : {0, 1}) {
    for (std::int64_t step = 0; step < 3; ++step) {
      const auto policy = answering(signs[step] * (run == 0 ? 1 : 0.8f));
      data.add_policy({0, run, step}, policy.weights());
      for (Index i = 0; i < 4 && step < 2; ++i) {  // the last of a run made none
        data.add_trajectory(episode(policy, "one", run, -0.5f, 1, seed++));
      }
    }
  }
  data.add_policy({1, 0, 0}, answering(0.3f).weights());
  data.add_trajectory(episode(answering(-0.7f), "other", 5, -0.5f, 1, seed++));  // of another run
  auto chosen = PaperRecipe::paper(7, 17);
  chosen.validation_fraction = 0;
  GeneratorState<Network, SmallConfig> state;
  const std::function<bool(const TrainProgress&)> no_callback;
  detail::Fitting<Network, SmallConfig, cpu::Backend> fitting(
      cpu::Backend(1), data, chosen, chosen.data_use(), {}, WarmStart(), no_callback);
  fitting.set_makers(check<Policy>(data));
  Rng rng(4);
  std::vector<std::set<Index>> drawn(7);
  for (Index policy = 0; policy < 7; ++policy) {
    for (int i = 0; i < 100; ++i) {
      drawn[static_cast<std::size_t>(policy)].insert(
          fitting.data().prompts[static_cast<std::size_t>(fitting.data().draw_prompt(policy, rng))]);
    }
  }
  CHECK(drawn[0] == std::set<Index>{0, 1, 2, 3});
  CHECK(drawn[1] == std::set<Index>{4, 5, 6, 7});
  CHECK(drawn[2] == std::set<Index>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(drawn[3] == std::set<Index>{8, 9, 10, 11});
  CHECK(drawn[4] == std::set<Index>{12, 13, 14, 15});
  CHECK(drawn[6] == std::set<Index>{16});
}

}  // namespace
