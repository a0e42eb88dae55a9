// A policy that runs: owned weights and batch-1 inference without allocation, lock or exception.
#pragma once

#include <maa/core/finite.hpp>
#include <maa/kernels/policy.hpp>
#include <maa/models/mlp_network.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

MAA_NAMESPACE_BEGIN

// The action box: action = centre + half_width * squashed output. The default is [-1, 1]. Where the network
// squashes no action is outside.
template <Extent Actions>
struct ActionBox {
  using Row = typename RowOf<Actions>::type;  // a number for each action

  Row centre = RowOf<Actions>::filled(0);
  Row half_width = RowOf<Actions>::filled(1);
  bool operator==(const ActionBox&) const = default;

  // Finite limits, low < high. No rounding leads outside: a half width may be a few last places less than the
  // limits are apart.
  static ActionBox from_limits(std::span<const float> low, std::span<const float> high) {
    require(static_cast<Index>(low.size()) == Actions && low.size() == high.size(), "action box: expected ",
            Index(Actions), " limits, found ", low.size(), " and ", high.size());
    ActionBox box;
    for (std::size_t i = 0; i < low.size(); ++i) {
      require(is_finite(low[i]) && is_finite(high[i]) && low[i] < high[i],
              "action box: expected finite limits, low < high, found ", low[i], " and ", high[i],
              " for action ", i);
      const float centre = 0.5f * low[i] + 0.5f * high[i];
      float half_width = std::min(high[i] - centre, centre - low[i]);
      while (centre + half_width > high[i] || centre - half_width < low[i]) {
        half_width = std::nextafter(half_width, 0.0f);
      }
      box.centre[i] = centre;
      box.half_width[i] = half_width;
    }
    return box;
  }
  // Error, with `where` before it, unless limits are finite and no half width is negative.
  void check(std::string_view where) const {
    for (std::size_t i = 0; i < centre.size(); ++i) {
      require(
          half_width[i] >= 0 && is_finite(centre[i] - half_width[i]) && is_finite(centre[i] + half_width[i]),
          where, ": expected an action box of finite limits, its half widths not negative, found ", centre[i],
          " +- ", half_width[i], " for action ", i);
    }
  }
};

// Clips nothing; not an infinity, which -ffast-math has none of.
inline constexpr float no_clip = std::numeric_limits<float>::max();

// What the network reads of an observation x: clamp((x - mean) * scale, -clip, clip), as agents are trained
// with running statistics (VecNormalize, rsl_rl's and Brax's normalisers). The default is x itself.
template <Extent Observations>
struct ObservationScaling {
  using Row = typename RowOf<Observations>::type;  // a number for each observation

  Row mean = RowOf<Observations>::filled(0);
  Row scale = RowOf<Observations>::filled(1);
  float clip = no_clip;
  bool operator==(const ObservationScaling&) const = default;

  // Of statistics [Observations]: scale = 1 / sqrt(variance + epsilon), clip > 0. VecNormalize: epsilon 1e-8
  // and clip 10; rsl_rl divides by the deviation + 1e-2: give the square of that and epsilon 0.
  static ObservationScaling from_statistics(std::span<const double> mean, std::span<const double> variance,
                                            double epsilon, float clip) {
    require(static_cast<Index>(mean.size()) == Observations && mean.size() == variance.size(),
            "observation scaling: expected ", Index(Observations), " means and variances, found ",
            mean.size(), " and ", variance.size());
    ObservationScaling result;
    for (std::size_t i = 0; i < mean.size(); ++i) {
      result.mean[i] = static_cast<float>(mean[i]);
      result.scale[i] = static_cast<float>(1 / std::sqrt(variance[i] + epsilon));
    }
    result.clip = clip;
    result.check("observation scaling");
    return result;
  }
  // Error, with `where` before it, unless means are finite, scales finite and positive, and clip positive.
  void check(std::string_view where) const {
    for (std::size_t i = 0; i < mean.size(); ++i) {
      require(is_finite(mean[i]) && is_finite(scale[i]) && scale[i] > 0, where,
              ": expected a finite mean and a positive, finite scale, found ", mean[i], " and ", scale[i],
              " for observation ", i);
    }
    require(clip > 0, where, ": expected observations clipped at a positive number, found ", clip);
  }
  void apply(const float* from, float* to) const noexcept {
    for (std::size_t i = 0; i < mean.size(); ++i) {
      const float x = (from[i] - mean[i]) * scale[i];
      to[i] = x < -clip ? -clip : x > clip ? clip : x;  // keeps NaN
    }
  }
};

