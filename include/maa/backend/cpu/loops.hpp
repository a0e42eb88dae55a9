// Loops that the ops share: over channels in a form compilers turn into vectors, and over chunks of a problem.
#pragma once

#include <maa/backend/cpu/backend.hpp>

#include <algorithm>

MAA_NAMESPACE_BEGIN
namespace cpu::detail {

// Numbers handled at once in the loops below. Blocks of a fixed size and a local array are what GCC vectorises at -O2
// without run-time checks; sixteen partial sums hide the latency of an addition, which compilers may not reorder.
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
  for_chunks(backend.pool(), size, chunk, [&](Index i, Index first, Index last) { parts[i] = part(first, last); });
  double sum = 0;
  for (Index i = 0; i < chunks; ++i) {
    sum += parts[i];
  }
  return sum;
}

// sums[j] += sum over i of value(i, j) for j in [first, last), rows in order. Reads `value` along rows.
template <class T, class Value>
void add_column_sums(Index rows, Index first, Index last, T* sums, const Value& value) {
  for (Index begin = first; begin < last; begin += lanes) {
    const Index count = std::min(lanes, last - begin);
    T block[lanes] = {};
    for (Index i = 0; i < rows; ++i) {
      if (count == lanes) {
        for (Index j = 0; j < lanes; ++j) {
          block[j] += value(i, begin + j);
        }
      } else {
        for (Index j = 0; j < count; ++j) {
          block[j] += value(i, begin + j);
        }
      }
    }
    lane_map(count, sums + begin, [&](Index j) { return sums[begin + j] + block[j]; });
  }
}

// Columns per task when all rows of a matrix are summed: whole cache lines.
inline constexpr Index columns_per_task = 64;

// sums[j] += sum over i of values(i, j), parallel over columns, so that every sum is formed in order of the rows.
template <class T>
void add_column_sums(const Backend& backend, In<T> values, T* sums) {
  for_chunks(backend.pool(), values.cols, columns_per_task, [&](Index, Index first, Index last) {
    add_column_sums(values.rows, first, last, sums, [&](Index i, Index j) { return values(i, j); });
  });
}

// Every row of y = `row`, or zeros if that is null.
template <class T>
void fill_rows(const std::type_identity_t<T>* row, MatrixView<T> y) {
  for (Index i = 0; i < y.rows; ++i) {
    if (row != nullptr) {
      std::copy_n(row, y.cols, y.row(i));
    } else {
      std::fill_n(y.row(i), y.cols, T(0));
    }
  }
}

}  // namespace cpu::detail
MAA_NAMESPACE_END
