#include "cloning.hpp"

#include <algorithm>

#include <maa/backend/cpu/optimizer.hpp>
#include <maa/core/finite.hpp>

#include "interrupt.hpp"

namespace maa::examples::study {

void initialize_policy(const NetworkType& network, std::span<float> weights, const Rng& rng, double log_std) {
  network.initialize(weights, rng);
  if (const auto& head = network.layout.log_std) {
    std::fill_n(weights.data() + head->weight_offset, head->in * head->out, 0.0f);
    std::fill_n(weights.data() + head->bias_offset, head->out, static_cast<float>(log_std));
  }
}

BehaviorCloner::BehaviorCloner(const NetworkType& network, const cpu::Backend& backend, Normalizer normalizer,
                               MatrixView<const float> initial, const CloningOptions& options)
    : network_(&network),
      backend_(&backend),
      normalizer_(std::move(normalizer)),
      options_(options),
      policies_(initial.rows) {
  require_shape(initial, policies_, network_->parameter_count(), "behavior cloning: initial weights");
  require(policies_ > 0 && options.batch > 0, "behavior cloning: expected policies and a batch, found ",
          policies_, " policies and a batch of ", options.batch);
  require(normalizer_.features() == network_->observation_size(),
          "behavior cloning: expected a normalizer of ", network_->observation_size(),
          " observations, found ", normalizer_.features());
  const Index size = policies_ * network_->parameter_count();
  weights_ = Buffer<float>(size);
  gradients_ = Buffer<float>(size);
  first_moment_ = Buffer<float>(size);
  second_moment_ = Buffer<float>(size);
  for (Index g = 0; g < policies_; ++g) {
    const auto row = initial.row_span(g);
    const auto own = matrix(weights_).row_span(g);
    std::copy(row.begin(), row.end(), own.begin());
    network_->unfold(normalizer_, own);
  }
  observations_ = Buffer<float>(policies_ * options_.batch * network_->observation_size());
  actions_ = Buffer<float>(policies_ * options_.batch * network_->action_size());
  mean_ = Buffer<float>(actions_.size());
  dmean_ = Buffer<float>(actions_.size());
  losses_ = Buffer<double>(policies_);
  if (learns_log_std()) {
    require(network_->layout.log_std.has_value(),
            "behavior cloning: expected a network with a log_std head for the likelihood, found none");
    log_std_ = Buffer<float>(actions_.size());
    dlog_std_ = Buffer<float>(actions_.size());
    features_ = Buffer<float>(policies_ * options_.batch * network_->layout.mean.in);
    log_std_losses_ = Buffer<double>(policies_);
  }
}

double BehaviorCloner::step(const CloningExamples& examples) {
  check(examples);
  const Index batch = options_.batch;
  const auto per_policy = [&](Buffer<float>& values, Index channels) {  // without data if not used
    return values.size() == 0 ? SequenceView<float>()
                              : SequenceView<float>(values.data(), policies_, batch, channels);
  };
  const auto observations = per_policy(observations_, network_->observation_size());
  const auto mean = per_policy(mean_, network_->action_size());
  const auto dmean = per_policy(dmean_, network_->action_size());
  const auto log_std = per_policy(log_std_, network_->action_size());
  const auto dlog_std = per_policy(dlog_std_, network_->action_size());
  const auto features = per_policy(features_, network_->layout.mean.in);
  backend_->pool().for_each(policies_, [&](Index g) { draw_batch(examples, g); });
  workspace_.reset();
  const auto saved = policy_batch_forward(*backend_, network_->layout, matrix(weights_), observations,
                                          workspace_, mean, log_std, features);
  std::fill(gradients_.begin(), gradients_.end(), 0.0f);
  backend_->pool().for_each(policies_, [&](Index g) {
    const auto of = [g](SequenceView<float> view) {
      return MatrixView<float>(view.data + g * view.length * view.channels, view.length, view.channels);
    };
    const auto actions = of(per_policy(actions_, network_->action_size()));
    losses_[g] = cloning_loss(network_->shape.squash, of(mean), actions, of(dmean));
    if (learns_log_std()) {
      log_std_losses_[g] =
          study::log_std_loss(network_->shape.squash, of(mean), of(log_std), actions, of(dlog_std));
      log_std_backward(of(features), of(dlog_std), matrix(gradients_).row(g));
    }
  });
  const double loss = mean_over_policies(losses_);
  const double spread_loss = learns_log_std() ? mean_over_policies(log_std_losses_) : 0;
  require(is_finite(loss) && is_finite(spread_loss), "behavior cloning: the loss is not finite at step ",
          step_, "; lower the learning rate or check the examples");
  policy_batch_backward(*backend_, network_->layout, matrix(weights_), observations, saved, dmean,
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

void BehaviorCloner::export_weights(MatrixView<float> weights) const {
  require_shape(weights, policies_, network_->parameter_count(), "behavior cloning: exported weights");
  for (Index g = 0; g < policies_; ++g) {
    const auto row = weights.row_span(g);
    std::copy_n(weights_.data() + g * network_->parameter_count(), network_->parameter_count(), row.begin());
    network_->fold(normalizer_, row);
  }
}

double BehaviorCloner::mean_over_policies(const Buffer<double>& losses) const {
  double sum = 0;
  for (const double part : losses) {
    sum += part;
  }
  return sum / static_cast<double>(policies_);
}

// The head's own gradient; none goes on to the hidden layers.
void BehaviorCloner::log_std_backward(MatrixView<const float> features, MatrixView<const float> dlog_std,
                                      float* gradient) const {
  const auto& head = *network_->layout.log_std;
  cpu::gemm_serial(*backend_, cpu::Strided<float>(dlog_std).transposed(), cpu::Strided<float>(features),
                   MatrixView<float>(gradient + head.weight_offset, head.out, head.in),
                   cpu::Write::accumulate);
  cpu::add_column_sums(*backend_, dlog_std, gradient + head.bias_offset);
}

void BehaviorCloner::check(const CloningExamples& examples) const {
  require(examples.observations.cols == network_->observation_size(),
          "behavior cloning: expected observations of ", network_->observation_size(), ", found ",
          examples.observations.cols);
  require_shape(examples.actions, examples.observations.rows, network_->action_size(),
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

void BehaviorCloner::draw_batch(const CloningExamples& examples, Index policy) {
  const auto& rows = examples.rows[static_cast<std::size_t>(policy)];
  const auto drawn = static_cast<std::uint64_t>(step_) * static_cast<std::uint64_t>(options_.batch);
  Rng rng(Rng::State{options_.seed, static_cast<std::uint64_t>(policy), drawn});
  for (Index i = policy * options_.batch; i < (policy + 1) * options_.batch; ++i) {
    const Index row = rows[static_cast<std::size_t>(rng.below(static_cast<Index>(rows.size())))];
    const MatrixView<float> observation(observations_.data() + i * network_->observation_size(), 1,
                                        network_->observation_size());
    std::copy_n(examples.observations.row(row), network_->observation_size(), observation.data);
    normalizer_.apply(observation);
    std::copy_n(examples.actions.row(row), network_->action_size(),
                actions_.data() + i * network_->action_size());
  }
}

void clone(const NetworkType& network, int threads, const Normalizer& normalizer,
           const CloningExamples& examples, const CloningOptions& options, MatrixView<float> weights,
           const std::function<void(const BehaviorCloner&, double loss)>& on_step) {
  const cpu::Backend backend(threads);
  BehaviorCloner cloner(network, backend, normalizer, weights, options);
  while (cloner.step_count() < options.steps) {
    stop_if_interrupted();
    const double loss = cloner.step(examples);
    on_step(cloner, loss);
  }
  cloner.export_weights(weights);
}

}  // namespace maa::examples::study
