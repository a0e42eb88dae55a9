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

#include "runs.hpp"

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

using SacRun = LearningRun;

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

// Each run has an environment of its own and a new random placement, draw_placement(seed), in every episode.
// Episodes end after max_episode_steps, and no state is terminal: values bootstrap through an episode's end.
class SacTrainer final : public Trainer {
 public:
  // The network must outlive this object; its policies are squashed by tanh and have a log_std head. The
  // critics have its hidden layers. 0 threads: one per hardware thread; environments are stepped on all of
  // them. Error for a network, runs or options that do not fit.
  SacTrainer(const NetworkType& network, Simulator& simulator, std::vector<SacRun> runs,
             const SacOptions& options, int threads);
  ~SacTrainer() override;

  const SacOptions& options() const;
  const std::vector<SacRun>& runs() const override;
  Index steps() const override;
  Index step_count() const override;

  // One environment step of every run, and the update that is due after it.
  void step() override;

  SacStatus status(Index run) const;
  double mean_return(Index run) const override;
  void export_policies(MatrixView<float> weights) const override;
  void save(const std::filesystem::path& path) const override;
  void load(const std::filesystem::path& path) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace maa::examples::reinforcement
