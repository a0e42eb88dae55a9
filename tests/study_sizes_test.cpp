// A whole study on a simulator of other sizes than MetaWorld's: what this file says is all that it takes.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <fstream>

#include <nlohmann/json.hpp>

#include "model_of.hpp"
#include "study.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace maa::examples;
using maa::Index;
using test::error_of;
using test::has;

using Policy = maa::MlpPolicy<maa::MlpNetwork<
    7, 2, maa::HiddenLayers<maa::Hidden<32, maa::Activation::tanh>, maa::Hidden<32, maa::Activation::tanh>>,
    maa::Heads::mean>>;

// Observations: the tip's xyz, the goal's xyz, which side of it to touch. Actions: xy.
const Interface& plane() {
  static const Interface interface {
    maa::examples::policy_type<Policy>(),
        {.mirrored_observation = {0, 3, 6}, .mirrored_action = {0}, .positions = {0, 3}}, {
      .effector = {0}, .axes = 2, .gain = 8
    }
  };
  return interface;
}

// The tip must touch the goal's left or right side.
class Touch final : public Environment {
 public:
  explicit Touch(std::string task) : task_(std::move(task)), side_(task_ == "left" ? -1 : 1) {}

  const std::string& task() const override { return task_; }
  Index observation_size() const override { return 7; }
  Index action_size() const override { return 2; }
  Index max_episode_steps() const override { return 40; }
  Placement draw_placement(std::uint64_t seed) override {
    maa::Rng rng(seed);
    return {rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3)};
  }
  void reset(const Placement& placement, std::span<float> observation) override {
    goal_ = {placement[0], placement[1]};
    tip_ = {};
    show(observation);
  }
  StepResult step(std::span<const float> action, std::span<float> observation) override {
    for (std::size_t i = 0; i < 2; ++i) {
      tip_[i] += 0.04 * std::clamp(static_cast<double>(action[i]), -1.0, 1.0);
    }
    show(observation);
    return {.success = std::abs(error(0)) < 0.03 && std::abs(error(1)) < 0.03};
  }
  void expert_action(std::span<float> action) override {
    for (std::size_t i = 0; i < 2; ++i) {
      action[i] = static_cast<float>(std::clamp(8 * error(i), -1.0, 1.0));
    }
  }
  Image render(Index, Index) override { maa::fail("no pictures here"); }

 private:
  double error(std::size_t i) const { return goal_[i] + (i == 0 ? 0.1 * side_ : 0) - tip_[i]; }
  void show(std::span<float> observation) const {
    const std::array<double, 7> values{tip_[0], tip_[1], 0, goal_[0], goal_[1], 0.1, side_};
    std::ranges::transform(values, observation.begin(), [](double x) { return static_cast<float>(x); });
  }

  std::string task_;
  double side_;
  std::array<double, 2> goal_{}, tip_{};
};

class Plane final : public Simulator {
 public:
  std::string name() const override { return "plane"; }
  const Interface& interface() const override { return plane(); }
  const std::vector<std::string>& task_names() const override { return names_; }
  std::unique_ptr<Environment> make_environment(const std::string& task) override {
    return std::make_unique<Touch>(task);
  }
  std::string mirror_task(const std::string& task) const override {
    return task == "left" ? "right" : "left";
  }
  std::map<std::string, std::string> versions() const override { return {}; }

 private:
  std::vector<std::string> names_ = {"left", "right"};
};

struct Tiny : maa::DefaultConfig {
  static constexpr Index latent_size = 16;
  static constexpr Index autoencoder_hidden = 32;
  static constexpr Index embedding_size = 8;
  static constexpr Index embedder_hidden = 32;
  template <Index Latent, Index Condition>
  using Denoiser = maa::UNet1d<Latent, Condition, maa::Levels<32, 64>, 3, 8, 16>;
};

constexpr auto models = study::model_factory<Policy, Tiny>;

study::Options options_in(const std::filesystem::path& out) {
  study::Options options;
  study::shrink(options);
  options.out = out;
  options.tasks.seen = {"left"};
  options.tasks.unseen = {"right"};
  options.data.zoo_steps = 300;
  options.training.corrective = true;
  options.evaluation.clone_steps = 60;
  options.evaluation.multi_task_steps = 60;
  options.methods.baseline = true;
  options.clips.render = false;
  return options;
}

nlohmann::json run(const study::Options& options) {
  Plane simulator;
  study::Study study(options, simulator, models);
  study.begin();
  study.collect();
  study.train();
  study.evaluate();
  study.complete();
  return nlohmann::json::parse(std::ifstream(options.out / "results.json"));
}

}  // namespace

TEST_CASE("a study on a simulator of other sizes, from experts to measured policies") {
  const test::TemporaryFolder folder;
  const auto options = options_in(folder / "out");
  const auto results = run(options);

  std::vector<std::string> methods;
  for (const auto& row : results["rows"]) {
    if (row["task"] == "mean" && row["split"] == "seen") {
      methods.push_back(row["method"]);
    }
    if (row["method"] == "expert") {
      CHECK(row["qualified"] == 1);
    }
  }
  for (const char* method : {"generated", "nearest by action", "zoo mean + head", "one network + head",
                             "multi-task cloning", "cloned from random start", "generated, then cloned",
                             "generated, polished", "zoo (ceiling)", "expert"}) {
    CAPTURE(method);
    CHECK(std::ranges::find(methods, method) != methods.end());
  }
  CHECK(results["tasks"]["mirror_images"] == std::vector<std::string>{"right"});
  // On record is what fit was called with, not what was asked for.
  const auto& training = results["protocol"]["training"];
  CHECK(training["behavior.corrective.effector"] == std::vector<int>{0});
  CHECK(training["behavior.corrective.gain"] == 8);
  CHECK(training["behavior.train.steps"] == 10);
  CHECK(!results["protocol"]["options"].contains("training.corrective"));

  // The generator's file is one of the policy type's, and so are the policies.
  const auto generator = maa::Generator<Policy, Tiny>::load(options.out / "generator.safetensors");
  const auto prompt = maa::load_trajectory(options.out / "prompts" / "right.npz");
  CHECK(generator.generate(prompt).size() == 1);
  const auto policy = maa::load_policy<Policy>(options.out / "policies" / "right_0.safetensors");
  std::array<float, 2> action{};
  policy.act(std::array<float, 7>{}, action);
  CHECK(maa::is_finite(action[0]));

  // Asked to resume, everything is there, and the results are the same.
  auto again = options;
  again.resume = true;
  CHECK(run(again)["rows"] == results["rows"]);
}

TEST_CASE("a study refuses models of other policies, and options out of range") {
  const test::TemporaryFolder folder;
  auto options = options_in(folder / "out");
  Plane simulator;
  const study::ModelFactory others{nullptr, nullptr, &policy_type<maa::MetaWorldPolicy>};
  const auto message = error_of([&] { study::Study(options, simulator, others); });
  CHECK(has(message, "7 observations to 2 actions"));
  CHECK(has(message, "found 39 to 4"));
  options.data.learning_rate = -1;
  CHECK(has(error_of([&] { study::Study(options, simulator, models); }),
            "data.learning_rate from 1e-09 to 1e+06, found -1"));
}
