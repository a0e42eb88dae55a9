// Fine-tuning of generated policies on their prompt, stopped by parts of it that are held out.
#pragma once

#include <maa/backend/adamw_step.hpp>
#include <maa/backend/mlp_layout.hpp>
#include <maa/core/finite.hpp>
#include <maa/core/options.hpp>
#include <maa/core/rng.hpp>
#include <maa/core/workspace.hpp>
#include <maa/data/normalizer.hpp>
#include <maa/data/trajectory.hpp>
#include <maa/diffusion/sampler.hpp>
#include <maa/kernels/activation.hpp>

MAA_NAMESPACE_BEGIN

// Trains all layers of each returned policy but its log_std head with Adam (beta .9 and .999) on
//     mean of (squash(f_w(o)) - a)^2 over the actions of 32 steps of the prompt, drawn with replacement,
// with the prompt's observations normalised and its actions as executed; all of its steps count, not only
// those that heads are fitted to. Parts of the prompt are held out. Their error is measured before the first
// step, after every tenth and after the last, and the weights of the least one are the result: a policy that
// no measured step makes better there stays as it is, to the bit. (A head was fitted to them, so that
// they favour it.)
//
// Costs, per policy and step, 32 forward and backward passes, and a tenth of a forward pass of what is held
// out.
struct PolishOptions {
  Index steps = 0;              // 0: no polishing
  double learning_rate = 3e-4;  // constant
  // Of the tenths of each demonstration, this share is held out, evenly spread; at least one, and not all.
  double held_out = 0.2;

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("steps", at_least(0), self.steps);
    visit("learning_rate", positive(), self.learning_rate);
    visit("held_out", between(0.01, 0.99), self.held_out);
  }
};

namespace detail {

// The steps of one prompt, counted over its demonstrations.
struct PolishSteps {
  std::vector<Index> trained;
  std::vector<Index> held_out;
};
inline PolishSteps polish_steps(std::span<const Trajectory> prompt, double held_out) {
  const auto stretches_of = [](const Trajectory& demonstration) {
    return std::min<Index>(10, demonstration.length());
  };
  Index stretches = 0;
  for (const auto& demonstration : prompt) {
    stretches += stretches_of(demonstration);
  }
  require(stretches > 1, "generate: expected a prompt of at least 2 steps to polish on, found ", stretches);
  const auto wanted = static_cast<Index>(std::lround(held_out * static_cast<double>(stretches)));
  const Index count = std::clamp<Index>(wanted, 1, stretches - 1);
  const auto held_before = [&](Index stretch) { return (2 * stretch * count + stretches) / (2 * stretches); };
  PolishSteps result;
  Index stretch = 0, first = 0;
  for (const auto& demonstration : prompt) {
    const Index own = stretches_of(demonstration);
    for (Index k = 0; k < own; ++k, ++stretch) {
      auto& steps = held_before(stretch + 1) > held_before(stretch) ? result.held_out : result.trained;
      for (Index i = demonstration.length() * k / own; i < demonstration.length() * (k + 1) / own; ++i) {
        steps.push_back(first + i);
      }
    }
    first += demonstration.length();
  }
  return result;
}

// Polishes policies of prompts, each an equal share of the demonstrations in order. What it takes of
// `workspace` stays taken. All arguments must outlive it.
template <class Backend>
class Polishing {
 public:
  using Real = typename Backend::template Element<float>;
  static constexpr Index batch = 32;  // steps of the prompt in each of Adam's
  static constexpr Index measured_every = 10;

  // `layout` and `squash`: of the policies' network.
  Polishing(const Backend& backend, MlpLayout layout, Activation squash, const Normalizer& normalizer,
            std::span<const Trajectory> demonstrations, Index share, const PolishOptions& options,
            WorkspaceOf<Backend>& workspace);

  // policies [prompts * per_prompt, parameters] for normalised observations, in place; each draws from a
  // stream of `rng`. Error if `progress` stopped it, which is called after each step of each group of
  // policies that are trained at once, and if a loss or its gradient is not finite.
  void apply(MatrixView<Real> policies, const Rng& rng, const SamplingProgress& progress);

 private:
  // Few enough that weights, gradients and moments stay in a processor's cache, or on a device in its memory.
  static constexpr Index at_once = in_host_memory<Backend> ? 16 : 1024;

