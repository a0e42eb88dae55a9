// Corrective augmentation: what they are, and that heads which are fitted to them bring the effector back.
#include <doctest/doctest.h>

#include <maa/generator.hpp>

#include "random_dataset.hpp"
#include "small_config.hpp"
#include "temporary_folder.hpp"

#include <array>
#include <limits>

namespace {

using namespace maa;

// Observations: effector now (0, 1), object now (2, 3), the same one step earlier (4 to 7).
CorrectiveAugmentation pairs() {
  return {
      .effector = {0, 4}, .objects = {2}, .earlier = 4, .axes = 2, .action = 1, .gain = 2, .deviation = 0.1};
}

struct Rows {
  Index count;
  Buffer<float> observations{count * 8}, actions{count * 3}, copied{count * 8}, back{count * 3};

  explicit Rows(Index rows) : count(rows) {}
  MatrixView<float> observation_view() { return {observations.data(), count, 8}; }
  MatrixView<float> action_view() { return {actions.data(), count, 3}; }
  MatrixView<float> copied_view() { return {copied.data(), count, 8}; }
  MatrixView<float> back_view() { return {back.data(), count, 3}; }
  void write(const CorrectiveAugmentation& how, std::uint64_t seed = 1) {
    how.write(Rng(seed), observation_view(), action_view(), copied_view(), back_view());
  }
};

TEST_CASE("the effector is displaced in every frame and the action brings it back") {
  Rows rows(400);
  Rng rng(2);
  for (Index i = 0; i < rows.count; ++i) {
    auto* o = rows.observation_view().row(i);
    for (const Index j : {0, 1, 2, 3}) {
      o[j] = o[j + 4] = static_cast<float>(rng.normal());  // nothing moves
    }
    auto* a = rows.action_view().row(i);
    a[0] = 0.5f;
    a[1] = static_cast<float>(rng.uniform(-1, 1));
    a[2] = i % 2 == 0 ? 1.0f : -0.97f;  // saturated
  }
  rows.write(pairs());
  double squares = 0;
  Index clamped = 0, saturated = 0;
  for (Index i = 0; i < rows.count; ++i) {
    CAPTURE(i);
    const auto *o = rows.observation_view().row(i), *c = rows.copied_view().row(i);
    const auto *a = rows.action_view().row(i), *b = rows.back_view().row(i);
    for (const Index axis : {0, 1}) {
      const float displacement = c[axis] - o[axis];
      squares += static_cast<double>(displacement * displacement);
      CHECK(c[4 + axis] - o[4 + axis] == doctest::Approx(displacement).epsilon(1e-4));
      CHECK(c[2 + axis] == o[2 + axis]);
      CHECK(c[6 + axis] == o[6 + axis]);
    }
    CHECK(b[0] == a[0]);
    CHECK(b[2] == a[2]);
    saturated += std::abs(a[1]) >= 0.95f;
    const float wanted = std::abs(a[1]) < 0.95f ? a[1] - 2 * (c[0] - o[0]) : a[1];
    clamped += std::abs(wanted) > 1;
    CHECK(b[1] == doctest::Approx(std::clamp(wanted, -1.0f, 1.0f)).epsilon(1e-4));
  }
  CHECK(std::sqrt(squares / (2.0 * 400)) == doctest::Approx(0.1).epsilon(0.1));
  CHECK(clamped > 0);
  CHECK(saturated > 0);
  const auto first = rows.copied;
  rows.write(pairs());
  CHECK(std::ranges::equal(first, rows.copied));
  rows.write(pairs(), 7);
  CHECK(!std::ranges::equal(first, rows.copied));
}

TEST_CASE("where an object moves along, pairs are copied as they are") {
  Rows rows(3);
  for (Index i = 0; i < rows.count; ++i) {
    auto* o = rows.observation_view().row(i);
    o[0] = 0.02f;                                        // the effector's step, from zero
    o[2] = i == 0 ? 0.015f : i == 1 ? 0.002f : 0.0005f;  // the object's
  }
  rows.write(pairs());
  for (Index i = 0; i < rows.count; ++i) {
    const bool same = std::equal(rows.observation_view().row(i), rows.observation_view().row(i) + 8,
                                 rows.copied_view().row(i));
    CHECK(same == (i == 0));
  }
  auto none = pairs();
  none.effector = {};
  rows.write(none);
  CHECK(std::ranges::equal(rows.observations, rows.copied));
}

TEST_CASE("columns and numbers that cannot be are errors that name them") {
  const auto check = [](auto change, const char* text) {
    auto wrong = pairs();
    change(wrong);
    CHECK_THROWS_WITH_AS(wrong.check(8, 3, "here"), doctest::Contains(text), Error);
  };
  CHECK_NOTHROW(pairs().check(8, 3, "here"));
  CHECK_NOTHROW(CorrectiveAugmentation().check(1, 1, "here"));
  check([](auto& p) { p.effector = {0, 7}; }, "found 7");
  check([](auto& p) { p.effector = {-1}; }, "found -1");
  check([](auto& p) { p.effector.assign(100, 0); }, "found 100 of them");
  check([](auto& p) { p.objects.assign(100, 0); }, "found 100 of them");
  check([](auto& p) { p.objects = {4}; }, "found 4");
  check([](auto& p) { p.earlier = -5; }, "corrective.earlier from 0 to 1e+09, found -5");
  check([](auto& p) { p.action = 2; }, "found 3 in all");
  check([](auto& p) { p.axes = 0; }, "corrective.axes from 1 to 1e+09, found 0");
  check([](auto& p) { p.gain = 0; }, "corrective.gain from 1e-09 to 1e+06, found 0");
  check([](auto& p) { p.deviation = std::numeric_limits<double>::quiet_NaN(); },
        "corrective.deviation from 1e-09 to 1e+06, found nan");
}

using Network = MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::elu>, Hidden<12, Activation::tanh>>>;
using Policy = MlpPolicy<Network>;
using SmallGenerator = Generator<Policy, test::SmallConfig>;

SmallGenerator trained(const CorrectiveAugmentation& corrective) {
  BehaviorRecipe options;
  options.embedder.train.steps = 2;
  options.behavior.train.steps = 12;
  options.behavior.train.batch = 4;
  options.behavior.queries = 8;
  options.behavior.corrective = corrective;
  options.check = false;
  SmallGenerator generator{cpu::Backend(2)};
  REQUIRE(generator.fit(test::random_dataset<Network>(6), options));
  return generator;
}

// How the first action changes when the first observation grows by 1, as the mean over a demonstration that
// shows only one place of the effector; the head is fitted to ten times the same.
double slope(const SmallGenerator& generator) {
  Trajectory prompt(60, 6, 2);
  Rng rng(3);
  rng.fill_normal(prompt.observations().span());
  for (Index t = 0; t < prompt.length(); ++t) {
    prompt.observations()(t, 0) = 0.1f;
    prompt.actions()(t, 0) = 0.2f;
  }
  prompt.success_step = 40;
  const std::vector<Policy> start{Policy::untrained(4)};
  const std::vector<Trajectory> prompts(10, prompt);
  const auto policy = generator.fit_heads(start, prompts).front();
  double sum = 0;
  for (Index t = 0; t < prompt.length(); ++t) {
    std::array<float, 6> seen;
    std::copy_n(prompt.observations().row(t), 6, seen.begin());
    std::array<float, 2> here, there;
    policy.act(seen, here);
    seen[0] += 1;
    policy.act(seen, there);
    sum += static_cast<double>(there[0] - here[0]);
  }
  return sum / 60;
}

TEST_CASE("a head that is fitted to them leads back to where the demonstration was; files keep them") {
  const CorrectiveAugmentation corrective{.effector = {0}, .axes = 1, .gain = 0.5, .deviation = 1};
  const auto generator = trained(corrective);
  const double with = slope(generator);
  CHECK(with < -0.2);  // of -.5 at most
  CHECK(std::abs(slope(trained({}))) < 0.5 * std::abs(with));

  const test::TemporaryFolder folder;
  const auto path = folder / "generator.safetensors";
  generator.save(path);
  const auto loaded = SmallGenerator::load(path, cpu::Backend(1));
  CHECK(fields_of(loaded.state().settings.corrective) == fields_of(corrective));
  CHECK(slope(loaded) == with);
}

TEST_CASE("training refuses corrective augmentation for other observations") {
  BehaviorRecipe options;
  options.behavior.corrective = {.effector = {5}};
  options.check = false;
  SmallGenerator generator{cpu::Backend(1)};
  CHECK_THROWS_WITH_AS(generator.fit(test::random_dataset<Network>(6), options),
                       doctest::Contains("fit: corrective augmentation: expected 3 entries"), Error);
}

}  // namespace
