// Many different MLPs of one layout at once, each on its own observations: clones whole sets of policies and
// carries losses on what generated policies do back to their weights.
//
// Per policy and layer h' = activation(h W' + b); the heads read the last hidden layer and are not squashed.
#pragma once

#include <maa/backend/cpu/elementwise.hpp>
#include <maa/backend/cpu/linear.hpp>
#include <maa/backend/cpu/matrix.hpp>
#include <maa/backend/mlp_layout.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

// What the policies see: [policies, rows, observation], or one matrix [rows, observation] common to all of
// them.
template <class T>
class PolicyObservations {
 public:
  template <class U>
  requires std::is_same_v<std::remove_const_t<U>, T> PolicyObservations(SequenceView<U> own)
      : first_(own.data, own.length, own.channels),
        stride_(own.length * own.channels),
        policies_(own.batch) {}
  template <class U>
  requires std::is_same_v<std::remove_const_t<U>, T> PolicyObservations(MatrixView<U> common)
      : first_(common) {}

  MatrixView<const T> of(Index policy) const {
    return {first_.data + policy * stride_, first_.rows, first_.cols, first_.stride};
  }
  Index rows() const { return first_.rows; }
  Index size() const { return first_.cols; }
  bool suits(Index policies) const { return stride_ == 0 || policies_ == policies; }
  Index policies() const { return policies_; }

 private:
  MatrixView<const T> first_;
  Index stride_ = 0;  // between policies
  Index policies_ = 1;
};

// The pre-activations of the hidden layers: per policy [rows, units] of the first layer, then of the next.
template <class T>
struct PolicyBatchSaved {
  MatrixView<T> pre_activations;  // [policies, rows * units of all layers]
};

