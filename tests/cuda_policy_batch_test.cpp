// Many policies at once on the CUDA backend against the CPU's in double.
#include "cuda_both.hpp"
#include "policy_layout.hpp"

#include <maa/backend/cuda/policy_batch.hpp>

using namespace ops;
using maa::Activation;
using maa::MlpLayout;
namespace cpu = maa::cpu;
namespace cuda = maa::cuda;

namespace {

constexpr Index size = 5, actions = 3;

struct Case {
  const MlpLayout& layout;
  Index policies, rows;
  bool common, with_log_std, with_features, with_dobservations;
};

// The largest difference between device and processor, in all that forward and backward write.
double largest_error(const cuda::Backend& device, const Case& c) {
  const Index units = c.layout.mean.in, heads = c.policies * c.rows * actions;
  auto small = numbers(c.policies * (c.layout.parameter_count + 3), 1);
  for (auto& value : small) {
    value *= 0.5f;
  }
  Both weights(device, c.policies, c.layout.parameter_count, 3, small);
  Both dweights(device, c.policies, c.layout.parameter_count, 2, 3);
  const auto nan = [&](Index count) { return Both(device, poisoned<float>(count)); };
  Both mean = nan(heads), log_std = nan(heads), features = nan(c.policies * c.rows * units);
  Both dobservations = nan(c.policies * c.rows * size), dobservations_alone = nan(c.policies * c.rows * size);
  Both dmean(device, numbers(heads, 3)), dlog_std(device, numbers(heads, 4));
  Both dfeatures(device, numbers(c.policies * c.rows * units, 5));
  // Common observations are a part of a wider matrix.
  Both common(device, c.rows, size, 6, 2), own(device, numbers(c.policies * c.rows * size, 6));

  double worst = 0;
  const auto check = [&](double error) {
    CHECK(error < 1e-5);
    worst = std::max(worst, error);
  };
  const auto sequence_of = [&](const auto& of, Both& both, Index channels, bool wanted) {
    return of.sequence(both, c.policies, c.rows, channels, wanted);
  };
  const auto observations_of = [&](const auto& of) {
    using Observations = maa::PolicyObservations<std::remove_pointer_t<decltype(of.data(own))>>;
    return c.common ? Observations(of.matrix(common)) : Observations(sequence_of(of, own, size, true));
  };
  on_both(device, [&](const auto& on, const auto& of) {
    auto workspace = on.make_workspace();
    const auto observations = observations_of(of);
    const auto saved = policy_batch_forward(
        on, c.layout, of.matrix(weights), observations, workspace, sequence_of(of, mean, actions, true),
        sequence_of(of, log_std, actions, c.with_log_std), sequence_of(of, features, units, c.with_features));
    // Without hidden layers the features are the observations, whose gradient the CPU's op wants if it has
    // theirs.
    const bool features_count = !c.layout.hidden.empty() || c.with_dobservations ||
                                std::is_same_v<std::decay_t<decltype(of)>, OnDevice>;
    policy_batch_backward(on, c.layout, of.matrix(weights), observations, saved,
                          sequence_of(of, dmean, actions, true),
                          sequence_of(of, dlog_std, actions, c.with_log_std), of.matrix(dweights),
                          sequence_of(of, dobservations, size, c.with_dobservations),
                          sequence_of(of, dfeatures, units, c.with_features && features_count));
    if (c.with_dobservations) {
      policy_batch_backward(on, c.layout, of.matrix(weights), observations, saved,
                            sequence_of(of, dmean, actions, true),
                            sequence_of(of, dlog_std, actions, c.with_log_std),
                            decltype(of.matrix(dweights))(), sequence_of(of, dobservations_alone, size, true),
                            sequence_of(of, dfeatures, units, c.with_features));
    }
  });
  check(mean.error());
  if (c.with_log_std) {
    check(log_std.error());
  }
  if (c.with_features) {
    check(features.error());
  }
  check(dweights.error() / std::sqrt(static_cast<double>(c.rows + 1)));
  if (c.with_dobservations) {
    check(dobservations.error());
    CHECK(dobservations_alone.device.values() == dobservations.device.values());
  }

  // Inference alone gives the same bits.
  const auto with_saving = mean.device.values();
  Both again = nan(heads), log_std_again = nan(heads), features_again = nan(c.policies * c.rows * units);
  const OnDevice of;
  policy_batch_infer(device, c.layout, of.matrix(weights), observations_of(of),
                     sequence_of(of, again, actions, true),
                     sequence_of(of, log_std_again, actions, c.with_log_std),
                     sequence_of(of, features_again, units, c.with_features));
  CHECK(again.device.values() == with_saving);
  if (c.with_log_std) {
    CHECK(log_std_again.device.values() == log_std.device.values());
  }
  if (c.with_features) {
    CHECK(features_again.device.values() == features.device.values());
  }
  return worst;
}

}  // namespace

