// What a study does: tasks, sizes, seeds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <maa/core/options.hpp>
#include <maa/data/prompt_features.hpp>
#include <maa/generator/polish.hpp>

#include "environment.hpp"
#include "ppo.hpp"
#include "sac.hpp"

namespace maa::examples::study {

struct Tasks {
  std::vector<std::string> seen;        // trained on and reported
  std::vector<std::string> unseen;      // only reported
  std::vector<std::string> extra;       // trained on, not reported
  std::vector<std::string> validation;  // neither: training stops and settings are chosen by them

  std::vector<std::string> trained() const;  // seen, then extra
  // The unseen tasks that are reflections of trained ones; training reflects, so they are easier than the
  // rest.
  std::vector<std::string> mirror_images(const Simulator& simulator) const;

  // Trained tasks become the unseen ones, in place of those. Error for one that is not trained.
  void hold_out(const std::vector<std::string>& names);
};

// Data by scripted experts, per trained task: expert episodes with execution noise, some of them with bursts
// of a random action; expert episodes with less noise; then rounds of episodes driven by clones and labelled
// by the expert. Validation tasks have the first two. The zoo: runs per task, each on its own random share of
// the episodes; snapshots are spread over the second half of training.
struct DataOptions {
  Index noisy_episodes = 40;
  Index prompt_episodes = 20;
  std::vector<Index> dagger_steps = {600, 300, 300};  // of cloning before each round
  Index dagger_episodes = 10;
  Index recorded_steps = 200;  // the longest episode that is kept
  // The paper's setting: each run has one placement, which all of its episodes share.
  bool placement_per_run = false;
  Index runs = 4;
  bool shared_start = true;  // otherwise each run has an initialisation of its own
  Index zoo_steps = 1600;
  Index snapshots = 30;
  Index batch = 128;
  double learning_rate = 1e-3;

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("noisy_episodes", at_least(1), self.noisy_episodes);
    visit("prompt_episodes", at_least(1), self.prompt_episodes);
    visit("dagger_steps", at_least(1), self.dagger_steps);
    visit("dagger_episodes", at_least(1), self.dagger_episodes);
    visit("recorded_steps", at_least(1), self.recorded_steps);
    visit("placement_per_run", self.placement_per_run);
    visit("runs", at_least(1), self.runs);
    visit("shared_start", self.shared_start);
    visit("zoo_steps", at_least(1), self.zoo_steps);
    visit("snapshots", at_least(1), self.snapshots);
    visit("batch", at_least(1), self.batch);
    visit("learning_rate", positive(), self.learning_rate);
  }
};

// Data by reinforcement learning. Every run has a random start of its own.
struct LearnedDataOptions {
  Index runs = 3;         // of each trained task, whose checkpoints are the zoo
  Index new_runs = 1;     // of each seen task, which only show prompts: the group "a run not in the zoo"
  Index other_runs = 2;   // of each validation and each unseen task
  Index checkpoints = 5;  // of each run, spread over the second half of training; the last is its end
  // Whole episodes of each checkpoint of the zoo's and the validation tasks' runs.
  Index rollouts = 4;
  std::vector<double> rollout_noise = {0.0, 0.1, 0.2, 0.3};  // deviations of their action noise, in turn
  reinforcement::SacOptions sac;
  std::optional<reinforcement::PpoOptions> ppo;  // takes the place of `sac`

  Index& steps() { return ppo ? ppo->steps : sac.steps; }  // of each run's environment

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("runs", at_least(1), self.runs);
    visit("new_runs", at_least(0), self.new_runs);
    visit("other_runs", at_least(1), self.other_runs);
    visit("checkpoints", at_least(1), self.checkpoints);
    visit("rollouts", at_least(1), self.rollouts);
    visit("rollout_noise", not_negative(), self.rollout_noise);
    if (self.ppo) {
      visit("ppo", *self.ppo);
    } else {
      visit("sac", self.sac);
    }
  }
};

// The generator's training, as far as it is not the library's default; recipe.hpp makes the library's options
// of it.
struct TrainingOptions {
  Index embedder_steps = 300;
  Index behavior_steps = 800;
  std::vector<Index> demonstrations = {1};  // per prompt in the last stage, one of these in each step
  ConditionParts condition = ConditionParts::both;
  bool reflections = true;   // of demonstrations, by the simulator's symmetry
  bool translations = true;  // the same
  bool corrective = false;   // heads are fitted to the simulator's corrective augmentation too
  double huber_width = 0;    // of the last stage's loss; 0: squared error
  double epoch_share = 1;    // how much of the paper's epochs its recipes train
  PredictionType prediction = PredictionType::epsilon;  // of the preset paper's denoiser
  // Of a program that has several (LearnedProgram::recipes), and of a preset's models otherwise.
  std::string recipe = "default";
  bool align_units = false;          // of the zoo's policies, to the first one (data/unit_alignment.hpp)
  bool zoo_weights = true;           // otherwise networks that were never trained take the policies' place
  std::vector<std::string> without;  // ingredients that were taken away
  std::string start;      // a generator's file, of any simulator, to begin from (WarmStart); or none
  double start_rate = 1;  // of what is copied from it

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("embedder_steps", at_least(0), self.embedder_steps);
    visit("behavior_steps", at_least(0), self.behavior_steps);
    visit("demonstrations", at_least(1), self.demonstrations);
    visit("condition", self.condition);
    visit("reflections", self.reflections);
    visit("translations", self.translations);
    visit("corrective", self.corrective);
    visit("huber_width", not_negative(), self.huber_width);
    visit("epoch_share", between(1e-6, 100), self.epoch_share);
    visit("prediction", self.prediction);
    visit("recipe", self.recipe);
    visit("align_units", self.align_units);
    visit("zoo_weights", self.zoo_weights);
    visit("without", self.without);
    visit("start", self.start);
    visit("start_rate", share(), self.start_rate);
  }
};

