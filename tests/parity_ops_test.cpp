// Every op, its output and all its gradients, against PyTorch.
#include "parity_fixture.hpp"

#include <maa/backend/cpu/conv1d.hpp>
#include <maa/backend/cpu/elementwise.hpp>
#include <maa/backend/cpu/embedding.hpp>
#include <maa/backend/cpu/linear.hpp>
#include <maa/backend/cpu/losses.hpp>
#include <maa/backend/cpu/norm.hpp>

namespace {

using maa::Index;
using maa::cpu::Backend;
using parity::check_close;
using parity::Fixture;
using parity::forward_tolerance;
using parity::gradient_tolerance;

const Fixture& ops() {
  static const Fixture fixture("ops");
  return fixture;
}

}  // namespace

TEST_CASE_TEMPLATE("linear", T, float, double) {
  const Backend backend;
  for (const std::string name : {"linear.7x33x18.", "linear.1x5x3.", "linear.20x16x65."}) {
    const auto x = ops().read<T>(name + "x"), weight = ops().read<T>(name + "weight"),
               bias = ops().read<T>(name + "bias"), dy = ops().read<T>(name + "dy");
    auto y = ops().like<T>(name + "y"), dx = ops().like<T>(name + "x"),
         dweight = ops().like<T>(name + "weight"), dbias = ops().like<T>(name + "bias");
    linear_forward(backend, x.matrix(), weight.data(), bias.data(), y.matrix());
    linear_backward_input(backend, dy.matrix(), weight.data(), dx.matrix());
    linear_backward_weight(backend, dy.matrix(), x.matrix(), dweight.data(), dbias.data());
    check_close(ops(), name + "y", y, forward_tolerance<T>);
    check_close(ops(), name + "dx", dx, gradient_tolerance<T>);
    check_close(ops(), name + "dweight", dweight, gradient_tolerance<T>);
    check_close(ops(), name + "dbias", dbias, gradient_tolerance<T>);
  }
}

TEST_CASE_TEMPLATE("convolutions", T, float, double) {
  struct Case {
    std::string name;
    maa::ConvShape shape;
    bool transposed = false;
  };
  const Case cases[] = {
      {"conv1d.k3s1p1l2c5o4.", {3, 1, 1}},
      {"conv1d.k3s1p1l2c24o33.", {3, 1, 1}},
      {"conv1d.k3s1p1l7c4o6.", {3, 1, 1}},
      {"conv1d.k5s1p2l6c3o4.", {5, 1, 2}},
      {"conv1d.k5s1p2l2c3o4.", {5, 1, 2}},
      {"conv1d.k1s1p0l3c6o5.", {1, 1, 0}},
      {"conv1d.k2s2p1l2c5o5.", {2, 2, 1}},
      {"conv1d.k2s2p1l8c4o3.", {2, 2, 1}},
      {"conv1d.k4s3p2l9c3o5.", {4, 3, 2}},
      {"conv1d.k3s2p0l6c4o4.", {3, 2, 0}},
      {"conv_transpose1d.k2s2p1e0l2c5o5.", {2, 2, 1}, true},
      {"conv_transpose1d.k2s2p1e0l5c4o3.", {2, 2, 1}, true},
      {"conv_transpose1d.k4s2p1e0l3c3o6.", {4, 2, 1}, true},
      {"conv_transpose1d.k3s1p1e0l4c4o5.", {3, 1, 1}, true},
      {"conv_transpose1d.k3s3p0e0l2c5o4.", {3, 3, 0}, true},
      {"conv_transpose1d.k1s1p0e0l3c3o2.", {1, 1, 0}, true},
      {"conv_transpose1d.k2s2p1e0l2c33o24.", {2, 2, 1}, true},
      {"conv_transpose1d.k2s2p1e1l3c4o3.", {2, 2, 1, 1}, true},
      {"conv_transpose1d.k2s2p1e1l1c4o3.", {2, 2, 1, 1}, true},
      {"conv_transpose1d.k3s3p0e2l2c3o4.", {3, 3, 0, 2}, true},
  };
  const Backend backend;
  for (const auto& [name, shape, transposed] : cases) {
    const auto x = ops().read<T>(name + "x"), weight = ops().read_taps_first<T>(name + "weight"),
               bias = ops().read<T>(name + "bias"), dy = ops().read<T>(name + "dy");
    auto y = ops().like<T>(name + "y"), dx = ops().like<T>(name + "x"),
         dweight = ops().like<T>(name + "weight"), dbias = ops().like<T>(name + "bias");
    if (transposed) {
      conv_transpose1d_forward(backend, shape, x.sequence(), weight.data(), bias.data(), y.sequence());
      conv_transpose1d_backward_input(backend, shape, dy.sequence(), weight.data(), dx.sequence());
      conv_transpose1d_backward_weight(backend, shape, dy.sequence(), x.sequence(), dweight.data(),
                                       dbias.data());
    } else {
      conv1d_forward(backend, shape, x.sequence(), weight.data(), bias.data(), y.sequence());
      conv1d_backward_input(backend, shape, dy.sequence(), weight.data(), dx.sequence());
      conv1d_backward_weight(backend, shape, dy.sequence(), x.sequence(), dweight.data(), dbias.data());
    }
    check_close(ops(), name + "y", y, forward_tolerance<T>);
    check_close(ops(), name + "dx", dx, gradient_tolerance<T>);
    check_close(name + "dweight", dweight, ops().read_taps_first<T>(name + "dweight"), gradient_tolerance<T>);
    check_close(ops(), name + "dbias", dbias, gradient_tolerance<T>);
  }
}

