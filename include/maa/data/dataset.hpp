// What a generator learns from: the weights of many policies and trajectories of what they do, or
// trajectories alone.
#pragma once

#include <maa/data/policy_interface.hpp>
#include <maa/io/unread.hpp>
#include <maa/models/policy_shape.hpp>

#include <limits>
#include <map>
#include <vector>

#if MAA_BODIES
#include <maa/core/content_hash.hpp>
#include <maa/core/nearest_names.hpp>
#include <maa/core/rng.hpp>
#include <maa/io/parameters.hpp>

#include <set>
#endif

MAA_NAMESPACE_BEGIN
// Where a policy comes from: a snapshot at training step `step` of run `run` on task number `task`.
struct PolicyRecord {
  Index task = 0;
  std::int64_t run = 0;
  std::int64_t step = 0;
  bool operator==(const PolicyRecord&) const = default;
};

// A side to train on and one for validation, without any (task, run) on both.
struct RunSplit {
  // The indices of its policies and trajectories.
  struct Side {
    std::vector<Index> policies;
    std::vector<Index> trajectories;
  };
  Side train;
  Side validation;
};

// Policies of one type and trajectories of one simulator; all numbers are in its units.
struct Dataset {
  Index observation_size = 0;      // O
  Index action_size = 0;           // A
  Index parameter_count = 0;       // P
  std::vector<std::string> tasks;  // unique names of at most longest_name bytes
  // [N, P], row i belongs to policies[i]. May have more rows than policies: room for add_policy.
  Buffer<float> weights;
  std::vector<PolicyRecord> policies;             // N
  std::vector<Trajectory> trajectories;           // each one's task is one of `tasks`
  std::map<std::string, std::string> provenance;  // free text on where all this comes from
  PolicyInterface interface;                      // of all its policies
  std::optional<PolicyShape> policy_shape;        // of all its policies, if it is known

  // Every trajectory holds a copy of its task's name.
  static constexpr std::size_t longest_name = 4096;

  // Without policies and trajectories.
  Dataset() = default;
  Dataset(Index observation_size_, Index action_size_, Index parameter_count_,
          std::vector<std::string> tasks_);

  // N
  Index policy_count() const noexcept { return static_cast<Index>(policies.size()); }
  // [N, P]
  MatrixView<float> weight_matrix() noexcept { return {weights.data(), policy_count(), parameter_count}; }
  MatrixView<const float> weight_matrix() const noexcept {
    return {weights.data(), policy_count(), parameter_count};
  }

  // The number of a task; Error if it is not one of `tasks`.
  Index task_index(const std::string& task) const;
  // Of each task whether it is one of `names`; Error, with `where` before it, for a name that is no task's or
  // that comes twice.
  std::vector<bool> named_tasks(std::span<const std::string> names, std::string_view where) const;

  // Copies the weights [P]. Error leaves the dataset as it was. Views of the weights become invalid unless
  // there is room.
  void add_policy(const PolicyRecord& record, std::span<const float> policy_weights);
  // Makes room for this many policies in all.
  void reserve_policies(Index count);
  void add_trajectory(Trajectory trajectory);

  // Error unless all of the above holds and all numbers are finite.
  void validate() const;
  // Error, with `where` before it, unless its sizes, and its policies' shape if it is known, are a Network's.
  template <class Network>
  void require_type(std::string_view where) const {
    require_type(PolicyShape::of<Network>(), maa::parameter_count<Network>, where);
  }

  // One safetensors file, which other programs may write too: float32 weights [N, P]; int64 policy_task,
  // policy_run, policy_step [N]; int64 trajectory_length, trajectory_task, trajectory_run, trajectory_success
  // (-1: none), trajectory_has_targets (0 or 1) [M]; float32 observations [sum of lengths, O], actions [..,
  // A], target_actions [sum of lengths that have them, A], one trajectory after the other; metadata format =
  // maa.dataset, task_count, task.0, task.1, ..., and provenance.KEY. A file without weights holds no
  // policies (parameter_count 0); trajectory_has_targets and target_actions may be left out, and so may
  // metadata policy.hidden and the like (PolicyShape), which are those of a policy file. Both validate;
  // other tensors are an error unless they are allowed.
  void save(const std::filesystem::path& path) const;
  static Dataset load(const std::filesystem::path& path, Unread unread = Unread::refuse);

