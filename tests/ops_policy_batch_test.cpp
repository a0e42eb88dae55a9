#include "ops_helpers.hpp"
#include "policy_layout.hpp"

using namespace ops;
using maa::Activation;
using maa::MlpLayout;
namespace cpu = maa::cpu;

namespace {

constexpr Index policies = 4;
constexpr Index rows = 6;

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::elu:
      return x > 0 ? x : std::expm1(x);
    case Activation::tanh:
      return std::tanh(x);
    default:
      return x * std::tanh(std::log1p(std::exp(x)));
  }
}

std::vector<double> naive_linear(const MlpLayout::Linear& linear, const double* weights,
                                 const std::vector<double>& x) {
  std::vector<double> y;
  for (Index o = 0; o < linear.out; ++o) {
    double sum = weights[linear.bias_offset + o];
    for (Index i = 0; i < linear.in; ++i) {
      sum += weights[linear.weight_offset + o * linear.in + i] * x[static_cast<std::size_t>(i)];
    }
    y.push_back(sum);
  }
  return y;
}

struct Heads {
  std::vector<double> mean, log_std;
};

// One observation at a time; observations [policies, rows, 5], or [rows, 5] for all policies.
Heads naive(const MlpLayout& layout, MatrixView<const double> weights,
            const std::vector<double>& observations) {
  Heads heads;
  for (Index g = 0; g < policies; ++g) {
    for (Index q = 0; q < rows; ++q) {
      const auto at = static_cast<std::size_t>((g * rows + q) * 5) % observations.size();
      std::vector<double> x(observations.begin() + Index(at), observations.begin() + Index(at) + 5);
      for (const auto& layer : layout.hidden) {
        x = naive_linear(layer, weights.row(g), x);
        for (auto& value : x) {
          value = activate(layer.activation, value);
        }
      }
      const auto mean = naive_linear(layout.mean, weights.row(g), x);
      heads.mean.insert(heads.mean.end(), mean.begin(), mean.end());
      if (layout.log_std) {
        const auto log_std = naive_linear(*layout.log_std, weights.row(g), x);
        heads.log_std.insert(heads.log_std.end(), log_std.begin(), log_std.end());
      }
    }
  }
  return heads;
}

}  // namespace

TEST_CASE("policy batch: outputs and gradients of all layouts, own and common observations") {
  const Backend backend(1);
  for (const auto* layout : {&two_hidden, &one_hidden, &none_hidden}) {
    for (const bool common : {false, true}) {
      for (const bool with_log_std : {false, true}) {
        if (with_log_std && !layout->log_std) {
          continue;
        }
        CAPTURE(layout->hidden.size());
        CAPTURE(common);
        CAPTURE(with_log_std);
        const Index stride = layout->parameter_count + 3;
        auto storage = random(policies * stride, 1);
        const MatrixView<double> weights(storage.data(), policies, layout->parameter_count, stride);
        auto values = random((common ? 1 : policies) * rows * 5, 2);
        const auto observations = [&]() -> maa::PolicyObservations<double> {
          if (common) {
            return matrix(values, rows, 5);
          }
          return sequence(values, policies, rows, 5);
        };
        auto mean = poisoned(policies * rows * 3);
        auto log_std = poisoned(policies * rows * 3);
        auto dmean = random(policies * rows * 3, 3);
        auto dlog_std = random(policies * rows * 3, 4);
        const auto head = [&](std::vector<double>& head_values, bool wanted) {
          return wanted ? sequence(head_values, policies, rows, 3) : SequenceView<double>();
        };
        Workspace workspace;
        const auto saved = cpu::policy_batch_forward(backend, *layout, weights, observations(), workspace,
                                                     head(mean, true), head(log_std, with_log_std));
        const auto expected = naive(*layout, weights, values);
        CHECK(difference(mean, expected.mean) < 1e-13);
        if (with_log_std) {
          CHECK(difference(log_std, expected.log_std) < 1e-13);
        }

        std::vector<double> dstorage(storage.size(), 10.0);
        auto dobservations = poisoned(policies * rows * 5);
        cpu::policy_batch_backward(
            backend, *layout, weights, observations(), saved, head(dmean, true), head(dlog_std, with_log_std),
            MatrixView<double>(dstorage.data(), policies, layout->parameter_count, stride),
            sequence(dobservations, policies, rows, 5));
        for (auto& value : dstorage) {  // it accumulates
          value -= 10;
        }
        if (common) {  // one gradient per policy
          for (std::size_t i = values.size(); i < dobservations.size(); ++i) {
            dobservations[i % values.size()] += dobservations[i];
          }
          dobservations.resize(values.size());
        }
        const auto function = [&] {
          cpu::policy_batch_infer(backend, *layout, weights, observations(), head(mean, true),
                                  head(log_std, with_log_std));
          return dot(mean, dmean) + (with_log_std ? dot(log_std, dlog_std) : 0.0);
        };
        check_gradient("weights", storage, dstorage, function);
        check_gradient("observations", values, dobservations, function);
      }
    }
  }
}

