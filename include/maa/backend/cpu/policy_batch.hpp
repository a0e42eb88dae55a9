// Many different MLPs of one layout at once, each on its own observations: clones whole sets of policies and
// carries losses on what generated policies do back to their weights.
//
// Per policy and layer h' = activation(h W' + b); the heads read the last hidden layer and are not squashed.
#pragma once

#include <maa/backend/cpu/elementwise.hpp>
#include <maa/backend/cpu/linear.hpp>
#include <maa/backend/cpu/matrix.hpp>
#include <maa/backend/policy_batch_arguments.hpp>
#include <maa/kernels/policy_batch.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

// What backward needs of the hidden layers: per policy and layer [rows, units] of pre-activations or, with
// many rows in float, [units, rows padded to vectors] of outputs or pre-activations (TransposedPolicies
// below).
template <class T>
struct PolicyBatchSaved {
  MatrixView<T> hidden;  // [policies, numbers of all layers]
};

namespace detail {

template <class T>
MatrixView<T> policy_rows(SequenceView<T> view, Index policy) {
  return view.data == nullptr
             ? MatrixView<T>()
             : MatrixView<T>(view.data + policy * view.length * view.channels, view.length, view.channels);
}

// y = x W' + b of one policy.
template <class T>
void policy_linear(const Backend& backend, const MlpLayout::Linear& layer, const T* weights,
                   MatrixView<const T> x, MatrixView<T> y) {
  const Strided<T> matrix(weights + layer.weight_offset, layer.out, layer.in, layer.in, 1);
  multiply_serial(backend, checked_product<T>("policy_batch", x, matrix.transposed(), y,
                                              weights + layer.bias_offset, Write::overwrite));
}

// If dweights is not null, dW += dy' x and db += column sums of dy; then, if dx has data, dx = dy W or
// dx += dy W.
template <class T>
void policy_linear_backward(const Backend& backend, const MlpLayout::Linear& layer, const T* weights,
                            MatrixView<const T> x, MatrixView<const T> dy, T* dweights, MatrixView<T> dx,
                            Write write) {
  if (dweights != nullptr) {
    gemm_serial(backend, Strided<T>(dy).transposed(), Strided<T>(x),
                MatrixView<T>(dweights + layer.weight_offset, layer.out, layer.in), Write::accumulate);
    cpu::add_column_sums(backend, dy, dweights + layer.bias_offset);
  }
  if (dx.data != nullptr) {
    const Strided<T> matrix(weights + layer.weight_offset, layer.out, layer.in, layer.in, 1);
    gemm_serial(backend, Strided<T>(dy), matrix, dx, write);
  }
}

// Policies in float with at least a vector of rows, on vector kernels. Hidden layers are kept as [units,
// rows]: one product, a broadcast weight times a vector of rows, serves the forward pass and both gradients
// without packing weights; for the weight gradient the layer's input is transposed back.
class TransposedPolicies {
 public:
  static const kernels::PolicyBatchTable* table(const Backend& backend, Index rows) {
    const auto* table = kernels::policy_batch_table_for(backend.isa());
    return table != nullptr && rows >= table->lanes ? table : nullptr;
  }

  TransposedPolicies(const Backend& backend, const kernels::PolicyBatchTable& table, const MlpLayout& layout,
                     Index rows)
      : backend_(backend), table_(table), layout_(layout), rows_(rows), padded_(padded(rows)) {}

  // Numbers that the forward pass saves.
  Index saved_size() const { return hidden_units(layout_) * padded_; }

  // `saved` [saved_size] may be null.
  void forward(const float* weights, MatrixView<const float> x, float* saved, MatrixView<float> mean,
               MatrixView<float> log_std, MatrixView<float> features) const {
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const float* input = transposed(scratch, x);
    for (const auto& layer : layout_.hidden) {
      const Index size = layer.out * padded_;
      float* const output = saved != nullptr && slope_from_output(layer)
                                ? saved
                                : scratch.take<float>(padded(layer.out) * padded_);
      float* const raw = saved != nullptr ? saved : output;
      linear(layer, weights, input, raw);
      backend_.kernels().activation_forward(layer.activation, raw, output, size);
      saved = saved != nullptr ? saved + size : nullptr;
      input = output;
    }
    if (features.data != nullptr) {
      table_.transpose(input, padded_, features.cols, rows_, features.data, features.stride);
    }
    head(layout_.mean, weights, input, mean);
    if (log_std.data != nullptr) {
      head(*layout_.log_std, weights, input, log_std);
    }
  }

