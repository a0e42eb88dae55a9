// Fine-tuning of generated policies on their prompt.
#include <doctest/doctest.h>

#include "errors.hpp"
#include "small_generator.hpp"

#include <cmath>

namespace {

using namespace test;
using maa::detail::polish_steps;
using Polishing = maa::detail::Polishing<cpu::Backend>;

// Policies of one prompt each, and demonstrations of other lengths.
struct Start {
  std::vector<Trajectory> prompts;
  Buffer<float> weights;

  explicit Start(Index policies) : weights(policies * Policy::parameter_size) {
    for (Index i = 0; i < policies; ++i) {
      Rng rng(static_cast<std::uint64_t>(40 + i));
      demonstrate(i % 2, prompts.emplace_back(24 + 17 * (i % 3), 6, 2), rng);
      const auto policy = Policy::untrained(static_cast<std::uint64_t>(i));
      std::ranges::copy(policy.weights(), weights.data() + i * Policy::parameter_size);
    }
  }
  Policy policy(const Buffer<float>& of, Index i) const {
    constexpr auto size = static_cast<std::size_t>(Policy::parameter_size);
    return Policy(of.span().subspan(static_cast<std::size_t>(i) * size, size));
  }
  Buffer<float> polished(const PolishOptions& options, int threads = 2) const {
    auto result = weights;
    const cpu::Backend backend(threads);
    Workspace workspace;
    Polishing(backend, Network::layout(), Network::squashing(), Normalizer(6), prompts, 1, options, workspace)
        .apply({result.data(), std::ssize(prompts), Policy::parameter_size}, Rng(3), {});
    return result;
  }
};

double error_on(const Policy& policy, const Trajectory& prompt, const std::vector<Index>& steps) {
  Trajectory part(std::ssize(steps), prompt.observation_size(), prompt.action_size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto at = static_cast<Index>(i);
    std::ranges::copy(prompt.observations().row_span(steps[i]), part.observations().row(at));
    std::ranges::copy(prompt.actions().row_span(steps[i]), part.actions().row(at));
  }
  return action_error(policy, part);
}

TEST_CASE("what is held out is spread over the prompt, some of it and not all") {
  const auto held_out = [](std::vector<Index> lengths, double share) {
    std::vector<Trajectory> prompt;
    Index total = 0;
    for (const Index length : lengths) {
      prompt.emplace_back(length, 1, 1);
      total += length;
    }
    const auto steps = polish_steps(prompt, share);
    auto all = steps.trained;
    all.insert(all.end(), steps.held_out.begin(), steps.held_out.end());
    std::ranges::sort(all);
    CHECK(std::ssize(all) == total);
    CHECK(std::ranges::adjacent_find(all) == all.end());
    CHECK(!steps.trained.empty());
    return steps.held_out;
  };
  CHECK(held_out({20}, 0.2) == std::vector<Index>{4, 5, 14, 15});
  CHECK(held_out({10, 20}, 0.1) == std::vector<Index>{4, 18, 19});
  CHECK(held_out({3}, 0.01) == std::vector<Index>{1});
  CHECK(held_out({100}, 0.99).size() == 90);
  CHECK(held_out({1, 1}, 0.5).size() == 1);
  CHECK(has(error_of([&] { held_out({1}, 0.5); }), "at least 2 steps to polish on, found 1"));
}

TEST_CASE("of all measured steps the one of the least held-out error is returned") {
  Start start(5);
  const auto check = [&](const PolishOptions& options, const auto& compare) {
    const auto after = start.polished(options);
    for (Index i = 0; i < 5; ++i) {
      CAPTURE(i);
      const auto& prompt = start.prompts[static_cast<std::size_t>(i)];
      const auto part = polish_steps({&prompt, 1}, options.held_out);
      const auto old = start.policy(start.weights, i), found = start.policy(after, i);
      compare(old, found, error_on(found, prompt, part.trained) / error_on(old, prompt, part.trained),
              error_on(found, prompt, part.held_out) / error_on(old, prompt, part.held_out));
    }
    return after;
  };
  for (const double rate : {1e-3, 1e-2, 0.1, 3.0}) {
    CAPTURE(rate);
    std::vector<double> least(5, 1);
    for (const Index steps : {10, 60, 300}) {
      CAPTURE(steps);
      auto so_far = least.begin();
      check({.steps = steps, .learning_rate = rate},
            [&](const Policy&, const Policy&, double, double held_out) {
              CHECK(held_out <= *so_far * (1 + 1e-6));
              *so_far++ = held_out;
            });
    }
  }
  start.weights = check({.steps = 300, .learning_rate = 1e-2}, [](const Policy& old, const Policy& found,
                                                                  double trained, double held_out) {
    CHECK(trained < 0.5);
    CHECK(held_out < 0.5);
    const auto log_std = static_cast<std::size_t>(Network::layout().log_std->weight_offset);
    CHECK(same_bits(found.weights().subspan(log_std), old.weights().subspan(log_std)));
  });
  check({.steps = 15, .learning_rate = 3}, [](const Policy& old, const Policy& found, double, double) {
    CHECK(same_bits(found.weights(), old.weights()));  // all steps make it worse
  });
}

// The loss on some steps of a prompt, and its gradient, by plain loops in double.
double plain_loss(const std::vector<double>& weights, const Trajectory& prompt,
                  const std::vector<Index>& steps, std::vector<double>& gradient) {
  auto layers = Network::layout().hidden;
  layers.push_back(Network::layout().mean);
  std::ranges::fill(gradient, 0.0);
  double loss = 0;
  const double scale = 1 / static_cast<double>(2 * steps.size());
  for (const Index step : steps) {
    std::vector<std::vector<double>> inputs, raws;
    const auto seen = prompt.observations().row_span(step);
    std::vector<double> x(seen.begin(), seen.end());
    for (const auto& layer : layers) {
      inputs.push_back(x);
      std::vector<double> raw;
      for (Index i = 0; i < layer.out; ++i) {
        raw.push_back(weights[static_cast<std::size_t>(layer.bias_offset + i)]);
        for (Index j = 0; j < layer.in; ++j) {
          raw.back() += weights[static_cast<std::size_t>(layer.weight_offset + i * layer.in + j)] *
                        x[static_cast<std::size_t>(j)];
        }
      }
      raws.push_back(raw);
      x = raw;
      for (double& value : x) {
        value = layer.activation == Activation::elu    ? (value > 0 ? value : std::expm1(value))
                : layer.activation == Activation::relu ? (value > 0 ? value : 0)
                                                       : std::tanh(value);
      }
    }
    std::vector<double> upstream;
    for (std::size_t j = 0; j < 2; ++j) {
      const double difference = x[j] - static_cast<double>(prompt.actions()(step, static_cast<Index>(j)));
      loss += scale * difference * difference;
      upstream.push_back(2 * scale * difference * (1 - x[j] * x[j]));
    }
    for (std::size_t l = layers.size(); l-- > 0;) {
      const auto& layer = layers[l];
      std::vector<double> below(static_cast<std::size_t>(layer.in));
      for (Index i = 0; i < layer.out; ++i) {
        const double slope = upstream[static_cast<std::size_t>(i)];
        gradient[static_cast<std::size_t>(layer.bias_offset + i)] += slope;
        for (std::size_t j = 0; j < below.size(); ++j) {
          const auto at = static_cast<std::size_t>(layer.weight_offset + i * layer.in) + j;
          gradient[at] += slope * inputs[l][j];
          below[j] += slope * weights[at];
        }
      }
      for (std::size_t j = 0; l > 0 && j < below.size(); ++j) {
        const double raw = raws[l - 1][j];
        below[j] *= raw > 0 ? 1 : layers[l - 1].activation == Activation::elu ? std::exp(raw) : 0;
      }
      upstream = below;
    }
  }
  return loss;
}

TEST_CASE("steps are Adam's, on the drawn steps of each policy's own prompt") {
  const Start start(3);
  const PolishOptions options{.steps = 4, .learning_rate = 2e-3};
  const auto found = start.polished(options);
  for (Index policy = 0; policy < 3; ++policy) {
    const auto& prompt = start.prompts[static_cast<std::size_t>(policy)];
    const auto trained = polish_steps({&prompt, 1}, options.held_out).trained;
    const auto row = start.policy(start.weights, policy);
    std::vector<double> weights(row.weights().begin(), row.weights().end());
    std::vector<double> gradient(weights.size()), m(weights.size()), v(weights.size());
    auto draw = Rng(3).fork(static_cast<std::uint64_t>(policy));
    for (int step = 1; step <= options.steps; ++step) {
      std::vector<Index> steps;
      for (int i = 0; i < 32; ++i) {
        steps.push_back(trained[static_cast<std::size_t>(draw.below(std::ssize(trained)))]);
      }
      plain_loss(weights, prompt, steps, gradient);
      for (std::size_t i = 0; i < weights.size(); ++i) {
        m[i] += 0.1 * (gradient[i] - m[i]);
        v[i] += 0.001 * (gradient[i] * gradient[i] - v[i]);
        weights[i] -= options.learning_rate * m[i] / (1 - std::pow(0.9, step)) /
                      (std::sqrt(v[i] / (1 - std::pow(0.999, step))) + 1e-8);
      }
    }
    double distance = 0, moved = 0;
    const auto after = start.policy(found, policy);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      distance += std::abs(static_cast<double>(after.weights()[i]) - weights[i]);
      moved += std::abs(static_cast<double>(row.weights()[i]) - weights[i]);
    }
    CAPTURE(policy);
    CHECK(moved > 1);
    CHECK(distance < 1e-3 * moved);
  }
}