TEST_CASE("policy batch in float equals that in double for any number of rows") {
  // With many rows float runs on kernels of its own; double is checked above.
  const MlpLayout wide = layout_of({39, 127, 33, 4}, {Activation::elu, Activation::relu}, true);
  const MlpLayout smooth =
      layout_of({7, 16, 40, 18, 13}, {Activation::gelu, Activation::mish, Activation::tanh}, true);
  const MlpLayout plain = layout_of({5, 1, 1}, {Activation::identity}, true);
  for (const auto* layout : {&wide, &smooth, &plain, &none_hidden}) {
    const Index inputs = layout->hidden.empty() ? layout->mean.in : layout->hidden.front().in;
    const Index outputs = layout->mean.out, units = layout->mean.in;
    for (const Index count : {1, 7, 8, 16, 33, 96, 127}) {
      CAPTURE(layout->hidden.size());
      CAPTURE(count);
      const auto run = [&]<class T>(T, const Backend& backend) {
        const Index stride = layout->parameter_count + 3;
        const auto numbers = [](Index size, std::uint64_t seed, float scale) {
          std::vector<T> same;
          for (const float value : random<float>(size, seed)) {
            same.push_back(static_cast<T>(scale * value));
          }
          return same;
        };
        auto storage = numbers(policies * stride, 1, 0.25f);
        auto values = numbers(policies * count * inputs, 2, 1.0f);
        auto dmean = numbers(policies * count * outputs, 3, 1.0f);
        auto dlog_std = numbers(policies * count * outputs, 4, 1.0f);
        auto dfeatures = numbers(policies * count * units, 5, 1.0f);
        std::vector<T> mean(dmean.size()), log_std(dmean.size()), features(dfeatures.size());
        std::vector<T> inferred(dmean.size()), dvalues(values.size()), dstorage(storage.size(), T(1));
        const MatrixView<T> weights(storage.data(), policies, layout->parameter_count, stride);
        const auto rows_of = [&](std::vector<T>& v, Index channels) {
          return SequenceView<T>(v.data(), policies, count, channels);
        };
        // A layout without hidden layers has observations for features.
        const auto optional = [&](std::vector<T>& v) {
          return layout->hidden.empty() ? SequenceView<T>() : rows_of(v, units);
        };
        Workspace workspace;
        const auto saved =
            cpu::policy_batch_forward(backend, *layout, weights, rows_of(values, inputs), workspace,
                                      rows_of(mean, outputs), rows_of(log_std, outputs), optional(features));
        cpu::policy_batch_infer(backend, *layout, weights, rows_of(values, inputs),
                                rows_of(inferred, outputs));
        CHECK(difference(inferred, mean) < 1e-6);
        cpu::policy_batch_backward(backend, *layout, weights, rows_of(values, inputs), saved,
                                   rows_of(dmean, outputs), rows_of(dlog_std, outputs),
                                   MatrixView<T>(dstorage.data(), policies, layout->parameter_count, stride),
                                   rows_of(dvalues, inputs), optional(dfeatures));
        std::vector<T> dvalues_alone(values.size());
        cpu::policy_batch_backward(backend, *layout, weights, rows_of(values, inputs), saved,
                                   rows_of(dmean, outputs), rows_of(dlog_std, outputs), MatrixView<T>(),
                                   rows_of(dvalues_alone, inputs), optional(dfeatures));
        CHECK(dvalues_alone == dvalues);
        return std::array{mean, log_std, features, dvalues, dstorage};
      };
      const auto expected = run(double(), Backend(1));
      const auto found = run(float(), Backend(1));
      for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        double scale = 1, worst = 0;
        for (std::size_t k = 0; k < expected[i].size(); ++k) {
          scale = test::larger(scale, std::abs(expected[i][k]));
          worst = test::larger(worst, std::abs(static_cast<double>(found[i][k]) - expected[i][k]));
        }
        CHECK(worst < 2e-6 * scale);
      }
    }
  }
}

