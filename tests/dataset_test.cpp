#include "temporary_folder.hpp"

#include <maa/data/dataset.hpp>
#include <maa/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

using maa::Dataset;
using maa::Index;
using maa::Trajectory;
using test::error_of;
using test::has;

namespace {

std::vector<float> weights_of(Index parameter_count, float first) {
  std::vector<float> weights(static_cast<std::size_t>(parameter_count));
  for (auto& weight : weights) {
    weight = first;
    first += 0.1f;
  }
  return weights;
}

Trajectory trajectory_of(const std::string& task, std::int64_t run, Index length, float value) {
  Trajectory trajectory(length, 3, 2);
  std::fill_n(trajectory.observations().data, 3 * length, value);
  std::fill_n(trajectory.actions().data, 2 * length, -value);
  trajectory.task = task;
  trajectory.run = run;
  return trajectory;
}

// Two tasks, `runs` runs each, two policies and one trajectory per run.
Dataset example(Index runs) {
  Dataset dataset(3, 2, 5, {"pick", "push"});
  for (Index task = 0; task < 2; ++task) {
    for (Index run = 0; run < runs; ++run) {
      for (Index step = 0; step < 2; ++step) {
        dataset.add_policy({task, run, 100 * step}, weights_of(5, static_cast<float>(10 * run + step)));
      }
      dataset.add_trajectory(trajectory_of(dataset.tasks[static_cast<std::size_t>(task)], run, 1 + run % 3,
                                           static_cast<float>(run)));
    }
  }
  return dataset;
}

bool same_numbers(maa::MatrixView<const float> a, maa::MatrixView<const float> b) {
  return a.rows == b.rows && a.cols == b.cols && std::equal(a.data, a.data + a.size(), b.data);
}

}  // namespace

TEST_CASE("dataset: growing keeps every policy") {
  Dataset dataset(3, 2, 5, {"pick"});
  for (Index i = 0; i < 100; ++i) {
    dataset.add_policy({0, i, 0}, weights_of(5, static_cast<float>(i)));
  }
  CHECK(dataset.policy_count() == 100);
  const auto weights = std::as_const(dataset).weight_matrix();
  CHECK(weights.rows == 100);
  CHECK(weights.cols == 5);
  for (Index i = 0; i < 100; ++i) {
    CHECK(weights(i, 0) == static_cast<float>(i));
  }
  dataset.reserve_policies(200);
  const auto* before = dataset.weights.data();
  dataset.add_policy({0, 100, 0}, weights_of(5, 100));
  CHECK(dataset.weights.data() == before);
  CHECK(dataset.weight_matrix()(99, 0) == 99.0f);
}

TEST_CASE("dataset: what does not fit is refused and changes nothing") {
  auto dataset = example(2);
  const auto policies = dataset.policies;
  CHECK(has(error_of([&] {
              dataset.add_policy({0, 0, 0}, weights_of(4, 0));
            }),
            "expected a policy of 5 weights, found 4"));
  CHECK(has(error_of([&] {
              dataset.add_policy({2, 0, 0}, weights_of(5, 0));
            }),
            "expected a task below 2, found 2"));
  CHECK(has(error_of([&] {
              dataset.add_policy({-1, 0, 0}, weights_of(5, 0));
            }),
            "expected a task below 2, found -1"));
  CHECK(has(error_of([&] {
              dataset.add_policy({0, 0, 0}, std::vector<float>(5, HUGE_VALF));
            }),
            "found inf at index 0"));
  CHECK(has(error_of([&] { dataset.add_trajectory(trajectory_of("fly", 0, 2, 1)); }),
            "one of its 2 tasks, found 'fly'"));
  CHECK(has(error_of([&] { dataset.add_trajectory(trajectory_of("pick", 0, 2, std::nanf(""))); }),
            "found nan"));
  Trajectory narrow(2, 2, 2);
  narrow.task = "pick";
  CHECK(has(error_of([&] { dataset.add_trajectory(narrow); }),
            "of 3 observations and 2 actions, found 2 and 2"));
  CHECK(dataset.policies == policies);
  CHECK(dataset.trajectories.size() == 4);
  dataset.validate();
  CHECK(has(error_of([] { Dataset(3, 2, 5, {"a", "a"}); }), "unique task names"));
  CHECK(has(error_of([] { Dataset(3, -2, 5, {"a"}); }), "sizes of at least 0"));
  CHECK(error_of([] { Dataset(3, 2, 5, {std::string(4096, 'a')}); }) == "no error");
  CHECK(has(error_of([] { Dataset(3, 2, 5, {std::string(4097, 'a')}); }),
            "task names of at most 4096 bytes, found 4097: 'aaa"));
  dataset.policies.resize(1000);
  CHECK(has(error_of([&] { dataset.validate(); }), "expected weights of 1000 policies of 5"));
}

