// What a denoiser must offer: another backbone is one file with such a type, named by a configuration.
#pragma once

#include <maa/core/describe.hpp>
#include <maa/core/workspace.hpp>

#include <concepts>

MAA_NAMESPACE_BEGIN

// A model without data over latents [batch, length, latent_channels], beside describe() and
// describe_structure():
//   forward(backend, w, x, timesteps, condition, workspace) -> Saved, whose `output` has x's shape;
//   backward(backend, w, saved, doutput, gradients, dcondition, dx, workspace): parameter gradients
//   accumulate,
//     dcondition and dx are overwritten (zero views without data: not wanted);
//   modulation(backend, w, timesteps, condition, workspace) -> whatever sampling needs of these, made once;
//   infer(backend, w, x, modulation, step, workspace) -> output, at the step-th of those timesteps.
template <class D, class Backend>
concept Denoiser =
    requires(const Backend& backend, WorkspaceOf<Backend>& workspace,
             const typename D::template Weights<const typename Backend::template Element<float>>& w,
             const typename D::template Weights<typename Backend::template Element<float>>& g,
             SequenceView<const typename Backend::template Element<float>> x,
             SequenceView<typename Backend::template Element<float>> dx,
             MatrixView<const typename Backend::template Element<float>> condition,
             MatrixView<typename Backend::template Element<float>> dcondition,
             std::span<const Index> timesteps, Index step) {
  { parameter_count<D> } -> std::convertible_to<Index>;
  { D::latent_channels } -> std::convertible_to<Index>;
  { D::condition_size } -> std::convertible_to<Index>;
  { D::forward(backend, w, x, timesteps, condition, workspace).output } -> std::convertible_to<decltype(x)>;
  D::backward(backend, w, D::forward(backend, w, x, timesteps, condition, workspace), x, g, dcondition, dx,
              workspace);
  {
    D::infer(backend, w, x, D::modulation(backend, w, timesteps, condition, workspace), step, workspace)
    } -> std::convertible_to<decltype(x)>;
};

MAA_NAMESPACE_END
