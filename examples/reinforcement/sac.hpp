// Soft actor-critic (Haarnoja et al., 2018, "Soft Actor-Critic Algorithms and Applications", arXiv
// 1812.05905) of many independent runs of one network at once: twin critics with target networks, automatic
// temperature, and a replay memory of each run's own.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <maa/core/options.hpp>
#include <maa/core/views.hpp>

#include "environment.hpp"
#include "policy_type.hpp"

namespace maa::examples::reinforcement {

struct SacOptions {
  Index steps = 10'000;  // environment steps of each run
  Index warmup = 500;    // the first steps, whose actions are uniform in [-1, 1]; no update before their end
  Index batch = 128;     // transitions of an update, drawn from the replay memory with replacement
  Index updates_every = 1;            // environment steps per update
  Index replay = 100'000;             // the newest transitions of each run, which updates learn from
  double actor_learning_rate = 1e-3;  // of Adam with betas .9 and .999, as the next two
  double critic_learning_rate = 1e-3;
  double temperature_learning_rate = 1e-3;  // of log alpha
  double initial_temperature = 1;           // alpha at the start
  double target_entropy = 1;                // in nats, as a multiple of minus the number of actions
  double discount = 0.99;                   // gamma, per environment step
  double target_rate = 0.005;               // tau: target += tau (critic - target) after each update

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("steps", at_least(1), self.steps);
    visit("warmup", at_least(1), self.warmup);
    visit("batch", between(1, 1'000'000), self.batch);
    visit("updates_every", at_least(1), self.updates_every);
    visit("replay", at_least(1), self.replay);
    visit("actor_learning_rate", positive(), self.actor_learning_rate);
    visit("critic_learning_rate", positive(), self.critic_learning_rate);
    visit("temperature_learning_rate", not_negative(), self.temperature_learning_rate);
    visit("initial_temperature", positive(), self.initial_temperature);
    visit("target_entropy", any_number(), self.target_entropy);
    visit("discount", between(0, 0.999999), self.discount);
    visit("target_rate", Limits{0, 1, true}, self.target_rate);
  }
};

// Runs of equal seeds start from equal weights.
struct SacRun {
  std::string task;
  std::uint64_t seed = 0;
};

// How a run is doing.
struct SacStatus {
  Index episodes = 0;      // finished
  double mean_return = 0;  // undiscounted, over the last (at most 10) finished episodes; 0 before the first
  double success = 0;      // share of the same episodes that succeeded
  double temperature = 0;  // alpha
  // Of the last update; 0 before the first.
  double critic_loss = 0;  // mean over the two critics
  double entropy = 0;      // -log pi of the actor's actions, mean over the batch
};

// Trains G runs. Each has an environment of its own and a new random placement, draw_placement(seed), in
// every episode. Episodes end after max_episode_steps, and no state is terminal: values bootstrap through an
// episode's end. A run depends on its task and its seed alone: its bits are the same for any number of
// threads, and for a run trained alone.
class SacTrainer {
 public:
  // The network must outlive this object; its policies are squashed by tanh and have a log_std head. The
  // critics have its hidden layers. 0 threads: one per hardware thread; environments are stepped on all of
  // them. Error for a network, runs or options that do not fit.
  SacTrainer(const NetworkType& network, Simulator& simulator, std::vector<SacRun> runs,
             const SacOptions& options, int threads);
  ~SacTrainer();
  SacTrainer(const SacTrainer&) = delete;
  SacTrainer& operator=(const SacTrainer&) = delete;

  const SacOptions& options() const;
  const std::vector<SacRun>& runs() const;
  Index run_count() const;
  Index step_count() const;  // environment steps of each run so far
  bool finished() const { return step_count() >= options().steps; }

  // One environment step of every run, and the update that is due after it. Error, naming the run, of an
  // environment, or if a loss is not finite; the trainer is then of no more use.
  void step();

  SacStatus status(Index run) const;

  // The policies for raw observations: [G, P].
  void export_policies(MatrixView<float> weights) const;

  // All of the training's state. A trainer of the same network, tasks, seeds and options that loads it goes
  // on to the same bits, at any step: environments are deterministic, so load repeats the present episode
  // from its placement and actions.
  void save(const std::filesystem::path& path) const;
  // Error if the file does not hold this trainer's state; nothing changes then. Error too if an environment
  // does not come to the same observation again; the trainer is then of no more use.
  void load(const std::filesystem::path& path);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace maa::examples::reinforcement
