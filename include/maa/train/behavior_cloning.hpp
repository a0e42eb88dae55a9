// Behaviour cloning of many policies of one network at once: each learns the actions of its own examples.
#pragma once

#include <maa/backend/cpu/optimizer.hpp>
#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/core/finite.hpp>
#include <maa/core/rng.hpp>
#include <maa/data/fold_normalizer.hpp>
#include <maa/train/learning_rate.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

MAA_NAMESPACE_BEGIN

struct CloningOptions {
  Index steps = 1000;  // what the learning rate's schedule counts on
  Index batch = 128;   // examples per policy and step, drawn with replacement
  LearningRate learning_rate{.kind = LearningRateKind::constant, .base = 1e-3};
  double weight_decay = 0;
  std::uint64_t seed = 0;
};

// One table of examples and, for every policy, the rows that it learns from. The views must outlive the call.
struct CloningExamples {
  MatrixView<const float> observations;  // [N, O], not normalised
  MatrixView<const float> actions;       // [N, A]
  std::vector<std::vector<Index>> rows;  // [G], none empty
};

// A network's random weights for training in normalised space, drawn as described by the network; a log_std
// head, which cloning leaves alone, gives the constant `log_std` whatever the observation.
template <class Network>
void initialize_policy(std::span<float> weights, const Rng& rng, double log_std = -2.3) {
  initialize<Network>(weights, rng);
  if (const auto head = Network::layout().log_std) {
    std::fill_n(weights.data() + head->weight_offset, head->in * head->out, 0.0f);
    std::fill_n(weights.data() + head->bias_offset, head->out, static_cast<float>(log_std));
  }
}

// Mean over rows and actions of (squash(mean) - action)^2 of one policy, and its gradient for the mean head
// (overwritten).
template <class T>
double cloning_loss(Squash squash, cpu::In<T> mean, cpu::In<T> actions, MatrixView<T> dmean) {
  require_shape(actions, mean.rows, mean.cols, "cloning_loss: actions");
  require_shape(dmean, mean.rows, mean.cols, "cloning_loss: dmean");
  const double scale = 1.0 / static_cast<double>(mean.size());
  double sum = 0;
  for (Index i = 0; i < mean.rows; ++i) {
    for (Index j = 0; j < mean.cols; ++j) {
      const T action = squash == Squash::tanh ? std::tanh(mean(i, j)) : mean(i, j);
      const T slope = squash == Squash::tanh ? T(1) - action * action : T(1);
      const T error = action - actions(i, j);
      sum += static_cast<double>(error) * static_cast<double>(error);
      dmean(i, j) = static_cast<T>(2 * scale) * error * slope;
    }
  }
  return scale * sum;
}

// Trains G policies with Adam (AdamW if there is weight decay), each on minibatches that depend on seed,
// policy and step alone: results are the same for any number of threads, and for a policy cloned alone under
// the same number. Weights come in and go out for raw observations; training happens behind the normaliser.
// The caller owns the loop:
//
//     BehaviorCloner<Network> cloner(backend, normalizer, initial, options);
//     while (cloner.step_count() < options.steps) { cloner.step(examples); }
//     cloner.export_weights(weights);
template <class Network>
class BehaviorCloner {
 public:
  // initial [G, P]. The backend must outlive this object.
  BehaviorCloner(const cpu::Backend& backend, Normalizer normalizer, MatrixView<const float> initial,
                 const CloningOptions& options)
      : backend_(&backend), normalizer_(std::move(normalizer)), options_(options), policies_(initial.rows) {
    require_shape(initial, policies_, layout_.parameter_count, "behavior cloning: initial weights");
    require(policies_ > 0 && options.batch > 0, "behavior cloning: expected policies and a batch, found ",
            policies_, " policies and a batch of ", options.batch);
    require(normalizer_.features() == Network::observation_size,
            "behavior cloning: expected a normalizer of ", Network::observation_size, " observations, found ",
            normalizer_.features());
    const Index size = policies_ * layout_.parameter_count;
    weights_ = Buffer<float>(size);
    gradients_ = Buffer<float>(size);
    first_moment_ = Buffer<float>(size);
    second_moment_ = Buffer<float>(size);
    for (Index g = 0; g < policies_; ++g) {
      const auto row = initial.row_span(g);
      const auto own = matrix(weights_).row_span(g);
      std::copy(row.begin(), row.end(), own.begin());
      unfold_normalizer<Network>(normalizer_, own);
    }
    observations_ = Buffer<float>(policies_ * options_.batch * Network::observation_size);
    actions_ = Buffer<float>(policies_ * options_.batch * Network::action_size);
    mean_ = Buffer<float>(actions_.size());
    dmean_ = Buffer<float>(actions_.size());
    losses_ = Buffer<double>(policies_);
  }

  const CloningOptions& options() const { return options_; }
  Index policy_count() const { return policies_; }
  Index step_count() const { return step_; }

