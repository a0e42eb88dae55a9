// What a backend must offer, as a list that compilers check: types, memory and every op that models, stages,
// trainer, samplers and Generator call. A backend is a class and, in its namespace, functions that take it
// first; callers find them by its type. Both backends are checked where they are whole: cpu.hpp,
// cuda/ops.hpp.
//
// Ops read and write views of Element<T>, whose rows may be strided where a MatrixView is taken; sequences
// and spans are contiguous. They check shapes and throw Error. Gradients of inputs overwrite, gradients of
// parameters accumulate. Shapes: B batch, L length, C channels, N rows, M columns, P parameters, A actions;
// the formulas are at the ops (backend/cpu/). A view or pointer without data stands for "none" where it says
// so.
#pragma once

#include <maa/backend/adamw_step.hpp>
#include <maa/backend/conv_shape.hpp>
#include <maa/backend/policy_batch_arguments.hpp>
#include <maa/backend/precision.hpp>
#include <maa/backend/ridge_strength.hpp>
#include <maa/backend/sampler_coefficients.hpp>
#include <maa/core/rng.hpp>
#include <maa/core/workspace.hpp>

#include <concepts>

MAA_NAMESPACE_BEGIN
namespace contract {

template <class B, class T>
using Real = typename B::template Element<T>;
template <class B, class T>
using In = MatrixView<const Real<B, T>>;
template <class B, class T>
using Out = MatrixView<Real<B, T>>;
template <class B, class T>
using InSeq = SequenceView<const Real<B, T>>;
template <class B, class T>
using OutSeq = SequenceView<Real<B, T>>;
template <class B, class T>
using InSpan = std::span<const Real<B, T>>;
template <class B, class T>
using OutSpan = std::span<Real<B, T>>;

// Element<T>: a number in the memory that ops work on. Array<T>: owns such. Constants<T>: host numbers for
// ops to read. Scalar: a loss or a norm, on its way to the host. Copies of a backend share what it stands
// for.
template <class B, class T>
concept Memory = std::copyable<B> && std::default_initializable<typename B::template Array<T>> &&
    std::default_initializable<typename B::template Constants<T>> &&
    requires(const B& b, typename B::template Array<T>& array, const typename B::template Array<T>& read_only,
             std::span<const T> host, typename B::Workspace& workspace) {
  typename B::Scalar;
  { b.template make_array<T>(Index()) } -> std::same_as<typename B::template Array<T>>;  // zeros
  { array.data() } -> std::same_as<Real<B, T>*>;
  { array.span() } -> std::same_as<OutSpan<B, T>>;
  { read_only.span() } -> std::same_as<InSpan<B, T>>;
  { read_only.size() } -> std::same_as<Index>;
  { read_only.empty() } -> std::same_as<bool>;
  { typename B::template Constants<T>(b, host).span() } -> std::same_as<InSpan<B, T>>;
  { b.make_workspace() } -> std::same_as<typename B::Workspace>;
  { workspace.template matrix<Real<B, T>>(Index(), Index()) } -> std::same_as<Out<B, T>>;
  { workspace.template sequence<Real<B, T>>(Index(), Index(), Index()) } -> std::same_as<OutSeq<B, T>>;
  workspace.scope();  // gives back, at its end, what was taken since
  workspace.reset();
  { b.session() } -> std::same_as<typename B::Session>;  // held while one thread calls ops
  { b.session().workspace() } -> std::same_as<typename B::Workspace&>;
};

// The same backend for inference with weights that do not change.
template <class B>
concept Packs = requires(const B& b, InSpan<B, float> weights, Precision precision) {
  { b.packed(weights, precision) } -> std::same_as<B>;
};

template <class B, class T>
concept TransferOps = requires(const B& b, std::span<const T> host, std::span<T> to_host, InSpan<B, T> from,
                               OutSpan<B, T> to, In<B, T> matrix, MatrixView<const T> host_matrix,
                               SequenceView<const T> host_sequence, const typename B::Scalar& scalar,
                               typename B::Workspace& workspace, Workspace& host_workspace) {
  upload(b, host, to);
  download(b, from, to_host);
  { uploaded(b, host_matrix, workspace) } -> std::convertible_to<In<B, T>>;
  { uploaded(b, host_sequence, workspace) } -> std::convertible_to<InSeq<B, T>>;
  { downloaded(b, matrix, host_workspace) } -> std::convertible_to<MatrixView<const T>>;
  { read(b, scalar) } -> std::same_as<double>;
  { sum(b, scalar, scalar) } -> std::same_as<typename B::Scalar>;
};

// x, y [N, M].
template <class B, class T>
concept MatrixOps = requires(const B& b, In<B, T> x, Out<B, T> y, const Real<B, T>* row, InSpan<B, T> flat,
                             OutSpan<B, T> to, Activation activation, Rng& rng, std::span<Rng> streams,
                             std::span<const Index> indices, std::span<const double> factors,
                             std::span<const float> columns, double limit, double deviation, T number) {
  fill_zero(b, y);                                    // y = 0
  copy_matrix(b, x, y);                               // y = x
  add_matrix(b, x, y);                                // y += x
  add_row(b, x, row, y);                              // y = x + row [M]
  scale(b, number, y);                                // y *= number
  add_scaled(b, number, x, y);                        // y += number x
  clamp(b, number, x, y);                             // y = x within [-number, number]
  transpose(b, x, y);                                 // y [M, N] = x'
  add_transposed(b, x, y);                            // y [M, N] += x'
  gather_rows(b, x, indices, y);                      // y [indices, M], row i = row indices[i] of x
  mean_of_groups(b, x, y);                            // x [groups * size, M] -> y [groups, M]
  mean_of_groups_backward(b, x, y);                   // dmeans [groups, M] -> drows [groups * size, M]
  scale_rows(b, factors, y);                          // row i *= factors[i]
  combine_rows(b, factors, x, factors, x, limit, y);  // y = clamp(a[i] x1 + b[i] x2)
  scale_rows_inside(b, x, limit, factors, y);         // its gradient: 0 where |x| has reached the limit
  standardize_columns(b, columns, columns, y);        // y = (y - offset) scale, each [M] or empty
  unstandardize_columns(b, columns, columns, y);      // y = y / scale + offset
  scale_columns(b, columns, y);                       // y *= factor
  affine_columns(b, columns, columns, y);             // y = factor y + offset
  fill_normal(b, rng, y, deviation);                  // standard normal times deviation, row after row
  fill_normal(b, streams, y);                         // row i from stream i
  sinusoidal_embedding(b, indices, y);                // timesteps [N] -> y [N, M]
  activation_forward(b, activation, flat, to);
  activation_backward(b, activation, flat, flat, to);  // x, dy -> dx
};

// weight [out, in], bias [out] or null; sequences [B, L, C].
template <class B, class T>
concept LayerOps = requires(const B& b, In<B, T> x, Out<B, T> y, InSeq<B, T> from, OutSeq<B, T> to,
                            const Real<B, T>* weight, const Real<B, T>* bias, Real<B, T>* dweight,
                            Real<B, T>* dbias, ConvShape shape, Index groups, double epsilon) {
  linear_forward(b, x, weight, bias, y);             // x [N, in] -> y [N, out]
  linear_forward(b, x, weight, groups, bias, y);     // rows of the weight lie that far apart
  linear_backward_input(b, x, weight, y);            // dy -> dx
  linear_backward_weight(b, x, x, dweight, dbias);   // dy, x -> dweight, dbias (may be null)
  conv1d_forward(b, shape, from, weight, bias, to);  // weight [kernel, out, in]
  conv1d_backward_input(b, shape, from, weight, to);
  conv1d_backward_weight(b, shape, from, from, dweight, dbias);  // dy, x
  conv_transpose1d_forward(b, shape, from, weight, bias, to);    // weight [kernel, in, out]
  conv_transpose1d_backward_input(b, shape, from, weight, to);
  conv_transpose1d_backward_weight(b, shape, from, from, dweight, dbias);
  // x, gain [M], bias [M] -> y, statistics [N, 2]
  layer_norm_forward(b, epsilon, x, weight, bias, y, y);
  layer_norm_backward(b, x, x, weight, x, y, dweight, dbias);  // x, statistics, gain, dy -> dx (or none)
  // x [B, L, C], scale_bias [B, 2 C] or none, residual [B L, C] or none -> y [B L, C], statistics
  // [B, 2 groups]
  norm_mish_forward(b, groups, epsilon, from, weight, bias, x, x, y, y);
  // x, statistics, gain, bias, scale_bias, dy -> dx, dscale_bias, dgain, dbias, column sums of dx
  norm_mish_backward(b, groups, from, x, weight, bias, x, x, to, y, dweight, dbias, dbias);
};

// prediction, target, gradient [N, M]; the gradient may have no data.
template <class B, class T>
concept TrainingOps = requires(const B& b, In<B, T> x, Out<B, T> y, InSpan<B, T> flat, OutSpan<B, T> to,
                               double width, const typename B::Scalar& scalar, const AdamWStep& step,
                               const DecayGroups& groups) {
  { mse_loss(b, x, x, y) } -> std::same_as<typename B::Scalar>;
  { huber_loss(b, width, x, x, y) } -> std::same_as<typename B::Scalar>;
  { info_nce_loss(b, x, x, y) } -> std::same_as<typename B::Scalar>;  // logits, targets -> dlogits
  { sum_of_squares(b, flat) } -> std::same_as<typename B::Scalar>;
  // step, clip_norm, loss, squared norm, weights, gradients, m, v, average (may be empty)
  adamw_if_finite(b, step, width, scalar, scalar, to, flat, to, to, to, groups);
};

// x, prediction, noise [N, D].
template <class B, class T>
concept SamplerOps = requires(const B& b, In<B, T> x, Out<B, T> y, const SamplerCoefficients& c) {
  guide(b, x, double(), y);     // y = x + scale (y - x): classifier-free guidance
  sampler_step(b, c, x, x, y);  // prediction, noise -> the next x, in place
};

// weights [B, P] of B policies, observations of each [B, N, O] or of all [N, O], heads and features
// [B, N, A or units].
template <class B, class T>
concept PolicyOps = requires(const B& b, const MlpLayout& layout, In<B, T> weights, Out<B, T> dweights,
                             InSeq<B, T> from, OutSeq<B, T> to,
                             const PolicyObservations<Real<B, T>>& observations,
                             const RidgeStrength<Real<B, T>>& strength, Real<B, T>* dstrength,
                             typename B::Workspace& workspace) {
  // -> mean, log_std or none, features (what the heads read) or none
  policy_batch_forward(b, layout, weights, observations, workspace, to, to, to);
  // dmean, dlog_std or none -> dweights (accumulate), dobservations or none; dfeatures or none
  policy_batch_backward(b, layout, weights, observations,
                        policy_batch_forward(b, layout, weights, observations, workspace, to), from, from,
                        dweights, to, from);
  // features [B, N, units], residual [B, N, A] -> correction [B, A, units + 1]
  ridge_forward(b, from, from, strength, to);
  // features, residual, correction, dcorrection -> dfeatures, dresidual, and of the strength's parameters
  ridge_backward(b, from, from, strength, from, from, to, to, dstrength, dstrength);
  head_residual(b, bool(), from, from, to);           // mean, actions -> residual [B, N, A]
  head_residual_backward(b, bool(), from, from, to);  // mean, actions; dresidual becomes dmean
  add_head(b, layout, from, dweights);                // policies' mean heads += correction
  head_gradient(b, layout, weights, to);              // dpolicies -> dcorrection
};

// T: float, and double where models are checked by differences.
template <class B, class T = float>
concept Backend = Memory<B, T> && TransferOps<B, T> && MatrixOps<B, T> && LayerOps<B, T> &&
    TrainingOps<B, T> && SamplerOps<B, T> && PolicyOps<B, T> && Packs<B>;

}  // namespace contract

MAA_NAMESPACE_END
