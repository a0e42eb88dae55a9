// Ridge regression as a differentiable op: one small linear system per sample, solved in closed form.
#pragma once

#include <maa/backend/cpu/loops.hpp>

#include <Eigen/Cholesky>

#include <cmath>

MAA_NAMESPACE_BEGIN
namespace cpu {
namespace detail {

// [Phi 1]' [Phi 1] + strength I and its factor, for the features Phi [rows, units] of one sample.
struct RidgeSystem {
  Eigen::MatrixXd phi;  // [rows, units + 1], the last column is one
  Eigen::LLT<Eigen::MatrixXd> factor;

  template <class T>
  RidgeSystem(MatrixView<const T> features, double strength) : phi(features.rows, features.cols + 1) {
    for (Index i = 0; i < features.rows; ++i) {
      for (Index j = 0; j < features.cols; ++j) {
        phi(i, j) = static_cast<double>(features(i, j));
      }
      phi(i, features.cols) = 1;
    }
    Eigen::MatrixXd gram = phi.transpose() * phi;
    gram.diagonal().array() += strength;
    factor.compute(gram);
  }
};

template <class T>
Eigen::MatrixXd to_double(MatrixView<const T> view) {
  Eigen::MatrixXd result(view.rows, view.cols);
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.cols; ++j) {
      result(i, j) = static_cast<double>(view(i, j));
    }
  }
  return result;
}

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
// units + 1], the bias in the last column. Solved in double.
template <class T>
void ridge_forward(const Backend& backend, InSeq<T> features, InSeq<T> residual, double strength,
                   SequenceView<T> correction) {
  detail::check_ridge<T>(features, residual, correction, strength, "ridge_forward");
  backend.pool().for_each(features.batch, [&](Index i) {
    const detail::RidgeSystem system(detail::sample_of(features, i), strength);
    const Eigen::MatrixXd solution =
        system.factor.solve(system.phi.transpose() * detail::to_double(detail::sample_of(residual, i)));
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
    const detail::RidgeSystem system(detail::sample_of(features, i), strength);
    const Eigen::MatrixXd r = detail::to_double(detail::sample_of(residual, i));
    const Eigen::MatrixXd d = detail::to_double(detail::sample_of(correction, i)).transpose();
    const Eigen::MatrixXd u =
        system.factor.solve(detail::to_double(detail::sample_of(dcorrection, i)).transpose());
    const Eigen::MatrixXd dphi = r * u.transpose() - system.phi * (u * d.transpose() + d * u.transpose());
    const Eigen::MatrixXd dr = system.phi * u;
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
