// How sure generated policies are: the head's posterior against the plain formula, and what it says of states
// that a prompt does not show.
#include <doctest/doctest.h>

#include "small_generator.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace maa;

const auto& trained() {
  static const test::SmallGenerator generator = [] {
    test::SmallGenerator result;
    result.fit(test::dataset(), test::recipe());
    return result;
  }();
  return generator;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) {
    sum += value / static_cast<double>(values.size());
  }
  return sum;
}

TEST_CASE("the predictive variance is that of the plain formula") {
  constexpr Index rank = 3, rows = 10, size = rank + 1;
  using Head = BayesianHead<test::Network, rank>;
  Buffer<float> parameters(parameter_count<Head>), features(rows * Head::units), asked(Head::units);
  initialize<Head>(parameters.span(), Rng(1));
  Rng(2).fill_normal(features.span());
  Rng(3).fill_normal(asked.span());
  const auto w = bind<Head>(std::as_const(parameters));
  constexpr double noise = 0.3, scale = 2;
  const HeadPosterior<test::Network, rank> posterior(w, features.span(), noise, scale);

  const auto direction = [&](const float* f, Index j) {
    if (j == rank) {
      return 1.0;
    }
    double sum = static_cast<double>(w.prior_bias[j]);
    for (Index unit = 0; unit < Head::units; ++unit) {
      sum += static_cast<double>(w.prior_weight[j * Head::units + unit]) * static_cast<double>(f[unit]);
    }
    return sum;
  };
  // x = M^-1 g by Gauss-Jordan.
  std::array<std::array<double, size + 1>, size> m{};
  for (Index i = 0; i < size; ++i) {
    for (Index j = 0; j < size; ++j) {
      m[i][j] = i == j ? noise : 0;
      for (Index row = 0; row < rows; ++row) {
        const float* f = features.data() + row * Head::units;
        m[i][j] += direction(f, i) * direction(f, j);
      }
    }
    m[i][size] = direction(asked.data(), i);
  }
  for (Index i = 0; i < size; ++i) {
    for (Index k = 0; k < size; ++k) {
      const double factor = m[k][i] / m[i][i];
      for (Index j = 0; k != i && j <= size; ++j) {
        m[k][j] -= factor * m[i][j];
      }
    }
  }
  double quadratic = 0;
  for (Index i = 0; i < size; ++i) {
    quadratic += direction(asked.data(), i) * m[i][size] / m[i][i];
  }
  CHECK(posterior.variance(asked.span())[0] ==
        doctest::Approx(scale * noise * (1 + quadratic)).epsilon(1e-5));
}

TEST_CASE("a policy is less sure where its prompt was not, and of a size with its errors in training") {
  const auto prompt = test::demonstration(0, 900);
  const auto policies = trained().generate(prompt, {.guidance = {1}});
  const auto uncertainty = trained().uncertainty(policies, std::span(&prompt, 1));
  REQUIRE(uncertainty.size() == 1);
  Buffer<float> far{prompt.observations().span()};
  for (float& number : far) {
    number *= 4;
  }
  const double shown = mean(uncertainty[0].deviation(prompt.observations().span()));
  CHECK(mean(uncertainty[0].deviation(far.span())) > 1.2 * shown);
  CHECK(shown > 0);

  // Errors before squashing at other states of training's tasks.
  double squares = 0, variances = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const auto one = test::demonstration(0, seed), other = test::demonstration(0, 50 + seed);
    const auto policy = trained().generate(one, {.guidance = {1}});
    const auto deviation =
        trained().uncertainty(policy, std::span(&one, 1))[0].deviation(other.observations().span());
    for (Index t = 0; t < other.length(); ++t) {
      std::array<float, 2> action;
      policy[0].act(other.observations().row_span(t).first<6>(), action);
      for (Index j = 0; j < 2; ++j) {
        const double error = std::atanh(static_cast<double>(std::clamp(action[j], -.95f, .95f))) -
                             std::atanh(static_cast<double>(std::clamp(other.actions()(t, j), -.95f, .95f)));
        squares += error * error;
        variances += deviation[static_cast<std::size_t>(t)] * deviation[static_cast<std::size_t>(t)];
      }
    }
  }
  CHECK(squares / variances < 3);
  CHECK(squares / variances > 1.0 / 3);
}

