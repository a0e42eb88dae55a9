// Ridge regression as a differentiable op: one small linear system per sample, solved in closed form.
#pragma once

#include <maa/backend/cpu/gemm.hpp>
#include <maa/backend/cpu/loops.hpp>
#include <maa/backend/mlp_layout.hpp>
#include <maa/backend/ridge_strength.hpp>
#include <maa/core/rng.hpp>
#include <maa/kernels/system_table.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

MAA_NAMESPACE_BEGIN
namespace cpu {
namespace detail {

// Overwrites the upper triangle of A = P + strength I, P symmetric positive semidefinite, by U with A = U'U.
// False, and A is lost, where rounding has eaten the strength: the squares of all pivots are at least as
// much.
inline bool cholesky_factor(const kernels::SystemTable& table, double strength, MatrixView<double> a) {
  for (Index i = 0; i < a.rows; ++i) {
    double* const row = a.row(i) + i;
    const Index count = a.cols - i;
    table.add_rows(i, count, a.data + i, a.stride, -1, a.data + i, a.stride, row);
    if (!(row[0] >= strength / 2)) {
      return false;
    }
    const double scale = 1 / std::sqrt(row[0]);
    lane_map(count, row, [=](Index j) { return row[j] * scale; });
  }
  return true;
}

// Overwrites the upper triangle of u by U with U'U = Phi'Phi + strength I without forming the product, whose
// rounding errors are of the size of its largest number: Householder's QR of Phi over the root of strength I.
inline void factor_rows(MatrixView<const double> phi, double strength, MatrixView<double> u,
                        Workspace& workspace) {
  const Workspace::Scope scope(workspace);
  const Index n = phi.cols, length = phi.rows + n;
  const auto columns = workspace.matrix<double>(n, length);  // of [sqrt(strength) I; Phi]
  for (Index j = 0; j < n; ++j) {
    double* const column = columns.row(j);
    std::fill_n(column, n, 0.0);
    column[j] = std::sqrt(strength);
    for (Index row = 0; row < phi.rows; ++row) {
      column[n + row] = phi(row, j);
    }
  }
  for (Index i = 0; i < n; ++i) {
    double* const v = columns.row(i) + i;
    const Index count = length - i;
    double squares = 0;
    for (Index k = 0; k < count; ++k) {
      squares += v[k] * v[k];
    }
    // The reflection that takes v to `pivot` on the first axis is I - v v' / half_squares for v - pivot.
    const double pivot = std::copysign(std::sqrt(squares), -v[0]);
    u(i, i) = std::abs(pivot);
    const double half_squares = squares - pivot * v[0];
    v[0] -= pivot;
    for (Index j = i + 1; j < n; ++j) {
      double* const other = columns.row(j) + i;
      double product = 0;
      for (Index k = 0; k < count; ++k) {
        product += v[k] * other[k];
      }
      product /= half_squares;
      for (Index k = 0; k < count; ++k) {
        other[k] -= v[k] * product;
      }
      u(i, j) = pivot < 0 ? -other[0] : other[0];
    }
  }
}

// Overwrites x by A^-1 x for A = U'U.
inline void cholesky_solve(const kernels::SystemTable& table, MatrixView<const double> u, double* x) {
  const Index n = u.rows;
  for (Index i = 0; i < n; ++i) {
    x[i] /= u(i, i);
    table.add_rows(1, n - i - 1, u.row(i) + i + 1, u.stride, -1, x + i, 0, x + i + 1);
  }
  for (Index i = n; i-- > 0;) {
    double known = 0;
    table.row_products(1, n - i - 1, u.row(i) + i + 1, u.stride, x + i + 1, &known);
    x[i] = (x[i] - known) / u(i, i);
  }
}

// A copy in double, with room for more columns and rows.
template <class T>
MatrixView<double> to_double(MatrixView<T> view, Workspace& workspace, Index more_columns = 0,
                             Index more_rows = 0) {
  const auto result = workspace.matrix<double>(view.rows + more_rows, view.cols + more_columns);
  for (Index i = 0; i < view.rows; ++i) {
    std::copy_n(view.row(i), view.cols, result.row(i));
  }
  return result;
}

// [Phi 1][Phi 1]' for features Phi [rows, units]: [rows, rows].
template <class T>
MatrixView<double> kernel_matrix(const Backend& backend, MatrixView<const T> features, Workspace& workspace) {
  const auto products = workspace.matrix<T>(features.rows, features.rows);
  gemm_serial(backend, Strided<T>(features), Strided<T>(features).transposed(), products, Write::overwrite);
  const auto result = to_double(products, workspace);
  for (Index i = 0; i < result.rows; ++i) {
    lane_map(result.cols, result.row(i), [row = result.row(i)](Index j) { return row[j] + 1; });
  }
  return result;
}

// [Phi 1]'[Phi 1]: [units + 1, units + 1]. phi [rows, units + 1] is [Phi 1] in double.
template <class T>
MatrixView<double> gram_matrix(const Backend& backend, MatrixView<const T> features,
                               MatrixView<const double> phi, Workspace& workspace) {
  const Index units = features.cols;
  const auto products = workspace.matrix<T>(units, units);
  gemm_serial(backend, Strided<T>(features).transposed(), Strided<T>(features), products, Write::overwrite);
  const auto result = to_double(products, workspace, 1, 1);
  double* const sums = result.row(units);  // the product with the column of ones
  std::fill_n(sums, units + 1, 0.0);
  const double one = 1;
  kernels::system_for(backend.isa()).add_rows(phi.rows, phi.cols, phi.data, phi.stride, 1, &one, 0, sums);
  for (Index i = 0; i < units; ++i) {
    result(i, units) = sums[i];
  }
  return result;
}

// M = [Phi 1]'[Phi 1] + strength I for the features Phi [rows, units] of one sample, kept as the Cholesky
// factor of M itself or of K = [Phi 1][Phi 1]' + strength I, whichever is smaller; with K,
// M^-1 G = (G - [Phi 1]' K^-1 [Phi 1] G) / strength (Woodbury). It lies in the workspace, as do its results.
// Right sides are vectors, one per action. Where features are so large that rounding would eat the strength,
// it is M's factor from the features themselves, and results are refined.
class RidgeSystem {
 public:
  template <class T>
  RidgeSystem(const Backend& backend, MatrixView<const T> features, double strength, Workspace& workspace)
      : workspace_(workspace),
        table_(kernels::system_for(backend.isa())),
        phi_(to_double(features, workspace, 1)),
        strength_(strength),
        by_kernel_(phi_.rows <= phi_.cols) {
    for (Index i = 0; i < phi_.rows; ++i) {
      phi_(i, features.cols) = 1;
    }
    const auto system = by_kernel_ ? kernel_matrix(backend, features, workspace)
                                   : gram_matrix(backend, features, phi(), workspace);
    double largest = 0;
    for (Index i = 0; i < system.rows; ++i) {
      largest = std::max(largest, system(i, i));
      system(i, i) += strength;
    }
    const bool precise = largest * static_cast<double>(std::numeric_limits<T>::epsilon()) < strength;
    if (precise && cholesky_factor(table_, strength, system)) {
      factor_ = system;
      return;
    }
    refines_ = true;
    by_kernel_ = false;
    const auto factor = workspace.matrix<double>(phi_.cols, phi_.cols);
    factor_rows(phi_, strength, factor, workspace);
    factor_ = factor;
  }