TEST_CASE_TEMPLATE("group norm, Mish, FiLM and residual in one pass", T, float, double) {
  const Backend backend;
  const std::pair<std::string, Index> cases[] = {{"norm_mish.g8c16l2.", 8},
                                                 {"norm_mish.g4c20l5.", 4},
                                                 {"norm_mish.g1c6l3.", 1},
                                                 {"norm_mish.g8c64l2.", 8}};
  for (const auto& [name, groups] : cases) {
    const auto x = ops().read<T>(name + "x"), gain = ops().read<T>(name + "gain"),
               bias = ops().read<T>(name + "bias"), scale_bias = ops().read<T>(name + "scale_bias"),
               residual = ops().read<T>(name + "residual"), dy = ops().read<T>(name + "dy");
    auto y = ops().like<T>(name + "y"), dx = ops().like<T>(name + "x"), dgain = ops().like<T>(name + "gain"),
         dbias = ops().like<T>(name + "bias"), dscale_bias = ops().like<T>(name + "scale_bias");
    parity::Tensor<T> statistics({x.dim(0), 2 * groups}, maa::Buffer<T>(x.dim(0) * 2 * groups));
    norm_mish_forward(backend, groups, 1e-5, x.sequence(), gain.data(), bias.data(), scale_bias.matrix(),
                      residual.sequence().flat(), y.sequence().flat(), statistics.matrix());
    norm_mish_backward(backend, groups, x.sequence(), statistics.matrix(), gain.data(), bias.data(),
                       scale_bias.matrix(), dy.sequence().flat(), dx.sequence(), dscale_bias.matrix(),
                       dgain.data(), dbias.data(), static_cast<T*>(nullptr));
    check_close(ops(), name + "y", y, forward_tolerance<T>);
    check_close(ops(), name + "dx", dx, gradient_tolerance<T>);
    check_close(ops(), name + "dgain", dgain, gradient_tolerance<T>);
    check_close(ops(), name + "dbias", dbias, gradient_tolerance<T>);
    check_close(ops(), name + "dscale_bias", dscale_bias, gradient_tolerance<T>);
    check_close(ops(), name + "dresidual", dy, gradient_tolerance<T>);
  }
}