  // The same as its networks see it: trajectories through the interface, which then changes nothing.
  Dataset inside() const;

  // Changes when any policy, record, task name or trajectory does; provenance does not count.
  std::uint64_t content_hash() const;

  // A trajectory whose run is negative belongs to none and is always on the training side.
  // Draws, per task, `validation_fraction` (0 to 1, rounded, at least one run if positive) of the (task, run)
  // pairs for validation; a task's last run always stays in training. The same seed gives the same split.
  RunSplit split_by_run(double validation_fraction, std::uint64_t seed) const;

 private:
  void require_type(const PolicyShape& shape, Index parameters, std::string_view where) const;
  std::string_view other_heads(PolicyShape shape) const;
  void require_tasks() const;
  void require_record(const PolicyRecord& record, Index number) const;
  void require_trajectory(const Trajectory& trajectory) const;
};

#if MAA_BODIES

namespace detail {
inline const std::string provenance_prefix = "provenance.";
}  // namespace detail

MAA_COLD MAA_INLINE Dataset::Dataset(Index observation_size_, Index action_size_, Index parameter_count_,
                                     std::vector<std::string> tasks_)
    : observation_size(observation_size_),
      action_size(action_size_),
      parameter_count(parameter_count_),
      tasks(std::move(tasks_)) {
  validate();
}

// What to say to policies that are as expected but for their heads.
MAA_COLD MAA_INLINE std::string_view Dataset::other_heads(PolicyShape shape) const {
  const bool had_log_std = shape.heads == Heads::mean_and_log_std;
  shape.heads = had_log_std ? Heads::mean : Heads::mean_and_log_std;
  return shape.parameter_count() != parameter_count ? ""
         : had_log_std ? ", as many as without a log_std head: a policy type with Heads::mean"
                       : ", as many as with a log_std head: a policy type with Heads::mean_and_log_std";
}

MAA_COLD MAA_INLINE void Dataset::require_type(const PolicyShape& shape, Index parameters,
                                               std::string_view where) const {
  if (policy_shape) {
    const auto different = differences(shape, *policy_shape);
    require(different.empty(), where,
            ": expected policies of this program's type, found others: ", different);
  }
  require(observation_size == shape.observations && action_size == shape.actions &&
              (policies.empty() || parameter_count == parameters),
          where, ": expected a dataset of ", shape.observations, " observations, ", shape.actions,
          " actions and ", parameters, " parameters, found ", observation_size, ", ", action_size, " and ",
          parameter_count, other_heads(shape));
}

MAA_COLD MAA_INLINE Index Dataset::task_index(const std::string& task) const {
  const auto found = std::find(tasks.begin(), tasks.end(), task);
  if (found == tasks.end()) {
    fail("dataset: expected one of its ", tasks.size(), " tasks, found ", detail::quote(task),
         "; the nearest are ", nearest_names(task, tasks));
  }
  return found - tasks.begin();
}

MAA_COLD MAA_INLINE std::vector<bool> Dataset::named_tasks(std::span<const std::string> names,
                                                           std::string_view where) const {
  std::vector<bool> named(tasks.size());
  for (const auto& name : names) {
    const auto found = std::ranges::find(tasks, name);
    if (found == tasks.end()) {
      fail(where, ": expected tasks of the dataset, found ", detail::quote(name), "; the nearest are ",
           nearest_names(name, tasks));
    }
    const auto number = static_cast<std::size_t>(found - tasks.begin());
    require(!named[number], where, ": expected each task once, found ", detail::quote(name), " twice");
    named[number] = true;
  }
  return named;
}

