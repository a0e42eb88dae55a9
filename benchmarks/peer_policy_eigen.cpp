#include "peer_policy_eigen.hpp"

#include <Eigen/Core>

namespace peer {

namespace {

template <int In, int Out>
struct Linear {
  Eigen::Matrix<float, Out, In> weight;  // by columns: outputs are vector lanes
  Eigen::Matrix<float, Out, 1> bias;

  // Reads row-major [Out, In] weights and the bias; returns what follows them.
  const float* read(const float* values) {
    weight = Eigen::Map<const Eigen::Matrix<float, Out, In, Eigen::RowMajor>>(values);
    bias = Eigen::Map<const Eigen::Matrix<float, Out, 1>>(values + Out * In);
    return values + Out * In + Out;
  }
  template <class Input>
  Eigen::Matrix<float, Out, 1> operator()(const Input& x) const {
    Eigen::Matrix<float, Out, 1> y = bias;
    y.noalias() += weight * x;
    return y;
  }
};

}  // namespace

struct EigenPolicy::Layers {
  EIGEN_MAKE_ALIGNED_OPERATOR_NEW
  Linear<39, 128> first;
  Linear<128, 128> second;
  Linear<128, 4> mean;
};

EigenPolicy::EigenPolicy(const float* weights) : layers_(new Layers) {
  layers_->mean.read(layers_->second.read(layers_->first.read(weights)));
}
EigenPolicy::~EigenPolicy() = default;

void EigenPolicy::act(const float* observation, float* action) const {
  auto x = layers_->first(Eigen::Map<const Eigen::Matrix<float, 39, 1>>(observation));
  // Not select(): Eigen 3.4 does not vectorise it, which costs as much as all else together.
  x = x.array().max(0.0f) + (x.array().min(0.0f).exp() - 1.0f);
  auto y = layers_->second(x);
  y = y.array().max(0.0f);
  Eigen::Map<Eigen::Matrix<float, 4, 1>> to(action);
  to = layers_->mean(y).array().tanh();
}

}  // namespace peer
