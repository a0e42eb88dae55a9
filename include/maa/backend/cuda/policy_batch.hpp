// Many different MLPs of one layout at once, each on its own observations, as batches of products: clones
// whole sets of policies and carries losses on what generated policies do back to their weights.
//
// Per policy and layer h' = activation(h W' + b); the heads read the last hidden layer and are not squashed.
#pragma once

#include <maa/backend/cuda/elementwise.hpp>
#include <maa/backend/cuda/linear.hpp>
#include <maa/backend/cuda/matrix.hpp>
#include <maa/backend/policy_batch_arguments.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

// What backward needs of the hidden layers: for each layer [policies, rows, units] before its activation,
// then for each layer the same behind it.
struct PolicyBatchSaved {
  Out hidden;  // [policies, numbers of a policy]
};

namespace detail {

// A matrix for every policy, `policy` apart (0: common to all), with rows `stride` apart.
template <class Number>
struct PerPolicy {
  Number* data = nullptr;
  Index cols = 0;
  Index stride = 0;
  Index policy = 0;

  PerPolicy() = default;
  PerPolicy(Number* data_, Index cols_, Index stride_, Index policy_)
      : data(data_), cols(cols_), stride(stride_), policy(policy_) {}
  PerPolicy(SequenceView<Number> view)
      : PerPolicy(view.data, view.channels, view.channels, view.length * view.channels) {}
  operator PerPolicy<const Number>() const { return {data, cols, stride, policy}; }
};
using InPolicies = PerPolicy<const Real>;
using OutPolicies = PerPolicy<Real>;

class PolicyBatch {
 public:
  PolicyBatch(const Backend& backend, const MlpLayout& layout, In weights,
              const PolicyObservations<Real>& observations)
      : backend_(backend),
        layout_(layout),
        weights_(weights),
        policies_(weights.rows),
        rows_(observations.rows()),
        observations_(observations.of(0).data, observations.size(), observations.of(0).stride,
                      observations.of(1).data - observations.of(0).data) {}

  // Numbers that backward needs of each policy.
  Index saved_size() const { return 2 * rows_ * hidden_units(layout_); }

  // `memory` [policies * saved_size()].
  void forward(Real* memory, OutSeq mean, OutSeq log_std, OutSeq features) const {
    InPolicies x = observations_;
    for (std::size_t i = 0; i < layout_.hidden.size(); ++i) {
      const auto raw_here = hidden(memory, i, false), activated = hidden(memory, i, true);
      const bool last = i + 1 == layout_.hidden.size();
      linear(layout_.hidden[i], x, raw_here.data, activated.data, last ? features.data : nullptr);
      x = activated;
    }
    if (layout_.hidden.empty() && features.data != nullptr) {
      for (Index policy = 0; policy < policies_; ++policy) {
        copy_matrix(backend_, In(x.data + policy * x.policy, rows_, x.cols, x.stride),
                    Out(features.data + policy * rows_ * x.cols, rows_, x.cols));
      }
    }
    linear(layout_.mean, x, mean.data, nullptr, nullptr);
    if (log_std.data != nullptr) {
      linear(*layout_.log_std, x, log_std.data, nullptr, nullptr);
    }
  }

  void backward(Real* memory, InSeq dmean, InSeq dlog_std, InSeq dfeatures, Out dweights,
                OutSeq dobservations) const {
    const auto scope = backend_.scratch().scope();
    OutPolicies upstream;
    // The linear map i reads hidden layer i - 1 (the first the observations); after the last come the heads.
    for (std::size_t i = layout_.hidden.size() + 1; i-- > 0;) {
      InPolicies input = observations_;
      OutPolicies dinput = dobservations;
      if (i > 0) {
        input = hidden(memory, i - 1, true);
        const Index units = input.cols;
        dinput = {backend_.scratch().template take<Real>(policies_ * rows_ * units), units, units,
                  rows_ * units};
      }
      if (i < layout_.hidden.size()) {
        linear_backward(layout_.hidden[i], input, upstream, dweights, dinput, false);
      } else {
        linear_backward(layout_.mean, input, InPolicies(dmean), dweights, dinput, false);
        if (dlog_std.data != nullptr) {
          linear_backward(*layout_.log_std, input, InPolicies(dlog_std), dweights, dinput, true);
        }
        if (dfeatures.data != nullptr && dinput.data != nullptr) {
          const auto to = span_of(dinput);
          add_matrix(backend_, In(dfeatures.data, 1, dfeatures.size()), Out(to.data(), 1, std::ssize(to)));
        }
      }
      if (i > 0) {
        activation_backward(backend_, layout_.hidden[i - 1].activation, span_of(hidden(memory, i - 1, false)),
                            span_of(dinput), span_of(dinput));
        upstream = dinput;
      }
    }
  }

 private:
  // Hidden layer `layer`, before or behind its activation.
  OutPolicies hidden(Real* memory, std::size_t layer, bool activated) const {
    Index before = activated ? saved_size() / 2 : 0;
    for (std::size_t i = 0; i < layer; ++i) {
      before += rows_ * layout_.hidden[i].out;
    }
    const Index units = layout_.hidden[layer].out;
    return {memory + policies_ * before, units, units, rows_ * units};
  }
  OutSpan span_of(const OutPolicies& x) const {  // contiguous ones
    return {x.data, static_cast<std::size_t>(policies_ * rows_ * x.cols)};
  }

