// From trajectories to the embedder's inputs.
#pragma once

#include <maa/core/options.hpp>
#include <maa/data/normalizer.hpp>
#include <maa/data/trajectory.hpp>

#include <vector>

MAA_NAMESPACE_BEGIN

// Which embeddings condition the denoiser (Fig. 8 of the paper: either alone works nearly as well).
enum class ConditionParts { h, v, both };
constexpr std::array<std::string_view, 3> names_of(ConditionParts) {
  return {"h", "v", "both"};
}

// success: one window, the first `steps` of the trajectory and the states that follow success. segments: the
// trajectory is cut in `segments` equal parts (tasks without a success signal); each gives its first `steps`
// and its last states, and the embeddings of all parts together are the condition.
enum class PromptKind { success, segments };
constexpr std::array<std::string_view, 2> names_of(PromptKind) {
  return {"success", "segments"};
}

// Which steps of a window count. first: its first `steps` (the paper); a prompt has as many, and reaches
// success unless the condition is h alone. whole: as many, in sequences spread evenly from its first step to
// its last, so that a deed that takes longer is in the prompt too; any episode is a prompt. One with fewer
// steps has some of them more than once, and one without success, or that does not tell, its last states in
// place of those after success.
enum class PromptSteps { first, whole };
constexpr std::array<std::string_view, 2> names_of(PromptSteps) {
  return {"first", "whole"};
}

// The embeddings that are seen of a configuration's, if a recipe chooses some of them.
constexpr ConditionParts seen_parts(ConditionParts configured, ConditionParts chosen) {
  return configured == ConditionParts::both ? chosen : configured;
}

// What a trajectory must have to be a prompt.
struct PromptNeeds {
  Index steps = 1;       // at least so many
  bool success = false;  // reached

  // Whether a trajectory has it.
  bool met_by(const Trajectory& trajectory) const {
    return trajectory.length() >= steps && (trajectory.success_step.has_value() || !success);
  }
};

// The numbers of eq. 6 and 7: `steps` = n pairs, cut in sequences of `sequence` steps of which the first
// state and all actions count; `success_states` = m states.
struct PromptShape {
  PromptKind kind = PromptKind::success;  // where the m states are from
  PromptSteps from = PromptSteps::first;  // where the pairs are from
  Index segments = 1;                     // 1 for PromptKind::success
  Index steps = 60;
  Index sequence = 3;
  Index success_states = 3;

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("kind", self.kind);
    visit("from", self.from);
    visit("segments", at_least(1), self.segments);
    visit("steps", at_least(1), self.steps);
    visit("sequence", at_least(1), self.sequence);
    visit("success_states", at_least(1), self.success_states);
  }

  // Of a prompt of which `condition` is read.
  constexpr PromptNeeds needs(ConditionParts condition) const {
    return from == PromptSteps::first ? paper_needs(condition)
                                      : PromptNeeds{segments * std::max(sequence, success_states), false};
  }
  constexpr PromptNeeds paper_needs(ConditionParts condition = ConditionParts::both) const {
    return {segments * std::max(steps, success_states),
            kind == PromptKind::success && condition != ConditionParts::h};
  }

  // Observation-action pairs of one prompt.
  constexpr Index pairs() const { return segments * steps; }
  constexpr Index trajectory_features(Index observation_size, Index action_size) const {
    return steps / sequence * (observation_size + sequence * action_size);
  }
  constexpr Index success_features(Index observation_size) const { return success_states * observation_size; }
};

// Writes the features of prompts, with observations and actions normalised by `observations` and `actions`,
// and clamped to [-limit, limit], or not at all (0).
class PromptEncoder {
 public:
  PromptEncoder() = default;
  // As they are used; limit 0 or positive.
  PromptEncoder(const PromptShape& shape, Normalizer observations, Normalizer actions, float limit);

