// Reinforcement-learned runs as demonstrators: each has a task, a seed and a random start of its own.
#pragma once

#include "demonstrators.hpp"

namespace maa::examples::study {

// One run of a task, numbered from 0: first those of the zoo, then the new ones. Its seed depends on task and
// number alone.
struct LearnedRun {
  std::string task;
  std::int64_t run = 0;
};
// All runs of a study: of trained tasks, then of validation tasks, then of unseen ones.
std::vector<LearnedRun> learned_runs(const Options& options);

// collect() makes a data set without trajectories: the checkpoints of all runs, in order of their steps. The
// zoo has the checkpoints of Options::learned->runs runs of each trained task, run by run, and after each
// other the rollouts of each. No run is left out for what it does.
std::unique_ptr<Demonstrators> make_learned_demonstrators(const Options& options, Simulator& simulator,
                                                          std::filesystem::path collected);

}  // namespace maa::examples::study
