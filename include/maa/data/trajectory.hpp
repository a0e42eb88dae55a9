// One demonstration: what a policy saw and did, step by step.
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/core/views.hpp>

#include <filesystem>
#include <optional>
#include <string>

#if MAA_BODIES
#include <maa/core/finite.hpp>
#include <maa/io/npz_archive.hpp>
#include <maa/io/safetensors.hpp>

#include <charconv>
#endif

namespace xt {
template <class Derived>
class xexpression;  // so that who uses no xtensor need not read it
}

MAA_NAMESPACE_BEGIN

// T steps of O observations and A actions, as owned float arrays. The shape is fixed at construction; the
// numbers may be written through the views.
class Trajectory {
 public:
  Trajectory() = default;
  // All zero, to be filled.
  Trajectory(Index length, Index observation_size, Index action_size);
  // Copies observations [T, O] and actions [T, A].
  Trajectory(MatrixView<const float> observations, MatrixView<const float> actions);
  // From 2-D xtensor expressions of any number type.
  template <class Observations, class Actions>
  Trajectory(const xt::xexpression<Observations>& observations, const xt::xexpression<Actions>& actions)
      : Trajectory(size_of(observations, 0, "observations"), size_of(observations, 1, "observations"),
                   size_of(actions, 1, "actions")) {
    require(size_of(actions, 0, "actions") == length_, "trajectory: expected ", length_, " actions, found ",
            size_of(actions, 0, "actions"));
    copy_expression(observations, this->observations());
    copy_expression(actions, this->actions());
  }

  // T, O and A.
  Index length() const noexcept { return length_; }
  Index observation_size() const noexcept { return observation_size_; }
  Index action_size() const noexcept { return action_size_; }

  // [T, O]
  MatrixView<float> observations() noexcept { return {observations_.data(), length_, observation_size_}; }
  MatrixView<const float> observations() const noexcept {
    return {observations_.data(), length_, observation_size_};
  }
  // [T, A], as executed.
  MatrixView<float> actions() noexcept { return {actions_.data(), length_, action_size_}; }
  MatrixView<const float> actions() const noexcept { return {actions_.data(), length_, action_size_}; }

  // What the demonstrator would have done at each observation without noise (the labels of DAgger): [T, A],
  // or no rows if there are none.
  bool has_target_actions() const noexcept { return target_actions_.has_value(); }
  MatrixView<const float> target_actions() const noexcept {
    return target_actions_ ? MatrixView<const float>(target_actions_->data(), length_, action_size_)
                           : MatrixView<const float>(nullptr, 0, action_size_);
  }
  void set_target_actions(MatrixView<const float> target_actions);

  // The first step in which the task was solved; none if it was not, or if unknown.
  std::optional<Index> success_step;
  std::string task;
  // The training run of the demonstrator.
  std::int64_t run = 0;

  // Error unless there is at least one step, all numbers are finite and success_step is one of the steps.
  void validate() const;

 private:
  static constexpr Index size_limit = Index{1}
                                      << (sizeof(Index) > 4 ? 30 : 15);  // products of two cannot overflow

  template <class Expression>
  static Index size_of(const xt::xexpression<Expression>& array, Index axis, const char* what) {
    const auto dimension = array.derived_cast().dimension();
    require(dimension == 2, "trajectory: ", what, ": expected 2 dimensions, found ", dimension);
    return static_cast<Index>(array.derived_cast().shape()[static_cast<std::size_t>(axis)]);
  }
  template <class Expression>
  static void copy_expression(const xt::xexpression<Expression>& array, MatrixView<float> to) {
    for (Index i = 0; i < to.rows; ++i) {
      for (Index j = 0; j < to.cols; ++j) {
        to(i, j) = static_cast<float>(array.derived_cast()(i, j));
      }
    }
  }
  static void copy_rows(MatrixView<const float> from, Buffer<float>& to);
  void require_finite(const Buffer<float>& values, Index size, const char* what) const;

  Index length_ = 0;
  Index observation_size_ = 0;
  Index action_size_ = 0;
  Buffer<float> observations_;
  Buffer<float> actions_;
  std::optional<Buffer<float>> target_actions_;
};

// Reads .npz or .safetensors with the arrays
//     observations [T, O], actions [T, A], optional target_actions [T, A] (any number type; stored as
//     float32), optional success: a flag per step [T] (bools, or numbers 0 and 1), or the first successful
//     step (an integer, -1: none), optional run (an integer; in .safetensors also metadata) and task (text;
//     in .safetensors metadata).
// The result is validated. Error names file, array, expected and found.
Trajectory load_trajectory(const std::filesystem::path& path);

// Writes .npz or .safetensors, by the extension, atomically; Error for an invalid trajectory, which is not
// written.
void save_trajectory(const std::filesystem::path& path, const Trajectory& trajectory);

#if MAA_BODIES