  // As it was made.
  const PromptShape& shape() const { return shape_; }
  const Normalizer& observation_normalizer() const { return observations_; }
  const Normalizer& action_normalizer() const { return actions_; }
  float limit() const { return limit_; }

  // Normalised numbers beyond this are no prompt: in float nothing else counts beside them.
  static constexpr double largest = 1e8;

  // Error that says why a trajectory cannot be a prompt, also for one that is none: numbers that are not
  // finite or far too large, a success step outside.
  void require_usable(const Trajectory& trajectory, const PromptNeeds& needs) const;
  // Error unless it has observations and actions of the sizes that those of training had.
  void require_sizes(const Trajectory& trajectory) const;

  // features [segments, trajectory_features].
  void write_trajectory(const Trajectory& trajectory, MatrixView<float> features) const;

  // The pairs behind write_trajectory's features as they are: observations [segments * steps, O], actions
  // [.., A].
  void write_pairs(const Trajectory& trajectory, MatrixView<float> observations,
                   MatrixView<float> actions) const;

  // Pairs spread evenly over the same windows, as many of each segment: observations [segments * any, O],
  // actions [.., A]. Of a window with fewer steps some count more than once.
  void write_spread_pairs(const Trajectory& trajectory, MatrixView<float> observations,
                          MatrixView<float> actions) const;

  // features [segments, success_features]: the observations after the first successful step (that step's
  // action led to success, so its result is the next observation), or the segment's last; the trajectory's
  // last state repeats where it ends too early. For a trajectory without success its last.
  void write_success(const Trajectory& trajectory, MatrixView<float> features) const;

 private:
  Index segment_start(const Trajectory& trajectory, Index segment) const {
    return trajectory.length() * segment / shape_.segments;
  }
  Index sequence_start(const Trajectory& trajectory, Index segment, Index chunk) const;
  float* write(const float* values, const Normalizer& normalizer, float* out) const;
  static void require_within_reach(MatrixView<const float> values, const Normalizer& normalizer,
                                   const char* what);

  PromptShape shape_;
  Normalizer observations_;
  Normalizer actions_;
  float limit_ = 0;
};

#if MAA_BODIES

MAA_INLINE PromptEncoder::PromptEncoder(const PromptShape& shape, Normalizer observations, Normalizer actions,
                                        float limit)
    : shape_(shape), observations_(std::move(observations)), actions_(std::move(actions)), limit_(limit) {
  require(shape.steps > 0 && shape.sequence > 0 && shape.steps % shape.sequence == 0,
          "prompt: expected steps that are a multiple of the sequence length, found ", shape.steps, " and ",
          shape.sequence);
}

MAA_COLD MAA_INLINE void PromptEncoder::require_sizes(const Trajectory& trajectory) const {
  require(trajectory.observation_size() == observations_.features() &&
              trajectory.action_size() == actions_.features(),
          "prompt: expected ", observations_.features(), " observations and ", actions_.features(),
          " actions, found ", trajectory.observation_size(), " and ", trajectory.action_size());
}

MAA_INLINE void PromptEncoder::require_usable(const Trajectory& trajectory, const PromptNeeds& needs) const {
  trajectory.validate();
  require_sizes(trajectory);
  require(trajectory.length() >= needs.steps, "prompt: expected at least ", needs.steps, " steps, found ",
          trajectory.length());
  require(
      !needs.success || trajectory.success_step,
      "prompt: expected a trajectory that reaches success (this generator is conditioned on the states after "
      "it), found none");
  require_within_reach(trajectory.observations(), observations_, "observation");
  require_within_reach(trajectory.actions(), actions_, "action");
}

MAA_INLINE void PromptEncoder::require_within_reach(MatrixView<const float> values,
                                                    const Normalizer& normalizer, const char* what) {
  for (Index i = 0; i < values.rows; ++i) {
    for (Index j = 0; j < values.cols; ++j) {
      const double normalized =
          (static_cast<double>(values(i, j)) - static_cast<double>(normalizer.offset[j])) *
          static_cast<double>(normalizer.scale[j]);
      require(std::abs(normalized) <= largest, "prompt: expected ", what, " ", j, " within ", largest,
              " times its spread in training, found ", values(i, j), " in step ", i);
    }
  }
}

