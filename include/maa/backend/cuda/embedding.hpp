// The sinusoidal embedding of diffusion timesteps (Ho et al., 2020, after Vaswani et al., 2017).
#pragma once

#include <maa/backend/cuda/backend.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

// y [timesteps, dim], dim even and at least 4: row i is [sin(t f_0) ... sin(t f_{h-1}), cos(t f_0) ... cos(t
// f_{h-1})] with t = timesteps[i], h = dim / 2 and f_j = 10000^(-j / (h - 1)); angles in double.
inline void sinusoidal_embedding(const Backend& backend, std::span<const Index> timesteps, Out y) {
  require_shape(y, static_cast<Index>(timesteps.size()), y.cols, "sinusoidal_embedding: y");
  require(y.cols >= 4 && y.cols % 2 == 0,
          "sinusoidal_embedding: expected an even dimension of at least 4, found ", y.cols);
  if (y.rows == 0) {
    return;
  }
  const std::vector<kernels::Int> numbers(timesteps.begin(), timesteps.end());
  const auto* const uploaded = raw(backend.context().transient(std::span<const kernels::Int>(numbers)));
  backend.launch(kernels::sinusoidal_embedding_kernel, y.size() / 2,
                 kernels::EmbeddingArguments{uploaded, raw(y.data), y.cols / 2, y.stride});
}

}  // namespace cuda
MAA_NAMESPACE_END
