// What the ops on many policies at once take, and their checks, for every backend.
#pragma once

#include <maa/backend/mlp_layout.hpp>
#include <maa/core/views.hpp>

MAA_NAMESPACE_BEGIN

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

inline Index hidden_units(const MlpLayout& layout) {
  Index units = 0;
  for (const auto& layer : layout.hidden) {
    units += layer.out;
  }
  return units;
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

MAA_NAMESPACE_END
