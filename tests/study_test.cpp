// A study's data and bookkeeping on a small simulator of this file: same bits however often it is
// interrupted, nothing of the evaluation in the training data, and stages that run when they must.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <maa/core/nearest_names.hpp>

#include "data.hpp"
#include "episodes.hpp"
#include "evaluate.hpp"
#include "interrupt.hpp"
#include "metaworld_interface.hpp"
#include "stages.hpp"
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

using Goal = std::array<float, 3>;

// What a simulator was asked for.
class Recorder {
 public:
  void add(const Placement& placement) {
    const std::lock_guard lock(mutex_);
    placements_.push_back(placement);
    if (static_cast<Index>(placements_.size()) == interrupt_after_) {
      detail::interrupt_flag = 1;
    }
  }
  // The scenes of the episodes since the last call, sorted.
  std::vector<Placement> take() {
    std::ranges::sort(placements_);
    return std::exchange(placements_, {});
  }
  void interrupt_after(Index episodes) { interrupt_after_ = episodes; }

 private:
  std::mutex mutex_;
  std::vector<Placement> placements_;
  Index interrupt_after_ = -1;
};

// The hand must come to a point some way from the goal; how far is the task. A placement is the goal, a
// function of the seed alone, so that equal seeds show as equal placements whatever the task.
class Reach final : public Environment {
 public:
  Reach(std::string task, double height, Recorder& recorder)
      : task_(std::move(task)), height_(height), recorder_(recorder) {}

  const std::string& task() const override { return task_; }
  Index max_episode_steps() const override { return 60; }
  Index observation_size() const override { return metaworld_observation_size; }
  Index action_size() const override { return metaworld_action_size; }
  Placement draw_placement(std::uint64_t seed) override {
    maa::Rng rng(seed);
    return {rng.uniform(-0.4, 0.4), rng.uniform(0.4, 0.8), rng.uniform(0, 0.2)};
  }
  void reset(const Placement& placement, std::span<float> observation) override {
    recorder_.add(placement);
    goal_ = placement;
    hand_ = before_ = {0, 0.4, 0.2};
    gripper_ = gripper_before_ = 0;
    show(observation);
  }
  StepResult step(std::span<const float> action, std::span<float> observation) override {
    before_ = hand_;
    gripper_before_ = gripper_;
    for (std::size_t i = 0; i < 3; ++i) {
      hand_[i] += 0.03 * std::clamp(static_cast<double>(action[i]), -1.0, 1.0);
    }
    gripper_ = std::clamp(static_cast<double>(action[3]), -1.0, 1.0);
    show(observation);
    double square = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      square += error(i) * error(i);
    }
    return {.success = square < 0.03 * 0.03};
  }
  void expert_action(std::span<float> action) override {
    for (std::size_t i = 0; i < 3; ++i) {
      action[i] = static_cast<float>(std::clamp(10 * error(i), -1.0, 1.0));
    }
    action[3] = 0.5f;
  }
  Image render(Index, Index) override { maa::fail("no pictures here"); }

 private:
  double error(std::size_t i) const { return goal_[i] + (i == 2 ? height_ : 0) - hand_[i]; }
  void show(std::span<float> observation) const {
    std::ranges::fill(observation, 0.0f);
    for (std::size_t i = 0; i < 3; ++i) {
      observation[i] = static_cast<float>(hand_[i]);
      observation[18 + i] = static_cast<float>(before_[i]);
      observation[36 + i] = static_cast<float>(goal_[i]);
    }
    observation[3] = static_cast<float>(gripper_);
    observation[21] = static_cast<float>(gripper_before_);
  }

  std::string task_;
  double height_;
  Recorder& recorder_;
  std::vector<double> goal_, hand_, before_;
  double gripper_ = 0, gripper_before_ = 0;
};

class Reaches final : public Simulator {
 public:
  std::string name() const override { return "reaches"; }
  const Interface& interface() const override { return metaworld_interface(); }
  const std::vector<std::string>& task_names() const override { return names_; }
  std::unique_ptr<Environment> make_environment(const std::string& task) override {
    const auto found = std::ranges::find(names_, task);
    maa::require(found != names_.end(), "reaches: there is no task \"", task, "\"; the nearest are ",
                 maa::nearest_names(task, names_));
    return std::make_unique<Reach>(task, height(task), recorder);
  }
  double height(const std::string& task) const {
    return 0.05 * static_cast<double>(std::ranges::find(names_, task) - names_.begin());
  }
  std::string mirror_task(const std::string& task) const override { return task; }
  std::map<std::string, std::string> versions() const override { return {{"reaches", version}}; }

