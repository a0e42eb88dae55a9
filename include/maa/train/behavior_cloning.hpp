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
#include <numbers>
#include <vector>

MAA_NAMESPACE_BEGIN

// What is learned. The mean head and the hidden layers learn the same in both cases, to the bit: least
// squares of the squashed action, which is the likelihood with its variance taken out of the weights of the
// examples (beta-NLL with beta = 1; Seitzer et al., ICLR 2022), so that easy examples do not drown the rest.
enum class CloningLoss {
  squared_error,  // the log_std head gets no gradient
  likelihood,     // the log_std head learns the spread around the mean: see log_std_loss
};

struct CloningOptions {
  Index steps = 1000;  // what the learning rate's schedule counts on
  Index batch = 128;   // examples per policy and step, drawn with replacement
  LearningRate learning_rate{.kind = LearningRateKind::constant, .base = 1e-3};
  double weight_decay = 0;
  std::uint64_t seed = 0;
  CloningLoss loss = CloningLoss::squared_error;
};

// One table of examples and, for every policy, the rows that it learns from. The views must outlive the call.
struct CloningExamples {
  MatrixView<const float> observations;  // [N, O], not normalised
  MatrixView<const float> actions;       // [N, A]
  std::vector<std::vector<Index>> rows;  // [G], none empty
};

// A network's random weights for training in normalised space, drawn as described by the network; a log_std
// head gives the constant `log_std` whatever the observation, until CloningLoss::likelihood trains it. For
// that, 0 is a better start than a small std: per example the gradient of too large a std is at most 1, that
// of too small a one has no bound, and Adam's second moment then slows what follows.
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

namespace detail {

// log P(z < t) of a standard normal z, and its derivative for t.
struct LogNormalCdf {
  double value;
  double slope;
};
inline LogNormalCdf log_normal_cdf(double t) {
  constexpr double log_root_two_pi = 0.91893853320467274;
  const double log_density = -0.5 * t * t - log_root_two_pi;
  if (t < -30) {  // Both factors of the ratio are near underflow: the first terms of Mills' ratio.
    const double inverse = 1 / (t * t);
    const double series = 1 - inverse * (1 - inverse * (3 - inverse * 15));
    return {log_density - std::log(-t) + std::log(series), -t / series};
  }
  const double probability = 0.5 * std::erfc(-t / std::numbers::sqrt2);
  return {std::log(probability), std::exp(log_density) / probability};
}

}  // namespace detail