  template <class Progress>
  void apply(MatrixView<Real> best, const std::vector<const PolishSteps*>& steps, std::vector<Rng> streams,
             const Progress& progress) {
    const auto scope = workspace_.scope();
    const auto zeros = [&] {
      const auto matrix = workspace_.template matrix<Real>(best.rows, best.cols);
      fill_zero(backend_, matrix);
      return matrix;
    };
    const auto weights = zeros(), first_moment = zeros(), second_moment = zeros();
    copy_matrix(backend_, best, weights);
    auto least = held_out_error(weights, steps);
    for (Index step = 1; step <= options_.steps; ++step) {
      train(step, steps, streams, weights, first_moment.span(), second_moment.span());
      if (step % measured_every == 0 || step == options_.steps) {
        const auto error = held_out_error(weights, steps);
        for (Index i = 0; i < best.rows; ++i) {
          if (error[i] < least[i]) {
            least[i] = error[i];
            copy_matrix(backend_, weights.row_range(i, 1), best.row_range(i, 1));
          }
        }
      }
      progress(step);
    }
  }

  void train(Index step, const std::vector<const PolishSteps*>& steps, std::vector<Rng>& streams,
             MatrixView<Real> weights, std::span<Real> first_moment, std::span<Real> second_moment);

  // Each policy's mean squared error on what is held out.
  Buffer<double> held_out_error(MatrixView<const Real> policies,
                                const std::vector<const PolishSteps*>& steps);

  // Rows of a table, an equal number for each policy.
  SequenceView<Real> gathered(MatrixView<const Real> table, std::span<const Index> rows, Index policies) {
    const auto to = workspace_.template sequence<Real>(policies, std::ssize(rows) / policies, table.cols);
    gather_rows(backend_, table, rows, to.flat());
    return to;
  }
  SequenceView<Real> like(SequenceView<Real> view) {
    return workspace_.template sequence<Real>(view.batch, view.length, view.channels);
  }