  void backward(const float* weights, MatrixView<const float> x, const float* saved,
                MatrixView<const float> dmean, MatrixView<const float> dlog_std,
                MatrixView<const float> dfeatures, float* dweights, MatrixView<float> dx) const {
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    saved += saved_size();
    float* upstream = nullptr;
    for (std::size_t i = layout_.hidden.size() + 1; i-- > 0;) {
      const MlpLayout::Linear* const below = i > 0 ? &layout_.hidden[i - 1] : nullptr;
      const Index inputs = below != nullptr ? below->out : x.cols, stride = by_row_stride(inputs);
      float* by_row = nullptr;  // the layer's input, [rows, inputs], which the weights' gradients read
      if (dweights != nullptr) {
        by_row = scratch.take<float>(rows_ * stride);
      }
      float* dinput = nullptr;
      if (below != nullptr) {
        saved -= inputs * padded_;
        if (by_row != nullptr) {
          const float* output = saved;
          if (!slope_from_output(*below)) {
            float* const activated = scratch.take<float>(inputs * padded_);
            backend_.kernels().activation_forward(below->activation, saved, activated, inputs * padded_);
            output = activated;
          }
          table_.transpose(output, padded_, inputs, rows_, by_row, stride);
        }
        dinput = scratch.take<float>(inputs * padded_);
      } else {
        for (Index r = 0; r < rows_ && by_row != nullptr; ++r) {
          std::copy_n(x.row(r), inputs, by_row + r * stride);
        }
        if (dx.data != nullptr) {
          dinput = scratch.take<float>(inputs * padded_);
        }
      }
      if (i < layout_.hidden.size()) {
        linear_backward(layout_.hidden[i], weights, by_row, upstream, dweights, dinput, Write::overwrite);
      } else {
        linear_backward(layout_.mean, weights, by_row, transposed(scratch, dmean), dweights, dinput,
                        Write::overwrite);
        if (dlog_std.data != nullptr) {
          linear_backward(*layout_.log_std, weights, by_row, transposed(scratch, dlog_std), dweights, dinput,
                          Write::accumulate);
        }
        if (dfeatures.data != nullptr && dinput != nullptr) {
          backend_.kernels().add(transposed(scratch, dfeatures), dinput, inputs * padded_);
        }
      }
      if (below == nullptr) {
        if (dx.data != nullptr) {
          table_.transpose(dinput, padded_, inputs, rows_, dx.data, dx.stride);
        }
      } else if (slope_from_output(*below)) {
        table_.output_slope(below->activation, saved, dinput, inputs * padded_);
      } else {
        backend_.kernels().activation_backward(below->activation, saved, dinput, dinput, inputs * padded_);
      }
      upstream = dinput;
    }
  }

 private:
  static Index padded(Index count) { return (count + 15) / 16 * 16; }
  // An odd number of cache lines: rows a power of two apart would share few cache sets.
  static Index by_row_stride(Index count) { return (padded(count) / 16 | 1) * 16; }
  static bool slope_from_output(const MlpLayout::Linear& layer) {
    return kernels::slope_from_output(layer.activation);
  }

  // [cols, rows], rows padded with zeros.
  float* transposed(Workspace& scratch, MatrixView<const float> x) const {
    float* const to = scratch.take<float>(x.cols * padded_);
    table_.transpose(x.data, x.stride, rows_, x.cols, to, padded_);
    for (Index j = 0; j < x.cols; ++j) {
      std::fill(to + j * padded_ + rows_, to + (j + 1) * padded_, 0.0f);
    }
    return to;
  }
  // y = W x + b
  void linear(const MlpLayout::Linear& layer, const float* weights, const float* x, float* y) const {
    table_.product({weights + layer.weight_offset, layer.in, 1, x, padded_, y, padded_,
                    weights + layer.bias_offset, layer.out, padded_, layer.in, false});
  }
  void head(const MlpLayout::Linear& layer, const float* weights, const float* x, MatrixView<float> y) const {
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    float* const transposed_y = scratch.take<float>(layer.out * padded_);
    linear(layer, weights, x, transposed_y);
    table_.transpose(transposed_y, padded_, layer.out, rows_, y.data, y.stride);
  }
  // Unless dweights is null, dW += dy x' and db += row sums of dy; then, unless null, dx = W' dy or dx +=
  // W' dy. x by rows.
  void linear_backward(const MlpLayout::Linear& layer, const float* weights, const float* x, const float* dy,
                       float* dweights, float* dx, Write write) const {
    if (dweights != nullptr) {
      table_.product({dy, padded_, 1, x, by_row_stride(layer.in), dweights + layer.weight_offset, layer.in,
                      nullptr, layer.out, layer.in, rows_, true});
      table_.add_row_sums(dy, padded_, layer.out, rows_, dweights + layer.bias_offset);
    }
    if (dx != nullptr) {
      table_.product({weights + layer.weight_offset, 1, layer.in, dy, padded_, dx, padded_, nullptr, layer.in,
                      padded_, layer.out, write == Write::accumulate});
    }
  }

