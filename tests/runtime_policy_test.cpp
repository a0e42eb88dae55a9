// Policies whose sizes are set as a program runs are those of an MlpNetwork with these: layout, files,
// actions and what generators learn.
#include <maa/generator.hpp>
#include <maa/models/runtime_policy.hpp>

#include <doctest/doctest.h>

#include "errors.hpp"
#include "random_dataset.hpp"
#include "short_recipe.hpp"
#include "small_config.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace maa;
using namespace test;

using Layers = HiddenLayers<Hidden<16, Activation::elu>, Hidden<24, Activation::relu>>;
using Network = MlpNetwork<6, 2, Layers, Heads::mean_and_log_std>;
using Clipped = MlpNetwork<6, 2, Layers, Heads::mean, Squash::clip, Tokens::by_layer>;

// Each fixed network's twin.
template <class Fixed>
using Runtime = RuntimeNetwork<Fixed>;
template <class Fixed>
void set() {
  Runtime<Fixed>::set(PolicyShape::of<Fixed>());
}

using Deep = MlpNetwork<
    6, 2,
    HiddenLayers<Hidden<8, Activation::tanh>, Hidden<16, Activation::relu>, Hidden<12, Activation::elu>>,
    Heads::mean_and_log_std, Squash::tanh, Tokens::by_layer>;
using Shallow = MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::relu>>, Heads::mean, Squash::none>;

TEST_CASE_TEMPLATE("sizes, tensors and tokens are those of the fixed network", Fixed, Network, Clipped, Deep,
                   Shallow) {
  set<Fixed>();
  using Twin = Runtime<Fixed>;
  CHECK(Index(parameter_count<Twin>) == Index(parameter_count<Fixed>));
  CHECK(structure_of<Twin>() == structure_of<Fixed>());
  CHECK(PolicyShape::of<Twin>() == PolicyShape::of<Fixed>());
  CHECK(PolicyShape::of<Fixed>().parameter_count() == parameter_count<Fixed>);
  CHECK(Index(Twin::token_count) == Fixed::token_count);
  CHECK(std::ranges::equal(std::span(Twin::token_sizes).first(Fixed::token_sizes.size()), Fixed::token_sizes,
                           [](Index a, Index b) { return a == b; }));
  const auto twins = tensors_of<Twin>(), tensors = tensors_of<Fixed>();
  REQUIRE(twins.size() == tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    CHECK(twins[i].name == tensors[i].name);
    CHECK(twins[i].shape == tensors[i].shape);
    CHECK(twins[i].offset == tensors[i].offset);
  }
  using Model = GeneratorModel<Fixed, DefaultConfig>;
  using TwinModel = GeneratorModel<Twin, DefaultConfig>;
  CHECK(structure_of<TwinModel>() == structure_of<Model>());
}

TEST_CASE_TEMPLATE("policies act alike and have the same files", Fixed, Network, Clipped) {
  set<Fixed>();
  using Policy = MlpPolicy<Fixed>;
  using Twin = MlpPolicy<Runtime<Fixed>>;
  const std::array<float, 6> mean{1, 0, -1, 0, 0, 0.5f};
  typename Policy::Scaling scaling;
  scaling.mean = mean;
  scaling.clip = 0.75f;
  const auto box = Policy::Box::from_limits(std::array{-1.0f, 0.0f}, std::array{3.0f, 1.0f});
  const auto untrained = Policy::untrained(5);
  CHECK(std::ranges::equal(Twin::untrained(5).weights(), untrained.weights()));
  std::vector<float> weights;  // large enough for clipped and squashed actions
  std::ranges::transform(untrained.weights(), std::back_inserter(weights), [](float w) { return 4 * w; });
  const Policy policy(weights, box, scaling);
  const TemporaryFolder folder;
  save_policy(folder / "policy", policy);
  const auto twin = load_policy<Twin>(folder / "policy");
  save_policy(folder / "twin", twin);
  CHECK(PolicyInterface::of(load_policy<Policy>(folder / "twin")).action_centre ==
        PolicyInterface::of(policy).action_centre);

  constexpr Index rows = 9;
  std::vector<float> observations(rows * 6), actions(rows * 2), of_twin(rows * 2);
  Rng(3).fill_normal(std::span(observations));
  policy.act_batch(observations, actions);
  twin.act_batch(observations, of_twin);
  const auto check_alike = [&] {
    for (std::size_t i = 0; i < actions.size(); ++i) {
      CHECK(of_twin[i] == doctest::Approx(actions[i]).epsilon(1e-5));
    }
  };
  check_alike();
  CHECK(std::ranges::any_of(actions, [](float action) {
          return action == 3 || action == -1 || action == 0;
        }) == (Fixed::squash == Squash::clip));
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
    twin.act(std::span<const float>(observations).subspan(6 * i, 6), std::span(of_twin).subspan(2 * i, 2));
  }
  check_alike();
  if constexpr (Fixed::has_log_std) {
    Rng one(9), other(9);
    for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
      const auto from = std::span<const float>(observations).subspan(6 * i, 6);
      policy.sample(from, std::span(actions).subspan(2 * i, 2), one);
      twin.sample(from, std::span(of_twin).subspan(2 * i, 2), other);
    }
    check_alike();
  }
  CHECK(has(
      error_of([&] { twin.act(std::span<const float>(observations).first(5), std::span(of_twin).first(2)); }),
      "expected observations [rows, 6] and actions [rows, 2], found 5 and 2 numbers"));
  CHECK(has(error_of([&] { Twin(std::vector<float>(3)); }), "weights, found 3"));
}