TEST_CASE_TEMPLATE("layer norm", T, float, double) {
  const Backend backend;
  for (const std::string name : {"layer_norm.5x37.", "layer_norm.3x64."}) {
    const auto x = ops().read<T>(name + "x"), gain = ops().read<T>(name + "gain"),
               bias = ops().read<T>(name + "bias"), dy = ops().read<T>(name + "dy");
    auto y = ops().like<T>(name + "y"), dx = ops().like<T>(name + "x"), dgain = ops().like<T>(name + "gain"),
         dbias = ops().like<T>(name + "bias");
    parity::Tensor<T> statistics({x.dim(0), 2}, maa::Buffer<T>(x.dim(0) * 2));
    layer_norm_forward(backend, 1e-5, x.matrix(), gain.data(), bias.data(), y.matrix(), statistics.matrix());
    layer_norm_backward(backend, x.matrix(), statistics.matrix(), gain.data(), dy.matrix(), dx.matrix(),
                        dgain.data(), dbias.data());
    check_close(ops(), name + "y", y, forward_tolerance<T>);
    check_close(ops(), name + "dx", dx, gradient_tolerance<T>);
    check_close(ops(), name + "dgain", dgain, gradient_tolerance<T>);
    check_close(ops(), name + "dbias", dbias, gradient_tolerance<T>);
  }
}

TEST_CASE_TEMPLATE("activations, also far from zero", T, float, double) {
  using maa::Activation;
  const Backend backend;
  const std::pair<std::string, Activation> activations[] = {{"relu", Activation::relu},
                                                            {"elu", Activation::elu},
                                                            {"gelu", Activation::gelu},
                                                            {"mish", Activation::mish},
                                                            {"tanh", Activation::tanh}};
  for (const auto& [activation_name, activation] : activations) {
    for (const std::string part : {".", ".tails."}) {
      const auto name = "activation." + activation_name + part;
      const auto x = ops().read<T>(name + "x"), dy = ops().read<T>(name + "dy");
      auto y = ops().like<T>(name + "y"), dx = ops().like<T>(name + "x");
      activation_forward(backend, activation, x.span(), y.span());
      activation_backward(backend, activation, x.span(), dy.span(), dx.span());
      check_close(ops(), name + "y", y, forward_tolerance<T>);
      check_close(ops(), name + "dx", dx, gradient_tolerance<T>);
    }
  }
}

TEST_CASE_TEMPLATE("sinusoidal embedding", T, float, double) {
  const Backend backend;
  for (const std::string name : {"sinusoidal_embedding.16.", "sinusoidal_embedding.128."}) {
    auto y = ops().like<T>(name + "y");
    const auto timesteps = ops().indices(name + "timesteps");
    sinusoidal_embedding(backend, timesteps, y.matrix());
    check_close(ops(), name + "y", y, forward_tolerance<T>);
  }
}

TEST_CASE_TEMPLATE("losses", T, float, double) {
  const Backend backend;
  {
    const auto prediction = ops().read<T>("mse.prediction"), target = ops().read<T>("mse.target");
    auto dprediction = ops().like<T>("mse.prediction");
    const double loss = mse_loss(backend, prediction.matrix(), target.matrix(), dprediction.matrix());
    check_close("mse.loss", loss, ops().scalar("mse.loss"), forward_tolerance<T>);
    check_close(ops(), "mse.dprediction", dprediction, gradient_tolerance<T>);
  }
  for (const std::string name : {"info_nce.identity.", "info_nce.soft."}) {
    const auto logits = ops().read<T>(name + "logits"), targets = ops().read<T>(name + "targets");
    auto dlogits = ops().like<T>(name + "logits");
    const double loss = info_nce_loss(backend, logits.matrix(), targets.matrix(), dlogits.matrix());
    check_close(name + "loss", loss, ops().scalar(name + "loss"), forward_tolerance<T>);
    check_close(ops(), name + "dlogits", dlogits, gradient_tolerance<T>);
  }
  const auto mean = ops().read<T>("gaussian_nll.mean"), log_std = ops().read<T>("gaussian_nll.log_std"),
             value = ops().read<T>("gaussian_nll.value");
  auto dmean = ops().like<T>("gaussian_nll.mean"), dlog_std = ops().like<T>("gaussian_nll.log_std");
  const double loss = gaussian_nll_loss(backend, mean.matrix(), log_std.matrix(), value.matrix(),
                                        dmean.matrix(), dlog_std.matrix());
  check_close("gaussian_nll.loss", loss, ops().scalar("gaussian_nll.loss"), forward_tolerance<T>);
  check_close(ops(), "gaussian_nll.dmean", dmean, gradient_tolerance<T>);
  check_close(ops(), "gaussian_nll.dlog_std", dlog_std, gradient_tolerance<T>);
}
