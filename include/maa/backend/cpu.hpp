// The CPU backend with all its ops.
#pragma once

#include <maa/backend/cpu/backend.hpp>
#include <maa/backend/cpu/conv1d.hpp>
#include <maa/backend/cpu/elementwise.hpp>
#include <maa/backend/cpu/embedding.hpp>
#include <maa/backend/cpu/gemm.hpp>
#include <maa/backend/cpu/linear.hpp>
#include <maa/backend/cpu/losses.hpp>
#include <maa/backend/cpu/matrix.hpp>
#include <maa/backend/cpu/norm.hpp>
#include <maa/backend/cpu/optimizer.hpp>
#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/backend/cpu/random.hpp>
#include <maa/backend/cpu/ridge.hpp>
#include <maa/backend/cpu/rows.hpp>
#include <maa/backend/cpu/transfer.hpp>

#if MAA_BODIES
#include <maa/backend/contract.hpp>

MAA_NAMESPACE_BEGIN

static_assert(contract::Backend<cpu::Backend> && contract::Backend<cpu::Backend, double>);

MAA_NAMESPACE_END
#endif

#ifdef MAA_COMPILED
MAA_NAMESPACE_BEGIN
namespace cpu {

// The ops of both number types are in the library.
#define MAA_CPU_OP(name)        \
  MAA_INSTANTIATE(name<float>); \
  MAA_INSTANTIATE(name<double>)
MAA_CPU_OP(conv1d_forward);
MAA_CPU_OP(conv1d_backward_input);
MAA_CPU_OP(conv1d_backward_weight);
MAA_CPU_OP(conv_transpose1d_forward);
MAA_CPU_OP(conv_transpose1d_backward_input);
MAA_CPU_OP(conv_transpose1d_backward_weight);
MAA_CPU_OP(activation_forward);
MAA_CPU_OP(activation_backward);
MAA_CPU_OP(sinusoidal_embedding);
MAA_CPU_OP(gemm_serial);
MAA_CPU_OP(gemm);
MAA_CPU_OP(linear_backward_input);
MAA_CPU_OP(add_column_sums);
MAA_CPU_OP(linear_backward_weight);
MAA_CPU_OP(mse_loss);
MAA_CPU_OP(huber_loss);
MAA_CPU_OP(info_nce_loss);
MAA_CPU_OP(copy_matrix);
MAA_CPU_OP(add_matrix);
MAA_CPU_OP(add_row);
MAA_CPU_OP(fill_zero);
MAA_CPU_OP(norm_mish_forward);
MAA_CPU_OP(norm_mish_backward);
MAA_CPU_OP(layer_norm_forward);
MAA_CPU_OP(layer_norm_backward);
MAA_CPU_OP(adamw);
MAA_CPU_OP(adamw_if_finite);
MAA_CPU_OP(policy_batch_forward);
MAA_CPU_OP(policy_batch_infer);
MAA_CPU_OP(policy_batch_backward);
MAA_CPU_OP(head_residual);
MAA_CPU_OP(head_residual_backward);
MAA_CPU_OP(add_head);
MAA_CPU_OP(head_gradient);
MAA_CPU_OP(scale_rows);
MAA_CPU_OP(combine_rows);
MAA_CPU_OP(scale_rows_inside);
MAA_CPU_OP(gather_rows);
MAA_CPU_OP(mean_of_groups);
MAA_CPU_OP(mean_of_groups_backward);
MAA_CPU_OP(standardize_columns);
MAA_CPU_OP(unstandardize_columns);
MAA_CPU_OP(scale_columns);
MAA_CPU_OP(affine_columns);
MAA_CPU_OP(scale);
MAA_CPU_OP(add_scaled);
MAA_CPU_OP(clamp);
MAA_CPU_OP(transpose);
MAA_CPU_OP(add_transposed);
MAA_CPU_OP(guide);
MAA_CPU_OP(sampler_step);
#undef MAA_CPU_OP

// Those with overloads.
#define MAA_CPU_OPS(T)                                                                               \
  MAA_TEMPLATE double sum_of_squares(const Backend&, std::span<T>);                                  \
  MAA_TEMPLATE double sum_of_squares(const Backend&, std::span<const T>);                            \
  MAA_TEMPLATE void linear_forward(const Backend&, In<T>, const T*, Index, const T*, MatrixView<T>); \
  MAA_TEMPLATE void ridge_forward(const Backend&, InSeq<T>, InSeq<T>, double, SequenceView<T>);      \
  MAA_TEMPLATE double ridge_backward(const Backend&, InSeq<T>, InSeq<T>, double, InSeq<T>, InSeq<T>, \
                                     SequenceView<T>, SequenceView<T>);                              \
  MAA_TEMPLATE void fill_normal(const Backend&, Rng&, MatrixView<T>, double);                        \
  MAA_TEMPLATE void fill_normal(const Backend&, std::span<Rng>, MatrixView<T>)
MAA_CPU_OPS(float);
MAA_CPU_OPS(double);
#undef MAA_CPU_OPS

}  // namespace cpu
MAA_NAMESPACE_END
#endif