  Recorder recorder;
  std::string version = "1";

 private:
  std::vector<std::string> names_ = {"touch", "hover", "above", "over", "high", "top"};
};

Options tiny() {
  Options options;
  shrink(options);
  options.tasks = {{"touch", "hover"}, {"above"}, {"over"}, {"high"}};
  options.data.dagger_steps = {20, 10};
  options.data.dagger_episodes = 3;
  options.data.noisy_episodes = 5;
  options.data.prompt_episodes = 4;
  options.data.zoo_steps = 40;
  options.data.snapshots = 2;
  options.evaluation.prompts = 2;
  options.threads = 2;
  return options;
}

Index episodes_of_collection(const Options& options) {
  const auto trained = static_cast<Index>(options.tasks.trained().size());
  const auto validation = static_cast<Index>(options.tasks.validation.size());
  const auto rounds = static_cast<Index>(options.data.dagger_steps.size());
  return (trained + validation) * (options.data.noisy_episodes + options.data.prompt_episodes) +
         trained * rounds * options.data.dagger_episodes;
}

const PolicyType& policy = metaworld_interface().policy;
const Index policy_size = policy.parameter_count();

std::vector<std::string> reported_tasks(const Options& options) {
  auto tasks = options.tasks.seen;
  tasks.insert(tasks.end(), options.tasks.unseen.begin(), options.tasks.unseen.end());
  return tasks;
}

TestPrompts test_prompts_of(const Options& options, Simulator& simulator) {
  return test_prompts(options, *make_demonstrators(options, simulator, {}));
}
// Policies, or the experts, in the scenes of all reported tasks.
Outcome try_out(const Options& options, Simulator& simulator, const maa::Buffer<float>& weights,
                bool seen_only, Purpose scenes) {
  const auto experts = make_demonstrators(options, simulator, {});
  Method method{"method", {}, {}, seen_only};
  if (weights.empty()) {
    method.controller = [&](Environment& environment, Index) { return experts->controller(environment, 0); };
  }
  return evaluate(options, simulator, experts->reported(), "scenes", method, weights, scenes);
}

std::string bytes_of(const Dataset& dataset) {
  const TemporaryFolder folder;
  dataset.save(folder / "dataset.safetensors");
  return test::read_bytes(folder / "dataset.safetensors");
}

std::vector<float> numbers(const Trajectory& trajectory) {
  std::vector<float> all;
  for (const auto& matrix : {trajectory.observations(), trajectory.actions(), trajectory.target_actions()}) {
    for (Index i = 0; i < matrix.rows; ++i) {
      all.insert(all.end(), matrix.row_span(i).begin(), matrix.row_span(i).end());
    }
  }
  return all;
}

std::set<std::vector<float>> numbers_of(std::span<const Trajectory> trajectories) {
  std::set<std::vector<float>> all;
  for (const auto& trajectory : trajectories) {
    all.insert(numbers(trajectory));
  }
  return all;
}

// The goal that an episode shows in its observations.
Goal goal_of(const Trajectory& trajectory) {
  const auto row = trajectory.observations().row_span(0);
  return {row[36], row[37], row[38]};
}

template <class T>
bool disjoint(const std::set<T>& a, const std::set<T>& b) {
  return std::ranges::none_of(a, [&](const T& x) { return b.contains(x); });
}

std::vector<std::string> shards_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

TEST_CASE("study: collecting twice, and with another number of threads, gives the same bits") {
  const TemporaryFolder folder;
  Reaches simulator;
  auto options = tiny();
  const auto first = collect(options, simulator, folder / "a");
  CHECK(static_cast<Index>(simulator.recorder.take().size()) == episodes_of_collection(options));
  CHECK(static_cast<Index>(first.trajectories.size()) == episodes_of_collection(options));
  options.threads = 1;
  CHECK(bytes_of(collect(options, simulator, folder / "b")) == bytes_of(first));
  simulator.recorder.take();
  // From the files alone.
  CHECK(bytes_of(collect(options, simulator, folder / "a")) == bytes_of(first));
  CHECK(simulator.recorder.take().empty());
  // The experts know what they are doing.
  const auto solved =
      std::ranges::count_if(first.trajectories, [](const auto& t) { return bool(t.success_step); });
  CHECK(solved > episodes_of_collection(options) / 2);
}