TEST_CASE("dataset: policies that are another type's but for their heads are told which heads that are") {
  using maa::Heads;
  using Layers = maa::HiddenLayers<maa::Hidden<4, maa::Activation::relu>>;
  using WithLogStd = maa::MlpNetwork<3, 2, Layers, Heads::mean_and_log_std>;
  using Mean = maa::MlpNetwork<3, 2, Layers, Heads::mean>;
  const auto message = [](Index parameters, auto network) {
    Dataset dataset(3, 2, parameters, {"pick"});
    dataset.add_policy({0, 0, 0}, weights_of(parameters, 0));
    return error_of([&] { dataset.require_type<decltype(network)>("here"); });
  };
  constexpr Index mean = maa::parameter_count<Mean>, both = maa::parameter_count<WithLogStd>;
  CHECK(has(message(mean, WithLogStd()),
            ", as many as without a log_std head: a policy type with Heads::mean"));
  CHECK(has(message(both, Mean()), "with a log_std head: a policy type with Heads::mean_and_log_std"));
  const auto other = message(both + 1, Mean());
  CHECK(has(other, "here: expected a dataset of 3 observations"));
  CHECK_FALSE(has(other, "head"));
  CHECK(message(mean, Mean()) == "no error");
}

TEST_CASE("dataset: a file gives the same bits back") {
  const test::TemporaryFolder folder;
  auto dataset = example(3);
  dataset.trajectories[1].set_target_actions(dataset.trajectories[1].actions());
  dataset.trajectories[4].set_target_actions(dataset.trajectories[4].actions());
  dataset.trajectories[4].success_step = 1;
  dataset.save(folder / "file");
  const auto read = Dataset::load(folder / "file");
  CHECK(read.observation_size == 3);
  CHECK(read.action_size == 2);
  CHECK(read.parameter_count == 5);
  CHECK(read.tasks == dataset.tasks);
  CHECK(read.policies == dataset.policies);
  CHECK(read.weights.size() == 12 * 5);  // no spare rows in the file
  CHECK(same_numbers(read.weight_matrix(), std::as_const(dataset).weight_matrix()));
  REQUIRE(read.trajectories.size() == dataset.trajectories.size());
  for (std::size_t i = 0; i < read.trajectories.size(); ++i) {
    const auto& a = read.trajectories[i];
    const auto& b = std::as_const(dataset).trajectories[i];
    CHECK(same_numbers(a.observations(), b.observations()));
    CHECK(same_numbers(a.actions(), b.actions()));
    CHECK(a.has_target_actions() == b.has_target_actions());
    CHECK(same_numbers(a.target_actions(), b.target_actions()));
    CHECK(a.success_step == b.success_step);
    CHECK(a.task == b.task);
    CHECK(a.run == b.run);
  }
  dataset.save(folder / "again");
  CHECK(test::read_bytes(folder / "file") == test::read_bytes(folder / "again"));

  Dataset empty(3, 2, 5, {});
  empty.save(folder / "file");
  CHECK(Dataset::load(folder / "file").parameter_count == 5);
}

TEST_CASE("dataset: a file may hold trajectories alone, with empty weights or targets, or without any") {
  const test::TemporaryFolder folder;
  auto dataset = example(3);
  dataset.policies.clear();
  dataset.save(folder / "empty");
  const auto empty = Dataset::load(folder / "empty");
  CHECK(empty.policy_count() == 0);
  CHECK(empty.parameter_count == 5);
  const maa::SafetensorsReader reader(folder / "empty");
  maa::SafetensorsWriter writer;
  for (const auto& [key, text] : reader.metadata()) {
    writer.set_metadata(key, text);
  }
  for (const auto& tensor : reader.tensors()) {
    if (tensor.name == "weights" || tensor.name.starts_with("policy_") || tensor.name == "target_actions" ||
        tensor.name == "trajectory_has_targets") {
      continue;
    }
    if (tensor.dtype == maa::Dtype::F32) {
      writer.add_owned(tensor.name, tensor.shape, reader.read<float>(tensor.name));
    } else {
      writer.add_owned(tensor.name, tensor.shape, reader.read<std::int64_t>(tensor.name));
    }
  }
  writer.write(folder / "without");
  writer.add_owned("policy_task", {0}, maa::Buffer<std::int64_t>(0));
  writer.write(folder / "torn");
  CHECK(has(error_of([&] { Dataset::load(folder / "torn"); }), "expected weights"));
  const auto without = Dataset::load(folder / "without");
  CHECK(without.policy_count() == 0);
  CHECK(without.parameter_count == 0);
  CHECK(without.trajectories.size() == 6);
  CHECK(std::ranges::none_of(without.trajectories, [](const auto& t) { return t.has_target_actions(); }));
  without.save(folder / "again");
  CHECK(Dataset::load(folder / "again").trajectories.size() == 6);
  CHECK(without.split_by_run(0.5, 1).validation.trajectories.size() == 4);
}