struct EvaluationOptions {
  Index prompts = 16;  // of each task, and so policies per task and method
  // Standard deviations of the demonstrator's action noise, in turn.
  std::vector<double> prompt_noise = {0.0, 0.1, 0.2, 0.3};
  std::uint64_t prompt_seed = 0;  // another one means other prompts
  Index scenes = 5;               // fresh random placements of each prompt
  std::uint64_t scene_seed = 0;
  bool selection = true;        // also selects the best policies, in scenes of their own
  bool trial = true;            // also chooses among samples of each prompt, in scenes of their own
  Index clone_steps = 500;      // on the prompt, from a random start
  Index clone_steps_zoo = 100;  // from the zoo's mean
  Index clone_batch = 32;
  double clone_learning_rate = 1e-3;
  PolishOptions polish{.steps = 500};  // of generated policies
  Index multi_task_steps = 4000;

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("prompts", at_least(1), self.prompts);
    visit("prompt_noise", not_negative(), self.prompt_noise);
    visit("prompt_seed", self.prompt_seed);
    visit("scenes", at_least(1), self.scenes);
    visit("scene_seed", self.scene_seed);
    visit("selection", self.selection);
    visit("trial", self.trial);
    visit("clone_steps", at_least(1), self.clone_steps);
    visit("clone_steps_zoo", at_least(1), self.clone_steps_zoo);
    visit("clone_batch", at_least(1), self.clone_batch);
    visit("clone_learning_rate", positive(), self.clone_learning_rate);
    visit("polish", self.polish);
    visit("multi_task_steps", at_least(1), self.multi_task_steps);
  }
};

// Which methods are measured; what one comes to does not depend on the others.
struct MethodOptions {
  std::vector<std::string> only;  // all if empty
  bool baseline = false;          // trains the baseline that takes a training of its own: one network

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("only", self.only);
    visit("baseline", self.baseline);
  }
};

struct ClipOptions {
  bool render = true;
  Index width = 240;
  Index height = 180;
  Index stride = 3;  // steps per frame

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("render", self.render);
    visit("width", at_least(1), self.width);
    visit("height", at_least(1), self.height);
    visit("stride", at_least(1), self.stride);
  }
};

struct Options {
  // These change no result.
  std::filesystem::path out;
  std::string command;  // that was typed, for the record
  bool resume = false;
  int threads = 2;

  std::uint64_t seed = 0;
  bool smoke = false;
  Tasks tasks;
  DataOptions data;
  std::optional<LearnedDataOptions> learned;  // takes the place of `data`, and its name
  TrainingOptions training;
  EvaluationOptions evaluation;
  MethodOptions methods;
  ClipOptions clips;

  // In the order in which stages depend on them.
  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("seed", self.seed);
    visit("smoke", self.smoke);
    visit("tasks.seen", self.tasks.seen);
    visit("tasks.extra", self.tasks.extra);
    visit("tasks.validation", self.tasks.validation);
    if (self.learned) {
      visit("data", *self.learned);
    } else {
      visit("data", self.data);
    }
    visit("training", self.training);
    visit("tasks.unseen", self.tasks.unseen);
    visit("evaluation", self.evaluation);
    visit("methods", self.methods);
    visit("clips", self.clips);
  }
};

// All but the tasks tiny: shows that everything works.
void shrink(Options& options);

// Error for a task that the simulator does not have, naming the nearest, and for one that is listed twice.
void check_tasks(const Tasks& tasks, Simulator& simulator);

// As many threads as this machine runs at once.
int all_threads();
// The program's arguments as a command for a shell.
std::string command_line(const std::string& program, int argc, const char* const* argv);

// What a stage that ends with this part of the options ("data", "training", "evaluation", "methods" or
// "clips") depends on: the version and all fields up to the last one of that part. A finished stage is used
// again as long as this is the same.
nlohmann::ordered_json depends_on(const Options& options, std::string_view part);
// Fields by name.
nlohmann::ordered_json to_json(const Fields& fields);

// What random numbers are for; each purpose has its own.
enum class Purpose : std::uint64_t {
  noisy_episodes = 1,
  prompt_episodes,
  dagger_episodes,
  initialisation,
  dagger_training,
  zoo_episodes,
  zoo_training,
  fit,
  test_prompts,
  scenes,
  generation,
  weight_noise,
  clone_random,
  clone_zoo,
  untrained,
  zoo_choice,
  clone_generated,
  bootstrap,
  selection_scenes,
  multi_task,
  run_placements,
  reinforcement,
  rollouts,
  trial_scenes,
  clone_multi_task
};

// A task's number for seeds: its place among the simulator's.
Index task_number(const Simulator& simulator, const std::string& task);
// A seed that is a function of all of these.
std::uint64_t seed_for(const Options& options, Purpose purpose, Index a = 0, Index b = 0, Index c = 0);

}  // namespace maa::examples::study
