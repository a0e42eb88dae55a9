// Which trajectories act alike: runs of a task are told apart where they act differently in like states.
#include <doctest/doctest.h>

#include <maa/core/rng.hpp>
#include <maa/data/styles.hpp>

#include <numeric>
#include <set>

namespace {

using namespace maa;

struct Run {
  std::int64_t number = 0;
  float sign = 1;
  double noise = 0;
  float place = 0;  // around which its states are
  Index trajectories = 4;
  Index steps = 20;
};

// Follows the state to one side or to the other.
void add(Dataset& data, const std::string& task, const Run& run) {
  for (Index i = 0; i < run.trajectories; ++i) {
    Rng rng(std::size(data.trajectories));
    Trajectory trajectory(run.steps, 2, 1);
    for (Index t = 0; t < run.steps; ++t) {
      float* state = trajectory.observations().row(t);
      state[0] = run.place + static_cast<float>(rng.uniform(-1, 1));
      state[1] = run.place + static_cast<float>(rng.uniform(-1, 1));
      trajectory.actions()(t, 0) =
          run.sign * (1 + 0.5f * state[0]) + static_cast<float>(run.noise * rng.normal());
    }
    trajectory.task = task;
    trajectory.run = run.number;
    data.add_trajectory(std::move(trajectory));
  }
}
Dataset data_of(std::initializer_list<Run> runs) {
  Dataset data(2, 1, 0, {"task"});
  for (const auto& run : runs) {
    add(data, "task", run);
  }
  return data;
}
bool differ(const Dataset& data) {
  std::vector<Index> all(data.trajectories.size());
  std::iota(all.begin(), all.end(), Index{0});
  return detail::runs_differ(data, all, Normalizer(2));
}
bool differ(std::initializer_list<Run> runs) {
  return differ(data_of(runs));
}

TEST_CASE("runs differ that act differently in like states") {
  CHECK(differ({{.number = 0}, {.number = 1, .sign = -1}}));
  CHECK(differ({{.number = 0, .noise = 0.3}, {.number = 1, .sign = -1, .noise = 0.3}}));
  CHECK(differ({{.number = 0}, {.number = 1}, {.number = 2, .sign = -1}}));
  // Of many steps some are compared.
  CHECK(differ({{.number = 0, .trajectories = 50, .steps = 50},
                {.number = 1, .sign = -1, .trajectories = 50, .steps = 50}}));
}

TEST_CASE("runs do not differ by noise, nor where they are in other states or say too little") {
  CHECK_FALSE(differ({{.number = 0}, {.number = 1}}));
  CHECK_FALSE(
      differ({{.number = 0, .noise = 0.3}, {.number = 1, .noise = 0.3}, {.number = 2, .noise = 0.3}}));
  CHECK_FALSE(differ({{.number = 0}, {.number = 1, .sign = -1, .place = 10}}));
  CHECK_FALSE(differ({{.number = 0}}));
  CHECK_FALSE(differ({{.number = 0, .steps = 4}, {.number = 1, .sign = -1, .steps = 3}}));
  // Without another trajectory of the same run there is nothing to compare with.
  CHECK_FALSE(differ({{.number = 0, .trajectories = 1, .steps = 80},
                      {.number = 1, .sign = -1, .trajectories = 1, .steps = 80}}));
  CHECK_FALSE(detail::runs_differ(Dataset(2, 1, 0, {"task"}), {}, Normalizer(2)));
}

TEST_CASE("states are alike as the normaliser sees them") {
  // The second entry is of another unit and tells the runs apart unless it is scaled down.
  auto data = data_of({{.number = 0}, {.number = 1, .sign = -1}});
  std::vector<Index> all(data.trajectories.size());
  std::iota(all.begin(), all.end(), Index{0});
  for (auto& trajectory : data.trajectories) {
    for (Index t = 0; t < trajectory.length(); ++t) {
      trajectory.observations()(t, 1) += trajectory.run == 0 ? 0 : 100.0f;
    }
  }
  CHECK_FALSE(differ(data));
  Normalizer normalizer(2);
  normalizer.scale[1] = 1e-4f;
  CHECK(detail::runs_differ(data, all, normalizer));
}

TEST_CASE("what runs would have done counts, not the noise that they did") {
  auto data = data_of({{.number = 0}, {.number = 1}});
  for (auto& trajectory : data.trajectories) {
    const Buffer<float> targets(trajectory.actions().span());
    trajectory.set_target_actions(MatrixView<const float>(targets.data(), trajectory.length(), 1));
    for (float& action : trajectory.actions().span()) {
      action *= trajectory.run == 0 ? 1.0f : -1.0f;
    }
  }
  CHECK_FALSE(differ(data));
}

TEST_CASE("trajectories of no run say nothing of runs, and have a style of their own where those differ") {
  CHECK_FALSE(differ({{.number = 0}, {.number = 1}, {.number = -1, .sign = -1}}));
  CHECK_FALSE(differ({{.number = -1}, {.number = -1, .sign = -1}}));
  const auto data = data_of({{.number = 0}, {.number = 1, .sign = -1}, {.number = -1}});
  const std::vector<Index> task(data.trajectories.size());
  const auto styles = detail::find_styles(data, Styles::automatic, task, Normalizer(2));
  CHECK(std::set<Index>(styles.begin(), styles.end()).size() == 3);
  for (std::size_t i = 0; i < styles.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      CHECK((styles[i] == styles[j]) == (data.trajectories[i].run == data.trajectories[j].run));
    }
  }
}

TEST_CASE("a style is a task's, or a run's of a task") {
  // Of the second task the runs, of the same numbers, do not differ.
  Dataset data(2, 1, 0, {"apart", "alike", "empty"});
  std::vector<Index> task;
  for (const auto& [name, sign] : {std::pair("apart", -1.0f), {"alike", 1.0f}}) {
    add(data, name, {.number = 0});
    add(data, name, {.number = 1, .sign = sign});
    task.resize(data.trajectories.size(), data.task_index(name));
  }
  const auto styles = [&](Styles kind) { return detail::find_styles(data, kind, task, Normalizer(2)); };
  const auto in_fours = [](std::array<Index, 4> of) {
    std::vector<Index> result;
    for (const Index style : of) {
      result.insert(result.end(), 4, style);
    }
    return result;
  };
  CHECK(styles(Styles::task) == in_fours({0, 0, 1, 1}));
  CHECK(styles(Styles::run) == in_fours({0, 1, 2, 3}));
  CHECK(styles(Styles::automatic) == in_fours({0, 1, 2, 2}));
}

}  // namespace
