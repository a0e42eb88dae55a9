// Policies against PyTorch: a batch of different ones with gradients, and one of the paper's size.
#include "parity_fixture.hpp"

#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/models/policy.hpp>

namespace {

using maa::Activation;
using maa::Index;
using parity::check_close;
using parity::forward_tolerance;
using parity::gradient_tolerance;

using SmallNetwork =
    maa::MlpNetwork<6, 2,
                    maa::HiddenLayers<maa::Hidden<8, Activation::elu>, maa::Hidden<7, Activation::relu>>>;

const parity::Fixture& policies() {
  static const parity::Fixture fixture("policies");
  return fixture;
}

}  // namespace

TEST_CASE_TEMPLATE("a batch of different policies", T, float, double) {
  const maa::cpu::Backend backend;
  maa::Workspace workspace;
  const auto weights = policies().read<T>("batch.weights"),
             observation = policies().read<T>("batch.observation"), dmean = policies().read<T>("batch.dmean"),
             dlog_std = policies().read<T>("batch.dlog_std");
  auto mean = policies().like<T>("batch.mean"), log_std = policies().like<T>("batch.log_std"),
       dweights = policies().like<T>("batch.weights"), dobservation = policies().like<T>("batch.observation");
  const auto layout = SmallNetwork::layout();
  const auto saved = policy_batch_forward(backend, layout, weights.matrix(), observation.sequence(),
                                          workspace, mean.sequence(), log_std.sequence());
  policy_batch_backward(backend, layout, weights.matrix(), observation.sequence(), saved, dmean.sequence(),
                        dlog_std.sequence(), dweights.matrix(), dobservation.sequence());
  check_close(policies(), "batch.mean", mean, forward_tolerance<T>);
  check_close(policies(), "batch.log_std", log_std, forward_tolerance<T>);
  check_close(policies(), "batch.dweights", dweights, gradient_tolerance<T>);
  check_close(policies(), "batch.dobservation", dobservation, gradient_tolerance<T>);
}

TEST_CASE_TEMPLATE("a MetaWorld policy from PyTorch's tensors", T, float, double) {
  const maa::cpu::Backend backend;
  const auto weights = policies().parameters<maa::MetaWorldNetwork, T>("metaworld.weights.");
  const auto observation = policies().read<T>("metaworld.observation");
  auto mean = policies().like<T>("metaworld.mean"), log_std = policies().like<T>("metaworld.log_std");
  const auto one = [](auto& tensor) {
    return maa::SequenceView<T>(tensor.data(), 1, tensor.dim(0), tensor.dim(1));
  };
  policy_batch_infer(backend, maa::MetaWorldNetwork::layout(),
                     maa::MatrixView<const T>(weights.data(), 1, weights.size()), observation.matrix(),
                     one(mean), one(log_std));
  check_close(policies(), "metaworld.mean", mean, forward_tolerance<T>);
  check_close(policies(), "metaworld.log_std", log_std, forward_tolerance<T>);
}

TEST_CASE("a running MetaWorld policy acts as PyTorch's") {
  const maa::MetaWorldPolicy policy(
      policies().parameters<maa::MetaWorldNetwork, float>("metaworld.weights.").span());
  const auto observation = policies().read<float>("metaworld.observation");
  auto action = policies().like<float>("metaworld.action");
  for (Index i = 0; i < action.dim(0); ++i) {
    policy.act(observation.matrix().row_span(i), action.matrix().row_span(i));
  }
  check_close(policies(), "metaworld.action", action, forward_tolerance<float>);
}
