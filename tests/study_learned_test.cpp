// A study whose demonstrators are reinforcement-learned runs, on a small simulator of this file: the same
// bits however often it is stopped, each run where it belongs, runs that cannot show their task, and the
// whole of it.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <set>

#include <nlohmann/json.hpp>

#include "episodes.hpp"
#include "evaluate.hpp"
#include "interrupt.hpp"
#include "learned.hpp"
#include "model_of.hpp"
#include "study.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace maa::examples;
using namespace maa::examples::study;
using maa::Dataset;
using maa::Index;
using maa::Trajectory;
using test::error_of;
using test::has;
using test::TemporaryFolder;

using Layer = maa::Hidden<16, maa::Activation::relu>;
using Policy = maa::MlpPolicy<maa::MlpNetwork<2, 2, maa::HiddenLayers<Layer, Layer>>>;

// A point in the plane must go some way in a direction that it does not observe; that of "nowhere" is too
// far.
class Walk final : public Environment {
 public:
  explicit Walk(std::string task) : task_(std::move(task)) {}

  const std::string& task() const override { return task_; }
  Index observation_size() const override { return 2; }
  Index action_size() const override { return 2; }
  Index max_episode_steps() const override { return 40; }  // less than a prompt shows
  Placement draw_placement(std::uint64_t seed) override {
    maa::Rng rng(seed);
    return {rng.uniform(-.3, .3), rng.uniform(-.3, .3)};
  }
  void reset(const Placement& placement, std::span<float> observation) override {
    if (stop_after >= 0 && --stop_after < 0) {
      detail::interrupt_flag = 1;
    }
    at_ = {placement[0], placement[1]};
    show(observation);
  }
  StepResult step(std::span<const float> action, std::span<float> observation) override {
    for (std::size_t i = 0; i < 2; ++i) {
      at_[i] = std::clamp(at_[i] + .05 * std::clamp(static_cast<double>(action[i]), -1.0, 1.0), -1.0, 1.0);
    }
    show(observation);
    const double way = task_ == "east" ? at_[0] : task_ == "west" ? -at_[0] : at_[1];
    return {.success = way > (task_ == "nowhere" ? 2 : .4), .reward = way};
  }
  Image render(Index, Index) override { maa::fail("no pictures here"); }

  static inline std::atomic<int> stop_after = -1;  // episodes

 private:
  void show(std::span<float> observation) const {
    for (std::size_t i = 0; i < 2; ++i) {
      observation[i] = static_cast<float>(at_[i]);
    }
  }

  std::string task_;
  std::array<double, 2> at_{};
};

class Walks : public Simulator {
 public:
  std::string name() const override { return "walks"; }
  const Interface& interface() const override {
    static const Interface known{policy_type<Policy>(), {}, {}};
    return known;
  }
  const std::vector<std::string>& task_names() const override { return names_; }
  std::unique_ptr<Environment> make_environment(const std::string& task) override {
    return std::make_unique<Walk>(task);
  }
  std::string mirror_task(const std::string&) const override { return ""; }
  std::map<std::string, std::string> versions() const override { return {}; }

 private:
  std::vector<std::string> names_ = {"east", "west", "north", "nowhere"};
};

// Of policies that nothing squashes, as proximal policy optimisation trains them.
using UnsquashedPolicy = maa::MlpPolicy<
    maa::MlpNetwork<2, 2, maa::HiddenLayers<Layer, Layer>, maa::Heads::mean, maa::Squash::none>>;
class UnsquashedWalks final : public Walks {
 public:
  const Interface& interface() const override {
    static const Interface known{policy_type<UnsquashedPolicy>(), {}, {}, {{"period", "0.5"}}};
    return known;
  }
};

Options options_in(const std::filesystem::path& out) {
  Options options;
  auto& learned = options.learned.emplace();
  shrink(options);
  learned.sac.steps = 800;
  learned.sac.warmup = 60;
  learned.sac.batch = 32;
  learned.sac.discount = 0.9;
  learned.sac.initial_temperature = 0.1;
  learned.sac.actor_learning_rate = learned.sac.critic_learning_rate = 5e-3;
  learned.rollouts = 3;
  options.out = out;
  options.tasks = {{"east", "west"}, {"nowhere"}, {}, {"north"}};
  options.evaluation.prompts = 4;
  options.evaluation.multi_task_steps = 20;
  options.clips.render = false;
  options.threads = 2;
  return options;
}

