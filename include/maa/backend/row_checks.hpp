// Checks of ops on rows and columns, for every backend.
#pragma once

#include <maa/core/views.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

inline void check_count(std::size_t found, Index expected, const char* op, const char* what) {
  require(static_cast<Index>(found) == expected, op, ": expected ", expected, " ", what, ", found ", found);
}

// Rows that lie within `from`, one for each row of `to`.
template <class From, class To>
void check_gathered(MatrixView<From> from, std::span<const Index> rows, MatrixView<To> to) {
  check_count(rows.size(), to.rows, "gather_rows", "rows");
  require_shape(from, from.rows, to.cols, "gather_rows: from");
  for (const Index row : rows) {
    require(row >= 0 && row < from.rows, "gather_rows: expected rows from 0 to ", from.rows - 1, ", found ",
            row);
  }
}

// How many of `rows` make each of `groups`.
template <class Row, class Group>
Index size_of_groups(MatrixView<Row> rows, MatrixView<Group> groups, const char* op) {
  require(groups.rows > 0 && rows.rows % groups.rows == 0 && rows.cols == groups.cols, op,
          ": expected rows of ", groups.cols, " numbers in ", groups.rows, " groups of one size, found [",
          rows.rows, ", ", rows.cols, "]");
  return rows.rows / groups.rows;
}

}  // namespace detail
MAA_NAMESPACE_END
