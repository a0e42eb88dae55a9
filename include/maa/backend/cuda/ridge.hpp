// Ridge regression as a differentiable op, one small linear system per sample, and what the head of policies
// that it corrects needs besides.
#pragma once

#include <maa/backend/cuda/backend.hpp>
#include <maa/backend/mlp_layout.hpp>
#include <maa/backend/ridge_strength.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {
namespace detail {

// Arguments of all ridge kernels, with scratch memory for the smaller of the two systems of every sample
// (Woodbury): of as many equations as rows or as units and bias.
inline kernels::RidgeArguments ridge_arguments(const Backend& backend, InSeq features, InSeq residual,
                                               const RidgeStrength<Real>& strength) {
  const Index batch = features.batch, rows = features.length, units = features.channels,
              actions = residual.channels;
  const Index order = std::min(rows, units + 1);
  auto& scratch = backend.scratch();
  kernels::RidgeArguments arguments{};
  arguments.features = raw(features.data);
  arguments.residual = raw(residual.data);
  arguments.log_strength = raw(strength.log_strength);
  arguments.row_exponent = raw(strength.row_exponent);
  arguments.systems = raw(scratch.take<OnDevice<double>>(batch * order * order));
  arguments.work =
      raw(scratch.take<OnDevice<double>>(batch * kernels::RidgeWork::size(order, rows, units, actions)));
  arguments.slopes = raw(scratch.take<OnDevice<double>>(batch));
  arguments.base = strength.base;
  arguments.log_rows = strength.log_rows;
  arguments.rows = rows;
  arguments.units = units;
  arguments.actions = actions;
  arguments.order = order;
  return arguments;
}

inline kernels::HeadArguments head_arguments(const MlpLayout& layout, const Real* from, Real* to,
                                             Index policy_row) {
  return {
      raw(from), raw(to), layout.mean.out, layout.mean.in, layout.mean.weight_offset, layout.mean.bias_offset,
      policy_row};
}

}  // namespace detail

// The linear map of features that best explains the residual, shrunk: per sample
// D = argmin |[Phi 1] D - R|^2 + strength |D|^2 = ([Phi 1]'[Phi 1] + strength I)^-1 [Phi 1]' R.
// features Phi [batch, rows, units], residual R [batch, rows, actions] -> correction D' [batch, actions,
// units + 1], the bias in the last column. Systems are formed and solved in double. The strength's base must
// be positive; its value is the device's alone, and if it underflows to 0 results may be NaN.
inline void ridge_forward(const Backend& backend, InSeq features, InSeq residual,
                          const RidgeStrength<Real>& strength, OutSeq correction) {
  check_ridge<Real>(features, residual, correction, strength.base, "ridge_forward");
  const auto scope = backend.scratch().scope();
  auto arguments = detail::ridge_arguments(backend, features, residual, strength);
  arguments.to = raw(correction.data);
  backend.launch(kernels::ridge_system_kernel, features.batch * arguments.order * arguments.order, arguments);
  backend.launch(kernels::ridge_forward_kernel, features.batch, arguments);
}

// With U = M^-1 dD: dPhi = R U' - Phi (U D' + D U') without the column of ones, dR = Phi U (both
// overwritten). The derivatives for the strength's parameters accumulate: -strength sum(U * D) for
// log_strength, log_rows times that for row_exponent.
inline void ridge_backward(const Backend& backend, InSeq features, InSeq residual,
                           const RidgeStrength<Real>& strength, InSeq correction, InSeq dcorrection,
                           OutSeq dfeatures, OutSeq dresidual, Real* dlog_strength, Real* drow_exponent) {
  check_ridge<Real>(features, residual, correction, strength.base, "ridge_backward");
  require_shape(dcorrection, correction.batch, correction.length, correction.channels,
                "ridge_backward: dcorrection");
  require_shape(dfeatures, features.batch, features.length, features.channels, "ridge_backward: dfeatures");
  require_shape(dresidual, residual.batch, residual.length, residual.channels, "ridge_backward: dresidual");
  const auto scope = backend.scratch().scope();
  auto arguments = detail::ridge_arguments(backend, features, residual, strength);
  arguments.correction = raw(correction.data);
  arguments.dcorrection = raw(dcorrection.data);
  arguments.dfeatures = raw(dfeatures.data);
  arguments.dresidual = raw(dresidual.data);
  backend.launch(kernels::ridge_system_kernel, features.batch * arguments.order * arguments.order, arguments);
  backend.launch(kernels::ridge_backward_kernel, features.batch, arguments);
  backend.launch(kernels::ridge_slope_kernel, 1,
                 kernels::RidgeSlopeArguments{arguments.slopes, raw(dlog_strength), raw(drow_exponent),
                                              strength.log_rows, features.batch});
}

// What a policy's head should add to its `mean` actions (before squashing), all [batch, rows, actions], to
// act like the prompt's `actions`: see cpu::HeadTarget.
inline void head_residual(const Backend& backend, bool squashed, InSeq mean, InSeq actions, OutSeq residual) {
  require_shape(mean, residual.batch, residual.length, residual.channels, "head_residual: mean");
  require_shape(actions, residual.batch, residual.length, residual.channels, "head_residual: actions");
  backend.launch(
      kernels::head_residual_kernel, residual.size(),
      kernels::HeadTargetArguments{raw(mean.data), raw(actions.data), raw(residual.data), squashed});
}
// dmean, which holds the residual's gradient, becomes the mean's.
inline void head_residual_backward(const Backend& backend, bool squashed, InSeq mean, InSeq actions,
                                   OutSeq dmean) {
  require_shape(mean, dmean.batch, dmean.length, dmean.channels, "head_residual_backward: mean");
  require_shape(actions, dmean.batch, dmean.length, dmean.channels, "head_residual_backward: actions");
  backend.launch(kernels::head_residual_backward_kernel, dmean.size(),
                 kernels::HeadTargetArguments{raw(mean.data), raw(actions.data), raw(dmean.data), squashed});
}

// The mean heads within policies [batch, parameters] and corrections [batch, actions, units + 1]:
// policies += correction, and the correction's gradient from the policies'.
inline void add_head(const Backend& backend, const MlpLayout& layout, InSeq correction, Out policies) {
  require_shape(correction, policies.rows, layout.mean.out, layout.mean.in + 1, "add_head: correction");
  backend.launch(kernels::add_head_kernel, correction.size(),
                 detail::head_arguments(layout, correction.data, policies.data, policies.stride));
}
inline void head_gradient(const Backend& backend, const MlpLayout& layout, In dpolicies, OutSeq dcorrection) {
  require_shape(dcorrection, dpolicies.rows, layout.mean.out, layout.mean.in + 1,
                "head_gradient: dcorrection");
  backend.launch(kernels::head_gradient_kernel, dcorrection.size(),
                 detail::head_arguments(layout, dpolicies.data, dcorrection.data, dpolicies.stride));
}

}  // namespace cuda
MAA_NAMESPACE_END