namespace detail {

// The first successful step from a flag per step (bools, or numbers 0 and 1, of shape [T]) or a step number
// (shape [] or [1]; -1: none). A bool is never a step number.
MAA_COLD inline std::optional<Index> first_success(const NpyArray<double>& success, Index length,
                                                   const std::string& where) {
  const auto& shape = success.shape;
  const bool per_step = shape.size() == 1 && shape[0] == length;
  const bool one = shape.empty() || (shape.size() == 1 && shape[0] == 1);
  require(per_step || (one && !success.flags), where,
          ", array 'success': expected a flag per step, of shape [", length,
          "], or the first successful step as an integer of shape [] (-1: none), found ",
          success.flags ? "bools" : "numbers", " of shape ", shape_text(shape));
  require(
      !(per_step && one) || success.flags, where,
      ", array 'success': expected bools of shape [1] or an integer of shape [] for the only step, found a "
      "number of shape [1], which may mean either");
  if (!per_step) {
    const double step = success.values[0];
    require(step >= -1 && step < static_cast<double>(length) &&
                step == static_cast<double>(static_cast<Index>(step)),
            where, ", array 'success': expected a step from -1 (none) to ", length - 1, ", found ", step);
    return step < 0 ? std::nullopt : std::optional<Index>(static_cast<Index>(step));
  }
  std::optional<Index> first;
  for (Index i = length; i-- > 0;) {
    const double flag = success.values[i];
    require(flag == 0 || flag == 1, where, ", array 'success': expected 0 or 1 per step, found ", flag);
    first = flag == 1 ? std::optional<Index>(i) : first;
  }
  return first;
}

// What files of both kinds mean by their arrays. Reader: contains(name) and read_any<T>(name).
template <class Reader>
MAA_COLD Trajectory read_trajectory(const Reader& reader, const std::string& where) {
  const auto matrix = [&](const char* name, const NpyArray<float>& array) {
    require(array.shape.size() == 2, where, ", array '", name, "': expected 2 dimensions, found shape ",
            shape_text(array.shape), ", not [steps, numbers per step]");
    return MatrixView<const float>(array.values.data(), array.shape[0], array.shape[1]);
  };
  const auto observations = reader.template read_any<float>("observations");
  const auto o = matrix("observations", observations);
  const auto actions = reader.template read_any<float>("actions");
  const auto a = matrix("actions", actions);
  require(a.rows == o.rows, where, ": expected ", o.rows, " actions, found ", a.rows,
          o.rows == a.rows + 1 ? ": leave out the last observation, after which nothing was done" : "");
  Trajectory trajectory(o, a);
  if (reader.contains("target_actions")) {
    const auto array = reader.template read_any<float>("target_actions");
    const auto targets = matrix("target_actions", array);
    require(targets.rows == a.rows && targets.cols == a.cols, where,
            ", array 'target_actions': expected shape ", shape_text(actions.shape), ", found ",
            shape_text(array.shape));
    trajectory.set_target_actions(targets);
  }
  if (reader.contains("success")) {
    trajectory.success_step =
        first_success(reader.template read_any<double>("success"), trajectory.length(), where);
  }
  if (reader.contains("run")) {
    const auto run = reader.template read_any<std::int64_t>("run");
    require(run.values.size() == 1 && !run.flags, where, ", array 'run': expected one integer, found ",
            run.flags ? "bools" : "numbers", " of shape ", shape_text(run.shape));
    trajectory.run = run.values[0];
  }
  return trajectory;
}

MAA_COLD inline Trajectory load_trajectory_npz(const std::filesystem::path& path, const std::string& where) {
  const NpzReader reader(path);
  auto trajectory = read_trajectory(reader, where);
  if (reader.contains("task")) {
    trajectory.task = reader.load_text("task");
  }
  return trajectory;
}

MAA_COLD inline Trajectory load_trajectory_safetensors(const std::filesystem::path& path,
                                                       const std::string& where) {
  const SafetensorsReader reader(path);
  reader.require_format("maa trajectory", true);  // what save_trajectory() writes tells none
  auto trajectory = read_trajectory(reader, where);
  const auto& metadata = reader.metadata();
  if (const auto task = metadata.find("task"); task != metadata.end()) {
    trajectory.task = task->second;
  }
  if (const auto run = metadata.find("run"); run != metadata.end()) {
    const auto* end = run->second.data() + run->second.size();
    const auto parsed = std::from_chars(run->second.data(), end, trajectory.run);
    require(parsed.ec == std::errc() && parsed.ptr == end, where, ": expected an integer as run, found ",
            quote(run->second));
  }
  return trajectory;
}

}  // namespace detail