TEST_CASE("study: collection goes on from the shards that are there") {
  const TemporaryFolder folder;
  Reaches simulator;
  const auto options = tiny();
  const auto whole = bytes_of(collect(options, simulator, folder / "whole"));
  const auto names = shards_in(folder / "whole");
  CHECK(names.size() == 4 * 2 + 3 * 2);  // experts of all tasks, clones of the trained ones
  simulator.recorder.take();

  SUBCASE("some files are gone") {
    std::filesystem::remove(folder / "whole" / "noisy_hover.safetensors");
    std::filesystem::remove(folder / "whole" / "clone1_over.safetensors");
    std::filesystem::remove(folder / "whole" / "quiet_high.safetensors");
    CHECK(bytes_of(collect(options, simulator, folder / "whole")) == whole);
    CHECK(static_cast<Index>(simulator.recorder.take().size()) ==
          options.data.noisy_episodes + options.data.dagger_episodes + options.data.prompt_episodes);
  }
  SUBCASE("only one file is left") {
    std::filesystem::create_directories(folder / "part");
    std::filesystem::copy_file(folder / "whole" / "clone2_touch.safetensors",
                               folder / "part" / "clone2_touch.safetensors");
    CHECK(bytes_of(collect(options, simulator, folder / "part")) == whole);
    CHECK(static_cast<Index>(simulator.recorder.take().size()) ==
          episodes_of_collection(options) - options.data.dagger_episodes);
  }
  SUBCASE("ctrl-C at several places") {
    Index kept = 0;
    for (const Index episodes : {3, 17, 4}) {
      simulator.recorder.interrupt_after(episodes);
      CHECK_THROWS_AS(collect(options, simulator, folder / "stopped"), Interrupted);
      simulator.recorder.interrupt_after(-1);
      detail::interrupt_flag = 0;
      const auto found = shards_in(folder / "stopped");
      CHECK(static_cast<Index>(found.size()) >= kept);
      CHECK(found.size() < names.size());
      kept = static_cast<Index>(found.size());
      for (const auto& name : found) {
        CHECK(test::read_bytes(folder / "stopped" / name) == test::read_bytes(folder / "whole" / name));
      }
      simulator.recorder.take();
    }
    CHECK(kept > 0);
    CHECK(bytes_of(collect(options, simulator, folder / "stopped")) == whole);
    CHECK(static_cast<Index>(simulator.recorder.take().size()) < episodes_of_collection(options));
  }
  CHECK(bytes_of(collect(options, simulator, folder / "whole")) == whole);
}

TEST_CASE("study: a corrupt shard is an error that names the file") {
  const TemporaryFolder folder;
  Reaches simulator;
  const auto options = tiny();
  collect(options, simulator, folder / "shards");
  for (const std::string name :
       {"noisy_touch.safetensors", "clone2_hover.safetensors", "quiet_high.safetensors"}) {
    const auto path = folder / "shards" / name;
    const auto bytes = test::read_bytes(path);
    for (const auto& broken : {bytes.substr(0, bytes.size() / 2), bytes.substr(0, 5), std::string(),
                               std::string(bytes.size(), 'x')}) {
      test::write_bytes(path, broken);
      const auto message = error_of([&] { collect(options, simulator, folder / "shards"); });
      INFO(message);
      CHECK(has(message, name));
    }
    test::write_bytes(path, bytes);
  }
  CHECK(error_of([&] { collect(options, simulator, folder / "shards"); }) == "no error");
}