namespace detail {

inline Index hidden_units(const MlpLayout& layout) {
  Index units = 0;
  for (const auto& layer : layout.hidden) {
    units += layer.out;
  }
  return units;
}

// y = x W' + b of one policy.
template <class T>
void policy_linear(const Backend& backend, const MlpLayout::Linear& layer, const T* weights,
                   MatrixView<const T> x, MatrixView<T> y) {
  const Strided<T> matrix(weights + layer.weight_offset, layer.out, layer.in, layer.in, 1);
  multiply_serial(backend, checked_product<T>("policy_batch", x, matrix.transposed(), y,
                                              weights + layer.bias_offset, Write::overwrite));
}

// dW += dy' x, db += column sums of dy; then, if dx has data, dx = dy W or dx += dy W.
template <class T>
void policy_linear_backward(const Backend& backend, const MlpLayout::Linear& layer, const T* weights,
                            MatrixView<const T> x, MatrixView<const T> dy, T* dweights, MatrixView<T> dx,
                            Write write) {
  gemm_serial(backend, Strided<T>(dy).transposed(), Strided<T>(x),
              MatrixView<T>(dweights + layer.weight_offset, layer.out, layer.in), Write::accumulate);
  cpu::add_column_sums(backend, dy, dweights + layer.bias_offset);
  if (dx.data != nullptr) {
    const Strided<T> matrix(weights + layer.weight_offset, layer.out, layer.in, layer.in, 1);
    gemm_serial(backend, Strided<T>(dy), matrix, dx, write);
  }
}

// One policy. The pre-activations go to `pre_activations`, or nowhere if that is null.
template <class T>
void policy_forward(const Backend& backend, const MlpLayout& layout, const T* weights, MatrixView<const T> x,
                    T* pre_activations, MatrixView<T> mean, MatrixView<T> log_std, MatrixView<T> features) {
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  for (const auto& layer : layout.hidden) {
    const auto activated = scratch.matrix<T>(x.rows, layer.out);
    auto raw = activated;
    if (pre_activations != nullptr) {
      raw = MatrixView<T>(pre_activations, x.rows, layer.out);
      pre_activations += raw.size();
    }
    policy_linear(backend, layer, weights, x, raw);
    activation_forward(backend, layer.activation, raw.span(), activated.span());
    x = activated;
  }
  if (features.data != nullptr) {
    copy_matrix(backend, x, features);
  }
  policy_linear(backend, layout.mean, weights, x, mean);
  if (log_std.data != nullptr) {
    policy_linear(backend, *layout.log_std, weights, x, log_std);
  }
}

// One policy; the hidden layers' outputs are formed again from the pre-activations.
template <class T>
void policy_backward(const Backend& backend, const MlpLayout& layout, const T* weights, MatrixView<const T> x,
                     const T* pre_activations, MatrixView<const T> dmean, MatrixView<const T> dlog_std,
                     MatrixView<const T> dfeatures, T* dweights, MatrixView<T> dx) {
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  const T* raw_data = pre_activations + x.rows * hidden_units(layout);
  MatrixView<T> upstream;
  // The linear map i reads hidden layer i - 1 (the first the observations); after the last come the heads.
  for (std::size_t i = layout.hidden.size() + 1; i-- > 0;) {
    MatrixView<const T> raw;
    auto input = x;
    auto dinput = dx;
    if (i > 0) {
      const Index units = layout.hidden[i - 1].out;
      raw_data -= x.rows * units;
      raw = {raw_data, x.rows, units};
      const auto activated = scratch.matrix<T>(x.rows, units);
      activation_forward(backend, layout.hidden[i - 1].activation, raw.span(), activated.span());
      input = activated;
      dinput = scratch.matrix<T>(x.rows, units);
    }
    if (i < layout.hidden.size()) {
      policy_linear_backward<T>(backend, layout.hidden[i], weights, input, upstream, dweights, dinput,
                                Write::overwrite);
    } else {
      policy_linear_backward(backend, layout.mean, weights, input, dmean, dweights, dinput, Write::overwrite);
      if (dlog_std.data != nullptr) {
        policy_linear_backward(backend, *layout.log_std, weights, input, dlog_std, dweights, dinput,
                               Write::accumulate);
      }
      if (dfeatures.data != nullptr) {
        add_matrix(backend, dfeatures, dinput);
      }
    }
    if (i > 0) {
      activation_backward(backend, layout.hidden[i - 1].activation, raw.span(), dinput.span(), dinput.span());
      upstream = dinput;
    }
  }
}

template <class T>
MatrixView<T> policy_rows(SequenceView<T> view, Index policy) {
  return view.data == nullptr
             ? MatrixView<T>()
             : MatrixView<T>(view.data + policy * view.length * view.channels, view.length, view.channels);
}

// mean and log_std: the heads' outputs or their gradients.
template <class T, class U>
void check_policy_batch(const MlpLayout& layout, MatrixView<const T> weights,
                        const PolicyObservations<T>& observations, SequenceView<U> mean,
                        SequenceView<U> log_std, const char* op) {
  Index inputs = observations.size();
  const auto check = [&](const MlpLayout::Linear& layer) {
    const auto inside = [&](Index offset, Index size) {
      return offset >= 0 && size >= 0 && offset + size <= layout.parameter_count;
    };
    require(layer.in == inputs && inside(layer.weight_offset, layer.in * layer.out) &&
                inside(layer.bias_offset, layer.out),
            op, ": expected a layer of ", inputs, " inputs within ", layout.parameter_count,
            " parameters, found ", layer.in, " inputs, ", layer.out, " outputs, weight at ",
            layer.weight_offset, ", bias at ", layer.bias_offset);
  };
  for (const auto& layer : layout.hidden) {
    check(layer);
    inputs = layer.out;
  }
  check(layout.mean);
  require(weights.cols == layout.parameter_count, op, ": expected weights of ", layout.parameter_count,
          " parameters, found ", weights.cols);
  require(observations.suits(weights.rows), op, ": expected observations of ", weights.rows,
          " policies, found ", observations.policies());
  require(
      mean.batch == weights.rows && mean.length == observations.rows() && mean.channels == layout.mean.out,
      op, ": expected mean [", weights.rows, ", ", observations.rows(), ", ", layout.mean.out, "], found [",
      mean.batch, ", ", mean.length, ", ", mean.channels, "]");
  if (log_std.data != nullptr) {
    require(layout.log_std.has_value(), op, ": the policies have no log_std head");
    check(*layout.log_std);
    require(log_std.batch == weights.rows && log_std.length == observations.rows() &&
                log_std.channels == layout.log_std->out,
            op, ": expected log_std [", weights.rows, ", ", observations.rows(), ", ", layout.log_std->out,
            "], found [", log_std.batch, ", ", log_std.length, ", ", log_std.channels, "]");
  }
}

template <class U, class V>
void check_features(const MlpLayout& layout, SequenceView<U> mean, SequenceView<V> features, const char* op) {
  if (features.data != nullptr) {
    require_shape(features, mean.batch, mean.length, layout.mean.in, op);
  }
}

}  // namespace detail

