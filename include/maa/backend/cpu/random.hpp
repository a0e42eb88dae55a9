// Standard normal numbers from counter-based streams.
#pragma once

#include <maa/backend/cpu/backend.hpp>
#include <maa/core/rng.hpp>

MAA_NAMESPACE_BEGIN
namespace cpu {

// The next numbers of `rng`, times scale, row by row; rows must be contiguous.
template <class T>
void fill_normal(const Backend&, Rng& rng, MatrixView<T> to, double scale = 1) {
  rng.fill_normal(to.span(), scale);
}
// Row i gets the next numbers of streams[i].
template <class T>
void fill_normal(const Backend&, std::span<Rng> streams, MatrixView<T> to) {
  require(static_cast<Index>(streams.size()) == to.rows, "fill_normal: expected ", to.rows,
          " random streams, found ", streams.size());
  for (Index i = 0; i < to.rows; ++i) {
    streams[static_cast<std::size_t>(i)].fill_normal(to.row_span(i));
  }
}

}  // namespace cpu
MAA_NAMESPACE_END
