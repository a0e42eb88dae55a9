// Ridge regression and the policies' head on the CUDA backend against the CPU's in double.
#include "cuda_both.hpp"
#include "larger.hpp"

#include <maa/backend/cuda/ridge.hpp>

using namespace ops;
using maa::MlpLayout;
using maa::RidgeStrength;
namespace cpu = maa::cpu;
namespace cuda = maa::cuda;

namespace {

struct Case {
  Index batch, rows, units, actions;
  double base;
};
constexpr Case cases[] = {{3, 6, 9, 2, 0.5},  {2, 9, 9, 3, 10},    {2, 10, 9, 3, 10},  {2, 11, 9, 3, 1e-3},
                          {1, 1, 1, 1, 2},    {2, 60, 33, 4, 10},  {2, 33, 64, 4, 10}, {1, 130, 128, 4, 10},
                          {1, 64, 128, 4, 5}, {300, 3, 2, 2, 0.1}, {0, 5, 3, 2, 1},    {2, 0, 3, 2, 1}};

struct Errors {
  double forward = 0, backward = 0, slope = 0;
};

// The strength with parameters on one side.
template <class Side>
auto strength_of(const Side& of, Both& parameters, double base, double log_rows) {
  auto* const data = of.data(parameters);
  return RidgeStrength<std::remove_pointer_t<decltype(of.data(parameters))>>{data, data + 1, base, log_rows};
}

Errors errors(const cuda::Backend& device, const Case& c) {
  const Index batch = c.batch, rows = c.rows, units = c.units, actions = c.actions;
  Both features(device, numbers(batch * rows * units, 1)),
      residual(device, numbers(batch * rows * actions, 2));
  Both parameters(device, {0.3f, -0.7f}), gradients(device, {5.0f, -3.0f});
  const Index entries = batch * actions * (units + 1);
  Both correction(device, poisoned<float>(entries)), dcorrection(device, numbers(entries, 3));
  Both dfeatures(device, poisoned<float>(batch * rows * units));
  Both dresidual(device, poisoned<float>(batch * rows * actions));

  on_both(device, [&](const auto& on, const auto& of) {
    ridge_forward(on, of.sequence(features, batch, rows, units), of.sequence(residual, batch, rows, actions),
                  strength_of(of, parameters, c.base, 0.4),
                  of.sequence(correction, batch, actions, units + 1));
  });
  Errors result;
  result.forward = correction.error();
  correction.host = widened(correction.device.values());  // gradients of one and the same solution
  on_both(device, [&](const auto& on, const auto& of) {
    ridge_backward(
        on, of.sequence(features, batch, rows, units), of.sequence(residual, batch, rows, actions),
        strength_of(of, parameters, c.base, 0.4), of.sequence(correction, batch, actions, units + 1),
        of.sequence(dcorrection, batch, actions, units + 1), of.sequence(dfeatures, batch, rows, units),
        of.sequence(dresidual, batch, rows, actions), of.data(gradients), of.data(gradients) + 1);
  });
  result.backward = test::larger(dfeatures.error(), dresidual.error());
  result.slope = gradients.error();
  return result;
}

}  // namespace

TEST_CASE("cuda ridge: solution and gradients equal the CPU's, for either of the two systems") {
  const auto device = test_backend();
  Errors worst;
  for (const auto& c : cases) {
    CAPTURE(c.batch);
    CAPTURE(c.rows);
    CAPTURE(c.units);
    const auto found = errors(device, c);
    CHECK(found.forward < 1e-6);
    CHECK(found.backward < 1e-6);
    CHECK(found.slope < 1e-6);
    worst.forward = std::max(worst.forward, found.forward);
    worst.backward = std::max(worst.backward, found.backward);
    worst.slope = std::max(worst.slope, found.slope);
  }
  MESSAGE("largest errors: solution ", worst.forward, ", gradients ", worst.backward, ", strength ",
          worst.slope);
}

TEST_CASE("cuda ridge: nearly dependent features") {
  const auto device = test_backend();
  for (const Index rows : {4, 12}) {
    CAPTURE(rows);
    constexpr Index units = 6;
    auto values = numbers(rows * units, 1);
    for (Index i = 0; i < rows; ++i) {  // two equal columns, one of hundreds
      values[static_cast<std::size_t>(i * units + 1)] = values[static_cast<std::size_t>(i * units)];
      values[static_cast<std::size_t>(i * units + 2)] *= 300;
    }
    Both features(device, values), residual(device, numbers(rows * 2, 2)), parameters(device, {0, 0});
    Both correction(device, poisoned<float>(2 * (units + 1)));
    on_both(device, [&](const auto& on, const auto& of) {
      ridge_forward(on, of.sequence(features, 1, rows, units), of.sequence(residual, 1, rows, 2),
                    strength_of(of, parameters, 1e-4, 0), of.sequence(correction, 1, 2, units + 1));
    });
    CHECK(correction.error() < 1e-5);
  }
}