namespace detail {
inline void check_policy_weights(std::span<const float> weights, Index size) {
  require(static_cast<Index>(weights.size()) == size, "policy: expected ", size, " weights, found ",
          weights.size());
  const auto bad = first_nonfinite(weights);
  require(bad < 0, "policy: expected finite weights, found NaN or infinity at ", bad);
}
// Squash::clip; keeps NaN.
inline float clip_action(float action) noexcept {
  return action < -1.0f ? -1.0f : action > 1.0f ? 1.0f : action;
}
}  // namespace detail

// A value: copying copies the weights, which are held twice, as given and packed for the kernels. Const
// members may be called from several threads at once.
//
// Storage::bf16 runs faster on rounded weights (relative error 2^-8 at most; actions in [-1, 1] move by some
// 1e-3). weights() and files keep what was given, in fp32, so the two kinds are made from each other:
//
//     MlpPolicy<Network, Storage::bf16> fast(policy.weights(), policy.box(), policy.scaling());
template <class NetworkT, Storage storage_ = Storage::fp32>
class MlpPolicy {
 public:
  // Its network, storage, sizes, and the types of what it takes.
  using Network = NetworkT;
  static constexpr Storage storage = storage_;
  static constexpr Index observation_size = Network::observation_size;
  static constexpr Index action_size = Network::action_size;
  static constexpr Index parameter_size = parameter_count<Network>;
  using Observation = std::span<const float, static_cast<std::size_t>(observation_size)>;
  using Action = std::span<float, static_cast<std::size_t>(action_size)>;
  using Box = ActionBox<action_size>;
  using Scaling = ObservationScaling<observation_size>;

  // All weights zero. The instruction set is chosen here (kernels::select_isa), so that a bad MAA_ISA is an
  // Error now and act() can be noexcept.
  MlpPolicy() : memory_(packed_offset + Plan::packed_size), isa_(kernels::select_isa()) {}
  // weights [parameter_size] in the network's flat order; Error if the size is wrong, a number is not finite,
  // or the box or scaling is none (their check()).
  explicit MlpPolicy(std::span<const float> weights, const Box& box = {}, const Scaling& scaling = {})
      : MlpPolicy() {
    detail::check_policy_weights(weights, parameter_size);
    box.check("policy");
    scaling.check("policy");
    std::copy(weights.begin(), weights.end(), memory_.begin());
    pack();
    box_ = box;
    scaling_ = scaling;
    scaled_ = scaling != Scaling();
  }
  // Freshly initialised, as an untrained network.
  static MlpPolicy untrained(std::uint64_t seed) {
    MlpPolicy policy;
    initialize<Network>(policy.memory_.span().first(parameter_size), Rng(seed));
    policy.pack();
    return policy;
  }

  // As they were given: weights [parameter_size] in the network's flat order, action box, observation
  // scaling.
  std::span<const float> weights() const noexcept { return memory_.span().first(parameter_size); }
  const Box& box() const noexcept { return box_; }
  const Scaling& scaling() const noexcept { return scaling_; }

  // Deterministic action: the squashed mean, scaled to the box. NaN in an observation makes actions NaN.
  void act(Observation observation, Action action) const noexcept {
    typename Scaling::Row row;
    kernels::policy_act<Plan, squashing>(isa_, packed(), read(observation, row), action.data(), nullptr);
    scale(action);
  }
  // The same for containers of run-time size; Error if a size is wrong.
  template <class ObservationRange, class ActionRange>
  requires(!std::convertible_to<ObservationRange&&, Observation> ||
           !std::convertible_to<ActionRange&&, Action>) void act(ObservationRange&& observation,
                                                                 ActionRange&& action) const {
    const auto [from, to] = checked(observation, action);
    act(from, to);
  }