  const Backend& backend_;
  MlpLayout layout_;
  Activation squash_;
  PolishOptions options_;
  WorkspaceOf<Backend>& workspace_;
  Workspace host_;
  std::vector<PolishSteps> steps_;  // of each prompt, counted over all demonstrations
  MatrixView<float> wanted_;
  MatrixView<const Real> observations_, actions_;
};

template <class Backend>
Polishing<Backend>::Polishing(const Backend& backend, MlpLayout layout, Activation squash,
                              const Normalizer& normalizer, std::span<const Trajectory> demonstrations,
                              Index share, const PolishOptions& options, WorkspaceOf<Backend>& workspace)
    : backend_(backend),
      layout_(std::move(layout)),
      squash_(squash),
      options_(options),
      workspace_(workspace) {
  Index first = 0;
  for (std::size_t i = 0; i < demonstrations.size(); i += static_cast<std::size_t>(share)) {
    const auto prompt = demonstrations.subspan(i, static_cast<std::size_t>(share));
    auto& steps = steps_.emplace_back(polish_steps(prompt, options.held_out));
    for (auto* kind : {&steps.trained, &steps.held_out}) {
      std::ranges::for_each(*kind, [&](Index& step) { step += first; });
    }
    for (const auto& demonstration : prompt) {
      first += demonstration.length();
    }
  }
  const auto observations = host_.matrix<float>(first, layout_.hidden.front().in);
  wanted_ = host_.matrix<float>(first, layout_.mean.out);
  first = 0;
  for (const auto& demonstration : demonstrations) {
    const auto seen = demonstration.observations().span(), done = demonstration.actions().span();
    std::ranges::copy(seen, observations.row(first));
    std::ranges::copy(done, wanted_.row(first));
    first += demonstration.length();
  }
  normalizer.apply(observations);
  observations_ = uploaded(backend_, MatrixView<const float>(observations), workspace_);
  actions_ = uploaded(backend_, MatrixView<const float>(wanted_), workspace_);
}

template <class Backend>
void Polishing<Backend>::apply(MatrixView<Real> policies, const Rng& rng, const SamplingProgress& progress) {
  const Index groups = (policies.rows + at_once - 1) / at_once;
  for (Index group = 0; group < groups; ++group) {
    const Index first = group * at_once;
    const auto own = policies.row_range(first, std::min(at_once, policies.rows - first));
    std::vector<const PolishSteps*> steps;
    for (Index i = first; i < first + own.rows; ++i) {
      steps.push_back(&steps_[static_cast<std::size_t>(i * std::ssize(steps_) / policies.rows)]);
    }
    apply(own, steps, sample_streams(rng, first, own.rows), [&](Index step) {
      require(!progress || progress(group * options_.steps + step, groups * options_.steps),
              "generate: stopped by the progress callback");
    });
  }
}

template <class Backend>
void Polishing<Backend>::train(Index step, const std::vector<const PolishSteps*>& steps,
                               std::vector<Rng>& streams, MatrixView<Real> weights,
                               std::span<Real> first_moment, std::span<Real> second_moment) {
  const auto scope = workspace_.scope();
  std::vector<Index> drawn;
  for (std::size_t i = 0; i < streams.size(); ++i) {
    const auto& own = steps[i]->trained;
    for (Index k = 0; k < batch; ++k) {
      drawn.push_back(own[static_cast<std::size_t>(streams[i].below(std::ssize(own)))]);
    }
  }
  const auto seen = gathered(observations_, drawn, weights.rows);
  const auto wanted = gathered(actions_, drawn, weights.rows);
  const auto raw = like(wanted), action = like(wanted), daction = like(wanted);
  const auto gradients = workspace_.template matrix<Real>(weights.rows, weights.cols);
  const MatrixView<const Real> policies(weights);
  const auto saved = policy_batch_forward(backend_, layout_, policies, seen, workspace_, raw);
  activation_forward(backend_, squash_, raw.span(), action.span());
  const auto loss = mse_loss(backend_, action.flat(), wanted.flat(), daction.flat());
  activation_backward(backend_, squash_, raw.span(), daction.span(), daction.span());
  fill_zero(backend_, gradients);
  policy_batch_backward(backend_, layout_, policies, seen, saved, daction, SequenceView<const Real>(),
                        gradients);
  AdamWStep update;
  update.learning_rate = options_.learning_rate;
  update.step = step;
  update.gradient_scale = static_cast<double>(weights.rows);  // the loss is the mean over policies
  const auto flat = std::span<const Real>(gradients.span());
  const auto squares = sum_of_squares(backend_, flat);
  adamw_if_finite(backend_, update, 0, loss, squares, weights.span(), flat, first_moment, second_moment,
                  std::span<Real>());
  require(is_finite(read(backend_, loss)) && is_finite(read(backend_, squares)),
          "generate: polishing: the loss or its gradient is not finite at step ", step,
          "; lower polish.learning_rate or check the demonstrations");
}

template <class Backend>
Buffer<double> Polishing<Backend>::held_out_error(MatrixView<const Real> policies,
                                                  const std::vector<const PolishSteps*>& steps) {
  const auto scope = workspace_.scope();
  const auto host_scope = host_.scope();
  std::size_t longest = 0;
  for (const auto* own : steps) {
    longest = std::max(longest, own->held_out.size());
  }
  std::vector<Index> rows;  // of shorter ones the last repeats, and does not count
  for (const auto* own : steps) {
    rows.insert(rows.end(), own->held_out.begin(), own->held_out.end());
    rows.resize(rows.size() + longest - own->held_out.size(), own->held_out.back());
  }
  const auto seen = gathered(observations_, rows, policies.rows);
  const auto action = workspace_.template sequence<Real>(seen.batch, seen.length, layout_.mean.out);
  policy_batch_forward(backend_, layout_, policies, seen, workspace_, action);
  activation_forward(backend_, squash_, action.span(), action.span());
  const auto found = downloaded(backend_, MatrixView<const Real>(action.flat()), host_);
  Buffer<double> error(policies.rows);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const auto& own = steps[i]->held_out;
    double sum = 0;
    for (std::size_t k = 0; k < own.size(); ++k) {
      const float* const actions = found.row(static_cast<Index>(i * longest + k));
      for (Index j = 0; j < found.cols; ++j) {
        const double difference = static_cast<double>(actions[j]) - static_cast<double>(wanted_(own[k], j));
        sum += difference * difference;
      }
    }
    error[static_cast<Index>(i)] = sum / static_cast<double>(std::ssize(own) * found.cols);
  }
  return error;
}

}  // namespace detail
MAA_NAMESPACE_END
