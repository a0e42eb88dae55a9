// Cases of policies: one and many of them, and the loss on what they do, which also runs on a device.
#pragma once

#include "case.hpp"

#include <maa/models/policy.hpp>

namespace bench {

// The weights of `count` freshly initialised policies of the paper's size, [count, parameters].
inline Buffer<float> policy_weights(Index count) {
  constexpr Index size = maa::parameter_count<maa::MetaWorldNetwork>;
  Buffer<float> all(count * size);
  for (Index i = 0; i < count; ++i) {
    const auto policy = maa::MetaWorldPolicy::untrained(static_cast<std::uint64_t>(i));
    std::copy_n(policy.weights().data(), size, all.data() + i * size);
  }
  return all;
}

// y = x W' with packed weights, x [rows, in], W [out, in]. Peers derive from it.
class Product : public Case {
 public:
  Product(Index rows, Index in, Index out, int threads)
      : threads_(threads),
        rows_(rows),
        in_(in),
        out_(out),
        backend_(threads),
        x_(normal_numbers(1, rows * in)),
        weight_(normal_numbers(2, in * out)),
        packed_(backend_.packed(weight_.span())),
        y_(rows * out) {}
  void run() override {
    linear_forward(packed_, MatrixView<const float>(x_.data(), rows_, in_), weight_.data(), nullptr,
                   MatrixView<float>(y_.data(), rows_, out_));
  }
  Work work() const override {
    const auto weights = static_cast<double>(in_ * out_);
    return {2 * static_cast<double>(rows_) * weights, 4 * weights, 0};
  }
  std::vector<float> outcome() const override { return to_vector(y_.span()); }

 protected:
  int threads_;
  Index rows_, in_, out_;
  Backend backend_;
  Buffer<float> x_, weight_;
  Backend packed_;
  Buffer<float> y_;
};

// Shared by the policy cases: weights [policies, parameters] and observations [policies, rows, observation].
class PolicyCase : public Case {
 protected:
  using Network = maa::MetaWorldNetwork;
  static constexpr Index parameters = maa::parameter_count<Network>;
  static constexpr Index observation_size = Network::observation_size;
  static constexpr Index action_size = Network::action_size;
  // The log_std head is not run.
  static constexpr double used = static_cast<double>(parameters - (Network::last_hidden + 1) * action_size);

  PolicyCase(Index policies, Index rows)
      : policies_(policies),
        rows_(rows),
        weights_(policy_weights(policies)),
        observations_(normal_numbers(2, policies * rows * observation_size)) {}

  void write_inputs(maa::SafetensorsWriter& writer) override {
    writer.add("weights", {policies_, parameters}, weights_.span());
    writer.add("observations", {policies_, rows_, observation_size}, observations_.span());
  }

  Index policies_, rows_;
  Buffer<float> weights_, observations_;
};

// One action for one observation at a time, of 64 in turn.
template <maa::Storage storage>
class Act : public PolicyCase {
  using Policy = maa::MlpPolicy<Network, storage>;

 public:
  Act() : PolicyCase(1, count), policy_(std::as_const(weights_).span()), actions_(count * action_size) {}
  void run() override {
    next_ = (next_ + 1) % count;
    policy_.act(
        typename Policy::Observation(observations_.data() + next_ * observation_size, observation_size),
        typename Policy::Action(actions_.data() + next_ * action_size, action_size));
  }
  Work work() const override { return {2 * used, 0, 0}; }
  int runs_to_check() const override { return count; }
  std::vector<float> outcome() const override { return to_vector(actions_.span()); }

 private:
  static constexpr int count = 64;

  Policy policy_;
  Buffer<float> actions_;
  Index next_ = 0;
};

// One policy, many observations at once.
class ActRows : public PolicyCase {
 public:
  explicit ActRows(Index rows)
      : PolicyCase(1, rows), policy_(std::as_const(weights_).span()), actions_(rows * action_size) {}
  void run() override { policy_.act_batch(observations_.span(), actions_.span()); }
  Work work() const override { return {2 * used * static_cast<double>(rows_), 0, 0}; }
  std::vector<float> outcome() const override { return to_vector(actions_.span()); }