TEST_CASE("study: shards that were made with other options are made anew") {
  const TemporaryFolder folder;
  Reaches simulator;
  const auto options = tiny();
  const auto original = bytes_of(collect(options, simulator, folder / "used"));
  const std::vector<std::pair<std::string, std::function<void(Options&)>>> changes = {
      {"seed", [](Options& o) { o.seed = 1; }},
      {"noisy episodes", [](Options& o) { o.data.noisy_episodes = 6; }},
      {"quiet episodes", [](Options& o) { o.data.prompt_episodes = 3; }},
      {"steps",
       [](Options& o) {
         o.data.dagger_steps = {20, 11};
       }},
      {"rounds", [](Options& o) { o.data.dagger_steps = {20}; }},
      {"clones' episodes", [](Options& o) { o.data.dagger_episodes = 2; }},
      {"batch", [](Options& o) { o.data.batch = 32; }},
      {"learning rate", [](Options& o) { o.data.learning_rate = 2e-3; }},
      {"placements", [](Options& o) { o.data.placement_per_run = true; }},
      {"runs", [](Options& o) { o.data.placement_per_run = true, o.data.runs = 3; }},
      {"tasks", [](Options& o) { o.tasks.extra = {}; }},
      {"validation tasks", [](Options& o) { o.tasks.validation = {"top"}; }}};
  int number = 0;
  for (const auto& change : changes) {
    INFO(change.first);
    auto changed = options;
    change.second(changed);
    const auto fresh = bytes_of(collect(changed, simulator, folder / ("fresh" + std::to_string(++number))));
    CHECK(fresh != original);
    CHECK(bytes_of(collect(changed, simulator, folder / "used")) == fresh);
  }
  CHECK(bytes_of(collect(options, simulator, folder / "used")) == original);

  simulator.recorder.take();
  simulator.version = "2";
  collect(options, simulator, folder / "used");
  CHECK(static_cast<Index>(simulator.recorder.take().size()) == episodes_of_collection(options));
}

TEST_CASE("study: a placement per run, and no run on both sides of a split") {
  const TemporaryFolder folder;
  Reaches simulator;
  auto options = tiny();
  options.data.placement_per_run = true;
  options.data.runs = 3;
  options.data.noisy_episodes = 7;  // no multiple of the runs
  auto dataset = collect(options, simulator, folder / "shards");
  TrainingLog log;
  add_zoo(options, policy, dataset, log);

  std::map<std::pair<Index, std::int64_t>, std::set<Goal>> goals;
  std::set<Goal> all;
  for (const auto& trajectory : dataset.trajectories) {
    CHECK(trajectory.run >= 0);
    CHECK(trajectory.run < options.data.runs);
    goals[{dataset.task_index(trajectory.task), trajectory.run}].insert(goal_of(trajectory));
    all.insert(goal_of(trajectory));
  }
  CHECK(static_cast<Index>(goals.size()) == static_cast<Index>(dataset.tasks.size()) * options.data.runs);
  for (const auto& [run, own] : goals) {
    CHECK(own.size() == 1);
  }
  CHECK(all.size() == goals.size());

  const auto split = dataset.split_by_run(0.3, 7);
  const auto runs_of = [&](const maa::RunSplit::Side& side) {
    std::pair<std::set<std::pair<Index, std::int64_t>>, std::set<Goal>> found;
    for (const auto i : side.policies) {
      const auto& record = dataset.policies[static_cast<std::size_t>(i)];
      found.first.emplace(record.task, record.run);
    }
    for (const auto i : side.trajectories) {
      const auto& trajectory = dataset.trajectories[static_cast<std::size_t>(i)];
      found.first.emplace(dataset.task_index(trajectory.task), trajectory.run);
      found.second.insert(goal_of(trajectory));
    }
    return found;
  };
  const auto [train_runs, train_goals] = runs_of(split.train);
  const auto [held_runs, held_goals] = runs_of(split.validation);
  CHECK(disjoint(train_runs, held_runs));
  CHECK(disjoint(train_goals, held_goals));
  CHECK(held_runs.size() == dataset.tasks.size());  // one of each task's three
  CHECK(train_runs.size() == 2 * dataset.tasks.size());
  CHECK(!split.validation.policies.empty());
  CHECK(!split.train.policies.empty());
  CHECK(split.train.policies.size() + split.validation.policies.size() == dataset.policies.size());
  CHECK(split.train.trajectories.size() + split.validation.trajectories.size() ==
        dataset.trajectories.size());
}

