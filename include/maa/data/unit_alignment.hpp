// Hidden units of an MLP may be permuted without any change to what it does, so independent runs have theirs
// in orders of their own. For what compares or learns weights number by number, this puts them in one order.
#pragma once

#include <maa/backend/mlp_layout.hpp>
#include <maa/core/buffer.hpp>
#include <maa/core/error.hpp>
#include <maa/core/views.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

MAA_NAMESPACE_BEGIN

// The assignment of rows to columns, each to one, of the greatest sum of `gain` [n, n]: column of each row.
// Hungarian method with potentials, O(n^3).
std::vector<Index> best_assignment(MatrixView<const double> gain);

// Permutes the hidden units of a policy [P], so that its weights are as near to those of `reference` [P] as
// weight matching brings them (Ainsworth et al., Git Re-Basin, ICLR 2023, algorithm 1): layer by layer the
// permutation of the greatest inner product, given the others, until none changes; at most `rounds` times.
// What the policy does stays the same but for rounding. Error for other sizes than the layout's.
void align_units(const MlpLayout& layout, std::span<const float> reference, std::span<float> weights,
                 Index rounds = 20);

#if MAA_BODIES
MAA_INLINE std::vector<Index> best_assignment(MatrixView<const double> gain) {
  const Index n = gain.rows;
  require(n == gain.cols, "assignment: expected a square matrix, found [", n, ", ", gain.cols, "]");
  // Rows are added one by one, each along the cheapest alternating path; column n stands for no column.
  const auto size = static_cast<std::size_t>(n + 1);
  std::vector<double> of_row(size), of_column(size);
  std::vector<Index> row_of(size, -1);
  for (Index added = 0; added < n; ++added) {
    std::vector<double> cost(size, std::numeric_limits<double>::infinity());
    std::vector<Index> before(size, n);
    std::vector<bool> done(size);
    Index column = n;
    row_of[static_cast<std::size_t>(n)] = added;
    while (row_of[static_cast<std::size_t>(column)] >= 0) {
      done[static_cast<std::size_t>(column)] = true;
      const Index row = row_of[static_cast<std::size_t>(column)];
      double least = std::numeric_limits<double>::infinity();
      Index next = n;
      for (Index j = 0; j < n; ++j) {
        const auto at = static_cast<std::size_t>(j);
        if (done[at]) {
          continue;
        }
        const double reduced = -gain(row, j) - of_row[static_cast<std::size_t>(row)] - of_column[at];
        if (reduced < cost[at]) {
          cost[at] = reduced;
          before[at] = column;
        }
        if (cost[at] < least) {
          least = cost[at];
          next = j;
        }
      }
      for (std::size_t j = 0; j < size; ++j) {
        if (done[j]) {
          of_row[static_cast<std::size_t>(row_of[j])] += least;
          of_column[j] -= least;
        } else {
          cost[j] -= least;
        }
      }
      column = next;
    }
    for (; column != n; column = before[static_cast<std::size_t>(column)]) {
      row_of[static_cast<std::size_t>(column)] =
          row_of[static_cast<std::size_t>(before[static_cast<std::size_t>(column)])];
    }
  }
  std::vector<Index> result(static_cast<std::size_t>(n));
  for (Index j = 0; j < n; ++j) {
    result[static_cast<std::size_t>(row_of[static_cast<std::size_t>(j)])] = j;
  }
  return result;
}

MAA_INLINE void align_units(const MlpLayout& layout, std::span<const float> reference,
                            std::span<float> weights, Index rounds) {
  require(std::ssize(reference) == layout.parameter_count && std::ssize(weights) == layout.parameter_count,
          "align_units: expected policies of ", layout.parameter_count, " weights, found ", reference.size(),
          " and ", weights.size());
  for (bool changed = true; changed && rounds > 0; --rounds) {
    changed = false;
    for (std::size_t l = 0; l < layout.hidden.size(); ++l) {
      const auto& own = layout.hidden[l];
      std::vector<MlpLayout::Linear> readers;
      if (l + 1 < layout.hidden.size()) {
        readers.push_back(layout.hidden[l + 1]);
      } else {
        readers.push_back(layout.mean);
        if (layout.log_std) {
          readers.push_back(*layout.log_std);
        }
      }
      // All numbers of one unit: its row and bias, then its column in every layer that reads it.
      Index numbers = own.in + 1;
      for (const auto& reader : readers) {
        numbers += reader.out;
      }
      const auto units_of = [&](std::span<const float> policy) {
        Buffer<double> units(own.out * numbers);
        for (Index unit = 0; unit < own.out; ++unit) {
          double* to = units.data() + unit * numbers;
          to = std::copy_n(policy.data() + own.weight_offset + unit * own.in, own.in, to);
          const auto number = [&](Index i) {
            return static_cast<double>(policy[static_cast<std::size_t>(i)]);
          };
          *to++ = number(own.bias_offset + unit);
          for (const auto& reader : readers) {
            for (Index j = 0; j < reader.out; ++j) {
              *to++ = number(reader.weight_offset + j * reader.in + unit);
            }
          }
        }
        return units;
      };
      const auto wanted = units_of(reference), found = units_of(weights);
      Buffer<double> gain(own.out * own.out);
      for (Index i = 0; i < own.out; ++i) {
        for (Index j = 0; j < own.out; ++j) {
          gain[i * own.out + j] =
              std::inner_product(wanted.data() + i * numbers, wanted.data() + (i + 1) * numbers,
                                 found.data() + j * numbers, 0.0);
        }
      }
      const auto from = best_assignment({gain.data(), own.out, own.out});
      for (Index unit = 0; unit < own.out; ++unit) {
        changed = changed || from[static_cast<std::size_t>(unit)] != unit;
        const double* source = found.data() + from[static_cast<std::size_t>(unit)] * numbers;
        for (Index k = 0; k < own.in; ++k) {
          weights[static_cast<std::size_t>(own.weight_offset + unit * own.in + k)] =
              static_cast<float>(*source++);
        }
        weights[static_cast<std::size_t>(own.bias_offset + unit)] = static_cast<float>(*source++);
        for (const auto& reader : readers) {
          for (Index j = 0; j < reader.out; ++j) {
            weights[static_cast<std::size_t>(reader.weight_offset + j * reader.in + unit)] =
                static_cast<float>(*source++);
          }
        }
      }
    }
  }
}
#endif

MAA_NAMESPACE_END