MAA_INLINE void PromptEncoder::write_trajectory(const Trajectory& trajectory,
                                                MatrixView<float> features) const {
  const Index chunk_size = observations_.features() + shape_.sequence * actions_.features();
  for (Index segment = 0; segment < shape_.segments; ++segment) {
    for (Index chunk = 0; chunk < shape_.steps / shape_.sequence; ++chunk) {
      const Index step = sequence_start(trajectory, segment, chunk);
      float* out = features.row(segment) + chunk * chunk_size;
      out = write(trajectory.observations().row(step), observations_, out);
      for (Index i = 0; i < shape_.sequence; ++i) {
        out = write(trajectory.actions().row(step + i), actions_, out);
      }
    }
  }
}

MAA_INLINE void PromptEncoder::write_pairs(const Trajectory& trajectory, MatrixView<float> observations,
                                           MatrixView<float> actions) const {
  for (Index row = 0; row < shape_.pairs(); ++row) {
    const Index chunk = row % shape_.steps / shape_.sequence;
    const Index step = sequence_start(trajectory, row / shape_.steps, chunk) + row % shape_.sequence;
    std::copy_n(trajectory.observations().row(step), observations.cols, observations.row(row));
    std::copy_n(trajectory.actions().row(step), actions.cols, actions.row(row));
  }
}

MAA_INLINE void PromptEncoder::write_spread_pairs(const Trajectory& trajectory,
                                                  MatrixView<float> observations,
                                                  MatrixView<float> actions) const {
  const Index count = observations.rows / shape_.segments;
  for (Index row = 0; row < observations.rows; ++row) {
    const Index segment = row / count;
    const Index first = segment_start(trajectory, segment);
    const Index length =
        shape_.from == PromptSteps::first ? shape_.steps : segment_start(trajectory, segment + 1) - first;
    const Index step = first + row % count * length / count;
    std::copy_n(trajectory.observations().row(step), observations.cols, observations.row(row));
    std::copy_n(trajectory.actions().row(step), actions.cols, actions.row(row));
  }
}

MAA_INLINE void PromptEncoder::write_success(const Trajectory& trajectory, MatrixView<float> features) const {
  for (Index segment = 0; segment < shape_.segments; ++segment) {
    float* out = features.row(segment);
    const bool shows_success = shape_.kind == PromptKind::success && trajectory.success_step;
    const Index first = shows_success ? *trajectory.success_step + 1
                                      : segment_start(trajectory, segment + 1) - shape_.success_states;
    for (Index i = 0; i < shape_.success_states; ++i) {
      const Index step = std::min(first + i, trajectory.length() - 1);
      out = write(trajectory.observations().row(step), observations_, out);
    }
  }
}

MAA_INLINE Index PromptEncoder::sequence_start(const Trajectory& trajectory, Index segment,
                                               Index chunk) const {
  const Index first = segment_start(trajectory, segment);
  const Index chunks = shape_.steps / shape_.sequence;
  if (shape_.from == PromptSteps::first || chunks == 1) {
    return first + chunk * shape_.sequence;
  }
  const Index room = segment_start(trajectory, segment + 1) - first - shape_.sequence;
  return first + room * chunk / (chunks - 1);
}

MAA_INLINE float* PromptEncoder::write(const float* values, const Normalizer& normalizer, float* out) const {
  for (Index j = 0; j < normalizer.features(); ++j) {
    const float value = (values[j] - normalizer.offset[j]) * normalizer.scale[j];
    out[j] = limit_ > 0 ? std::clamp(value, -limit_, limit_) : value;
  }
  return out + normalizer.features();
}

#endif

MAA_NAMESPACE_END
