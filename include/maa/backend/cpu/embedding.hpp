// The sinusoidal embedding of diffusion timesteps (Ho et al., 2020, after Vaswani et al., 2017).
#pragma once

#include <maa/backend/cpu/backend.hpp>

#include <algorithm>
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
  const Workspace::Scope scope(thread_scratch());
  auto* frequencies = thread_scratch().take<double>(half);
  for (Index j = 0; j < half; ++j) {
    frequencies[j] = std::exp(-std::log(10000.0) * static_cast<double>(j) / static_cast<double>(half - 1));
  }
  constexpr Index rows_per_task = 16;
  for_chunks(backend.pool(), y.rows, rows_per_task, [=](Index, Index first, Index last) {
    for (Index i = first; i < last; ++i) {
      const Index t = timesteps[static_cast<std::size_t>(i)];
      if (i > first && t == timesteps[static_cast<std::size_t>(i - 1)]) {  // always so while sampling
        std::copy_n(y.row(i - 1), y.cols, y.row(i));
        continue;
      }
      for (Index j = 0; j < half; ++j) {
        const double angle = static_cast<double>(t) * frequencies[j];
        y(i, j) = static_cast<T>(std::sin(angle));
        y(i, half + j) = static_cast<T>(std::cos(angle));
      }
    }
  });
}

}  // namespace cpu
MAA_NAMESPACE_END