MAA_COLD MAA_INLINE void Dataset::reserve_policies(Index count) {
  constexpr Index limit = std::numeric_limits<Index>::max() / 8;
  require(count >= 0 && count <= limit / std::max<Index>(parameter_count, 1),
          "dataset: expected room for at most ", limit, " numbers, found ", count, " policies of ",
          parameter_count);
  if (count * parameter_count > weights.size()) {
    Buffer<float> larger(count * parameter_count);
    std::copy_n(weights.data(), policy_count() * parameter_count, larger.data());
    weights = std::move(larger);
  }
}

MAA_COLD MAA_INLINE void Dataset::add_policy(const PolicyRecord& record,
                                             std::span<const float> policy_weights) {
  const auto count = policy_count();
  require(static_cast<Index>(policy_weights.size()) == parameter_count, "dataset: expected a policy of ",
          parameter_count, " weights, found ", policy_weights.size());
  require_record(record, count);
  const auto bad = first_nonfinite(policy_weights);
  require(bad < 0, "dataset: expected finite weights, found ",
          bad < 0 ? 0.0f : policy_weights[static_cast<std::size_t>(bad)], " at index ", bad);
  if ((count + 1) * parameter_count > weights.size()) {
    reserve_policies(std::max<Index>(2 * count, 16));
  }
  policies.push_back(record);
  std::copy(policy_weights.begin(), policy_weights.end(), weights.data() + count * parameter_count);
}

MAA_COLD MAA_INLINE Dataset Dataset::inside() const {
  Dataset result(observation_size, action_size, parameter_count, tasks);
  result.weights = weights;
  result.policies = policies;
  result.provenance = provenance;
  result.interface.metadata = interface.metadata;
  result.policy_shape = policy_shape;
  for (const auto& trajectory : trajectories) {
    result.trajectories.push_back(interface.inside(trajectory));
  }
  return result;
}

MAA_INLINE std::uint64_t Dataset::content_hash() const {
  ContentHash hash;
  for (const auto& task : tasks) {
    hash.add(task);
  }
  hash.add(weight_matrix().span());
  for (const auto& record : policies) {
    for (const auto number : {std::int64_t{record.task}, record.run, record.step}) {
      hash.add(static_cast<std::uint64_t>(number));
    }
  }
  for (const auto& trajectory : trajectories) {
    hash.add(trajectory.task);
    hash.add(static_cast<std::uint64_t>(trajectory.run));
    hash.add(static_cast<std::uint64_t>(trajectory.success_step.value_or(-1)));
    hash.add(trajectory.observations().span());
    hash.add(trajectory.actions().span());
    if (trajectory.has_target_actions()) {
      hash.add(trajectory.target_actions().span());
    }
  }
  return hash.value();
}

MAA_COLD MAA_INLINE void Dataset::add_trajectory(Trajectory trajectory) {
  require_trajectory(trajectory);
  trajectories.push_back(std::move(trajectory));
}

MAA_COLD MAA_INLINE void Dataset::require_record(const PolicyRecord& record, Index number) const {
  require(record.task >= 0 && record.task < static_cast<Index>(tasks.size()), "dataset, policy ", number,
          ": expected a task below ", tasks.size(), ", found ", record.task);
}

MAA_COLD MAA_INLINE void Dataset::require_trajectory(const Trajectory& trajectory) const {
  trajectory.validate();
  task_index(trajectory.task);
  require(trajectory.observation_size() == observation_size && trajectory.action_size() == action_size,
          "dataset: expected a trajectory of ", observation_size, " observations and ", action_size,
          " actions, found ", trajectory.observation_size(), " and ", trajectory.action_size());
}

MAA_COLD MAA_INLINE void Dataset::require_tasks() const {
  require(std::set<std::string>(tasks.begin(), tasks.end()).size() == tasks.size(),
          "dataset: expected unique task names");
  for (const auto& task : tasks) {
    require(task.size() <= longest_name, "dataset: expected task names of at most ", longest_name,
            " bytes, found ", task.size(), ": ", detail::quote(task));
  }
}