TEST_CASE("cuda ridge: wrong shapes") {
  const auto device = test_backend();
  DeviceMatrix features(device, 6, 4), residual(device, 6, 2), correction(device, 4, 5),
      parameters(device, 1, 2);
  const RidgeStrength<cuda::Real> strength{parameters.data(), parameters.data() + 1, 10, 0};
  check_error("ridge_forward: expected a positive strength, found 0", [&] {
    cuda::ridge_forward(device, features.sequence(3), residual.sequence(3),
                        {parameters.data(), parameters.data(), 0, 0}, correction.sequence(2));
  });
  check_error("ridge_forward: expected [2, 2, 5], found [1, 4, 5]", [&] {
    cuda::ridge_forward(device, features.sequence(3), residual.sequence(3), strength, correction.sequence(4));
  });
  check_error("ridge_backward: dfeatures: expected [2, 3, 4], found [2, 3, 2]", [&] {
    cuda::ridge_backward(device, features.sequence(3), residual.sequence(3), strength, correction.sequence(2),
                         correction.sequence(2), residual.sequence(3), residual.sequence(3),
                         parameters.data(), parameters.data());
  });
  check_error("head_residual: mean: expected [2, 3, 2], found [2, 3, 4]", [&] {
    cuda::head_residual(device, true, features.sequence(3), residual.sequence(3), residual.sequence(3));
  });
  MlpLayout layout;
  layout.mean = {4, 3, 0, 12, maa::Activation::identity};
  layout.parameter_count = 15;
  DeviceMatrix policies(device, 2, 15);
  check_error("add_head: correction: expected [2, 3, 5], found [2, 2, 5]",
              [&] { cuda::add_head(device, layout, correction.sequence(2), policies.view()); });
  check_error("head_gradient: dcorrection: expected [2, 3, 5], found [2, 2, 5]",
              [&] { cuda::head_gradient(device, layout, policies.view(), correction.sequence(2)); });
}

TEST_CASE("cuda head: what it should add equals the CPU's, at and around every bound") {
  const auto device = test_backend();
  const Backend host(1);
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  std::vector<float> means, wanted;
  for (const float mean :
       {0.0f, 0.5f, 1.7f, 1.93f, 2.9f, 3.0f, 3.1f, -0.5f, -1.93f, -3.0f, -4.0f, infinity, nan}) {
    for (const float action : {0.0f, 0.3f, -0.9f, 0.95f, 0.96f, -0.96f, 1.0f, -1.0f, 2.0f}) {
      means.push_back(mean);
      wanted.push_back(action);
    }
  }
  const auto count = static_cast<Index>(means.size());
  double worst = 0;
  for (const bool squashed : {false, true}) {
    CAPTURE(squashed);
    DeviceMatrix mean(device, 1, count, means), actions(device, 1, count, wanted), residual(device, 1, count),
        dmean(device, 1, count, numbers(count, 1));
    cuda::head_residual(device, squashed, mean.sequence(1), actions.sequence(1), residual.sequence(1));
    cuda::head_residual_backward(device, squashed, mean.sequence(1), actions.sequence(1), dmean.sequence(1));
    std::vector<float> expected(means.size()), slopes = numbers(count, 1);
    cpu::head_residual<float>(host, squashed, sequence(means, 1, 1, count), sequence(wanted, 1, 1, count),
                              sequence(expected, 1, 1, count));
    cpu::head_residual_backward<float>(host, squashed, sequence(means, 1, 1, count),
                                       sequence(wanted, 1, 1, count), sequence(slopes, 1, 1, count));
    const auto found = residual.values(), found_slopes = dmean.values();
    for (std::size_t i = 0; i < means.size(); ++i) {
      CAPTURE(means[i]);
      CAPTURE(wanted[i]);
      if (maa::is_finite(expected[i])) {
        const double error = std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
        CHECK(error < 1e-6);
        worst = std::max(worst, error);
      } else {
        CHECK(std::isnan(found[i]) == std::isnan(expected[i]));
        CHECK(std::isinf(found[i]) == std::isinf(expected[i]));
      }
      CHECK(found_slopes[i] == slopes[i]);
    }
  }
  MESSAGE("largest error ", worst);
}

TEST_CASE("cuda head: corrections find their places in the policies and back") {
  const auto device = test_backend();
  constexpr Index policies = 3, units = 4, actions = 2, parameters = 23;
  MlpLayout layout;
  layout.mean = {units, actions, 11, 5, maa::Activation::identity};
  layout.parameter_count = parameters;
  Both weights(device, policies, parameters, 1, 3);
  const auto before = weights.device.values();
  Both correction(device, numbers(policies * actions * (units + 1), 2));
  Both dcorrection(device, poisoned<float>(policies * actions * (units + 1)));
  on_both(device, [&](const auto& on, const auto& of) {
    add_head(on, layout, of.sequence(correction, policies, actions, units + 1), of.matrix(weights));
    head_gradient(on, layout, of.matrix(weights), of.sequence(dcorrection, policies, actions, units + 1));
  });
  CHECK(weights.error() < 1e-6);
  CHECK(dcorrection.error() < 1e-6);
  CHECK(weights.device.values() != before);
}