// weights [policies, parameters] (any row stride) -> mean [policies, rows, actions] and, if it has data,
// log_std, both as the linear heads give them, and features, what the heads read: the activated last hidden
// layer [policies, rows, units]. What backward needs lies in `workspace`.
template <class T>
PolicyBatchSaved<T> policy_batch_forward(const Backend& backend, const MlpLayout& layout, In<T> weights,
                                         const PolicyObservations<std::type_identity_t<T>>& observations,
                                         Workspace& workspace, SequenceView<T> mean,
                                         SequenceView<std::type_identity_t<T>> log_std = {},
                                         SequenceView<std::type_identity_t<T>> features = {}) {
  detail::check_policy_batch(layout, weights, observations, mean, log_std, "policy_batch_forward");
  detail::check_features(layout, mean, features, "policy_batch_forward");
  const auto saved = workspace.matrix<T>(weights.rows, observations.rows() * detail::hidden_units(layout));
  backend.pool().for_each(weights.rows, [&](Index g) {
    detail::policy_forward(backend, layout, weights.row(g), observations.of(g), saved.row(g),
                           detail::policy_rows(mean, g), detail::policy_rows(log_std, g),
                           detail::policy_rows(features, g));
  });
  return {saved};
}

// The same without keeping anything.
template <class T>
void policy_batch_infer(const Backend& backend, const MlpLayout& layout, In<T> weights,
                        const PolicyObservations<std::type_identity_t<T>>& observations, SequenceView<T> mean,
                        SequenceView<std::type_identity_t<T>> log_std = {},
                        SequenceView<std::type_identity_t<T>> features = {}) {
  detail::check_policy_batch(layout, weights, observations, mean, log_std, "policy_batch_infer");
  detail::check_features(layout, mean, features, "policy_batch_infer");
  backend.pool().for_each(weights.rows, [&](Index g) {
    detail::policy_forward<T>(backend, layout, weights.row(g), observations.of(g), nullptr,
                              detail::policy_rows(mean, g), detail::policy_rows(log_std, g),
                              detail::policy_rows(features, g));
  });
}

// From the heads' gradients dmean and, if they have data, dlog_std and dfeatures: dweights [policies,
// parameters] accumulates (any row stride); dobservations [policies, rows, observation] is overwritten if it
// has data, also for common observations.
template <class T>
void policy_batch_backward(const Backend& backend, const MlpLayout& layout, In<T> weights,
                           const PolicyObservations<std::type_identity_t<T>>& observations,
                           const PolicyBatchSaved<std::type_identity_t<T>>& saved, InSeq<T> dmean,
                           InSeq<T> dlog_std, MatrixView<T> dweights,
                           SequenceView<std::type_identity_t<T>> dobservations = {},
                           InSeq<T> dfeatures = {}) {
  detail::check_policy_batch(layout, weights, observations, dmean, dlog_std, "policy_batch_backward");
  detail::check_features(layout, dmean, dfeatures, "policy_batch_backward");
  require_shape(dweights, weights.rows, weights.cols, "policy_batch_backward: dweights");
  require_shape(saved.pre_activations, weights.rows, observations.rows() * detail::hidden_units(layout),
                "policy_batch_backward: saved");
  if (dobservations.data != nullptr) {
    require_shape(dobservations, weights.rows, observations.rows(), observations.size(),
                  "policy_batch_backward: dobservations");
  }
  backend.pool().for_each(weights.rows, [&](Index g) {
    detail::policy_backward(backend, layout, weights.row(g), observations.of(g), saved.pre_activations.row(g),
                            detail::policy_rows(dmean, g), detail::policy_rows(dlog_std, g),
                            detail::policy_rows(dfeatures, g), dweights.row(g),
                            detail::policy_rows(dobservations, g));
  });
}

}  // namespace cpu
MAA_NAMESPACE_END