MAA_INLINE void Dataset::validate() const {
  require(observation_size >= 0 && action_size >= 0 && parameter_count >= 0,
          "dataset: expected sizes of at least 0, found ", observation_size, " observations, ", action_size,
          " actions and ", parameter_count, " parameters");
  require_tasks();
  interface.validate(observation_size, action_size, "dataset");
  require(parameter_count == 0 || weights.size() / parameter_count >= policy_count(),
          "dataset: expected weights of ", policy_count(), " policies of ", parameter_count, ", found ",
          weights.size(), " numbers");
  if (policy_shape) {
    policy_shape->check("dataset");
    require_type(*policy_shape, policy_shape->parameter_count(), "dataset");
  }
  for (Index i = 0; i < policy_count(); ++i) {
    require_record(policies[static_cast<std::size_t>(i)], i);
    const auto row = weight_matrix().row_span(i);
    const auto bad = first_nonfinite(row);
    require(bad < 0, "dataset, policy ", i, ": expected finite weights, found ",
            bad < 0 ? 0.0f : row[static_cast<std::size_t>(bad)], " at index ", bad);
  }
  for (const auto& trajectory : trajectories) {
    require_trajectory(trajectory);
  }
}

MAA_COLD MAA_INLINE void Dataset::save(const std::filesystem::path& path) const {
  validate();
  const auto policy_column = [&](auto member) {
    Buffer<std::int64_t> column(policy_count());
    std::transform(policies.begin(), policies.end(), column.begin(), member);
    return column;
  };
  const auto trajectory_column = [&](auto member) {
    Buffer<std::int64_t> column(static_cast<Index>(trajectories.size()));
    std::transform(trajectories.begin(), trajectories.end(), column.begin(), member);
    return column;
  };
  SafetensorsWriter writer;
  writer.set_metadata("format", "maa.dataset");
  writer.set_metadata("task_count", concatenate(tasks.size()));
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    writer.set_metadata(concatenate("task.", i), tasks[i]);
  }
  for (const auto& [key, text] : provenance) {
    writer.set_metadata(detail::provenance_prefix + key, text);
  }
  add_interface(writer, interface, detail::interface_prefix);
  if (policy_shape) {
    detail::set_metadata(writer, detail::policy_fields(*policy_shape));
  }
  writer.add("weights", {policy_count(), parameter_count},
             weights.span().first(static_cast<std::size_t>(policy_count() * parameter_count)));
  const auto add_column = [&](const char* name, Buffer<std::int64_t> column) {
    const auto size = column.size();
    writer.add_owned(name, {size}, std::move(column));
  };
  add_column("policy_task", policy_column([](const PolicyRecord& p) -> std::int64_t { return p.task; }));
  add_column("policy_run", policy_column([](const PolicyRecord& p) { return p.run; }));
  add_column("policy_step", policy_column([](const PolicyRecord& p) { return p.step; }));
  add_column("trajectory_length",
             trajectory_column([](const Trajectory& t) -> std::int64_t { return t.length(); }));
  add_column("trajectory_task",
             trajectory_column([&](const Trajectory& t) -> std::int64_t { return task_index(t.task); }));
  add_column("trajectory_run", trajectory_column([](const Trajectory& t) { return t.run; }));
  add_column("trajectory_success", trajectory_column([](const Trajectory& t) -> std::int64_t {
               return t.success_step.value_or(-1);
             }));
  add_column("trajectory_has_targets",
             trajectory_column([](const Trajectory& t) -> std::int64_t { return t.has_target_actions(); }));
  const auto add_steps = [&](const char* name, Index size, auto view_of) {
    Index rows = 0;
    for (const auto& trajectory : trajectories) {
      rows += view_of(trajectory).rows;
    }
    Buffer<float> all(rows * size);
    auto* next = all.data();
    for (const auto& trajectory : trajectories) {
      const auto view = view_of(trajectory);
      next = std::copy_n(view.data, view.size(), next);
    }
    writer.add_owned(name, {rows, size}, std::move(all));
  };
  add_steps("observations", observation_size, [](const Trajectory& t) { return t.observations(); });
  add_steps("actions", action_size, [](const Trajectory& t) { return t.actions(); });
  add_steps("target_actions", action_size, [](const Trajectory& t) { return t.target_actions(); });
  writer.write(path);
}