 private:
  maa::MetaWorldPolicy policy_;
  Buffer<float> actions_;
};

// Many policies, each its own observation; the heads' means.
template <class BackendT>
class Policies : public PolicyCase {
  using Real = typename BackendT::template Element<float>;

 public:
  Policies(const BackendT& backend, Index policies)
      : PolicyCase(policies, 1),
        backend_(backend),
        given_(backend, Buffer<float>(weights_)),
        seen_(backend, Buffer<float>(observations_)),
        means_(backend.template make_array<float>(policies * action_size)) {}
  void run() override {
    [[maybe_unused]] const auto session = hold(backend_);
    policy_batch_infer(backend_, Network::layout(), given_.matrix(policies_),
                       maa::PolicyObservations<Real>(seen_.sequence(policies_, 1)),
                       SequenceView<Real>(means_.data(), policies_, 1, action_size));
    finish(backend_);
  }
  Work work() const override {
    return {2 * used * static_cast<double>(policies_), 4 * used * static_cast<double>(policies_), 0};
  }
  int runs_to_check() const override { return settled_runs<BackendT>; }
  std::vector<float> outcome() const override {
    return downloaded_vector(backend_, std::as_const(means_).span());
  }

 private:
  BackendT backend_;
  Input<BackendT> given_, seen_;
  typename BackendT::template Array<float> means_;
};

// A loss on what policies do, and its gradient for their weights.
template <class BackendT>
class Behavior : public PolicyCase {
  using Real = typename BackendT::template Element<float>;

 public:
  Behavior(const BackendT& backend, Index policies, Index rows)
      : PolicyCase(policies, rows),
        backend_(backend),
        given_(backend, Buffer<float>(weights_)),
        seen_(backend, Buffer<float>(observations_)),
        targets_(backend, normal_numbers(3, policies * rows * action_size)),
        gradients_(backend.template make_array<float>(policies * parameters)),
        workspace_(backend.make_workspace()) {}
  void run() override {
    [[maybe_unused]] const auto session = hold(backend_);
    workspace_.reset();
    const auto layout = Network::layout();
    const auto weights = given_.matrix(policies_);
    const maa::PolicyObservations<Real> seen(seen_.sequence(policies_, rows_));
    const auto means = workspace_.template sequence<Real>(policies_, rows_, action_size);
    const auto dmeans = workspace_.template sequence<Real>(policies_, rows_, action_size);
    const MatrixView<Real> gradients(gradients_.data(), policies_, parameters);
    const auto saved = policy_batch_forward(backend_, layout, weights, seen, workspace_, means);
    const auto loss = mse_loss(backend_, means.flat(), targets_.matrix(policies_ * rows_), dmeans.flat());
    fill_zero(backend_, gradients);
    policy_batch_backward(backend_, layout, weights, seen, saved, SequenceView<const Real>(dmeans), {},
                          gradients);
    loss_ = static_cast<float>(read(backend_, loss));
  }
  // No gradient for the observations.
  Work work() const override {
    const double first = static_cast<double>((observation_size + 1) * Network::hidden_sizes[0]);
    const auto rows = static_cast<double>(policies_ * rows_);
    return {2 * rows * (3 * used - first), 0, 4.0 * 2 * used * static_cast<double>(policies_)};
  }
  void write_inputs(maa::SafetensorsWriter& writer) override {
    PolicyCase::write_inputs(writer);
    writer.add("targets", {policies_, rows_, action_size}, targets_.host().span());
  }
  int runs_to_check() const override { return settled_runs<BackendT>; }
  std::vector<float> outcome() const override {
    auto values = downloaded_vector(backend_, std::as_const(gradients_).span());
    values.push_back(loss_);
    return values;
  }

 private:
  BackendT backend_;
  Input<BackendT> given_, seen_, targets_;
  typename BackendT::template Array<float> gradients_;
  maa::WorkspaceOf<BackendT> workspace_;
  float loss_ = 0;
};

}  // namespace bench
