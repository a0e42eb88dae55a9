// Ridge regression as a differentiable op: one small linear system per sample, solved in closed form.
#pragma once

#include <maa/backend/cpu/gemm.hpp>

#include <Eigen/Cholesky>

#include <vector>

MAA_NAMESPACE_BEGIN
namespace cpu {
namespace detail {

// M = [Phi 1]'[Phi 1] + strength I for the features Phi [rows, units] of one sample, kept as the Cholesky
// factor of the smaller matrix K = [Phi 1][Phi 1]' + strength I: M^-1 G = (G - [Phi 1]' K^-1 [Phi 1] G) /
// strength (Woodbury).
class RidgeSystem {
 public:
  template <class T>
  RidgeSystem(const Backend& backend, MatrixView<const T> features, double strength)
      : phi_(features.rows, features.cols + 1), strength_(strength) {
    phi_.leftCols(features.cols) = to_double(features);
    phi_.col(features.cols).setOnes();
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const auto products = scratch.matrix<T>(features.rows, features.rows);
    gemm_serial(backend, Strided<T>(features), Strided<T>(features).transposed(), products, Write::overwrite);
    Eigen::MatrixXd kernel = to_double(MatrixView<const T>(products));
    kernel.array() += 1;
    kernel.diagonal().array() += strength;
    factor_.compute(kernel);
  }

  const Eigen::MatrixXd& phi() const { return phi_; }  // [rows, units + 1], the last column is one
  // M^-1 [Phi 1]' r = [Phi 1]' K^-1 r.
  Eigen::MatrixXd solve_residual(const Eigen::MatrixXd& r) const {
    return phi_.transpose() * factor_.solve(r);
  }
  // M^-1 g.
  Eigen::MatrixXd solve(const Eigen::MatrixXd& g) const {
    return (g - phi_.transpose() * factor_.solve(phi_ * g)) / strength_;
  }

  template <class T>
  static Eigen::MatrixXd to_double(MatrixView<const T> view) {
    Eigen::MatrixXd result(view.rows, view.cols);
    for (Index i = 0; i < view.rows; ++i) {
      for (Index j = 0; j < view.cols; ++j) {
        result(i, j) = static_cast<double>(view(i, j));
      }
    }
    return result;
  }

 private:
  Eigen::MatrixXd phi_;
  double strength_;
  Eigen::LLT<Eigen::MatrixXd> factor_;
};

template <class T>
void check_ridge(InSeq<T> features, InSeq<T> residual, InSeq<T> correction, double strength, const char* op) {
  require(strength > 0, op, ": expected a positive strength, found ", strength);
  require_shape(residual, features.batch, features.length, residual.channels, op);
  require_shape(correction, features.batch, residual.channels, features.channels + 1, op);
}

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
  detail::check_ridge<T>(features, residual, correction, strength, "ridge_forward");
  backend.pool().for_each(features.batch, [&](Index i) {
    const detail::RidgeSystem system(backend, detail::sample_of(features, i), strength);
    const auto solution = system.solve_residual(system.to_double(detail::sample_of(residual, i)));
    const auto out = detail::sample_of(correction, i);
    for (Index action = 0; action < out.rows; ++action) {
      for (Index unit = 0; unit < out.cols; ++unit) {
        out(action, unit) = static_cast<T>(solution(unit, action));
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
  detail::check_ridge<T>(features, residual, correction, strength, "ridge_backward");
  require_shape(dcorrection, correction.batch, correction.length, correction.channels,
                "ridge_backward: dcorrection");
  require_shape(dfeatures, features.batch, features.length, features.channels, "ridge_backward: dfeatures");
  require_shape(dresidual, residual.batch, residual.length, residual.channels, "ridge_backward: dresidual");
  std::vector<double> slopes(static_cast<std::size_t>(features.batch));
  backend.pool().for_each(features.batch, [&](Index i) {
    const detail::RidgeSystem system(backend, detail::sample_of(features, i), strength);
    const auto r = system.to_double(detail::sample_of(residual, i));
    const Eigen::MatrixXd d = system.to_double(detail::sample_of(correction, i)).transpose();
    const auto u = system.solve(system.to_double(detail::sample_of(dcorrection, i)).transpose());
    const Eigen::MatrixXd dr = system.phi() * u;
    const Eigen::MatrixXd dphi = (r - system.phi() * d) * u.transpose() - dr * d.transpose();
    slopes[static_cast<std::size_t>(i)] = -strength * u.cwiseProduct(d).sum();
    const auto dfeatures_here = detail::sample_of(dfeatures, i);
    const auto dresidual_here = detail::sample_of(dresidual, i);
    for (Index row = 0; row < dfeatures_here.rows; ++row) {
      for (Index unit = 0; unit < dfeatures_here.cols; ++unit) {
        dfeatures_here(row, unit) = static_cast<T>(dphi(row, unit));
      }
      for (Index action = 0; action < dresidual_here.cols; ++action) {
        dresidual_here(row, action) = static_cast<T>(dr(row, action));
      }
    }
  });
  double sum = 0;
  for (const double slope : slopes) {
    sum += slope;
  }
  return sum;
}

}  // namespace cpu
MAA_NAMESPACE_END