TEST_CASE("bits do not depend on threads; policies of a batch, not on each other") {
  const Start start(37);
  const PolishOptions options{.steps = 25, .learning_rate = 1e-2};
  const auto one = start.polished(options, 1);
  CHECK(same_bits(one.span(), start.polished(options, 2).span()));
  CHECK(same_bits(one.span(), start.polished(options, 4).span()));
  Start fewer = start;
  fewer.prompts.resize(20);
  const auto part = fewer.polished(options);
  for (Index i = 0; i < 20; ++i) {
    CHECK(largest_difference(start.policy(part, i), start.policy(one, i)) < 1e-3);
  }
}

// Tasks whose observations are far from normalised.
Trajectory in_other_units(Trajectory trajectory) {
  for (float& value : trajectory.observations().span()) {
    value = 30 * value + 50;
  }
  return trajectory;
}

struct HeadlessConfig : SmallConfig {
  static constexpr Index head_rank = 0;
};

template <class ConfigT>
void check_generated() {
  using GeneratorT = Generator<Policy, ConfigT>;
  auto data = dataset();
  for (auto& trajectory : data.trajectories) {
    trajectory = in_other_units(trajectory);
  }
  GeneratorT one{cpu::Backend(1)}, two{cpu::Backend(2)};
  REQUIRE(one.fit(data, recipe(30)));
  REQUIRE(two.fit(data, recipe(30)));
  std::vector<Trajectory> prompts;
  for (std::uint64_t i = 0; i < 6; ++i) {
    prompts.push_back(in_other_units(demonstration(i < 2 ? 0 : 1, 500 + i)));
  }
  const auto generate = [&](const GeneratorT& generator, const PolishOptions& polish) {
    return generator.generate_each(
        prompts, {.count = 10, .demonstrations_per_prompt = 2, .seed = 9, .polish = polish});
  };
  const PolishOptions options{.steps = 120, .learning_rate = 3e-3, .held_out = 0.25};
  const auto plain = generate(one, {}), polished = generate(one, options), other = generate(two, options);
  const auto off = generate(one, {.steps = 0, .learning_rate = 1, .held_out = 0.5});
  Index better = 0;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(plain[i].weights(), off[i].weights()));
    CHECK(same_bits(polished[i].weights(), other[i].weights()));
    const auto prompt = std::span<const Trajectory>(prompts).subspan(i / 10 * 2, 2);
    Trajectory both(40, 6, 2);
    std::ranges::copy(prompt[0].observations().span(), both.observations().row(0));
    std::ranges::copy(prompt[1].observations().span(), both.observations().row(20));
    std::ranges::copy(prompt[0].actions().span(), both.actions().row(0));
    std::ranges::copy(prompt[1].actions().span(), both.actions().row(20));
    const auto part = polish_steps(prompt, options.held_out);
    CHECK(error_on(polished[i], both, part.held_out) <= error_on(plain[i], both, part.held_out) * (1 + 1e-4));
    better += action_error(polished[i], both) < 0.9 * action_error(plain[i], both) ? 1 : 0;
  }
  CHECK(better > 20);
}