  MatrixView<const double> phi() const { return phi_; }  // [rows, units + 1], the last column is one
  // log det K: of M, det K = det M strength^(rows - units - 1).
  double log_determinant() const {
    double sum = by_kernel_ ? 0 : static_cast<double>(phi_.rows - phi_.cols) * std::log(strength_);
    for (Index i = 0; i < factor_.rows; ++i) {
      sum += 2 * std::log(factor_(i, i));
    }
    return sum;
  }
  // [Phi 1] g, for g of units + 1 numbers.
  double* apply(const double* g) const {
    auto* result = workspace_.take<double>(phi_.rows);
    table_.row_products(phi_.rows, phi_.cols, phi_.data, phi_.stride, g, result);
    return result;
  }
  // M^-1 [Phi 1]' r = [Phi 1]' K^-1 r for r of `rows` numbers, which may be overwritten.
  double* solve_residual(double* r) const {
    auto* result = workspace_.take<double>(phi_.cols);
    std::fill_n(result, phi_.cols, 0.0);
    if (by_kernel_) {
      cholesky_solve(table_, factor_, r);
    }
    table_.add_rows(phi_.rows, phi_.cols, phi_.data, phi_.stride, 1, r, 1, result);
    if (!by_kernel_) {
      cholesky_solve(table_, factor_, result);
    }
    refine(result, r, nullptr);
    return result;
  }
  // u = M^-1 g, and [Phi 1] u, which is K^-1 [Phi 1] g.
  struct Solution {
    const double* u;
    const double* applied;
  };
  Solution solve(const double* g) const {
    if (by_kernel_) {
      auto* applied = apply(g);
      auto* u = solve_residual(applied);
      lane_map(phi_.cols, u, [=, this](Index j) { return (g[j] - u[j]) / strength_; });
      return {u, applied};
    }
    auto* u = workspace_.take<double>(phi_.cols);
    std::copy_n(g, phi_.cols, u);
    cholesky_solve(table_, factor_, u);
    refine(u, nullptr, g);
    return {u, apply(u)};
  }