TEST_CASE("policy batch does not depend on the number of threads, nor on the other policies") {
  const auto layout = layout_of({39, 128, 128, 4}, {Activation::elu, Activation::relu}, true);
  const Index count = 6;
  const Index queries = 50;
  const auto run = [&](const Backend& backend, Index first, Index number) {
    auto weights = random<float>(count * layout.parameter_count, 1);
    for (auto& value : weights) {
      value *= 0.1f;
    }
    auto observations = random<float>(count * queries * 39, 2);
    auto dmean = random<float>(count * queries * 4, 3);
    const auto part = [&](std::vector<float>& values, Index channels) {
      return SequenceView<float>(values.data() + first * queries * channels, number, queries, channels);
    };
    auto mean = std::vector<float>(dmean.size());
    auto log_std = std::vector<float>(dmean.size());
    auto dobservations = std::vector<float>(observations.size());
    auto dweights = std::vector<float>(weights.size());
    const auto own = matrix(weights, count, layout.parameter_count).row_range(first, number);
    Workspace workspace;
    const auto saved = cpu::policy_batch_forward(backend, layout, own, part(observations, 39), workspace,
                                                 part(mean, 4), part(log_std, 4));
    cpu::policy_batch_backward(
        backend, layout, own, part(observations, 39), saved, part(dmean, 4), part(log_std, 4),
        matrix(dweights, count, layout.parameter_count).row_range(first, number), part(dobservations, 39));
    return joined({mean, log_std, dobservations, dweights});
  };
  check_threads([&](const Backend& backend) { return run(backend, 0, count); });

  const Backend backend(1);
  const auto all = run(backend, 0, count);
  auto pieces = run(backend, 0, 2);
  const auto rest = run(backend, 2, count - 2);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    pieces[i] += rest[i];  // zero where the other has numbers
  }
  CHECK(pieces == all);
}

TEST_CASE("policy batch errors name the op") {
  const Backend backend(1);
  std::vector<float> weights(static_cast<std::size_t>(policies * one_hidden.parameter_count));
  std::vector<float> observations(policies * rows * 5), mean(policies * rows * 3);
  const auto w = matrix(weights, policies, one_hidden.parameter_count);
  const auto x = sequence(observations, policies, rows, 5);
  const auto y = sequence(mean, policies, rows, 3);
  Workspace workspace;
  check_error("policy_batch_forward: expected weights of",
              [&] { cpu::policy_batch_forward(backend, one_hidden, w.col_range(0, 9), x, workspace, y); });
  check_error("policy_batch_forward: expected observations of 4 policies, found 2", [&] {
    cpu::policy_batch_forward(backend, one_hidden, w, SequenceView<float>(x.data, 2, rows, 5), workspace, y);
  });
  check_error("policy_batch_infer: expected mean [4, 6, 3], found [4, 3, 6]",
              [&] { cpu::policy_batch_infer(backend, one_hidden, w, x, sequence(mean, policies, 3, rows)); });
  check_error("policy_batch_infer: the policies have no log_std head",
              [&] { cpu::policy_batch_infer(backend, one_hidden, w, x, y, y); });
  check_error("policy_batch_infer: expected a layer of 6 inputs", [&] {
    cpu::policy_batch_infer(backend, one_hidden, w, SequenceView<float>(x.data, policies, 5, 6), y);
  });
  auto broken = one_hidden;
  broken.mean.bias_offset = broken.parameter_count - 2;
  check_error("policy_batch_infer: expected a layer of 18 inputs within",
              [&] { cpu::policy_batch_infer(backend, broken, w, x, y); });
  const auto saved = cpu::policy_batch_forward(backend, one_hidden, w, x, workspace, y);
  check_error("policy_batch_backward: dweights", [&] {
    cpu::policy_batch_backward(backend, one_hidden, w, x, saved, y, {}, w.row_range(0, 2));
  });
  check_error("policy_batch_backward: dobservations", [&] {
    cpu::policy_batch_backward(backend, one_hidden, w, x, saved, y, {}, w,
                               SequenceView<float>(x.data, rows, policies, 5));
  });
  check_error("policy_batch_backward: saved",
              [&] { cpu::policy_batch_backward(backend, one_hidden, w, x, {}, y, {}, w); });
}
