// A policy that runs: owned weights and batch-1 inference without allocation, lock or exception.
#pragma once

#include <maa/core/finite.hpp>
#include <maa/kernels/table.hpp>
#include <maa/models/mlp_network.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <ranges>

MAA_NAMESPACE_BEGIN

// The action box: action = centre + half_width * squashed output. The default is [-1, 1].
template <Index Actions>
struct ActionBox {
  std::array<float, static_cast<std::size_t>(Actions)> centre{};
  std::array<float, static_cast<std::size_t>(Actions)> half_width = [] {
    std::array<float, static_cast<std::size_t>(Actions)> ones{};
    ones.fill(1.0f);
    return ones;
  }();
  bool operator==(const ActionBox&) const = default;

  static ActionBox from_limits(std::span<const float> low, std::span<const float> high) {
    require(static_cast<Index>(low.size()) == Actions && low.size() == high.size(), "action box: expected ",
            Actions, " limits, found ", low.size(), " and ", high.size());
    ActionBox box;
    for (std::size_t i = 0; i < low.size(); ++i) {
      require(low[i] < high[i], "action box: expected low < high, found ", low[i], " and ", high[i],
              " for action ", i);
      box.centre[i] = 0.5f * (low[i] + high[i]);
      box.half_width[i] = 0.5f * (high[i] - low[i]);
    }
    return box;
  }
};

// A value: copying copies the weights. Const members may be called from several threads at once.
template <class NetworkT>
class MlpPolicy {
 public:
  using Network = NetworkT;
  static constexpr Index observation_size = Network::observation_size;
  static constexpr Index action_size = Network::action_size;
  static constexpr Index parameter_size = parameter_count<Network>;
  using Observation = std::span<const float, static_cast<std::size_t>(observation_size)>;
  using Action = std::span<float, static_cast<std::size_t>(action_size)>;
  using Box = ActionBox<action_size>;

  // All weights zero. The kernels are chosen here, so that a bad MAA_ISA is an Error now and act() can be
  // noexcept.
  MlpPolicy() : weights_(parameter_size) { kernels::active(); }
  // weights [parameter_size] in the network's flat order; Error if the size is wrong or a number is not
  // finite.
  explicit MlpPolicy(std::span<const float> weights, const Box& box = {}) : MlpPolicy() {
    require(static_cast<Index>(weights.size()) == parameter_size, "policy: expected ", parameter_size,
            " weights, found ", weights.size());
    const auto bad = first_nonfinite(weights);
    require(bad < 0, "policy: expected finite weights, found NaN or infinity at ", bad);
    weights_ = Buffer<float>(weights);
    box_ = box;
  }
  // Freshly initialised, as an untrained network.
  static MlpPolicy untrained(std::uint64_t seed) {
    MlpPolicy policy;
    initialize<Network>(policy.weights_.span(), Rng(seed));
    return policy;
  }

  std::span<const float> weights() const noexcept { return weights_.span(); }
  const Box& box() const noexcept { return box_; }

  // Deterministic action: the squashed mean, scaled to the box.
  void act(Observation observation, Action action) const noexcept {
    std::array<float, static_cast<std::size_t>(action_size)> log_std;
    heads(observation.data(), action.data(), log_std.data(), false);
    squash(action);
  }
  // The same for containers of run-time size; Error if a size is wrong.
  template <class ObservationRange, class ActionRange>
  requires(!std::convertible_to<ObservationRange&&, Observation> ||
           !std::convertible_to<ActionRange&&, Action>) void act(ObservationRange&& observation,
                                                                 ActionRange&& action) const {
    const auto [from, to] = checked(observation, action);
    act(from, to);
  }

  // A random action: the squashed mean + exp(log_std) * noise, scaled to the box; log_std is clamped to [-20,
  // 2].
  void sample(Observation observation, Action action, Rng& rng) const noexcept
      requires(Network::has_log_std) {
    std::array<float, static_cast<std::size_t>(action_size)> log_std;
    heads(observation.data(), action.data(), log_std.data(), true);
    for (std::size_t i = 0; i < action.size(); ++i) {
      action[i] += std::exp(std::clamp(log_std[i], -20.0f, 2.0f)) * static_cast<float>(rng.normal());
    }
    squash(action);
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
  static constexpr Index widest = std::ranges::max(Network::hidden_sizes);

  template <class ObservationRange, class ActionRange>
  static std::pair<Observation, Action> checked(ObservationRange&& observation, ActionRange&& action) {
    const std::span<const float> from(observation);
    const std::span<float> to(action);
    require(from.size() == Observation::extent && to.size() == Action::extent, "policy: expected ",
            observation_size, " observations and ", action_size, " actions, found ", from.size(), " and ",
            to.size());
    return {Observation(from), Action(to)};
  }

  void heads(const float* observation, float* mean, float* log_std, bool with_log_std) const noexcept {
    const auto& kernels = kernels::active();
    alignas(buffer_alignment) std::array<float, static_cast<std::size_t>(2 * widest)> scratch;
    const float* x = observation;
    float* y = scratch.data();
    float* spare = scratch.data() + widest;
    const float* weight = weights_.data();
    Index in = observation_size;
    const auto linear = [&](float* out_values, Index out) {
      kernels.linear(weight, weight + in * out, x, out_values, out, in);
      weight += (in + 1) * out;
    };
    for (std::size_t i = 0; i < Network::hidden_sizes.size(); ++i) {
      const Index units = Network::hidden_sizes[i];
      linear(y, units);
      kernels.activation_forward(Network::hidden_activations[i], y, y, units);
      x = y;
      std::swap(y, spare);
      in = units;
    }
    linear(mean, action_size);
    if (with_log_std) {
      linear(log_std, action_size);
    }
  }
  void squash(Action action) const noexcept {
    if constexpr (Network::squash == Squash::tanh) {
      kernels::active().activation_forward(Activation::tanh, action.data(), action.data(), action_size);
    }
    for (std::size_t i = 0; i < action.size(); ++i) {
      action[i] = box_.centre[i] + box_.half_width[i] * action[i];
    }
  }

  Buffer<float> weights_;
  Box box_;
};

using MetaWorldPolicy = MlpPolicy<MetaWorldNetwork>;
using RobosuitePolicy = MlpPolicy<RobosuiteNetwork>;
using QuadrupedPolicy = MlpPolicy<QuadrupedNetwork>;

MAA_NAMESPACE_END