MAA_COLD MAA_INLINE Dataset Dataset::load(const std::filesystem::path& path, Unread unread) {
  const SafetensorsReader reader(path);
  const auto where = "'" + reader.path() + "'";
  const auto metadata = [&](const std::string& key) {
    const auto found = reader.metadata().find(key);
    require(found != reader.metadata().end(), where, ": expected metadata ", detail::quote(key),
            ", found none");
    return found->second;
  };
  reader.require_format("maa.dataset");
  const auto columns_of = [&](const char* name) {
    const auto& shape = reader.info(name).shape;
    require(shape.size() == 2, where, ", tensor '", name, "': expected 2 dimensions, found shape ",
            detail::shape_text(shape));
    return shape;
  };
  Dataset dataset;
  dataset.observation_size = columns_of("observations")[1];
  dataset.action_size = columns_of("actions")[1];
  dataset.interface =
      read_interface(reader, dataset.observation_size, dataset.action_size, detail::interface_prefix);
  for (const auto& [key, text] : reader.metadata()) {
    if (key.starts_with(detail::provenance_prefix)) {
      dataset.provenance[key.substr(detail::provenance_prefix.size())] = text;
    }
  }
  if (reader.metadata().contains(concatenate(detail::policy_prefix, "hidden"))) {
    dataset.policy_shape = detail::read_policy_shape(reader.metadata(), detail::policy_prefix, where);
  }
  const auto count_text = metadata("task_count");
  std::uint64_t task_count = 0;
  require(detail::parse_number(count_text, task_count), where, ": expected a number as task_count, found ",
          detail::quote(count_text));
  for (std::uint64_t i = 0; i < task_count; ++i) {
    dataset.tasks.push_back(metadata(concatenate("task.", i)));  // ends at the first that is missing
  }
  const auto named = std::ranges::count_if(reader.metadata(),
                                           [](const auto& pair) { return pair.first.starts_with("task."); });
  require(named == std::ssize(dataset.tasks), where, ": expected as many tasks as task_count, ", task_count,
          ", found ", named);
  try {
    dataset.require_tasks();
  } catch (const Error& error) {
    fail(where, ": ", error.what());
  }
  if (reader.contains("weights")) {
    const auto count = columns_of("weights")[0];
    dataset.parameter_count = columns_of("weights")[1];
    dataset.weights = reader.read<float>("weights");
    const auto task = reader.read<std::int64_t>("policy_task", {count});
    const auto run = reader.read<std::int64_t>("policy_run", {count});
    const auto step = reader.read<std::int64_t>("policy_step", {count});
    for (Index i = 0; i < count; ++i) {
      dataset.policies.push_back({static_cast<Index>(task[i]), run[i], step[i]});
    }
  } else {
    require(!reader.contains("policy_task"), where,
            ": expected weights for the tensor 'policy_task', found none");
  }

  const auto lengths = reader.read<std::int64_t>("trajectory_length");
  const auto trajectory_task = reader.read<std::int64_t>("trajectory_task", {lengths.size()});
  const auto trajectory_run = reader.read<std::int64_t>("trajectory_run", {lengths.size()});
  const auto success = reader.read<std::int64_t>("trajectory_success", {lengths.size()});
  // Without them no trajectory has targets.
  const auto has_targets = reader.contains("trajectory_has_targets")
                               ? reader.read<std::int64_t>("trajectory_has_targets", {lengths.size()})
                               : Buffer<std::int64_t>(lengths.size());
  const Index target_rows = reader.contains("target_actions") ? columns_of("target_actions")[0] : 0;
  const auto observations = reader.read<float>("observations");
  const auto actions = reader.read<float>("actions", {columns_of("observations")[0], dataset.action_size});
  const auto targets = reader.contains("target_actions")
                           ? reader.read<float>("target_actions", {target_rows, dataset.action_size})
                           : Buffer<float>();
  const MatrixView<const float> all_observations(observations.data(), columns_of("observations")[0],
                                                 dataset.observation_size);
  const MatrixView<const float> all_actions(actions.data(), all_observations.rows, dataset.action_size);
  const MatrixView<const float> all_targets(targets.data(), target_rows, dataset.action_size);
  Index first = 0;
  Index first_target = 0;
  for (Index i = 0; i < lengths.size(); ++i) {
    const auto length = static_cast<Index>(lengths[i]);
    require(length >= 0 && length <= all_observations.rows - first, where, ", trajectory ", i,
            ": expected a length of at most ", all_observations.rows - first, " steps, found ", length);
    require(trajectory_task[i] >= 0 && trajectory_task[i] < static_cast<std::int64_t>(dataset.tasks.size()),
            where, ", trajectory ", i, ": expected a task below ", dataset.tasks.size(), ", found ",
            trajectory_task[i]);
    Trajectory trajectory(all_observations.row_range(first, length), all_actions.row_range(first, length));
    require(has_targets[i] == 0 || has_targets[i] == 1, where, ", trajectory ", i,
            ": expected trajectory_has_targets 0 or 1, found ", has_targets[i]);
    if (has_targets[i] == 1) {
      require(length <= all_targets.rows - first_target, where, ", trajectory ", i, ": expected ", length,
              " target actions, found ", all_targets.rows - first_target);
      trajectory.set_target_actions(all_targets.row_range(first_target, length));
      first_target += length;
    }
    if (success[i] != -1) {
      trajectory.success_step = static_cast<Index>(success[i]);
    }
    trajectory.task = dataset.tasks[static_cast<std::size_t>(trajectory_task[i])];
    trajectory.run = trajectory_run[i];
    first += length;
    dataset.trajectories.push_back(std::move(trajectory));
  }
  require(first == all_observations.rows && first_target == all_targets.rows, where, ": expected ", first,
          " steps and ", first_target, " target actions, found ", all_observations.rows, " and ",
          all_targets.rows);
  if (unread == Unread::refuse) {
    reader.require_all_read();
  }
  try {
    dataset.validate();
  } catch (const Error& error) {
    fail(where, ": ", error.what());
  }
  return dataset;
}