Dataset collected(const Options& options, Walks& simulator, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  const auto demonstrators = make_demonstrators(options, simulator, folder / "collected.safetensors");
  TrainingLog log;
  demonstrators->collect(folder / "episodes", log);
  return Dataset::load(folder / "collected.safetensors");
}

bool same(const Dataset& a, const Dataset& b) {
  return a.content_hash() == b.content_hash() && a.policies == b.policies;
}

std::set<std::vector<float>> weights_of(const Dataset& dataset) {
  std::set<std::vector<float>> all;
  for (Index i = 0; i < dataset.policy_count(); ++i) {
    const auto row = dataset.weight_matrix().row_span(i);
    all.emplace(row.begin(), row.end());
  }
  return all;
}

}  // namespace

TEST_CASE(
    "learned: runs have the same bits with any number of threads, beside other runs, and stopped on the "
    "way") {
  const TemporaryFolder folder;
  Walks simulator;
  auto options = options_in(folder / "out");
  const auto whole = collected(options, simulator, folder / "whole");
  // East and west: two runs of the zoo and a new one; north and nowhere: one.
  CHECK(learned_runs(options).size() == 8);
  CHECK(whole.policy_count() == 8 * options.learned->checkpoints);
  CHECK(weights_of(whole).size() == static_cast<std::size_t>(whole.policy_count()));
  for (const auto& record : whole.policies) {
    CHECK((record.step == 600 || record.step == 800));
  }

  options.threads = 1;
  CHECK(same(collected(options, simulator, folder / "one"), whole));
  for (const int episodes : {12, 45, 9}) {
    Walk::stop_after = episodes;
    CHECK_THROWS_AS(collected(options, simulator, folder / "stopped"), Interrupted);
    Walk::stop_after = -1;
    detail::interrupt_flag = 0;
    CHECK(std::filesystem::exists(folder / "stopped" / "episodes" / "sac.safetensors"));
  }
  CHECK(same(collected(options, simulator, folder / "stopped"), whole));
  CHECK(std::filesystem::is_empty(folder / "stopped" / "episodes"));

  // Runs of another study with fewer tasks, and a stopped one of other options.
  Walk::stop_after = 20;
  CHECK_THROWS_AS(collected(options, simulator, folder / "fewer"), Interrupted);
  Walk::stop_after = -1;
  detail::interrupt_flag = 0;
  auto fewer = options;
  fewer.tasks.seen = {"west"};
  fewer.tasks.unseen = {"east"};
  const auto others = collected(fewer, simulator, folder / "fewer");
  const auto known = weights_of(whole);
  for (const auto& weights : weights_of(others)) {
    CHECK(known.contains(weights));
  }
}

TEST_CASE(
    "learned: runs by proximal policy optimisation, stopped on the way, with the interface's metadata") {
  const TemporaryFolder folder;
  UnsquashedWalks simulator;
  auto options = options_in(folder / "out");
  options.learned->ppo = {.steps = 32 * 30, .environments = 4, .horizon = 8};
  const auto whole = collected(options, simulator, folder / "whole");
  CHECK(whole.policy_count() == 8 * options.learned->checkpoints);
  for (const auto& record : whole.policies) {
    CHECK((record.step == 32 * 23 ||
           record.step == 32 * 30));  // the first iterations that reach 3 / 4, and all
  }
  Walk::stop_after = 150;
  CHECK_THROWS_AS(collected(options, simulator, folder / "stopped"), Interrupted);
  Walk::stop_after = -1;
  detail::interrupt_flag = 0;
  CHECK(std::filesystem::exists(folder / "stopped" / "episodes" / "ppo.safetensors"));
  CHECK(same(collected(options, simulator, folder / "stopped"), whole));

  TrainingLog log;
  const auto zoo =
      make_demonstrators(options, simulator, folder / "whole" / "collected.safetensors")->zoo(log);
  CHECK(zoo.interface.metadata == maa::PolicyMetadata{{"period", "0.5"}});
}

