// Proximal policy optimisation (Schulman et al., 2017, arXiv 1707.06347) of many independent runs of one
// network at once, each with several environments: clipped ratios, generalised advantage estimates,
// normalised observations, and a learning rate that follows the policy's divergence.
#pragma once

#include <maa/core/options.hpp>
#include <maa/data/policy_interface.hpp>

#include "runs.hpp"

namespace maa::examples::reinforcement {

struct PpoOptions {
  Index steps = 300'000;        // environment steps of each run, all of its environments together
  Index environments = 16;      // of each run
  Index horizon = 64;           // steps of each environment between updates
  Index epochs = 4;             // passes over them
  Index minibatches = 4;        // of a pass
  double learning_rate = 1e-3;  // of Adam, at the start
  double divergence = 0.01;  // the rate falls above twice this and rises below half of it; 0: it is constant
  double clip = 0.2;         // of the ratio of probabilities
  double discount = 0.98;    // gamma, per environment step
  double lambda = 0.95;      // of the advantage estimates
  double entropy_weight = 0;
  double clip_norm = 1;            // of gradients
  double initial_deviation = 0.5;  // of actions, each
  double initial_head = 0.01;      // what the mean head is multiplied with at the start
  double least_deviation = 0.1;    // of observations: those that vary less are scaled as if by this

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("steps", at_least(1), self.steps);
    visit("environments", between(1, 100'000), self.environments);
    visit("horizon", between(1, 100'000), self.horizon);
    visit("epochs", at_least(1), self.epochs);
    visit("minibatches", at_least(1), self.minibatches);
    visit("learning_rate", positive(), self.learning_rate);
    visit("divergence", not_negative(), self.divergence);
    visit("clip", Limits{0, 1, true}, self.clip);
    visit("discount", between(0, 0.999999), self.discount);
    visit("lambda", between(0, 1), self.lambda);
    visit("entropy_weight", not_negative(), self.entropy_weight);
    visit("clip_norm", not_negative(), self.clip_norm);
    visit("initial_deviation", positive(), self.initial_deviation);
    visit("initial_head", not_negative(), self.initial_head);
    visit("least_deviation", positive(), self.least_deviation);
  }
};

// How a run is doing.
struct PpoStatus {
  Index episodes = 0;      // finished
  double mean_return = 0;  // undiscounted, over the last (at most 20) finished episodes; 0 before the first
  double mean_length = 0;  // steps, of the same
  double success = 0;      // share of the same that succeeded
  double learning_rate = 0;
  double deviation = 0;  // of actions, geometric mean
  // Of the last update's last pass; 0 before the first.
  double divergence = 0;
  double clipped = 0;
  double value_loss = 0;
};

// Every environment has a new random placement, draw_placement(seed), in every episode. Episodes end at
// failure, which is terminal, and after max_episode_steps, where values bootstrap.
class PpoTrainer final : public Trainer {
 public:
  // The network must outlive this object; nothing squashes its actions, and it has no log_std head: actions
  // have a deviation of their own each. The critic has its hidden layers. 0 threads: one per hardware thread,
  // which share runs. Error for a network, runs or options that do not fit.
  PpoTrainer(const NetworkType& network, Simulator& simulator, std::vector<LearningRun> runs,
             const PpoOptions& options, int threads);
  ~PpoTrainer() override;

  const PpoOptions& options() const;
  const std::vector<LearningRun>& runs() const override;
  Index steps() const override;  // in whole iterations
  Index step_count() const override;

  // One iteration of every run: `horizon` steps of each environment, and the update by them.
  void step() override;

  PpoStatus status(Index run) const;
  double mean_return(Index run) const override;

  // With the normaliser of observations folded in the first layer.
  void export_policies(MatrixView<float> weights) const override;
  // The same policy as trained, weights [P] that read normalised observations, and the scaling that they
  // need.
  PolicyInterface export_policy(Index run, std::span<float> weights) const;

  void save(const std::filesystem::path& path) const override;
  void load(const std::filesystem::path& path) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace maa::examples::reinforcement