TEST_CASE("study: with a placement per run, a run of the zoo learns from its own episodes only") {
  const TemporaryFolder folder;
  Reaches simulator;
  auto options = tiny();
  options.data.placement_per_run = true;
  options.data.runs = 2;
  auto dataset = collect(options, simulator, folder / "shards");
  auto changed = dataset;
  for (auto& trajectory : changed.trajectories) {
    if (trajectory.run == 1) {  // other labels; observations, and so the normaliser, are the same
      maa::Buffer<float> none(trajectory.length() * trajectory.action_size());
      trajectory.set_target_actions({none.data(), trajectory.length(), trajectory.action_size()});
    }
  }
  TrainingLog log;
  add_zoo(options, policy, dataset, log);
  add_zoo(options, policy, changed, log);
  REQUIRE(dataset.policy_count() == 3 * 2 * options.data.snapshots);
  for (Index i = 0; i < dataset.policy_count(); ++i) {
    const auto& record = dataset.policies[static_cast<std::size_t>(i)];
    const bool same =
        std::ranges::equal(dataset.weight_matrix().row_span(i), changed.weight_matrix().row_span(i));
    CHECK(same == (record.run == 0));
  }
}

TEST_CASE("study: nothing that policies are measured by was trained on") {
  for (const bool placement_per_run : {false, true}) {
    CAPTURE(placement_per_run);
    const TemporaryFolder folder;
    Reaches simulator;
    auto options = tiny();
    options.data.placement_per_run = placement_per_run;
    const auto dataset = collect(options, simulator, folder / "shards");
    const auto trained = simulator.recorder.take();
    const auto test = test_prompts_of(options, simulator);
    const auto prompted = simulator.recorder.take();
    try_out(options, simulator, {}, false, Purpose::scenes);
    const auto tried = simulator.recorder.take();
    try_out(options, simulator, {}, false, Purpose::selection_scenes);
    const auto selected = simulator.recorder.take();

    // Each placement is used once, by one of the four, but for those of a run.
    const auto tasks = static_cast<Index>(reported_tasks(options).size());
    const auto prompts = tasks * options.evaluation.prompts;
    CHECK(static_cast<Index>(prompted.size()) >= prompts * demonstrations_per_prompt);
    CHECK(static_cast<Index>(tried.size()) == prompts * options.evaluation.scenes);
    CHECK(selected.size() == tried.size());
    std::set<Placement> known;
    for (const auto* placements : {&prompted, &tried, &selected}) {
      for (const auto& placement : *placements) {
        CHECK(known.insert(placement).second);
      }
    }
    const std::set<Placement> training(trained.begin(), trained.end());
    CHECK(disjoint(training, known));
    const auto learned = static_cast<Index>(dataset.tasks.size());
    CHECK(static_cast<Index>(training.size()) ==
          (placement_per_run ? learned * options.data.runs : episodes_of_collection(options)));

    CHECK(disjoint(numbers_of(dataset.trajectories), numbers_of(test.demonstrations)));
    CHECK(numbers_of(test.demonstrations).size() == test.demonstrations.size());
    // Prompts belong to the reported tasks, in order, and are their own demonstrations.
    REQUIRE(static_cast<Index>(test.prompts.size()) == prompts);
    REQUIRE(static_cast<Index>(test.demonstrations.size()) == prompts * demonstrations_per_prompt);
    for (Index i = 0; i < prompts; ++i) {
      const auto& prompt = test.prompts[static_cast<std::size_t>(i)];
      CHECK(prompt.task == reported_tasks(options)[static_cast<std::size_t>(i / options.evaluation.prompts)]);
      CHECK(prompt.success_step);
      CHECK(prompt.run == -1);
      CHECK(numbers(prompt) ==
            numbers(test.demonstrations[static_cast<std::size_t>(i * demonstrations_per_prompt)]));
    }
  }
}

