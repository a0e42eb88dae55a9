// What the library maa::compiled holds of the layers above the ops: building blocks, sampler and trainer on
// the CPU, in float.
#pragma once

#include <maa/backend/cpu.hpp>
#include <maa/diffusion/sampler.hpp>
#include <maa/generator/polish.hpp>
#include <maa/generator/training_run.hpp>
#include <maa/models/unet1d.hpp>
#include <maa/nn/sequential.hpp>
#include <maa/train/batch_order.hpp>

#ifdef MAA_COMPILED
MAA_NAMESPACE_BEGIN

MAA_INSTANTIATE(detail::rows_forward<cpu::Backend, float>);
MAA_INSTANTIATE(detail::rows_backward<cpu::Backend, float>);
MAA_INSTANTIATE(residual_block_forward<cpu::Backend, float>);
MAA_INSTANTIATE(residual_block_backward<cpu::Backend, float>);
MAA_INSTANTIATE(cpu::ridge_evidence<float>);
MAA_INSTANTIATE(cpu::ridge_draw<float>);
MAA_INSTANTIATE(draw_samples<cpu::Backend, float>);
MAA_TEMPLATE class detail::UNet1dPass<cpu::Backend, float>;
MAA_TEMPLATE class Trainer<float, cpu::Backend>;
MAA_TEMPLATE class detail::Polishing<cpu::Backend>;
MAA_TEMPLATE class detail::TrainingRun<cpu::Backend>;

MAA_NAMESPACE_END
#endif
