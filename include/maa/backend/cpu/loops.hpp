// Loops that the ops share: over channels in a form compilers turn into vectors, and over chunks of a
// problem.
#pragma once

#include <maa/backend/cpu/backend.hpp>

#include <algorithm>

MAA_NAMESPACE_BEGIN
namespace cpu::detail {

// Numbers handled at once in the loops below. Blocks of a fixed size and a local array are what GCC
// vectorises at -O2 without run-time checks; sixteen partial sums hide the latency of an addition, which
// compilers may not reorder.
inline constexpr Index lanes = 16;

// Numbers per task of a parallel loop over cheap elements: some ten microseconds.
inline constexpr Index elements_per_task = Index{1} << 14;

// Rows of `elements` numbers per task.
inline Index rows_per_task(Index elements) {
  return std::max(Index{1}, elements_per_task / std::max(Index{1}, elements));
}

// out[i] = value(i); value(i) may read out[i] and arrays that overlap nothing but themselves.
template <class T, class Value>
void lane_map(Index count, T* out, const Value& value) {
  Index i = 0;
  for (; i + lanes <= count; i += lanes) {
    T block[lanes];
    for (Index j = 0; j < lanes; ++j) {
      block[j] = value(i + j);
    }
    std::copy_n(block, lanes, out + i);
  }
  for (; i < count; ++i) {
    out[i] = value(i);
  }
}

// Sum of value(i), in `lanes` interleaved partial sums.
template <class T, class Value>
T lane_sum(Index count, const Value& value) {
  T sums[lanes] = {};
  Index i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (Index j = 0; j < lanes; ++j) {
      sums[j] += value(i + j);
    }
  }
  for (Index j = 0; i + j < count; ++j) {
    sums[j] += value(i + j);
  }
  T sum = 0;
  for (const T part : sums) {
    sum += part;
  }
  return sum;
}

// Sum of part(first, last) over chunks of [0, size), added in chunk order.
template <class Part>
double chunked_sum(const Backend& backend, Index size, Index chunk, const Part& part) {
  auto& scratch = thread_scratch();
  const Workspace::Scope scope(scratch);
  const Index chunks = (size + chunk - 1) / chunk;
  auto* parts = scratch.take<double>(chunks);
  for_chunks(backend.pool(), size, chunk,
             [&](Index i, Index first, Index last) { parts[i] = part(first, last); });
  double sum = 0;
  for (Index i = 0; i < chunks; ++i) {
    sum += parts[i];
  }
  return sum;
}

}  // namespace cpu::detail
MAA_NAMESPACE_END