TEST_CASE("study: validation and unseen tasks have no part in what is trained") {
  const TemporaryFolder folder;
  Reaches simulator;
  const auto options = tiny();
  auto others = options;
  others.tasks.validation = {"top", "above"};
  others.tasks.unseen = {"high"};
  auto without = options;
  without.tasks.validation = {};
  const auto trained = options.tasks.trained();

  std::vector<Dataset> datasets;
  for (const Options* each : std::initializer_list<const Options*>{&options, &others, &without}) {
    auto& dataset =
        datasets.emplace_back(collect(*each, simulator, folder / std::to_string(datasets.size())));
    const auto& held_out = each->tasks.validation;
    const auto seen = trained_episodes(*each, dataset);
    CHECK(!seen.empty());
    Index steps = 0;
    for (const auto& trajectory : seen) {
      CHECK(contains(trained, trajectory.task));
      steps += trajectory.length();
    }
    CHECK(ExampleTable(seen).first.back() == steps);
    // The rest is of the validation tasks, all of it.
    std::set<std::string> rest;
    for (std::size_t i = seen.size(); i < dataset.trajectories.size(); ++i) {
      rest.insert(dataset.trajectories[i].task);
    }
    CHECK(rest == std::set<std::string>(held_out.begin(), held_out.end()));
    TrainingLog log;
    add_zoo(*each, policy, dataset, log);
    CHECK(dataset.policy_count() ==
          static_cast<Index>(trained.size()) * each->data.runs * each->data.snapshots);
    for (const auto& record : dataset.policies) {
      CHECK(contains(trained, dataset.tasks[static_cast<std::size_t>(record.task)]));
    }
  }
  // Clones' episodes and the zoo are the same bits whatever the held-out tasks.
  const auto episodes = trained_episodes(options, datasets[0]).size();
  for (const std::size_t i : {1u, 2u}) {
    const auto& o = i == 1 ? others : without;
    const auto own = trained_episodes(o, datasets[i]);
    REQUIRE(own.size() == episodes);
    for (std::size_t e = 0; e < episodes; ++e) {
      CHECK(numbers(own[e]) == numbers(datasets[0].trajectories[e]));
    }
    CHECK(std::ranges::equal(datasets[i].weight_matrix().span(), datasets[0].weight_matrix().span()));
  }
}

TEST_CASE("study: seeds of prompts and of scenes") {
  Reaches simulator;
  const auto options = tiny();
  const auto look = [&](const Options& o) {
    const auto prompts = numbers_of(test_prompts_of(o, simulator).demonstrations);
    simulator.recorder.take();
    try_out(o, simulator, {}, false, Purpose::scenes);
    try_out(o, simulator, {}, false, Purpose::selection_scenes);
    const auto scenes = simulator.recorder.take();
    return std::pair(prompts, std::set<Placement>(scenes.begin(), scenes.end()));
  };
  const auto [prompts, scenes] = look(options);
  CHECK(look(options) == std::pair(prompts, scenes));

  auto other = options;
  other.evaluation.prompt_seed = 1;
  const auto [other_prompts, same_scenes] = look(other);
  CHECK(disjoint(prompts, other_prompts));
  CHECK(scenes == same_scenes);

  other = options;
  other.evaluation.scene_seed = 1;
  const auto [same_prompts, other_scenes] = look(other);
  CHECK(prompts == same_prompts);
  CHECK(disjoint(scenes, other_scenes));

  other = options;
  other.seed = 1;
  const auto [new_prompts, new_scenes] = look(other);
  CHECK(disjoint(prompts, new_prompts));
  CHECK(disjoint(scenes, new_scenes));

  // More prompts and scenes keep the first ones; what is trained has no say in either.
  other = options;
  other.evaluation.prompts = 1;
  other.evaluation.scenes = 1;
  other.tasks.validation = {};
  other.data.zoo_steps = 7;
  const auto [fewer_prompts, fewer_scenes] = look(other);
  CHECK(std::ranges::includes(prompts, fewer_prompts));
  CHECK(std::ranges::includes(scenes, fewer_scenes));
}

TEST_CASE("study: prompts take the noise of the options in turn") {
  Reaches simulator;
  auto options = tiny();
  options.evaluation.prompt_noise = {0.0, 0.3};
  const auto test = test_prompts_of(options, simulator);
  Index noisy = 0;
  for (const auto& demonstration : test.demonstrations) {
    const auto matches = std::ranges::equal(std::as_const(demonstration).actions().span(),
                                            demonstration.target_actions().span());
    noisy += matches ? 0 : 1;
  }
  CHECK(noisy == static_cast<Index>(test.demonstrations.size()) / 2);
}

namespace {

// The policy whose action is tanh(gain * error), without the gripper: each error passes the hidden layers as
// its positive and its negative part.
void proportional_controller(double height, float gain, std::span<float> weights) {
  constexpr std::size_t hidden = 128, first_bias = 39 * hidden, second = first_bias + hidden,
                        mean = second + hidden * hidden + hidden;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    for (std::size_t side = 0; side < 2; ++side) {
      const std::size_t unit = 2 * axis + side;
      const float sign = side == 0 ? gain : -gain;
      weights[unit * 39 + axis] = -sign;
      weights[unit * 39 + 36 + axis] = sign;
      weights[first_bias + unit] = axis == 2 ? sign * static_cast<float>(height) : 0.0f;
      weights[second + unit * hidden + unit] = 1;
      weights[mean + axis * hidden + unit] = side == 0 ? 1.0f : -1.0f;
    }
  }
}

}  // namespace