TEST_CASE("learned: the zoo has its own runs alone, and rollouts of each checkpoint") {
  const TemporaryFolder folder;
  Walks simulator;
  const auto options = options_in(folder / "out");
  const auto& learned = *options.learned;
  const auto all = collected(options, simulator, folder / "data");
  const auto demonstrators =
      make_demonstrators(options, simulator, folder / "data" / "collected.safetensors");
  TrainingLog log;
  const auto zoo = demonstrators->zoo(log);
  CHECK(zoo.tasks == std::vector<std::string>{"east", "west", "north"});
  CHECK(zoo.policy_count() == 2 * learned.runs * learned.checkpoints);
  for (const auto& record : zoo.policies) {
    CHECK(record.task < 2);
    CHECK(record.run < learned.runs);
  }
  CHECK(std::ssize(zoo.trajectories) ==
        (2 * learned.runs + learned.other_runs) * learned.checkpoints * learned.rollouts);
  CHECK(
      same(zoo, make_demonstrators(options, simulator, folder / "data" / "collected.safetensors")->zoo(log)));

  const auto trained = trained_episodes(options, zoo);
  REQUIRE(std::ssize(trained) == zoo.policy_count() * learned.rollouts);
  for (std::size_t t = 0; t < trained.size(); ++t) {
    // A checkpoint's rollouts follow each other; targets are what it does without noise.
    const auto& trajectory = trained[t];
    const auto p = static_cast<Index>(t) / learned.rollouts;
    const auto& record = zoo.policies[static_cast<std::size_t>(p)];
    CHECK(zoo.task_index(trajectory.task) == record.task);
    CHECK(trajectory.run == record.run);
    CHECK(trajectory.length() == 40);
    const Policy policy(zoo.weight_matrix().row_span(p));
    float worst = 0;
    std::array<float, 2> action{};
    for (Index step = 0; step < trajectory.length(); ++step) {
      policy.act(trajectory.observations().row_span(step), action);
      for (std::size_t i = 0; i < 2; ++i) {
        worst =
            std::max(worst, std::abs(action[i] - trajectory.target_actions()(step, static_cast<Index>(i))));
      }
    }
    CHECK(worst == 0);
    CHECK(std::ranges::equal(trajectory.actions().span(), trajectory.target_actions().span()) ==
          (static_cast<Index>(t) % learned.rollouts == 0));
  }
  for (std::size_t t = trained.size(); t < zoo.trajectories.size(); ++t) {
    CHECK(zoo.trajectories[t].task == "north");
  }
}

TEST_CASE(
    "learned: prompts go round the runs of a group, are shown nowhere else, and failing runs are left out") {
  const TemporaryFolder folder;
  Walks simulator;
  auto options = options_in(folder / "out");
  options.evaluation.prompt_noise = {0.0, 0.3};
  options.learned->runs = 3;
  collected(options, simulator, folder / "data");
  const auto demonstrators =
      make_demonstrators(options, simulator, folder / "data" / "collected.safetensors");
  TrainingLog log;
  const auto zoo = demonstrators->zoo(log);

  const auto groups = demonstrators->reported();
  REQUIRE(groups.size() == 5);
  CHECK(groups[1].runs == std::vector<std::int64_t>{0, 1, 2});
  CHECK(groups[3].name() == "west_new_run");
  CHECK(groups[3].runs == std::vector<std::int64_t>{3});
  CHECK(groups[4].split == Split::unseen);

  const auto test = test_prompts(options, *demonstrators);
  CHECK(test.reported.size() == 4);  // nowhere is not
  CHECK(test.shown.size() == 2 * 3 + 2 + 1);
  CHECK(test.shown.back().left_out);
  CHECK(test.shown.back().failed == test.shown.back().drawn);
  CHECK(test.shown.back().drawn == 10 * options.evaluation.prompts * demonstrations_per_prompt);
  std::set<std::vector<float>> trained, prompted;
  const auto observed = [](const Trajectory& trajectory) {
    const auto all = trajectory.observations().span();
    return std::vector<float>(all.begin(), all.end());
  };
  for (const auto& trajectory : zoo.trajectories) {
    trained.insert(observed(trajectory));
  }
  for (std::size_t i = 0; i < test.demonstrations.size(); ++i) {
    const auto& demonstration = test.demonstrations[i];
    const auto prompt = static_cast<Index>(i) / demonstrations_per_prompt;
    const auto& group = test.reported[static_cast<std::size_t>(prompt / options.evaluation.prompts)];
    CHECK(demonstration.task == group.task);
    CHECK(demonstration.run == group.run_of(prompt % options.evaluation.prompts));
    CHECK(demonstration.success_step);
    CHECK(!trained.contains(observed(demonstration)));
    CHECK(prompted.insert(observed(demonstration)).second);
  }
  // Who showed a prompt is its demonstrator.
  const auto environment = simulator.make_environment("west");
  const auto act = demonstrators->controller(*environment, 3);
  std::array<float, 2> found{};
  act(std::array<float, 2>{.1f, .2f}, found);
  CHECK(found[0] < 0);

  options.tasks.seen = {"nowhere"};
  options.tasks.unseen = {};
  collected(options, simulator, folder / "none");
  const auto none = make_demonstrators(options, simulator, folder / "none" / "collected.safetensors");
  CHECK(has(error_of([&] { test_prompts(options, *none); }), "no run shows"));
}