 private:
  // Takes the solution u of M u = [Phi 1]' r + g (either may be absent) nearer to it.
  void refine(double* u, const double* r, const double* g) const {
    for (int i = 0; refines_ && i < 2; ++i) {
      const Workspace::Scope scope(workspace_);
      auto* rest = apply(u);
      auto* step = workspace_.take<double>(phi_.cols);
      for (Index row = 0; row < phi_.rows; ++row) {
        rest[row] = (r != nullptr ? r[row] : 0) - rest[row];
      }
      for (Index j = 0; j < phi_.cols; ++j) {
        step[j] = (g != nullptr ? g[j] : 0) - strength_ * u[j];
      }
      table_.add_rows(phi_.rows, phi_.cols, phi_.data, phi_.stride, 1, rest, 1, step);
      cholesky_solve(table_, factor_, step);
      for (Index j = 0; j < phi_.cols; ++j) {
        u[j] += step[j];
      }
    }
  }

  Workspace& workspace_;
  const kernels::SystemTable& table_;
  MatrixView<double> phi_;
  double strength_;
  bool by_kernel_;        // the factor is K's, not M's
  bool refines_ = false;  // results of the factor are only near
  MatrixView<const double> factor_;
};

template <class T>
MatrixView<T> sample_of(SequenceView<T> view, Index i) {
  return {view.data + i * view.length * view.channels, view.length, view.channels};
}

}  // namespace detail

// The linear map of features that best explains the residual, shrunk: per sample
// D = argmin |[Phi 1] D - R|^2 + strength |D|^2 = ([Phi 1]'[Phi 1] + strength I)^-1 [Phi 1]' R.
// features Phi [batch, rows, units], residual R [batch, rows, actions] -> correction D' [batch, actions,
// units + 1], the bias in the last column. The products of features are formed in T, the system is solved in
// double.
template <class T>
void ridge_forward(const Backend& backend, InSeq<T> features, InSeq<T> residual, double strength,
                   SequenceView<T> correction) {
  check_ridge<T>(features, residual, correction, strength, "ridge_forward");
  backend.pool().for_each(features.batch, [&](Index i) {
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const detail::RidgeSystem system(backend, detail::sample_of(features, i), strength, scratch);
    const auto r = detail::sample_of(residual, i);
    const auto out = detail::sample_of(correction, i);
    auto* column = scratch.take<double>(r.rows);
    for (Index action = 0; action < r.cols; ++action) {
      for (Index row = 0; row < r.rows; ++row) {
        column[row] = static_cast<double>(r(row, action));
      }
      const double* solution = system.solve_residual(column);
      for (Index unit = 0; unit < out.cols; ++unit) {
        out(action, unit) = static_cast<T>(solution[unit]);
      }
    }
  });
}

// With U = M^-1 dD: dPhi = R U' - Phi (U D' + D U') without the column of ones, dR = Phi U (both
// overwritten); returns the derivative for log(strength), -strength sum(U * D).
template <class T>
double ridge_backward(const Backend& backend, InSeq<T> features, InSeq<T> residual, double strength,
                      InSeq<T> correction, InSeq<T> dcorrection, SequenceView<T> dfeatures,
                      SequenceView<std::type_identity_t<T>> dresidual) {
  check_ridge<T>(features, residual, correction, strength, "ridge_backward");
  require_shape(dcorrection, correction.batch, correction.length, correction.channels,
                "ridge_backward: dcorrection");
  require_shape(dfeatures, features.batch, features.length, features.channels, "ridge_backward: dfeatures");
  require_shape(dresidual, residual.batch, residual.length, residual.channels, "ridge_backward: dresidual");
  const Workspace::Scope outer(thread_scratch());
  const auto slopes = thread_scratch().span<double>(features.batch);
  std::ranges::fill(slopes, 0.0);
  backend.pool().for_each(features.batch, [&](Index i) {
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const detail::RidgeSystem system(backend, detail::sample_of(features, i), strength, scratch);
    const auto r = detail::sample_of(residual, i);
    const auto d = detail::to_double(detail::sample_of(correction, i), scratch);
    const auto dd = detail::to_double(detail::sample_of(dcorrection, i), scratch);
    const auto dfeatures_here = detail::sample_of(dfeatures, i);
    const auto dresidual_here = detail::sample_of(dresidual, i);
    // dPhi = [R - Phi D', -dR] [U; D'], so one product per row.
    const Index rows = system.phi().rows, numbers = d.cols, actions = d.rows;
    const auto left = scratch.matrix<double>(rows, 2 * actions);
    const auto right = scratch.matrix<double>(2 * actions, numbers);
    const auto& table = kernels::system_for(backend.isa());
    for (Index action = 0; action < actions; ++action) {
      const auto [u, dr] = system.solve(dd.row(action));
      const double* fitted = system.apply(d.row(action));
      double product = 0;
      table.row_products(1, numbers, u, numbers, d.row(action), &product);
      slopes[static_cast<std::size_t>(i)] -= strength * product;
      std::copy_n(u, numbers, right.row(action));
      std::copy_n(d.row(action), numbers, right.row(actions + action));
      for (Index row = 0; row < rows; ++row) {
        left(row, action) = static_cast<double>(r(row, action)) - fitted[row];
        left(row, actions + action) = -dr[row];
        dresidual_here(row, action) = static_cast<T>(dr[row]);
      }
    }
    auto* dphi = scratch.take<double>(numbers);
    for (Index row = 0; row < rows; ++row) {
      std::fill_n(dphi, numbers, 0.0);
      table.add_rows(2 * actions, numbers, right.data, right.stride, 1, left.row(row), 1, dphi);
      for (Index unit = 0; unit < dfeatures_here.cols; ++unit) {
        dfeatures_here(row, unit) = static_cast<T>(dphi[unit]);
      }
    }
  });
  double sum = 0;
  for (const double slope : slopes) {
    sum += slope;
  }
  return sum;
}

// As Bayesian regression: R ~ N(0, K) with K = [Phi 1][Phi 1]' + strength I, independently for each action.
// evidence [batch]: log N(R | 0, K), summed over actions.
template <class T>
void ridge_evidence(const Backend& backend, InSeq<T> features, InSeq<T> residual, double strength,
                    std::span<double> evidence) {
  require(strength > 0 && std::ssize(evidence) == features.batch,
          "ridge_evidence: expected a positive strength and ", features.batch, " results, found ", strength,
          " and ", evidence.size());
  require_shape(residual, features.batch, features.length, residual.channels, "ridge_evidence: residual");
  backend.pool().for_each(features.batch, [&](Index i) {
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const detail::RidgeSystem system(backend, detail::sample_of(features, i), strength, scratch);
    const auto r = detail::sample_of(residual, i);
    const auto rows = static_cast<double>(r.rows);
    double sum = -0.5 * static_cast<double>(r.cols) *
                 (system.log_determinant() + rows * std::log(2 * std::numbers::pi));
    auto* column = scratch.take<double>(r.rows);
    for (Index action = 0; action < r.cols; ++action) {
      const auto fill = [&] {
        for (Index row = 0; row < r.rows; ++row) {
          column[row] = static_cast<double>(r(row, action));
        }
      };
      fill();
      const double* fitted = system.apply(system.solve_residual(column));
      fill();
      for (Index row = 0; row < r.rows; ++row) {  // r' K^-1 r = r' (r - [Phi 1] D) / strength
        sum -= 0.5 * column[row] * (column[row] - fitted[row]) / strength;
      }
    }
    evidence[static_cast<std::size_t>(i)] = sum;
  });
}

// What that regression leaves open: `draws` D' [batch, actions, units + 1] from N(0, strength M^-1), the
// posterior around the solution under the prior N(0, I), times the sample's deviation [batch]; all zero where
// that is 0. As prior draws whose own noisy data are explained away: D = P - M^-1 [Phi 1]' ([Phi 1] P +
// noise). streams [batch]: random numbers of each sample.
template <class T>
void ridge_draw(const Backend& backend, InSeq<T> features, double strength, std::span<const double> deviation,
                std::span<const Rng> streams, SequenceView<T> draws) {
  require(strength > 0 && std::ssize(deviation) == features.batch && std::ssize(streams) == features.batch,
          "ridge_draw: expected a positive strength, and ", features.batch, " deviations and streams, found ",
          strength, ", ", deviation.size(), " and ", streams.size());
  require_shape(draws, features.batch, draws.length, features.channels + 1, "ridge_draw: draws");
  backend.pool().for_each(features.batch, [&](Index i) {
    const auto out = detail::sample_of(draws, i);
    const double scale = deviation[static_cast<std::size_t>(i)];
    if (scale == 0) {
      std::fill_n(out.data, out.rows * out.cols, T(0));
      return;
    }
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const detail::RidgeSystem system(backend, detail::sample_of(features, i), strength, scratch);
    auto rng = streams[static_cast<std::size_t>(i)];
    auto* prior = scratch.take<double>(out.cols);
    for (Index action = 0; action < out.rows; ++action) {
      std::generate_n(prior, out.cols, [&] { return rng.normal(); });
      auto* data = system.apply(prior);
      for (Index row = 0; row < features.length; ++row) {
        data[row] += std::sqrt(strength) * rng.normal();
      }
      const double* explained = system.solve_residual(data);
      for (Index unit = 0; unit < out.cols; ++unit) {
        out(action, unit) = static_cast<T>(scale * (prior[unit] - explained[unit]));
      }
    }
  });
}

// The same with a strength that is trained; its derivatives accumulate.
template <class T>
double value_of(const RidgeStrength<T>& strength) {
  return strength.base * std::exp(static_cast<double>(strength.log_strength[0]) +
                                  static_cast<double>(strength.row_exponent[0]) * strength.log_rows);
}
template <class T>
void ridge_forward(const Backend& backend, InSeq<T> features, InSeq<T> residual,
                   const RidgeStrength<std::type_identity_t<T>>& strength, SequenceView<T> correction) {
  ridge_forward(backend, features, residual, value_of(strength), correction);
}
template <class T>
void ridge_backward(const Backend& backend, InSeq<T> features, InSeq<T> residual,
                    const RidgeStrength<std::type_identity_t<T>>& strength, InSeq<T> correction,
                    InSeq<T> dcorrection, SequenceView<T> dfeatures,
                    SequenceView<std::type_identity_t<T>> dresidual, std::type_identity_t<T>* dlog_strength,
                    std::type_identity_t<T>* drow_exponent) {
  const double dlog = ridge_backward(backend, features, residual, value_of(strength), correction, dcorrection,
                                     dfeatures, dresidual);
  dlog_strength[0] += static_cast<T>(dlog);
  drow_exponent[0] += static_cast<T>(dlog * strength.log_rows);
}

// What a policy's head should add to its `mean` actions (before squashing), all [batch, rows, actions], to
// act like the prompt's `actions`. Before tanh, actions near the bounds ask for infinitely much: they are
// clipped to .95, and a mean that already saturates on the right side is left alone.
template <class T>
struct HeadTarget {
  T residual;
  T slope;  // its derivative for the mean