TEST_CASE("more demonstrations leave less open, and a file keeps the scale") {
  const std::array prompts{test::demonstration(1, 901), test::demonstration(1, 902),
                           test::demonstration(1, 903)};
  const auto policy = trained().generate(prompts[0], {.guidance = {1}});
  const auto asked = test::demonstration(1, 904);
  const auto deviation = [&](const test::SmallGenerator& generator, std::span<const Trajectory> shown) {
    return mean(generator.uncertainty(policy, shown)[0].deviation(asked.observations().span()));
  };
  const auto first = std::span<const Trajectory>(prompts).first(1);
  const double one = deviation(trained(), first);
  CHECK(deviation(trained(), prompts) < one);

  const test::TemporaryFolder folder;
  trained().save(folder / "generator.safetensors");
  CHECK(deviation(test::SmallGenerator::load(folder / "generator.safetensors"), first) == one);
}

TEST_CASE("several policies for a prompt are drawn from what it leaves open, the first is the likeliest") {
  const auto prompt = test::demonstration(0, 900), asked = test::demonstration(1, 904);
  constexpr Index count = 400;
  const auto one = trained().generate(prompt, {.guidance = {1}});
  const auto generate = [&](double spread) {
    return trained().generate(prompt, {.count = count, .guidance = {1}, .spread = spread});
  };
  const auto drawn = generate(1);
  CHECK(std::ranges::equal(drawn[0].weights(), one[0].weights()));
  const auto alike = generate(0);
  for (std::size_t i = 0; i < alike[0].weights().size(); ++i) {  // but for the noise of sampling
    CHECK(std::abs(alike[0].weights()[i] - alike[1].weights()[i]) < 0.02f);
  }

  const auto before_squashing = [&](const test::Policy& policy, Index t) {
    std::array<float, 2> action;
    policy.act(asked.observations().row_span(t).first<6>(), action);
    return std::atanh(static_cast<double>(action[0]));
  };
  const auto uncertainty = trained().uncertainty(one, std::span(&prompt, 1));
  const auto deviation = uncertainty[0].deviation(asked.observations().span());
  const double least = [&] {  // of what no policy can know: the noise
    using Head = test::SmallGenerator::Model::HeadModel;
    const auto parameters = trained().state().parameters.span();
    const auto w = bind<Head>(parameters.last(static_cast<std::size_t>(parameter_count<Head>)));
    return static_cast<double>(trained().state().variance_scale) *
           cpu::value_of(Head::noise(w, prompt.length()));
  }();
  double found = 0, expected = 0;
  for (Index t = 0; t < asked.length(); ++t) {
    const double middle = before_squashing(drawn[0], t);
    for (Index i = 1; i < count; ++i) {
      const double away = before_squashing(drawn[static_cast<std::size_t>(i)], t) - middle;
      found += away * away / (count - 1);
    }
    const auto at = static_cast<std::size_t>(t);
    expected += deviation[at] * deviation[at] - least;
  }
  CHECK(found / expected == doctest::Approx(1).epsilon(0.25));
}

TEST_CASE("what does not fit is an error") {
  const auto prompt = test::demonstration(0, 900);
  const auto policies = trained().generate(prompt, {.count = 2});
  CHECK_THROWS_WITH_AS(trained().uncertainty(policies, std::span(&prompt, 1)),
                       doctest::Contains("for each of 2 policies"), Error);
  const auto one = trained().uncertainty(std::span(policies).first(1), std::span(&prompt, 1));
  CHECK_THROWS_WITH_AS(one[0].deviation(std::vector<float>(7)), doctest::Contains("[rows, 6], found 7"),
                       Error);
}

}  // namespace
