// The sinusoidal embedding of diffusion timesteps (Ho et al., 2020, after Vaswani et al., 2017).
#pragma once

#include <maa/backend/cpu/backend.hpp>

#include <cmath>

MAA_NAMESPACE_BEGIN
namespace cpu {

// y [timesteps, dim], dim even and at least 4: row i is [sin(t f_0) ... sin(t f_{h-1}), cos(t f_0) ... cos(t
// f_{h-1})] with t = timesteps[i], h = dim / 2 and f_j = 10000^(-j / (h - 1)).
template <class T>
void sinusoidal_embedding(const Backend& backend, std::span<const Index> timesteps, MatrixView<T> y) {
  require_shape(y, static_cast<Index>(timesteps.size()), y.cols, "sinusoidal_embedding: y");
  require(y.cols >= 4 && y.cols % 2 == 0,
          "sinusoidal_embedding: expected an even dimension of at least 4, found ", y.cols);
  const Index half = y.cols / 2;
  constexpr Index frequencies_per_task = 8;
  for_chunks(backend.pool(), half, frequencies_per_task, [=](Index, Index first, Index last) {
    for (Index j = first; j < last; ++j) {
      const double frequency =
          std::exp(-std::log(10000.0) * static_cast<double>(j) / static_cast<double>(half - 1));
      for (Index i = 0; i < y.rows; ++i) {
        const double angle = static_cast<double>(timesteps[static_cast<std::size_t>(i)]) * frequency;
        y(i, j) = static_cast<T>(std::sin(angle));
        y(i, half + j) = static_cast<T>(std::cos(angle));
      }
    }
  });
}

}  // namespace cpu
MAA_NAMESPACE_END
