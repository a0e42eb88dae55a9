// How much a ridge regression shrinks, as a function of parameters that are trained, and the check of its
// arguments: for every backend.
#pragma once

#include <maa/core/views.hpp>

MAA_NAMESPACE_BEGIN

// strength = base exp(log_strength[0] + row_exponent[0] log_rows); the addresses lie in the backend's memory.
template <class T>
struct RidgeStrength {
  const T* log_strength;
  const T* row_exponent;
  double base;
  double log_rows;
};

template <class T>
void check_ridge(SequenceView<const T> features, SequenceView<const T> residual,
                 SequenceView<const T> correction, double strength, const char* op) {
  require(strength > 0, op, ": expected a positive strength, found ", strength,
          ": numbers that it is made of are too large (of a training: lower the learning rate)");
  require_shape(residual, features.batch, features.length, residual.channels, op);
  require_shape(correction, features.batch, residual.channels, features.channels + 1, op);
}

MAA_NAMESPACE_END
