// Losses: each returns the loss as a scalar on the device and overwrites the gradients. A gradient view whose
// data is null asks for the loss alone. Formulas: backend/cpu/losses.hpp.
#pragma once

#include <maa/backend/cuda/backend.hpp>

#include <cmath>
#include <numbers>

MAA_NAMESPACE_BEGIN
namespace cuda {

namespace detail {

// factor * (sum of parts) + offset.
inline Scalar add_up(const Backend& backend, const double* parts, Index count, double factor,
                     double offset = 0) {
  const auto result = backend.context().make_scalar();
  backend.launch(kernels::add_up_kernel, 1,
                 kernels::AddUpArguments{parts, backend.context().address_of(result), count, factor, offset});
  return result;
}
inline Index blocks_for(Index elements) {
  return (elements + kernels::elements_per_block - 1) / kernels::elements_per_block;
}
inline double* take_parts(const Backend& backend, Index count) {
  return raw(backend.scratch().take<OnDevice<double>>(count));
}

}  // namespace detail

// a + b.
inline Scalar sum(const Backend& backend, Scalar a, Scalar b) {
  const auto result = backend.context().make_scalar();
  auto& context = backend.context();
  backend.launch(
      kernels::add_scalars_kernel, 1,
      kernels::AddScalarsArguments{context.address_of(a), context.address_of(b), context.address_of(result)});
  return result;
}

namespace detail {

// The mean over all elements of a loss of prediction - target: scale times the kernel's sum.
inline Scalar mean_loss(const Backend& backend, const char* op, const char* target_name,
                        const char* dprediction_name, const Kernel<kernels::MseArguments>& kernel,
                        double width, double scale, In prediction, In target, Out dprediction) {
  require_shape(target, prediction.rows, prediction.cols, target_name);
  require(prediction.size() > 0, op, ": expected at least one element, found none");
  if (dprediction.data != nullptr) {
    require_shape(dprediction, prediction.rows, prediction.cols, dprediction_name);
  }
  const auto count = static_cast<double>(prediction.size());
  const Index blocks = blocks_for(prediction.size());
  const auto scope = backend.scratch().scope();
  double* const parts = take_parts(backend, blocks);
  backend.launch(kernel, blocks,
                 kernels::MseArguments{raw(prediction.data), raw(target.data), raw(dprediction.data), parts,
                                       prediction.size(), prediction.cols, prediction.stride, target.stride,
                                       dprediction.stride, 2 / count, width});
  return add_up(backend, parts, blocks, scale / count);
}

}  // namespace detail

// Mean over all elements of (prediction - target)^2.
inline Scalar mse_loss(const Backend& backend, In prediction, In target, Out dprediction) {
  return detail::mean_loss(backend, "mse_loss", "mse_loss: target", "mse_loss: dprediction",
                           kernels::mse_kernel, 0, 1, prediction, target, dprediction);
}

// Mean over all elements of 2 w (sqrt(d^2 + w^2) - w) for d = prediction - target and w = width.
inline Scalar huber_loss(const Backend& backend, double width, In prediction, In target, Out dprediction) {
  require(width > 0, "huber_loss: expected a positive width, found ", width);
  return detail::mean_loss(backend, "huber_loss", "huber_loss: target", "huber_loss: dprediction",
                           kernels::huber_kernel, width, 2 * width, prediction, target, dprediction);
}

// Contrastive loss (van den Oord et al., 2018): mean over rows of the cross-entropy of softmax(logits row)
// against the target row. logits, targets [rows, candidates]; a target row is a distribution (InfoNCE: the
// identity matrix). dlogits = (softmax * sum(target row) - target) / rows.
inline Scalar info_nce_loss(const Backend& backend, In logits, In targets, Out dlogits) {
  require_shape(targets, logits.rows, logits.cols, "info_nce_loss: targets");
  require(logits.size() > 0, "info_nce_loss: expected at least one element, found none");
  if (dlogits.data != nullptr) {
    require_shape(dlogits, logits.rows, logits.cols, "info_nce_loss: dlogits");
  }
  const auto scope = backend.scratch().scope();
  double* const parts = detail::take_parts(backend, logits.rows);
  Real* const maxima = backend.scratch().take<Real>(logits.rows * kernels::maxima_per_row);
  backend.launch(
      kernels::info_nce_kernel, logits.rows,
      kernels::InfoNceArguments{raw(logits.data), raw(targets.data), raw(dlogits.data), parts, raw(maxima),
                                logits.rows, logits.cols, logits.stride, targets.stride, dlogits.stride});
  return detail::add_up(backend, parts, logits.rows, 1 / static_cast<double>(logits.rows));
}

// Negative log-likelihood of `value` under independent normal distributions, mean over all elements: ((value
// - mean) / std)^2 / 2 + log std + log(2 pi) / 2. log_std is clamped to [-20, 2] as in soft actor-critic;
// outside that range its gradient is zero. All [rows, actions].
inline Scalar gaussian_nll_loss(const Backend& backend, In mean, In log_std, In value, Out dmean,
                                Out dlog_std) {
  require_shape(log_std, mean.rows, mean.cols, "gaussian_nll_loss: log_std");
  require_shape(value, mean.rows, mean.cols, "gaussian_nll_loss: value");
  require(mean.size() > 0, "gaussian_nll_loss: expected at least one element, found none");
  if (dmean.data != nullptr) {
    require_shape(dmean, mean.rows, mean.cols, "gaussian_nll_loss: dmean");
  }
  if (dlog_std.data != nullptr) {
    require_shape(dlog_std, mean.rows, mean.cols, "gaussian_nll_loss: dlog_std");
  }
  const Index blocks = detail::blocks_for(mean.size());
  const auto scope = backend.scratch().scope();
  double* const parts = detail::take_parts(backend, blocks);
  backend.launch(
      kernels::gaussian_nll_kernel, blocks,
      kernels::GaussianNllArguments{raw(mean.data), raw(log_std.data), raw(value.data), raw(dmean.data),
                                    raw(dlog_std.data), parts, mean.size(), mean.cols, mean.stride,
                                    log_std.stride, value.stride, dmean.stride, dlog_std.stride});
  return detail::add_up(backend, parts, blocks, 1 / static_cast<double>(mean.size()),
                        0.5 * std::log(2 * std::numbers::pi));
}

}  // namespace cuda
MAA_NAMESPACE_END