TEST_CASE("a generator learns the same bits, and reads the other's file") {
  set<Network>();
  auto data = random_dataset<Network>(4);
  data.policy_shape = PolicyShape::of<Network>();
  const auto recipe = shortened(BehaviorRecipe(), 3, 4);
  Generator<MlpPolicy<Network>, SmallConfig> fixed;
  Generator<MlpPolicy<Runtime<Network>>, SmallConfig> twin;
  fixed.fit(data, recipe);
  twin.fit(data, recipe);
  CHECK(std::ranges::equal(fixed.state().parameters, twin.state().parameters));
  const TemporaryFolder folder;
  fixed.save(folder / "generator");
  CHECK(load_policy_shape(folder / "generator") == PolicyShape::of<Network>());
  const auto loaded = decltype(twin)::load(folder / "generator");
  const auto policies = fixed.generate(data.trajectories[0], {.count = 2});
  const auto twins = loaded.generate(data.trajectories[0], {.count = 2});
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(std::ranges::equal(policies[i].weights(), twins[i].weights()));
  }
}

TEST_CASE("a shape is set once, and is one") {
  set<Network>();
  set<Network>();  // the same
  auto other = PolicyShape::of<Network>();
  other.hidden[1] = 25;
  other.squash = Squash::none;
  using Twin = Runtime<Network>;
  CHECK(has(error_of([&] { Twin::set(other); }),
            "found another: hidden: expected [16, 24], found '[16, 25]'; "
            "squash: expected tanh, found 'none'"));
  CHECK(PolicyShape::of<Twin>() == PolicyShape::of<Network>());
  other.hidden.pop_back();
  CHECK(has(error_of([&] { Twin::set(other); }), "an activation for each, found 1 and 2"));
  other.activations.pop_back();
  CHECK(has(error_of([&] { Twin::set(other); }), "hidden: expected [16, 24], found '[16]'"));
  other = PolicyShape::of<Network>();
  other.tokens = Tokens::by_layer;
  CHECK(has(error_of([&] { Twin::set(other); }), "found another: tokens"));
  other.hidden = {1, 1, 1, 1};
  other.activations.resize(4);
  CHECK(has(error_of([&] { Twin::set(other); }), "expected policies of one to three hidden layers"));
  other.actions = 0;
  CHECK(has(error_of([&] { Twin::set(other); }), "expected actions from 1"));
  const TemporaryFolder folder;
  random_dataset<Network>(2).save(folder / "data");
  CHECK(has(error_of([&] { load_policy_shape(folder / "data"); }), "expected a generator or a policy"));
}

TEST_CASE("a data set that says what its policies are is refused as another's") {
  auto data = random_dataset<Network>(2);
  data.policy_shape = PolicyShape::of<Network>();
  const TemporaryFolder folder;
  data.save(folder / "data");
  const auto loaded = Dataset::load(folder / "data");
  CHECK(loaded.policy_shape == data.policy_shape);
  using Other = MlpNetwork<6, 2, HiddenLayers<Hidden<16, Activation::tanh>, Hidden<24, Activation::relu>>,
                           Heads::mean_and_log_std>;
  const auto expected =
      "expected policies of this program's type, found others: activations: expected "
      "[tanh, relu], found '[elu, relu]'";
  CHECK(has(error_of([&] { loaded.require_type<Other>("here"); }), expected));
  CHECK(has(error_of([&] { Generator<MlpPolicy<Other>, SmallConfig>().fit(loaded); }), expected));
  CHECK(has(error_of([&] { check<MlpPolicy<Other>>(loaded); }), expected));
  data.policy_shape->hidden[0] = 17;
  CHECK(
      has(error_of([&] { data.save(folder / "data"); }), "expected a dataset of 6 observations, 2 actions"));
}

}  // namespace