TEST_CASE("generated policies are polished behind the generator's normaliser") {
  check_generated<SmallConfig>();
  check_generated<HeadlessConfig>();
}

TEST_CASE("bad options, a stop and numbers that overflow are errors") {
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(dataset(), recipe(3)));
  const auto prompt = demonstration(0, 1);
  const auto check = [&](const PolishOptions& polish, const char* text) {
    CHECK(has(error_of([&] { generator.generate(prompt, {.polish = polish}); }), text));
  };
  check({.steps = -1}, "generate: expected polish.steps from 0 to 1e+09, found -1");
  check({.learning_rate = 0}, "generate: expected polish.learning_rate from 1e-09 to 1e+06, found 0");
  check({.learning_rate = std::nan("")}, "polish.learning_rate from 1e-09 to 1e+06, found nan");
  check({.held_out = 1}, "generate: expected polish.held_out from 0.01 to 0.99, found 1");
  check({.learning_rate = 1e30}, "polish.learning_rate from 1e-09 to 1e+06, found 1e+30");

  Index calls = 0, last = 0, all = 0;
  const auto progress = [&](Index finished, Index steps) {
    ++calls;
    last = finished;
    all = steps;
    return true;
  };
  const GenerateOptions options{.count = 20, .guidance = {1}, .progress = progress};
  generator.generate(prompt, options);
  const auto sampling = calls;
  auto polishing = options;
  polishing.polish.steps = 15;
  generator.generate(prompt, polishing);
  CHECK(calls == 2 * sampling + 2 * 15);  // two groups
  CHECK(last == 30);
  CHECK(all == 30);
  polishing.progress = [&](Index finished, Index steps) { return steps != 30 || finished < 17; };
  CHECK(has(error_of([&] { generator.generate(prompt, polishing); }), "stopped by the progress callback"));
}

}  // namespace
