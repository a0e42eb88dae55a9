// What a study does: tasks, sizes, seeds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <maa/data/prompt_features.hpp>

#include "environment.hpp"

namespace maa::examples::study {

struct Tasks {
  std::vector<std::string> seen;        // trained on and reported
  std::vector<std::string> unseen;      // only reported
  std::vector<std::string> extra;       // trained on, not reported
  std::vector<std::string> validation;  // neither: training stops and settings are chosen by them

  std::vector<std::string> trained() const;   // seen, then extra
  std::vector<std::string> reported() const;  // seen, then unseen
  // The unseen tasks that are reflections of trained ones; training reflects, so they are easier than the
  // rest.
  std::vector<std::string> mirror_images(const Simulator& simulator) const;

  // Trained tasks become the unseen ones, in place of those. Error for one that is not trained.
  void hold_out(const std::vector<std::string>& names);
};

// How the demonstrations that policies are generated from differ from what was trained on.
struct PromptOptions {
  Index per_task = 16;  // policies per task and method
  // Standard deviations of the demonstrator's action noise, in turn.
  std::vector<double> noise = {0.0, 0.1, 0.2, 0.3};
  std::uint64_t seed = 0;  // added to the study's
};

struct Options {
  std::filesystem::path out;
  std::uint64_t seed = 0;
  bool resume = false;
  bool smoke = false;
  int threads = 2;

  Tasks tasks;
  Symmetry symmetry;  // that training reflects and translates by
  // Data, per trained task: expert episodes with execution noise, some of them with bursts of a random
  // action; expert episodes with less noise; then rounds of episodes driven by clones and labelled by the
  // expert. Validation tasks have the first two.
  Index noisy_episodes = 40;
  Index prompt_episodes = 20;
  std::vector<Index> dagger_steps = {600, 300, 300};  // of cloning before each round
  Index dagger_episodes = 10;
  Index recorded_steps = 200;  // the longest episode that is kept
  // The paper's setting: each run has one placement, which all of its episodes share.
  bool placement_per_run = false;
  // Zoo: runs per task, each on its own random share of the episodes;
  // snapshots are spread over the second half of training.
  Index runs = 4;
  double run_share = 0.6;
  bool shared_start = true;  // otherwise each run has an initialisation of its own
  Index zoo_steps = 1600;
  Index snapshots = 30;
  Index batch = 128;
  double learning_rate = 1e-3;
  // Generator: steps of the default recipe's stages.
  Index embedder_steps = 300;
  Index behavior_steps = 800;
  std::vector<Index> demonstrations = {1};  // per prompt in the last stage, one of these in each step
  ConditionParts condition = ConditionParts::both;
  bool restoring_pairs = false;      // heads are fitted to metaworld_restoring_pairs() too
  double huber_width = 0;            // of the last stage's loss; 0: squared error
  double epoch_share = 1;            // how much of the paper's epochs its presets train, in (0, 1]
  std::vector<std::string> without;  // ingredients that were taken away, for the record
  bool unconditioned_rival = false;  // trains a generator that never sees a prompt, too
  // Evaluation.
  PromptOptions prompts;
  Index scenes = 5;  // fresh random placements of each prompt
  std::uint64_t scene_seed = 0;
  std::vector<std::string> methods;  // those to measure; all if empty
  bool selection = true;             // also selects the best policies, in scenes of their own
  Index clone_steps = 500;           // on the prompt, from a random start
  Index clone_steps_zoo = 100;       // from the zoo's mean
  Index clone_batch = 32;
  Index multi_task_steps = 4000;
  bool render = true;
  Index clip_width = 240;
  Index clip_height = 180;
  Index clip_stride = 3;  // steps per frame
  Index clip_steps = 200;
};

// All but the tasks tiny: shows that everything works.
void shrink(Options& options);

// Error for a task that the simulator does not have, naming the nearest, and for one that is listed twice.
void check_tasks(const Tasks& tasks, Simulator& simulator);

// As many threads as this machine runs at once.
int all_threads();

// "h", "v" or "both".
const char* condition_name(ConditionParts parts);

// What each stage depends on; a finished stage is used again as long as this is the same.
nlohmann::ordered_json describe_data(const Options& options);
nlohmann::ordered_json describe_training(const Options& options);
nlohmann::ordered_json describe_evaluation(const Options& options);
nlohmann::ordered_json describe_clips(const Options& options);

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
  run_placements
};

// A seed that is a function of all of these.
std::uint64_t seed_for(const Options& options, Purpose purpose, Index a = 0, Index b = 0, Index c = 0);

}  // namespace maa::examples::study