  HeadTarget(bool squashed, T mean, T action) {
    constexpr T bound = T(0.95);
    constexpr T saturated = T(1.83);  // atanh(.95)
    if (!squashed) {
      residual = action - mean;
      slope = T(-1);
    } else if (std::abs(action) > bound && mean * action > saturated) {
      residual = T(0);
      slope = T(0);
    } else {
      const T limited = std::clamp(mean, T(-3), T(3));
      residual = std::atanh(std::clamp(action, -bound, bound)) - limited;
      slope = limited == mean ? T(-1) : T(0);
    }
  }
};
template <class T>
void head_residual(const Backend&, bool squashed, InSeq<T> mean, InSeq<T> actions, SequenceView<T> residual) {
  require_shape(mean, residual.batch, residual.length, residual.channels, "head_residual: mean");
  require_shape(actions, residual.batch, residual.length, residual.channels, "head_residual: actions");
  for (Index i = 0; i < residual.size(); ++i) {
    residual.data[i] = HeadTarget<T>(squashed, mean.data[i], actions.data[i]).residual;
  }
}
// dmean, which holds the residual's gradient, becomes the mean's.
template <class T>
void head_residual_backward(const Backend&, bool squashed, InSeq<T> mean, InSeq<T> actions,
                            SequenceView<T> dmean) {
  require_shape(mean, dmean.batch, dmean.length, dmean.channels, "head_residual_backward: mean");
  require_shape(actions, dmean.batch, dmean.length, dmean.channels, "head_residual_backward: actions");
  for (Index i = 0; i < dmean.size(); ++i) {
    dmean.data[i] *= HeadTarget<T>(squashed, mean.data[i], actions.data[i]).slope;
  }
}

namespace detail {

// Calls body(policy, parameter, action, unit) for every number of the mean heads; the last unit is the bias.
template <class Body>
void for_head(const MlpLayout& layout, Index policies, const Body& body) {
  const Index units = layout.mean.in;
  for (Index i = 0; i < policies; ++i) {
    for (Index action = 0; action < layout.mean.out; ++action) {
      for (Index unit = 0; unit < units; ++unit) {
        body(i, layout.mean.weight_offset + action * units + unit, action, unit);
      }
      body(i, layout.mean.bias_offset + action, action, units);
    }
  }
}

}  // namespace detail

// The mean heads within policies [batch, parameters] and corrections [batch, actions, units + 1]:
// policies += correction, and the correction's gradient from the policies'.
template <class T>
void add_head(const Backend&, const MlpLayout& layout, InSeq<T> correction, MatrixView<T> policies) {
  require_shape(correction, policies.rows, layout.mean.out, layout.mean.in + 1, "add_head: correction");
  detail::for_head(layout, policies.rows, [&](Index i, Index parameter, Index action, Index unit) {
    policies(i, parameter) += correction.flat()(i * correction.length + action, unit);
  });
}
template <class T>
void head_gradient(const Backend&, const MlpLayout& layout, In<T> dpolicies, SequenceView<T> dcorrection) {
  require_shape(dcorrection, dpolicies.rows, layout.mean.out, layout.mean.in + 1,
                "head_gradient: dcorrection");
  detail::for_head(layout, dpolicies.rows, [&](Index i, Index parameter, Index action, Index unit) {
    dcorrection.flat()(i * dcorrection.length + action, unit) = dpolicies(i, parameter);
  });
}

}  // namespace cpu
MAA_NAMESPACE_END
