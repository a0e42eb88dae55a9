// One demonstration: what a policy saw and did, step by step.
#pragma once

#include <maa/core/finite.hpp>
#include <maa/interop/xtensor.hpp>

#include <filesystem>
#include <optional>
#include <string>

MAA_NAMESPACE_BEGIN

// T steps of O observations and A actions, as owned float arrays. The shape is fixed at construction; the numbers may
// be written through the views.
class Trajectory {
 public:
  Trajectory() = default;
  // All zero, to be filled.
  Trajectory(Index length, Index observation_size, Index action_size)
      : length_(length), observation_size_(observation_size), action_size_(action_size) {
    require(length >= 0 && observation_size >= 0 && action_size >= 0,
            "trajectory: expected sizes of at least 0, found ", length, " steps of ", observation_size,
            " observations and ", action_size, " actions");
    require(length <= size_limit && observation_size <= size_limit && action_size <= size_limit,
            "trajectory: expected sizes of at most ", size_limit, ", found ", length, " steps of ", observation_size,
            " observations and ", action_size, " actions");
    observations_ = Buffer<float>(length * observation_size);
    actions_ = Buffer<float>(length * action_size);
  }
  // Copies observations [T, O] and actions [T, A].
  Trajectory(MatrixView<const float> observations, MatrixView<const float> actions)
      : Trajectory(observations.rows, observations.cols, actions.cols) {
    require_shape(actions, length_, action_size_, "trajectory: actions");
    copy_rows(observations, observations_);
    copy_rows(actions, actions_);
  }
  // From 2-D xtensor expressions of any number type.
  template <class Observations, class Actions>
  Trajectory(const xt::xexpression<Observations>& observations, const xt::xexpression<Actions>& actions)
      : Trajectory(rows_of(observations, "observations"), cols_of(observations), cols_of(actions)) {
    require(rows_of(actions, "actions") == length_, "trajectory: expected ", length_, " actions, found ",
            rows_of(actions, "actions"));
    observations_ = to_buffer<float>(observations);
    actions_ = to_buffer<float>(actions);
  }

  Index length() const noexcept { return length_; }
  Index observation_size() const noexcept { return observation_size_; }
  Index action_size() const noexcept { return action_size_; }

  // [T, O]
  MatrixView<float> observations() noexcept { return {observations_.data(), length_, observation_size_}; }
  MatrixView<const float> observations() const noexcept { return {observations_.data(), length_, observation_size_}; }
  // [T, A], as executed.
  MatrixView<float> actions() noexcept { return {actions_.data(), length_, action_size_}; }
  MatrixView<const float> actions() const noexcept { return {actions_.data(), length_, action_size_}; }

  // What the demonstrator would have done at each observation without noise (the labels of DAgger): [T, A], or no rows
  // if there are none.
  bool has_target_actions() const noexcept { return target_actions_.has_value(); }
  MatrixView<const float> target_actions() const noexcept {
    return target_actions_ ? MatrixView<const float>(target_actions_->data(), length_, action_size_)
                           : MatrixView<const float>(nullptr, 0, action_size_);
  }
  void set_target_actions(MatrixView<const float> target_actions) {
    require_shape(target_actions, length_, action_size_, "trajectory: target actions");
    Buffer<float> copy(length_ * action_size_);
    copy_rows(target_actions, copy);
    target_actions_ = std::move(copy);
  }

  // The first step in which the task was solved; none if it was not, or if unknown.
  std::optional<Index> success_step;
  std::string task;
  // The training run of the demonstrator.
  std::int64_t run = 0;

  // Error unless there is at least one step, all numbers are finite and success_step is one of the steps.
  void validate() const {
    require(length_ > 0 && observation_size_ > 0 && action_size_ > 0, "trajectory of task '", task,
            "': expected steps, observations and actions, found ", length_, " steps of ", observation_size_, " and ",
            action_size_);
    require_finite(observations_, observation_size_, "observation");
    require_finite(actions_, action_size_, "action");
    if (target_actions_) {
      require_finite(*target_actions_, action_size_, "target action");
    }
    require(!success_step || (*success_step >= 0 && *success_step < length_), "trajectory of task '", task,
            "': expected a success step below ", length_, ", found ", success_step.value_or(0));
  }

 private:
  static constexpr Index size_limit = Index{1} << 30;  // products of two cannot overflow

  template <class Expression>
  static Index rows_of(const xt::xexpression<Expression>& array, const char* what) {
    const auto dimension = array.derived_cast().dimension();
    require(dimension == 2, "trajectory: ", what, ": expected 2 dimensions, found ", dimension);
    return static_cast<Index>(array.derived_cast().shape()[0]);
  }
  template <class Expression>
  static Index cols_of(const xt::xexpression<Expression>& array) {
    const auto dimension = array.derived_cast().dimension();
    require(dimension == 2, "trajectory: expected 2 dimensions, found ", dimension);
    return static_cast<Index>(array.derived_cast().shape()[1]);
  }
  static void copy_rows(MatrixView<const float> from, Buffer<float>& to) {
    auto* next = to.data();
    for (Index i = 0; i < from.rows; ++i) {
      const auto row = from.row_span(i);
      next = std::copy(row.begin(), row.end(), next);
    }
  }
  void require_finite(const Buffer<float>& values, Index size, const char* what) const {
    const auto bad = first_nonfinite(values.span());
    require(bad < 0, "trajectory of task '", task, "': expected finite numbers, found ", bad < 0 ? 0.0f : values[bad],
            " in ", what, " ", bad % size, " of step ", bad / size);
  }

  Index length_ = 0;
  Index observation_size_ = 0;
  Index action_size_ = 0;
  Buffer<float> observations_;
  Buffer<float> actions_;
  std::optional<Buffer<float>> target_actions_;
};

// Reads .npz or .safetensors with the arrays
//     observations [T, O], actions [T, A], optional target_actions [T, A] (float or integer; stored as float32),
//     optional success: a flag per step [T] (bool, or numbers 0 and 1), or the first successful step (-1: none),
//     optional run (integer) and task (text): arrays in .npz, metadata in .safetensors.
// The result is validated. Error names file, array, expected and found.
Trajectory load_trajectory(const std::filesystem::path& path);

// Writes .npz or .safetensors, by the extension, atomically; Error for an invalid trajectory, which is not written.
void save_trajectory(const std::filesystem::path& path, const Trajectory& trajectory);

MAA_NAMESPACE_END