TEST_CASE("study: evaluation tries each policy in its prompt's scenes, with any number of threads") {
  Reaches simulator;
  auto options = tiny();
  options.evaluation.scenes = 3;
  const auto tasks = reported_tasks(options);
  const auto count = static_cast<Index>(tasks.size()) * options.evaluation.prompts;
  maa::Buffer<float> weights(count * policy_size);
  for (Index i = 0; i < count; ++i) {
    const auto task = static_cast<std::size_t>(i / options.evaluation.prompts);
    const bool weak = i % options.evaluation.prompts == 0;  // too slow for goals that are far away
    proportional_controller(simulator.height(tasks[task]), weak ? 1.4f : 4.0f,
                            weights.span().subspan(static_cast<std::size_t>(i * policy_size), policy_size));
  }

  options.threads = 1;
  const auto outcome = try_out(options, simulator, weights, false, Purpose::scenes);
  options.threads = 2;
  CHECK(try_out(options, simulator, weights, false, Purpose::scenes) == outcome);
  CHECK(try_out(options, simulator, weights, false, Purpose::selection_scenes) != outcome);

  // By hand.
  Index successes = 0;
  for (Index i = 0; i < count; ++i) {
    const auto task = i / options.evaluation.prompts, prompt = i % options.evaluation.prompts;
    const auto environment = simulator.make_environment(tasks[static_cast<std::size_t>(task)]);
    const maa::MetaWorldPolicy own(
        weights.span().subspan(static_cast<std::size_t>(i * policy_size), policy_size));
    for (Index scene = 0; scene < options.evaluation.scenes; ++scene) {
      const auto found = outcome[static_cast<std::size_t>(task)][static_cast<std::size_t>(prompt)];
      const auto expected = run_episode(
          *environment, scene_placement(options, simulator, *environment, Purpose::scenes, prompt, scene),
          [&](std::span<const float> observation, std::span<float> action) { own.act(observation, action); });
      CHECK(found[static_cast<std::size_t>(scene)] == (expected ? *expected : -1));
      successes += expected ? 1 : 0;
    }
  }
  MESSAGE("successes: " << successes << " of " << count * options.evaluation.scenes);
  CHECK(successes > 0);
  CHECK(successes < count * options.evaluation.scenes);

  // The expert, and a method for seen tasks only.
  for (const auto& policies : try_out(options, simulator, {}, false, Purpose::scenes)) {
    CHECK(qualified_rate(policies) == 1);
  }
  const auto seen_only = try_out(options, simulator, weights, true, Purpose::scenes);
  REQUIRE(seen_only.size() == tasks.size());
  CHECK(seen_only[0] == outcome[0]);
  CHECK(seen_only[1] == outcome[1]);
  CHECK(seen_only[2].empty());
}

TEST_CASE("study: tasks that are unknown or listed twice") {
  Reaches simulator;
  Tasks tasks = tiny().tasks;
  CHECK(error_of([&] { check_tasks(tasks, simulator); }) == "no error");
  tasks.unseen = {"abov"};
  auto message = error_of([&] { check_tasks(tasks, simulator); });
  CHECK(has(message, "\"abov\""));
  CHECK(has(message, "above"));
  tasks.unseen = {"above", "above"};
  message = error_of([&] { check_tasks(tasks, simulator); });
  CHECK(has(message, "above twice"));
  for (auto list : {&Tasks::unseen, &Tasks::extra, &Tasks::validation}) {  // and in two of the lists
    tasks = tiny().tasks;
    (tasks.*list).push_back("touch");
    CHECK(has(error_of([&] { check_tasks(tasks, simulator); }), "touch twice"));
  }
}

namespace {

// The stages that run when a program with these options is started.
std::string stages_run(const std::filesystem::path& out,
                       const std::vector<std::pair<std::string, int>>& stages,
                       const std::string& stopped_in = {}) {
  Stages program(out, {});
  std::string done;
  for (const auto& [name, option] : stages) {
    program.run(name, {{"option", option}}, [&] {
      if (name == stopped_in) {
        throw Interrupted();
      }
      done += name;
    });
  }
  return done;
}

}  // namespace