  // Any number of observations [rows, observation_size] -> actions [rows, action_size], on this thread and
  // without allocation; Error if the sizes do not fit. From four rows on faster than act() row by row, and
  // equal to it up to rounding; a row's bits do not depend on its place or on the other rows.
  void act_batch(std::span<const float> observations, std::span<float> actions) const {
    const Index rows = static_cast<Index>(actions.size()) / action_size;
    require(static_cast<Index>(actions.size()) == rows * action_size &&
                static_cast<Index>(observations.size()) == rows * observation_size,
            "policy: expected observations [rows, ", observation_size, "] and actions [rows, ", action_size,
            "], found ", observations.size(), " and ", actions.size(), " numbers");
    if (scaled_) {
      act_scaled_rows(observations.data(), rows, actions.data());
    } else {
      kernels::policy_act_rows<Plan, squashing>(isa_, packed(), observations.data(), rows, actions.data());
    }
    for (Index i = 0; i < rows; ++i) {
      scale(Action(actions.data() + i * action_size, Action::extent));
    }
  }

  // A random action: the squashed mean + exp(log_std) * noise, scaled to the box; log_std is clamped to [-20,
  // 2].
  void sample(Observation observation, Action action, Rng& rng) const noexcept
      requires(Network::has_log_std) {
    std::array<float, static_cast<std::size_t>(action_size)> log_std;
    typename Scaling::Row row;
    kernels::policy_act<Plan, Activation::identity>(isa_, packed(), read(observation, row), action.data(),
                                                    log_std.data());
    for (std::size_t i = 0; i < action.size(); ++i) {
      action[i] += std::exp(std::clamp(log_std[i], -20.0f, 2.0f)) * static_cast<float>(rng.normal());
      action[i] = kernels::activate(squashing, action[i]);
    }
    scale(action);
  }
  template <class ObservationRange, class ActionRange>
  requires(Network::has_log_std &&
           (!std::convertible_to<ObservationRange&&, Observation> ||
            !std::convertible_to<ActionRange&&, Action>)) void sample(ObservationRange&& observation,
                                                                      ActionRange&& action, Rng& rng) const {
    const auto [from, to] = checked(observation, action);
    sample(from, to, rng);
  }

 private:
  using Plan = kernels::PolicyPlan<Network, storage>;
  static constexpr Activation squashing = Network::squashing();
  static constexpr Index packed_offset = (parameter_size + 15) / 16 * 16;

  const float* packed() const noexcept { return memory_.data() + packed_offset; }
  void pack() { Plan::pack(memory_.data(), memory_.data() + packed_offset); }

  template <class ObservationRange, class ActionRange>
  static std::pair<Observation, Action> checked(ObservationRange&& observation, ActionRange&& action) {
    const std::span<const float> from(observation);
    const std::span<float> to(action);
    require(from.size() == Observation::extent && to.size() == Action::extent, "policy: expected ",
            observation_size, " observations and ", action_size, " actions, found ", from.size(), " and ",
            to.size());
    return {Observation(from), Action(to)};
  }

  // What the network reads: the observation itself, or scaled into `row`.
  const float* read(Observation observation, typename Scaling::Row& row) const noexcept {
    if (!scaled_) {
      return observation.data();
    }
    scaling_.apply(observation.data(), row.data());
    return row.data();
  }
  // Blocks of rows through the stack; as kernels::policy_act_rows, a row's bits do not depend on its block.
  void act_scaled_rows(const float* observations, Index rows, float* actions) const noexcept {
    constexpr Index block = 16;
    std::array<float, static_cast<std::size_t>(block * observation_size)> read;
    for (Index first = 0; first < rows; first += block) {
      const Index count = std::min(block, rows - first);
      for (Index i = 0; i < count; ++i) {
        scaling_.apply(observations + (first + i) * observation_size, read.data() + i * observation_size);
      }
      kernels::policy_act_rows<Plan, squashing>(isa_, packed(), read.data(), count,
                                                actions + first * action_size);
    }
  }

  void scale(Action action) const noexcept {
    for (std::size_t i = 0; i < action.size(); ++i) {
      if constexpr (Network::squash == Squash::clip) {
        action[i] = detail::clip_action(action[i]);
      }
      action[i] = box_.centre[i] + box_.half_width[i] * action[i];
    }
  }

  Buffer<float> memory_;  // the weights in flat order, then packed for the kernels
  kernels::Isa isa_;
  Box box_;
  Scaling scaling_;
  bool scaled_ = false;
};

// Of the paper's three domains.
using MetaWorldPolicy = MlpPolicy<MetaWorldNetwork>;
using RobosuitePolicy = MlpPolicy<RobosuiteNetwork>;
using QuadrupedPolicy = MlpPolicy<QuadrupedNetwork>;

MAA_NAMESPACE_END