namespace {

struct Tiny : maa::DefaultConfig {
  static constexpr Index latent_size = 16;
  static constexpr Index autoencoder_hidden = 32;
  static constexpr Index embedding_size = 8;
  static constexpr Index embedder_hidden = 32;
  template <Index Latent, Index Condition>
  using Denoiser = maa::UNet1d<Latent, Condition, maa::Levels<32, 64>, 3, 8, 16>;
};

constexpr auto models = model_factory<Policy, Tiny>;

nlohmann::json run(const Options& options) {
  Walks simulator;
  Study study(options, simulator, models);
  study.begin();
  study.collect();
  study.train();
  study.evaluate();
  study.complete();
  return nlohmann::json::parse(std::ifstream(options.out / "results.json"));
}

}  // namespace

TEST_CASE("learned: a study from runs to measured policies, in three groups, and again from its files") {
  const TemporaryFolder folder;
  auto options = options_in(folder / "out");
  Walk::stop_after = 25;
  CHECK_THROWS_AS(run(options), Interrupted);
  Walk::stop_after = -1;
  detail::interrupt_flag = 0;
  const auto results = run(options);

  std::map<std::string, std::set<std::string>> methods;
  for (const auto& row : results["rows"]) {
    methods[row["split"]].insert(row["method"]);
  }
  CHECK(methods.size() == 2);  // nowhere is not shown
  for (const char* method : {"generated", "nearest training policy", "nearest by action", "nearest + noise",
                             "cloned from random start", "cloned from zoo mean", "generated, then cloned",
                             "generated, polished", "no condition + head", "demonstrator"}) {
    CAPTURE(method);
    CHECK(methods["seen"].contains(method));
    CHECK(methods["new_run"].contains(method));
  }
  CHECK(results["tasks"]["new_run"] == std::vector<std::string>{"east", "west"});
  CHECK(results["demonstrators"].back()["left_out"] == true);
  const auto& recorded = results["protocol"]["options"];
  CHECK(recorded["data.sac.steps"] == 800);
  CHECK(!recorded.contains("data.dagger_episodes"));
  CHECK(std::filesystem::exists(options.out / "policies" / "east_new_run_0.safetensors"));
  CHECK(std::filesystem::exists(options.out / "prompts" / "west_new_run.npz"));

  options.resume = true;
  CHECK(run(options)["rows"] == results["rows"]);
}

TEST_CASE("learned: of a seen task that no run learns nothing is shown, which is no error") {
  const TemporaryFolder folder;
  auto options = options_in(folder / "out");
  options.tasks = {{"east", "nowhere", "west"}, {}, {}, {}};
  options.methods.only = {"generated", "multi-task cloning"};
  const auto results = run(options);
  std::set<std::string> tasks;
  for (const auto& row : results["rows"]) {
    tasks.insert(row["task"]);
  }
  CHECK(tasks == std::set<std::string>{"east", "west", "mean"});
}
