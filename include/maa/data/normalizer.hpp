// Per-feature affine maps to the range that networks see, fitted on training data.
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/core/views.hpp>

#include <algorithm>
#include <cmath>

MAA_NAMESPACE_BEGIN

// y = (x - offset) * scale, per feature. The identity when it has no features.
struct Normalizer {
  Buffer<float> offset;
  Buffer<float> scale;

  // The identity, of no features, or of `features`; and how many it has.
  Normalizer() = default;
  explicit Normalizer(Index features) : offset(features), scale(features) {
    std::fill(scale.begin(), scale.end(), 1.0f);
  }
  Index features() const { return offset.size(); }

  // Maps each feature's minimum and maximum to -1 and 1; a range under 1e-4 is only shifted to its middle.
  static Normalizer limits(MatrixView<const float> rows);

  // Maps each feature to mean 0 and deviation 1. A deviation under `constant` is left as it is (the feature
  // says nothing); any other counts as at least `floor`, so that rarely moving features are not blown up.
  static Normalizer standard(MatrixView<const float> rows, double constant, double floor);

  // In place; rows have `features()` columns.
  void apply(MatrixView<float> rows) const;

 private:
  void require_features(Index cols) const;
};

#if MAA_BODIES

MAA_INLINE Normalizer Normalizer::limits(MatrixView<const float> rows) {
  Normalizer result(rows.cols);
  for (Index j = 0; j < rows.cols && rows.rows > 0; ++j) {
    float low = rows(0, j);
    float high = low;
    for (Index i = 1; i < rows.rows; ++i) {
      low = std::min(low, rows(i, j));
      high = std::max(high, rows(i, j));
    }
    result.offset[j] = 0.5f * (low + high);
    result.scale[j] = high - low < 1e-4f ? 1.0f : 2.0f / (high - low);
  }
  return result;
}

MAA_INLINE Normalizer Normalizer::standard(MatrixView<const float> rows, double constant, double floor) {
  Normalizer result(rows.cols);
  for (Index j = 0; j < rows.cols && rows.rows > 0; ++j) {
    double sum = 0;
    for (Index i = 0; i < rows.rows; ++i) {
      sum += static_cast<double>(rows(i, j));
    }
    const double mean = sum / static_cast<double>(rows.rows);
    double squares = 0;
    for (Index i = 0; i < rows.rows; ++i) {
      const double difference = static_cast<double>(rows(i, j)) - mean;
      squares += difference * difference;
    }
    const double deviation = std::sqrt(squares / static_cast<double>(rows.rows));
    result.offset[j] = static_cast<float>(mean);
    result.scale[j] = deviation < constant ? 1.0f : static_cast<float>(1.0 / std::max(deviation, floor));
  }
  return result;
}

MAA_INLINE void Normalizer::apply(MatrixView<float> rows) const {
  require_features(rows.cols);
  for (Index i = 0; i < rows.rows; ++i) {
    for (Index j = 0; j < features(); ++j) {
      rows(i, j) = (rows(i, j) - offset[j]) * scale[j];
    }
  }
}

MAA_INLINE void Normalizer::require_features(Index cols) const {
  require(features() == 0 || cols == features(), "normalizer: expected ", features(), " features, found ",
          cols);
}

#endif

MAA_NAMESPACE_END
