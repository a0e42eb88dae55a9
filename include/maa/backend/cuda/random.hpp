// Standard normal numbers from counter-based streams: those that Rng::fill_normal draws, up to rounding.
#pragma once

#include <maa/backend/cuda/backend.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

namespace detail {

// Of a stream, for so many numbers.
inline std::uint64_t random_blocks(Index normals) {
  return static_cast<std::uint64_t>((normals + 3) / 4);
}

inline kernels::RandomState random_state(const Rng& rng) {
  const auto& state = rng.state();
  return {state.seed, state.stream, state.position};
}

// Rows from streams that begin at `states`, which may differ from call to call without a new graph.
inline void fill_rows(const Backend& backend, std::span<const kernels::RandomState> states, Out to,
                      double scale) {
  if (to.size() == 0) {
    return;
  }
  const auto blocks = static_cast<Index>(random_blocks(to.cols));
  backend.launch(kernels::fill_normal_kernel, to.rows * blocks,
                 kernels::FillNormalArguments{raw(backend.context().transient(states)), raw(to.data), blocks,
                                              to.cols, to.stride, static_cast<float>(scale), 0});
}

}  // namespace detail

// The next numbers of `rng`, times scale, row by row; rows must be contiguous.
inline void fill_normal(const Backend& backend, Rng& rng, Out to, double scale = 1) {
  const auto all = to.span();
  const auto state = detail::random_state(rng);
  detail::fill_rows(backend, std::span(&state, 1), Out(all.data(), 1, std::ssize(all)), scale);
  rng.skip(detail::random_blocks(to.size()));
}
// Row i gets the next numbers of streams[i].
inline void fill_normal(const Backend& backend, std::span<Rng> streams, Out to) {
  require(std::ssize(streams) == to.rows, "fill_normal: expected ", to.rows, " random streams, found ",
          streams.size());
  std::vector<kernels::RandomState> states;
  states.reserve(streams.size());
  for (const auto& stream : streams) {
    states.push_back(detail::random_state(stream));
  }
  detail::fill_rows(backend, states, to, 1);
  for (auto& stream : streams) {
    stream.skip(detail::random_blocks(to.cols));
  }
}

}  // namespace cuda
MAA_NAMESPACE_END
