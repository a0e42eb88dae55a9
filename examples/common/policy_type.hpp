// Policies of any type at run time, for code that is compiled once for all of them.
#pragma once

#include <memory>

#include <maa/data/fold_normalizer.hpp>
#include <maa/io/policy_file.hpp>

namespace maa::examples {

// A network's description (MlpNetwork) as values. Weights are flat arrays [P] in its order.
struct NetworkType {
  PolicyShape shape;
  MlpLayout layout;
  std::vector<TensorInfo> tensors;
  void (*initialize)(std::span<float> weights, const Rng& rng) = nullptr;
  void (*fold)(const Normalizer& observations, std::span<float> weights) = nullptr;
  void (*unfold)(const Normalizer& observations, std::span<float> weights) = nullptr;

  Index observation_size() const { return layout.hidden.front().in; }  // O
  Index action_size() const { return layout.mean.out; }                // A
  Index parameter_count() const { return layout.parameter_count; }     // P
};

template <class Network>
NetworkType network_type() {
  return {PolicyShape::of<Network>(),
          Network::layout(),
          tensors_of<Network>(),
          [](std::span<float> weights, const Rng& rng) { initialize<Network>(weights, rng); },
          &fold_normalizer<Network>,
          &unfold_normalizer<Network>};
}

// One policy that acts. Threads may use it at once.
class Actor {
 public:
  virtual ~Actor() = default;
  // observation [O] -> action [A]; many: [rows, O] -> [rows, A].
  virtual void act(std::span<const float> observation, std::span<float> action) const = 0;
  virtual void act_batch(std::span<const float> observations, std::span<float> actions) const = 0;
};

// A policy type as values, with its errors: wrong sizes, and numbers that are not finite.
struct PolicyType : NetworkType {
  std::unique_ptr<Actor> (*make)(std::span<const float> weights) = nullptr;
  void (*save)(const std::filesystem::path& path, std::span<const float> weights,
               const PolicyMetadata& metadata) = nullptr;
  std::unique_ptr<Actor> (*load)(const std::filesystem::path& path) = nullptr;
};

// The one PolicyType of an MlpPolicy.
template <class Policy>
const PolicyType& policy_type() {
  struct ActorOf final : Actor {
    explicit ActorOf(Policy own) : policy(std::move(own)) {}
    void act(std::span<const float> observation, std::span<float> action) const override {
      policy.act(observation, action);
    }
    void act_batch(std::span<const float> observations, std::span<float> actions) const override {
      policy.act_batch(observations, actions);
    }
    Policy policy;
  };
  static const PolicyType type{
      network_type<typename Policy::Network>(),
      [](std::span<const float> weights) -> std::unique_ptr<Actor> {
        return std::make_unique<ActorOf>(Policy(weights));
      },
      [](const std::filesystem::path& path, std::span<const float> weights, const PolicyMetadata& metadata) {
        save_policy(path, Policy(weights), metadata);
      },
      [](const std::filesystem::path& path) -> std::unique_ptr<Actor> {
        return std::make_unique<ActorOf>(load_policy<Policy>(path));
      }};
  return type;
}

}  // namespace maa::examples