TEST_CASE("dataset: truncation at every byte gives an Error") {
  const test::TemporaryFolder folder;
  example(2).save(folder / "whole");
  const auto whole = test::read_bytes(folder / "whole");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    test::write_bytes(folder / "file", whole.substr(0, size));
    CAPTURE(size);
    CHECK(error_of([&] { Dataset::load(folder / "file"); }) != "no error");
  }
}

TEST_CASE("dataset: files that contradict themselves are refused") {
  const test::TemporaryFolder folder;
  example(2).save(folder / "whole");
  // Writes the example again with one integer of one column changed.
  const auto change = [&](const std::string& column, Index index, std::int64_t value,
                          const char* task_count = "2") {
    const maa::SafetensorsReader reader(folder / "whole");
    maa::SafetensorsWriter writer;
    for (const auto& [key, text] : reader.metadata()) {
      writer.set_metadata(key, key == "task_count" ? task_count : text);
    }
    for (const auto& tensor : reader.tensors()) {
      if (tensor.dtype == maa::Dtype::F32) {
        writer.add_owned(tensor.name, tensor.shape, reader.read<float>(tensor.name));
      } else {
        auto numbers = reader.read<std::int64_t>(tensor.name);
        if (tensor.name == column) {
          numbers[index] = value;
        }
        writer.add_owned(tensor.name, tensor.shape, std::move(numbers));
      }
    }
    writer.write(folder / "file");
    return error_of([&] { Dataset::load(folder / "file"); });
  };
  CHECK(change("policy_run", 0, 7) == "no error");
  CHECK(has(change("policy_task", 1, 2), "expected a task below 2, found 2"));
  CHECK(has(change("trajectory_task", 1, -1), "expected a task below 2, found -1"));
  CHECK(has(change("trajectory_length", 0, 100), "expected a length of at most"));
  CHECK(has(change("trajectory_length", 0, -1), "found -1"));
  CHECK(has(change("trajectory_length", 3, 1), "expected 5 steps and 0 target actions, found 6 and 0"));
  CHECK(has(change("trajectory_success", 0, 50), "expected a success step below 1, found 50"));
  CHECK(has(change("trajectory_has_targets", 0, 1), "expected 1 target actions, found 0"));
  CHECK(has(change("trajectory_has_targets", 0, 2), "trajectory_has_targets 0 or 1, found 2"));
  constexpr auto most = std::numeric_limits<std::int64_t>::max(),
                 least = std::numeric_limits<std::int64_t>::min();
  for (const std::string column :
       {"policy_task", "trajectory_task", "trajectory_length", "trajectory_success", "trajectory_has_targets",
        "policy_run", "policy_step", "trajectory_run"}) {
    for (const auto value :
         {most, least, most / 2 + 1, std::int64_t{1} << 40, std::int64_t{1} << 31, std::int64_t{-7}}) {
      CAPTURE(column);
      CAPTURE(value);
      const bool any = column.ends_with("_run") || column.ends_with("_step");
      const auto message = change(column, 0, value);
      CHECK((any ? message == "no error" : has(message, maa::concatenate("found ", value))));
    }
  }
  CHECK(has(change("", 0, 0, "3"), "expected metadata 'task.2', found none"));
  CHECK(has(change("", 0, 0, "9223372036854775807"), "expected metadata 'task.2', found none"));
  for (const char* text : {"-1", "", "2.0", " 2", "nan", "99999999999999999999"}) {
    CHECK(has(change("", 0, 0, text), maa::concatenate("a number as task_count, found '", text, "'")));
  }
  CHECK(has(change("", 0, 0, "1"), "expected as many tasks as task_count, 1, found 2"));
  // One tensor more, as a misspelt one.
  {
    const maa::SafetensorsReader reader(folder / "whole");
    maa::SafetensorsWriter writer;
    for (const auto& [key, text] : reader.metadata()) {
      writer.set_metadata(key, text);
    }
    for (const auto& tensor : reader.tensors()) {
      if (tensor.dtype == maa::Dtype::F32) {
        const bool weights = tensor.name == "weights";
        writer.add_owned(weights ? "weight" : tensor.name, tensor.shape, reader.read<float>(tensor.name));
      } else if (!tensor.name.starts_with("policy_")) {
        writer.add_owned(tensor.name, tensor.shape, reader.read<std::int64_t>(tensor.name));
      }
    }
    writer.write(folder / "file");
    CHECK(has(error_of([&] { Dataset::load(folder / "file"); }), "found 'weight' ["));
    CHECK(Dataset::load(folder / "file", maa::Unread::allow).policies.empty());
  }
  maa::SafetensorsWriter other;
  other.add_scalar("a", 1.0f);
  other.write(folder / "other");
  CHECK(has(error_of([&] { Dataset::load(folder / "other"); }),
            "expected a file of format 'maa.dataset', found none"));
}