  // One optimizer step of every policy; returns the mean over policies of the loss before it. Error for
  // examples that do not fit, and for a loss that is not finite; the weights are then as before.
  double step(const CloningExamples& examples) {
    check(examples);
    const Index batch = options_.batch;
    const SequenceView<float> observations(observations_.data(), policies_, batch, Network::observation_size);
    const SequenceView<float> mean(mean_.data(), policies_, batch, Network::action_size);
    backend_->pool().for_each(policies_, [&](Index g) { draw_batch(examples, g); });
    workspace_.reset();
    const auto saved =
        policy_batch_forward(*backend_, layout_, matrix(weights_), observations, workspace_, mean);
    backend_->pool().for_each(policies_, [&](Index g) {
      const Index first = g * batch * Network::action_size;
      const auto part = [&](Buffer<float>& values) {
        return MatrixView<float>(values.data() + first, batch, Network::action_size);
      };
      losses_[g] = cloning_loss(Network::squash, part(mean_), part(actions_), part(dmean_));
    });
    double loss = 0;
    for (const double part : losses_) {
      loss += part;
    }
    require(is_finite(loss), "behavior cloning: the loss is not finite at step ", step_,
            "; lower the learning rate or check the examples");
    std::fill(gradients_.begin(), gradients_.end(), 0.0f);
    const SequenceView<float> dmean(dmean_.data(), policies_, batch, Network::action_size);
    policy_batch_backward(*backend_, layout_, matrix(weights_), observations, saved, dmean,
                          SequenceView<float>(), matrix(gradients_));
    AdamWStep update;
    update.learning_rate = options_.learning_rate.at(step_, options_.steps);
    update.weight_decay = options_.weight_decay;
    update.step = ++step_;
    adamw(*backend_, update, weights_.span(), gradients_.span(), first_moment_.span(), second_moment_.span(),
          std::span<float>());
    return loss / static_cast<double>(policies_);
  }

  // The policies for raw observations: [G, P].
  void export_weights(MatrixView<float> weights) const {
    require_shape(weights, policies_, layout_.parameter_count, "behavior cloning: exported weights");
    for (Index g = 0; g < policies_; ++g) {
      const auto row = weights.row_span(g);
      std::copy_n(weights_.data() + g * layout_.parameter_count, layout_.parameter_count, row.begin());
      fold_normalizer<Network>(normalizer_, row);
    }
  }

 private:
  MatrixView<float> matrix(Buffer<float>& values) const {
    return {values.data(), policies_, layout_.parameter_count};
  }

  void check(const CloningExamples& examples) const {
    require(examples.observations.cols == Network::observation_size,
            "behavior cloning: expected observations of ", Network::observation_size, ", found ",
            examples.observations.cols);
    require_shape(examples.actions, examples.observations.rows, Network::action_size,
                  "behavior cloning: actions");
    require(static_cast<Index>(examples.rows.size()) == policies_, "behavior cloning: expected examples of ",
            policies_, " policies, found ", examples.rows.size());
    for (std::size_t g = 0; g < examples.rows.size(); ++g) {
      const auto& rows = examples.rows[g];
      require(!rows.empty(), "behavior cloning: expected examples of policy ", g, ", found none");
      const auto [least, greatest] = std::minmax_element(rows.begin(), rows.end());
      require(*least >= 0 && *greatest < examples.observations.rows, "behavior cloning: expected rows below ",
              examples.observations.rows, " for policy ", g, ", found ", *least, " to ", *greatest);
    }
  }

  void draw_batch(const CloningExamples& examples, Index policy) {
    const auto& rows = examples.rows[static_cast<std::size_t>(policy)];
    const auto drawn = static_cast<std::uint64_t>(step_) * static_cast<std::uint64_t>(options_.batch);
    Rng rng(Rng::State{options_.seed, static_cast<std::uint64_t>(policy), drawn});
    for (Index i = policy * options_.batch; i < (policy + 1) * options_.batch; ++i) {
      const Index row = rows[static_cast<std::size_t>(rng.below(static_cast<Index>(rows.size())))];
      const MatrixView<float> observation(observations_.data() + i * Network::observation_size, 1,
                                          Network::observation_size);
      std::copy_n(examples.observations.row(row), Network::observation_size, observation.data);
      normalizer_.apply(observation);
      std::copy_n(examples.actions.row(row), Network::action_size,
                  actions_.data() + i * Network::action_size);
    }
  }

  const cpu::Backend* backend_;
  Normalizer normalizer_;
  CloningOptions options_;
  Index policies_;
  MlpLayout layout_ = Network::layout();
  Buffer<float> weights_;  // [G, P], reading normalised observations
  Buffer<float> gradients_;
  Buffer<float> first_moment_;
  Buffer<float> second_moment_;
  Index step_ = 0;
  Workspace workspace_;
  Buffer<float> observations_;  // [G, batch, O], normalised
  Buffer<float> actions_;       // [G, batch, A]
  Buffer<float> mean_;
  Buffer<float> dmean_;
  Buffer<double> losses_;
};

MAA_NAMESPACE_END