// Negative log-likelihood of one policy's actions before squashing, u ~ N(mean, std^2), as MlpPolicy::sample
// draws them: mean over rows and actions of ((u - mean) / std)^2 / 2 + log std + log(2 pi) / 2, where log std
// is log_std clamped to [-20, 2]. Its gradient is for log_std alone (overwritten; zero where clamped): the
// mean is taken as given. All [rows, actions].
//
// With tanh, u = atanh(action) up to |action| = .95. Nearer to the bounds small errors of the action are
// large ones of u, and an action on the bound has none: of these it counts only that u lies beyond atanh(.95)
// on the action's side. The term is minus the log of that probability (censored regression; Tobin, 1958): a
// mean far out on that side says nothing about std, one on the other side asks for a wider one.
template <class T>
double log_std_loss(Squash squash, cpu::In<T> mean, cpu::In<T> log_std, cpu::In<T> actions,
                    MatrixView<T> dlog_std) {
  require_shape(log_std, mean.rows, mean.cols, "log_std_loss: log_std");
  require_shape(actions, mean.rows, mean.cols, "log_std_loss: actions");
  require_shape(dlog_std, mean.rows, mean.cols, "log_std_loss: dlog_std");
  constexpr double bound = 0.95;
  constexpr double censored_from = 1.8317808230648232;  // atanh(bound)
  const double log_root_two_pi = 0.5 * std::log(2 * std::numbers::pi);
  const double scale = 1.0 / static_cast<double>(mean.size());
  double sum = 0;
  for (Index i = 0; i < mean.rows; ++i) {
    for (Index j = 0; j < mean.cols; ++j) {
      const double raw = log_std(i, j);
      const double clamped = std::clamp(raw, -20.0, 2.0);
      const double inverse = std::exp(-clamped);
      const double centre = mean(i, j);
      const double action = actions(i, j);
      double slope = 0;
      if (squash == Squash::tanh && std::abs(action) > bound) {
        const double margin = (std::copysign(1.0, action) * centre - censored_from) * inverse;
        const auto beyond = detail::log_normal_cdf(margin);
        sum -= beyond.value;
        slope = margin * beyond.slope;
      } else {
        const double z = ((squash == Squash::tanh ? std::atanh(action) : action) - centre) * inverse;
        sum += 0.5 * z * z + clamped + log_root_two_pi;
        slope = 1 - z * z;
      }
      dlog_std(i, j) = raw == clamped ? static_cast<T>(scale * slope) : T(0);
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
    if (learns_log_std()) {
      require(layout_.log_std.has_value(),
              "behavior cloning: expected a network with a log_std head for the likelihood, found none");
      log_std_ = Buffer<float>(actions_.size());
      dlog_std_ = Buffer<float>(actions_.size());
      features_ = Buffer<float>(policies_ * options_.batch * Network::last_hidden);
      log_std_losses_ = Buffer<double>(policies_);
    }
  }

  const CloningOptions& options() const { return options_; }
  Index policy_count() const { return policies_; }
  Index step_count() const { return step_; }
  // With CloningLoss::likelihood, the mean over policies of log_std_loss before the last step; else 0.
  double log_std_loss() const { return log_std_loss_; }

  // One optimizer step of every policy; returns the mean over policies of the squared error before it. Error
  // for examples that do not fit, and for a loss that is not finite; the weights are then as before.
  double step(const CloningExamples& examples) {
    check(examples);
    const Index batch = options_.batch;
    const auto per_policy = [&](Buffer<float>& values, Index channels) {  // without data if not used
      return values.size() == 0 ? SequenceView<float>()
                                : SequenceView<float>(values.data(), policies_, batch, channels);
    };
    const auto observations = per_policy(observations_, Network::observation_size);
    const auto mean = per_policy(mean_, Network::action_size);
    const auto dmean = per_policy(dmean_, Network::action_size);
    const auto log_std = per_policy(log_std_, Network::action_size);
    const auto dlog_std = per_policy(dlog_std_, Network::action_size);
    const auto features = per_policy(features_, Network::last_hidden);
    backend_->pool().for_each(policies_, [&](Index g) { draw_batch(examples, g); });
    workspace_.reset();
    const auto saved = policy_batch_forward(*backend_, layout_, matrix(weights_), observations, workspace_,
                                            mean, log_std, features);
    std::fill(gradients_.begin(), gradients_.end(), 0.0f);
    backend_->pool().for_each(policies_, [&](Index g) {
      const auto of = [g](SequenceView<float> view) {
        return MatrixView<float>(view.data + g * view.length * view.channels, view.length, view.channels);
      };
      const auto actions = of(per_policy(actions_, Network::action_size));
      losses_[g] = cloning_loss(Network::squash, of(mean), actions, of(dmean));
      if (learns_log_std()) {
        log_std_losses_[g] = maa::log_std_loss(Network::squash, of(mean), of(log_std), actions, of(dlog_std));
        log_std_backward(of(features), of(dlog_std), matrix(gradients_).row(g));
      }
    });
    const double loss = mean_over_policies(losses_);
    const double spread_loss = learns_log_std() ? mean_over_policies(log_std_losses_) : 0;
    require(is_finite(loss) && is_finite(spread_loss), "behavior cloning: the loss is not finite at step ",
            step_, "; lower the learning rate or check the examples");
    policy_batch_backward(*backend_, layout_, matrix(weights_), observations, saved, dmean,
                          SequenceView<float>(), matrix(gradients_));
    AdamWStep update;
    update.learning_rate = options_.learning_rate.at(step_, options_.steps);
    update.weight_decay = options_.weight_decay;
    update.step = ++step_;
    adamw(*backend_, update, weights_.span(), gradients_.span(), first_moment_.span(), second_moment_.span(),
          std::span<float>());
    log_std_loss_ = spread_loss;
    return loss;
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

  bool learns_log_std() const { return options_.loss == CloningLoss::likelihood; }

  double mean_over_policies(const Buffer<double>& losses) const {
    double sum = 0;
    for (const double part : losses) {
      sum += part;
    }
    return sum / static_cast<double>(policies_);
  }

  // The head's own gradient; none goes on to the hidden layers.
  void log_std_backward(MatrixView<const float> features, MatrixView<const float> dlog_std,
                        float* gradient) const {
    const auto& head = *layout_.log_std;
    cpu::gemm_serial(*backend_, cpu::Strided<float>(dlog_std).transposed(), cpu::Strided<float>(features),
                     MatrixView<float>(gradient + head.weight_offset, head.out, head.in),
                     cpu::Write::accumulate);
    cpu::add_column_sums(*backend_, dlog_std, gradient + head.bias_offset);
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
  // Empty unless the log_std head learns.
  Buffer<float> log_std_;  // [G, batch, A]
  Buffer<float> dlog_std_;
  Buffer<float> features_;  // [G, batch, last hidden layer]
  Buffer<double> log_std_losses_;
  double log_std_loss_ = 0;
};

MAA_NAMESPACE_END