MAA_COLD MAA_INLINE RunSplit Dataset::split_by_run(double validation_fraction, std::uint64_t seed) const {
  require(validation_fraction >= 0 && validation_fraction <= 1,
          "dataset split: expected a validation fraction from 0 to 1, found ", validation_fraction);
  std::vector<std::set<std::int64_t>> runs(tasks.size());
  for (Index i = 0; i < policy_count(); ++i) {
    const auto& record = policies[static_cast<std::size_t>(i)];
    require_record(record, i);
    runs[static_cast<std::size_t>(record.task)].insert(record.run);
  }
  for (const auto& trajectory : trajectories) {
    const auto task = static_cast<std::size_t>(task_index(trajectory.task));
    if (trajectory.run >= 0) {
      runs[task].insert(trajectory.run);
    }
  }
  std::set<std::pair<Index, std::int64_t>> held_out;
  for (std::size_t task = 0; task < runs.size(); ++task) {
    std::vector<std::int64_t> order(runs[task].begin(), runs[task].end());
    auto draw = Rng(seed).fork(task);
    draw.shuffle(std::span(order));
    const auto wanted = std::max(std::llround(validation_fraction * static_cast<double>(order.size())),
                                 validation_fraction > 0 ? 1ll : 0ll);
    const auto count = std::min(static_cast<std::size_t>(wanted), order.empty() ? 0 : order.size() - 1);
    for (std::size_t i = 0; i < count; ++i) {
      held_out.emplace(static_cast<Index>(task), order[i]);
    }
  }
  RunSplit split;
  for (Index i = 0; i < policy_count(); ++i) {
    const auto& record = policies[static_cast<std::size_t>(i)];
    (held_out.contains({record.task, record.run}) ? split.validation : split.train).policies.push_back(i);
  }
  for (std::size_t i = 0; i < trajectories.size(); ++i) {
    const auto& trajectory = trajectories[i];
    (held_out.contains({task_index(trajectory.task), trajectory.run}) ? split.validation : split.train)
        .trajectories.push_back(static_cast<Index>(i));
  }
  return split;
}

#endif

MAA_NAMESPACE_END