TEST_CASE("study: trained tasks are held out, and become the unseen ones") {
  Tasks tasks{{"a", "b", "c"}, {"u"}, {"x", "y"}, {"v"}};
  tasks.hold_out({"b", "y"});
  CHECK(tasks.seen == std::vector<std::string>{"a", "c"});
  CHECK(tasks.extra == std::vector<std::string>{"x"});
  CHECK(tasks.unseen == std::vector<std::string>{"b", "y"});
  CHECK(tasks.validation == std::vector<std::string>{"v"});
  for (const char* name : {"u", "v", "b"}) {  // unseen, for validation, held out before
    const auto before = tasks.trained();
    CHECK(has(error_of([&] { tasks.hold_out({"a", name}); }), "expected trained tasks"));
    CHECK(tasks.trained() == before);
  }
}

TEST_CASE("study: stages run again when their options or an earlier stage change") {
  const TemporaryFolder folder;
  const auto out = folder / "out";
  CHECK(stages_run(out, {{"a", 1}, {"b", 1}, {"c", 1}}) == "abc");
  CHECK(stages_run(out, {{"a", 1}, {"b", 1}, {"c", 1}}).empty());
  CHECK(stages_run(out, {{"a", 1}, {"b", 2}, {"c", 1}}) == "bc");  // the later one follows
  CHECK(stages_run(out, {{"a", 1}, {"b", 2}, {"c", 1}}).empty());
  CHECK(stages_run(out, {{"a", 2}, {"b", 2}, {"c", 1}}) == "abc");
  // A stage that was stopped is not finished, even with the options of its last success.
  CHECK_THROWS_AS(stages_run(out, {{"a", 2}, {"b", 3}}, "b"), Interrupted);
  CHECK(stages_run(out, {{"a", 2}, {"b", 2}, {"c", 1}}) == "bc");
  // Nor is one whose record is damaged.
  test::write_bytes(out / "stages" / "c.json", "{\"depends_on\":");
  CHECK(stages_run(out, {{"a", 2}, {"b", 2}, {"c", 1}}) == "c");
  test::write_bytes(out / "stages" / "c.json", "[]");
  CHECK(stages_run(out, {{"a", 2}, {"b", 2}, {"c", 1}}) == "c");

  Stages stages(out, {});
  stages.run("a", {{"option", 2}}, [] { FAIL("finished"); });
  CHECK(stages.seconds().contains("a"));
  CHECK(stages.seconds().at("a") >= 0);
}

TEST_CASE("study: a stage that must be finished, and the command that does it") {
  const TemporaryFolder folder;
  const nlohmann::ordered_json options = {{"seed", 1}}, others = {{"seed", 2}};
  Stages stages(folder / "out", {});
  auto message = error_of([&] { stages.require_finished("fit", options, "metaworld train"); });
  CHECK(has(message, "found none"));
  CHECK(has(message, "run \"metaworld train\" first"));
  CHECK(has(message, (folder / "out").string()));
  stages.run("fit", options, [] {});
  Stages later(folder / "out", {});
  CHECK(error_of([&] { later.require_finished("fit", options, "metaworld train"); }) == "no error");
  message = error_of([&] { later.require_finished("fit", others, "metaworld train --seed 2"); });
  CHECK(has(message, "one with other options"));
  CHECK(has(message, "run \"metaworld train --seed 2\" first"));
}

TEST_CASE("study: a run of all stages begins anew, unless it is resumed or the last was stopped") {
  const TemporaryFolder folder;
  const auto out = folder / "out";
  const auto run_all = [&](bool resume, const std::string& stopped_in = {}) {
    Stages program(out, {});
    program.begin(resume);
    std::string done;
    for (const std::string name : {"a", "b"}) {
      program.run(name, {}, [&] {
        if (name == stopped_in) {
          throw Interrupted();
        }
        done += name;
      });
    }
    program.complete();
    return done;
  };
  CHECK(run_all(false) == "ab");
  CHECK(run_all(true).empty());
  CHECK(run_all(false) == "ab");
  std::filesystem::remove_all(out);
  CHECK_THROWS_AS(run_all(false, "b"), Interrupted);
  CHECK(run_all(false) == "b");
  CHECK(run_all(false) == "ab");
}