TEST_CASE("dataset: NaN weights are refused, in memory and from files") {
  const test::TemporaryFolder folder;
  auto dataset = example(2);
  dataset.save(folder / "file");
  dataset.weight_matrix()(3, 1) = std::nanf("");
  CHECK(has(error_of([&] { dataset.save(folder / "file"); }),
            "policy 3: expected finite weights, found nan at index 1"));
  auto bytes = test::read_bytes(folder / "file");
  const maa::SafetensorsReader reader(folder / "file");
  const auto& entry = reader.info("weights");
  const auto data_bytes = reader.tensors().back().end;
  const float nan = std::nanf("");
  std::memcpy(bytes.data() + bytes.size() - data_bytes + entry.begin + 4 * 7, &nan, 4);
  test::write_bytes(folder / "bad", bytes);
  CHECK(has(error_of([&] { Dataset::load(folder / "bad"); }),
            "policy 1: expected finite weights, found nan at index 2"));
}

TEST_CASE("dataset: no run is on both sides of a split") {
  const auto dataset = example(10);
  for (const std::uint64_t seed : {1, 2, 3}) {
    const auto split = dataset.split_by_run(0.2, seed);
    std::set<std::pair<Index, std::int64_t>> train, validation;
    const auto collect = [&](const maa::RunSplit::Side& side, auto& runs) {
      for (const auto i : side.policies) {
        runs.emplace(dataset.policies[static_cast<std::size_t>(i)].task,
                     dataset.policies[static_cast<std::size_t>(i)].run);
      }
      for (const auto i : side.trajectories) {
        const auto& trajectory = dataset.trajectories[static_cast<std::size_t>(i)];
        runs.emplace(dataset.task_index(trajectory.task), trajectory.run);
      }
    };
    collect(split.train, train);
    collect(split.validation, validation);
    CHECK(train.size() == 16);
    CHECK(validation.size() == 4);
    for (const auto& run : validation) {
      CHECK_FALSE(train.contains(run));
    }
    CHECK(std::count_if(validation.begin(), validation.end(),
                        [](const auto& run) { return run.first == 0; }) == 2);
    CHECK(split.train.policies.size() == 32);
    CHECK(split.validation.policies.size() == 8);
    CHECK(split.train.trajectories.size() == 16);
    CHECK(split.validation.trajectories.size() == 4);
    CHECK(dataset.split_by_run(0.2, seed).validation.policies == split.validation.policies);
  }
  CHECK(dataset.split_by_run(0.2, 1).validation.policies != dataset.split_by_run(0.2, 2).validation.policies);
  CHECK(dataset.split_by_run(0, 1).validation.policies.empty());
  CHECK(dataset.split_by_run(0.01, 1).validation.trajectories.size() == 2);
  CHECK(dataset.split_by_run(1, 1).train.trajectories.size() == 2);
  CHECK(example(1).split_by_run(0.5, 1).validation.policies.empty());
  CHECK(has(error_of([&] { dataset.split_by_run(1.5, 1); }), "fraction from 0 to 1, found 1.5"));
}