  // y = x W' + b and, if they are not null, activated = features = activation(y); all [policies, rows, out].
  void linear(const MlpLayout::Linear& layer, const InPolicies& x, Real* y, Real* activated,
              Real* features) const {
    multiply(backend_, {.a = raw(x.data),
                        .b = raw(weights_.data + layer.weight_offset),
                        .c = raw(y),
                        .m = rows_,
                        .n = layer.out,
                        .k = layer.in,
                        .a_row = x.stride,
                        .b_row = layer.in,
                        .c_row = layer.out,
                        .b_transposed = 1,
                        .batch = policies_,
                        .a_batch = x.policy,
                        .b_batch = weights_.stride,
                        .c_batch = rows_ * layer.out});
    backend_.launch(
        kernels::policy_bias_kernel, policies_ * rows_ * layer.out,
        kernels::PolicyBiasArguments{raw(weights_.data + layer.bias_offset), raw(y), raw(activated),
                                     raw(features), weights_.stride, layer.out, rows_ * layer.out,
                                     static_cast<kernels::Int>(layer.activation)});
  }
  // If dweights has data, dW += dy' x and db += column sums of dy; then, if dx has data, dx = dy W or
  // dx += dy W.
  void linear_backward(const MlpLayout::Linear& layer, const InPolicies& x, const InPolicies& dy,
                       Out dweights, const OutPolicies& dx, bool accumulate) const {
    if (dweights.data != nullptr) {
      multiply(backend_, {.a = raw(dy.data),
                          .b = raw(x.data),
                          .c = raw(dweights.data + layer.weight_offset),
                          .m = layer.out,
                          .n = layer.in,
                          .k = rows_,
                          .a_row = dy.stride,
                          .b_row = x.stride,
                          .c_row = layer.in,
                          .a_transposed = 1,
                          .accumulate = 1,
                          .batch = policies_,
                          .a_batch = dy.policy,
                          .b_batch = x.policy,
                          .c_batch = dweights.stride});
      add_column_sums(backend_, In(dy.data, rows_, layer.out, dy.stride), policies_, dy.policy,
                      dweights.data + layer.bias_offset, dweights.stride);
    }
    if (dx.data != nullptr) {
      multiply(backend_, {.a = raw(dy.data),
                          .b = raw(weights_.data + layer.weight_offset),
                          .c = raw(dx.data),
                          .m = rows_,
                          .n = layer.in,
                          .k = layer.out,
                          .a_row = dy.stride,
                          .b_row = layer.in,
                          .c_row = dx.stride,
                          .accumulate = accumulate,
                          .batch = policies_,
                          .a_batch = dy.policy,
                          .b_batch = weights_.stride,
                          .c_batch = dx.policy});
    }
  }

  const Backend& backend_;
  const MlpLayout& layout_;
  In weights_;
  Index policies_, rows_;
  InPolicies observations_;
};

}  // namespace detail

// weights [policies, parameters] (any row stride) -> mean [policies, rows, actions] and, if it has data,
// log_std, both as the linear heads give them, and features, what the heads read: the activated last hidden
// layer [policies, rows, units]. What backward needs lies in `workspace`.
inline PolicyBatchSaved policy_batch_forward(const Backend& backend, const MlpLayout& layout, In weights,
                                             const PolicyObservations<Real>& observations,
                                             Workspace& workspace, OutSeq mean, OutSeq log_std = {},
                                             OutSeq features = {}) {
  check_policy_batch(layout, weights, observations, mean, log_std, "policy_batch_forward");
  check_features(layout, mean, features, "policy_batch_forward");
  const detail::PolicyBatch batch(backend, layout, weights, observations);
  const auto saved = workspace.matrix<Real>(weights.rows, batch.saved_size());
  batch.forward(saved.data, mean, log_std, features);
  return {saved};
}

// The same without keeping anything.
inline void policy_batch_infer(const Backend& backend, const MlpLayout& layout, In weights,
                               const PolicyObservations<Real>& observations, OutSeq mean, OutSeq log_std = {},
                               OutSeq features = {}) {
  check_policy_batch(layout, weights, observations, mean, log_std, "policy_batch_infer");
  check_features(layout, mean, features, "policy_batch_infer");
  const detail::PolicyBatch batch(backend, layout, weights, observations);
  const auto scope = backend.scratch().scope();
  batch.forward(backend.scratch().take<Real>(weights.rows * batch.saved_size()), mean, log_std, features);
}

// From the heads' gradients dmean and, if they have data, dlog_std and dfeatures, where they have data:
// dweights [policies, parameters] accumulates (any row stride); dobservations [policies, rows, observation]
// is overwritten, also for common observations.
inline void policy_batch_backward(const Backend& backend, const MlpLayout& layout, In weights,
                                  const PolicyObservations<Real>& observations, const PolicyBatchSaved& saved,
                                  InSeq dmean, InSeq dlog_std, Out dweights, OutSeq dobservations = {},
                                  InSeq dfeatures = {}) {
  check_policy_batch(layout, weights, observations, dmean, dlog_std, "policy_batch_backward");
  check_features(layout, dmean, dfeatures, "policy_batch_backward");
  const detail::PolicyBatch batch(backend, layout, weights, observations);
  if (dweights.data != nullptr) {
    require_shape(dweights, weights.rows, weights.cols, "policy_batch_backward: dweights");
  }
  require_shape(saved.hidden, weights.rows, batch.saved_size(), "policy_batch_backward: saved");
  if (dobservations.data != nullptr) {
    require_shape(dobservations, weights.rows, observations.rows(), observations.size(),
                  "policy_batch_backward: dobservations");
  }
  batch.backward(saved.hidden.data, dmean, dlog_std, dfeatures, dweights, dobservations);
}

}  // namespace cuda
MAA_NAMESPACE_END