MAA_INLINE Trajectory::Trajectory(Index length, Index observation_size, Index action_size)
    : length_(length), observation_size_(observation_size), action_size_(action_size) {
  require(length >= 0 && observation_size >= 0 && action_size >= 0,
          "trajectory: expected sizes of at least 0, found ", length, " steps of ", observation_size,
          " observations and ", action_size, " actions");
  require(length <= size_limit && observation_size <= size_limit && action_size <= size_limit,
          "trajectory: expected sizes of at most ", size_limit, ", found ", length, " steps of ",
          observation_size, " observations and ", action_size, " actions");
  observations_ = Buffer<float>(length * observation_size);
  actions_ = Buffer<float>(length * action_size);
}

MAA_INLINE Trajectory::Trajectory(MatrixView<const float> observations, MatrixView<const float> actions)
    : Trajectory(observations.rows, observations.cols, actions.cols) {
  require_shape(actions, length_, action_size_, "trajectory: actions");
  copy_rows(observations, observations_);
  copy_rows(actions, actions_);
}

MAA_INLINE void Trajectory::set_target_actions(MatrixView<const float> target_actions) {
  require_shape(target_actions, length_, action_size_, "trajectory: target actions");
  Buffer<float> copy(length_ * action_size_);
  copy_rows(target_actions, copy);
  target_actions_ = std::move(copy);
}

MAA_INLINE void Trajectory::validate() const {
  require(length_ > 0 && observation_size_ > 0 && action_size_ > 0, "trajectory of task ",
          detail::quote(task), ": expected steps, observations and actions, found ", length_, " steps of ",
          observation_size_, " and ", action_size_);
  require(observations_.size() == length_ * observation_size_ && actions_.size() == length_ * action_size_,
          "trajectory of task ", detail::quote(task), ": expected its numbers, found that it was moved from");
  require_finite(observations_, observation_size_, "observation");
  require_finite(actions_, action_size_, "action");
  if (target_actions_) {
    require_finite(*target_actions_, action_size_, "target action");
  }
  require(!success_step || (*success_step >= 0 && *success_step < length_), "trajectory of task ",
          detail::quote(task), ": expected a success step below ", length_, ", found ",
          success_step.value_or(0));
}

MAA_INLINE void Trajectory::copy_rows(MatrixView<const float> from, Buffer<float>& to) {
  auto* next = to.data();
  for (Index i = 0; i < from.rows; ++i) {
    const auto row = from.row_span(i);
    next = std::copy(row.begin(), row.end(), next);
  }
}

MAA_INLINE void Trajectory::require_finite(const Buffer<float>& values, Index size, const char* what) const {
  const auto bad = first_nonfinite(values.span());
  require(bad < 0, "trajectory of task ", detail::quote(task), ": expected finite numbers, found ",
          bad < 0 ? 0.0f : values[bad], " in ", what, " ", bad % size, " of step ", bad / size);
}

MAA_COLD MAA_INLINE Trajectory load_trajectory(const std::filesystem::path& path) {
  const auto where = "'" + path.string() + "'";
  const auto kind = path.extension();
  require(kind == ".npz" || kind == ".safetensors", where,
          ": expected a trajectory as .npz or .safetensors, found ", detail::quote(kind.string()));
  auto trajectory = kind == ".npz" ? detail::load_trajectory_npz(path, where)
                                   : detail::load_trajectory_safetensors(path, where);
  try {
    trajectory.validate();
  } catch (const Error& error) {
    fail(where, ": ", error.what());
  }
  return trajectory;
}

MAA_COLD MAA_INLINE void save_trajectory(const std::filesystem::path& path, const Trajectory& trajectory) {
  trajectory.validate();
  const auto kind = path.extension();
  const std::int64_t success = trajectory.success_step.value_or(-1);
  if (kind == ".npz") {
    NpzWriter writer;
    const auto add = [&](const char* name, MatrixView<const float> matrix) {
      const Index shape[] = {matrix.rows, matrix.cols};
      writer.add<float>(name, shape, matrix.span());
    };
    add("observations", trajectory.observations());
    add("actions", trajectory.actions());
    if (trajectory.has_target_actions()) {
      add("target_actions", trajectory.target_actions());
    }
    writer.add<std::int64_t>("success", {}, {&success, 1});
    writer.add<std::int64_t>("run", {}, {&trajectory.run, 1});
    writer.add_text("task", trajectory.task);
    writer.write(path);
    return;
  }
  require(kind == ".safetensors", "'", path.string(), "': expected a name ending in .npz or .safetensors");
  SafetensorsWriter writer;
  const auto add = [&](const char* name, MatrixView<const float> matrix) {
    writer.add(name, {matrix.rows, matrix.cols},
               std::span(matrix.data, static_cast<std::size_t>(matrix.size())));
  };
  add("observations", trajectory.observations());
  add("actions", trajectory.actions());
  if (trajectory.has_target_actions()) {
    add("target_actions", trajectory.target_actions());
  }
  writer.add_scalar("success", success);
  writer.set_metadata("task", trajectory.task);
  writer.set_metadata("run", concatenate(trajectory.run));
  writer.write(path);
}

#endif

MAA_NAMESPACE_END