  const Backend& backend_;
  const kernels::PolicyBatchTable& table_;
  const MlpLayout& layout_;
  Index rows_, padded_;
};

template <class T>
Index policy_saved_size(const Backend& backend, const MlpLayout& layout, Index rows) {
  if constexpr (std::is_same_v<T, float>) {
    if (const auto* table = TransposedPolicies::table(backend, rows)) {
      return TransposedPolicies(backend, *table, layout, rows).saved_size();
    }
  }
  return rows * hidden_units(layout);
}

// One policy. What backward needs goes to `saved`, or nowhere if that is null.
template <class T>
void policy_forward(const Backend& backend, const MlpLayout& layout, const T* weights, MatrixView<const T> x,
                    T* saved, MatrixView<T> mean, MatrixView<T> log_std, MatrixView<T> features) {
  if constexpr (std::is_same_v<T, float>) {
    if (const auto* table = TransposedPolicies::table(backend, x.rows)) {
      TransposedPolicies(backend, *table, layout, x.rows).forward(weights, x, saved, mean, log_std, features);
      return;
    }
  }
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  for (const auto& layer : layout.hidden) {
    const auto activated = scratch.matrix<T>(x.rows, layer.out);
    auto raw = activated;
    if (saved != nullptr) {
      raw = MatrixView<T>(saved, x.rows, layer.out);
      saved += raw.size();
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
                     const T* saved, MatrixView<const T> dmean, MatrixView<const T> dlog_std,
                     MatrixView<const T> dfeatures, T* dweights, MatrixView<T> dx) {
  if constexpr (std::is_same_v<T, float>) {
    if (const auto* table = TransposedPolicies::table(backend, x.rows)) {
      TransposedPolicies(backend, *table, layout, x.rows)
          .backward(weights, x, saved, dmean, dlog_std, dfeatures, dweights, dx);
      return;
    }
  }
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  const T* raw_data = saved + x.rows * hidden_units(layout);
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
      if (dweights != nullptr) {
        activation_forward(backend, layout.hidden[i - 1].activation, raw.span(), activated.span());
      }
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
      if (dfeatures.data != nullptr && dinput.data != nullptr) {
        add_matrix(backend, dfeatures, dinput);
      }
    }
    if (i > 0) {
      activation_backward(backend, layout.hidden[i - 1].activation, raw.span(), dinput.span(), dinput.span());
      upstream = dinput;
    }
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
  check_policy_batch(layout, weights, observations, mean, log_std, "policy_batch_forward");
  check_features(layout, mean, features, "policy_batch_forward");
  const auto saved =
      workspace.matrix<T>(weights.rows, detail::policy_saved_size<T>(backend, layout, observations.rows()));
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
  check_policy_batch(layout, weights, observations, mean, log_std, "policy_batch_infer");
  check_features(layout, mean, features, "policy_batch_infer");
  backend.pool().for_each(weights.rows, [&](Index g) {
    detail::policy_forward<T>(backend, layout, weights.row(g), observations.of(g), nullptr,
                              detail::policy_rows(mean, g), detail::policy_rows(log_std, g),
                              detail::policy_rows(features, g));
  });
}

// From the heads' gradients dmean and, if they have data, dlog_std and dfeatures, where they have data:
// dweights [policies, parameters] accumulates (any row stride); dobservations [policies, rows, observation]
// is overwritten, also for common observations.
template <class T>
void policy_batch_backward(const Backend& backend, const MlpLayout& layout, In<T> weights,
                           const PolicyObservations<std::type_identity_t<T>>& observations,
                           const PolicyBatchSaved<std::type_identity_t<T>>& saved, InSeq<T> dmean,
                           InSeq<T> dlog_std, MatrixView<T> dweights,
                           SequenceView<std::type_identity_t<T>> dobservations = {},
                           InSeq<T> dfeatures = {}) {
  check_policy_batch(layout, weights, observations, dmean, dlog_std, "policy_batch_backward");
  check_features(layout, dmean, dfeatures, "policy_batch_backward");
  if (dweights.data != nullptr) {
    require_shape(dweights, weights.rows, weights.cols, "policy_batch_backward: dweights");
  }
  require_shape(saved.hidden, weights.rows,
                detail::policy_saved_size<T>(backend, layout, observations.rows()),
                "policy_batch_backward: saved");
  if (dobservations.data != nullptr) {
    require_shape(dobservations, weights.rows, observations.rows(), observations.size(),
                  "policy_batch_backward: dobservations");
  }
  backend.pool().for_each(weights.rows, [&](Index g) {
    detail::policy_backward(
        backend, layout, weights.row(g), observations.of(g), saved.hidden.row(g),
        detail::policy_rows(dmean, g), detail::policy_rows(dlog_std, g), detail::policy_rows(dfeatures, g),
        dweights.data == nullptr ? nullptr : dweights.row(g), detail::policy_rows(dobservations, g));
  });
}

}  // namespace cpu
MAA_NAMESPACE_END