TEST_CASE("cuda policy batch equals the CPU's, for all layouts, own and common observations") {
  const auto device = test_backend();
  double worst = 0;
  for (const auto* layout : {&two_hidden, &one_hidden, &none_hidden}) {
    struct Sizes {
      Index policies, rows;
    };
    for (const auto& of :
         {Sizes{4, 6}, Sizes{1, 1}, Sizes{3, 70}, Sizes{2, 1500}, Sizes{2, 0}, Sizes{0, 4}}) {
      const Index policies = of.policies, rows = of.rows;
      for (int options = 0; options < 16; ++options) {
        const Case c{*layout,
                     policies,
                     rows,
                     (options & 1) != 0,
                     (options & 2) != 0 && layout->log_std,
                     (options & 4) != 0,
                     (options & 8) != 0};
        if (rows > 1000 && options % 5 != 0) {
          continue;
        }
        CAPTURE(layout->hidden.size());
        CAPTURE(policies);
        CAPTURE(rows);
        CAPTURE(options);
        worst = std::max(worst, largest_error(device, c));
      }
    }
  }
  MESSAGE("largest error ", worst);
}

// As the Bayesian head and the fitting of behaviour call it: with one element type for host and device.
template <class Backend, class T>
void as_models_do(const Backend& backend, MatrixView<const T> policies, SequenceView<const T> observations,
                  SequenceView<T> mean, SequenceView<T> features, MatrixView<T> dpolicies,
                  typename Backend::Workspace& workspace) {
  const auto saved = policy_batch_forward(backend, one_hidden, policies, observations, workspace, mean,
                                          SequenceView<T>(), features);
  policy_batch_backward(backend, one_hidden, policies, observations, saved, mean, SequenceView<const T>(),
                        dpolicies, SequenceView<T>(), features);
  const auto alone = policy_batch_forward(backend, one_hidden, policies, observations, workspace, mean);
  policy_batch_backward(backend, one_hidden, policies, observations, alone, mean, SequenceView<const T>(),
                        dpolicies);
}
TEST_CASE("cuda policy batch: the calls of the models compile and leave the unused parameters alone") {
  const auto device = test_backend();
  const Index count = one_hidden.parameter_count;
  DeviceMatrix policies(device, 2, count, numbers(2 * count, 1)),
      dpolicies(device, 2, count, numbers(2 * count, 2));
  DeviceMatrix observations(device, 8, size, numbers(8 * size, 3)), mean(device, 8, actions),
      features(device, 8, 18);
  auto workspace = device.make_workspace();
  const auto before = dpolicies.values();
  as_models_do<cuda::Backend, cuda::Real>(device, policies.view(), observations.sequence(4), mean.sequence(4),
                                          features.sequence(4), dpolicies.view(), workspace);
  const auto after = dpolicies.values();
  const auto untouched = [&](Index parameter) {
    return before[static_cast<std::size_t>(parameter)] == after[static_cast<std::size_t>(parameter)];
  };
  CHECK(untouched(0));
  CHECK(untouched(1));
  CHECK(untouched(one_hidden.mean.weight_offset - 1));
  CHECK(untouched(count));
  CHECK_FALSE(untouched(2));
}

TEST_CASE("cuda policy batch: wrong shapes") {
  const auto device = test_backend();
  auto workspace = device.make_workspace();
  DeviceMatrix weights(device, 2, one_hidden.parameter_count), mean(device, 8, actions);
  DeviceMatrix observations(device, 8, size), others(device, 12, size);
  const auto forward = [&](cuda::In w, const maa::PolicyObservations<cuda::Real>& x, cuda::OutSeq log_std) {
    policy_batch_forward(device, one_hidden, w, x, workspace, mean.sequence(4), log_std);
  };
  check_error("policy_batch_forward: expected weights of " + std::to_string(one_hidden.parameter_count) +
                  " parameters, found 7",
              [&] { forward(weights.view().col_range(0, 7), observations.sequence(4), {}); });
  check_error("policy_batch_forward: expected observations of 2 policies, found 3",
              [&] { forward(weights.view(), others.sequence(4), {}); });
  check_error("policy_batch_forward: the policies have no log_std head",
              [&] { forward(weights.view(), observations.sequence(4), mean.sequence(4)); });
  const auto saved = policy_batch_forward(device, one_hidden, weights.view(), observations.sequence(4),
                                          workspace, mean.sequence(4));
  check_error("policy_batch_backward: dweights: expected [2,", [&] {
    policy_batch_backward(device, one_hidden, weights.view(), observations.sequence(4), saved,
                          mean.sequence(4), {}, weights.view().row_range(0, 1));
  });
  check_error("policy_batch_backward: saved: expected [2,", [&] {
    policy_batch_backward(device, one_hidden, weights.view(), observations.sequence(4), {}, mean.sequence(4),
                          {}, weights.view());
  });
  check_error("policy_batch_backward: dobservations: expected [2, 4, 5], found [2, 4, 3]", [&] {
    policy_batch_backward(device, one_hidden, weights.view(), observations.sequence(4), saved,
                          mean.sequence(4), {}, weights.view(), mean.sequence(4));
  });
}
