// From conditions to policies: sampling, decoding, fitting heads to prompts, and choosing between
// candidates.
#pragma once

#include <maa/generator/latent_path.hpp>
#include <maa/generator/prompt_path.hpp>
#include <maa/generator/sampling.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// Results lie in `workspace`, support sets in the object. All arguments must outlive it.
template <class Network, class Config, class Backend>
class Generation {
 public:
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;

  using Real = typename Backend::template Element<float>;
  using Weights = typename Model::template Weights<const Real>;

  Generation(const Backend& backend, const State& state, const Weights& weights,
             WorkspaceOf<Backend>& workspace)
      : backend_(backend), state_(state), w_(weights), workspace_(workspace) {}

  // Policies [rows, parameters] for normalised observations, from conditions [rows, condition_size], the
  // prompts' support sets and one stream of random numbers for each row. Each guidance makes a candidate,
  // from the same noise, and the fallback is one more, if the options leave the guidance to the generator and
  // there is one. Of several each row is the first, or the one with the least held_out_error() if that is
  // clearly below the first's and the prompt is none that trust_known takes for known. The head is
  // fitted to the whole support set, if it is to be.
  MatrixView<Real> generate(MatrixView<const Real> condition, const SupportSet& support,
                            const GenerateOptions& options, const std::vector<Rng>& streams) {
    const auto sampling = options.sampling.value_or(state_.settings.sampling);
    const auto open = open_rows(condition, options.trust_known);
    const bool any_open = std::ranges::find(open, true) != open.end();
    auto guidances = std::span(options.guidance.empty() ? state_.settings.guidance : options.guidance);
    if (!any_open) {
      guidances = guidances.first(1);
    }
    const bool fit_head = Model::has_head && options.fit_head;
    const bool has_fallback =
        any_open && options.guidance.empty() && fit_head && !state_.fallback_policy.empty();
    const bool choosing = guidances.size() > 1 || has_fallback;
    MatrixView<Real> chosen;
    Buffer<double> least;
    const auto offer = [&](MatrixView<Real> candidates) {
      if (!choosing) {
        chosen = candidates;
        return;
      }
      auto error = fit_head ? held_out_error(candidates, support, w_.head) : error_on(candidates, support);
      if (!chosen.data) {
        chosen = candidates;
        least = std::move(error);
        for (Index i = 0; i < condition.rows; ++i) {
          const double bar = std::min(least[i] * (1 - margin_share), least[i] - margin_difference);
          least[i] = open[static_cast<std::size_t>(i)] ? bar : 0;
        }
        return;
      }
      for (Index i = 0; i < condition.rows; ++i) {
        if (error[i] < least[i]) {
          least[i] = error[i];
          copy_matrix(backend_, candidates.row_range(i, 1), chosen.row_range(i, 1));
        }
      }
    };
    for (const double guidance : guidances) {
      auto noise = streams;
      offer(sample(condition, guidance, noise, sampling, options.progress));
    }
    if constexpr (Model::has_head) {
      if (!fit_head) {
        return chosen;
      }
      auto fitted = fit_heads(chosen, support, w_.head);
      if (has_fallback) {
        const auto same = host_.matrix<float>(condition.rows, state_.fallback_policy.size());
        for (Index i = 0; i < condition.rows; ++i) {
          std::copy_n(state_.fallback_policy.data(), same.cols, same.row(i));
        }
        const auto policies = uploaded(backend_, MatrixView<const float>(same), workspace_);
        const auto& saved = state_.fallback_head;
        const auto head = bind<typename Model::HeadModel>(
            uploaded(backend_, MatrixView<const float>(saved.data(), 1, saved.size()), workspace_).span());
        const auto error = held_out_error(policies, support, head);
        const auto fallback = fit_heads(policies, support, head);
        for (Index i = 0; i < condition.rows; ++i) {
          if (error[i] < least[i]) {
            copy_matrix(backend_, fallback.row_range(i, 1), fitted.row_range(i, 1));
          }
        }
      }
      return fitted;
    } else {
      return chosen;
    }
  }

  // Policies without fitted heads; guidance 0: without the condition.
  MatrixView<Real> sample(MatrixView<const Real> condition, double guidance, std::span<Rng> streams,
                          const SamplingOptions& sampling, const SamplingProgress& progress) {
    const auto latent =
        workspace_.template sequence<Real>(condition.rows, Network::token_count, Config::latent_size);
    require(sample_latents<Network, Config>(backend_, w_.denoiser, state_.settings.diffusion, sampling,
                                            guidance, condition, streams, latent, workspace_, progress),
            "generate: stopped by the progress callback");
    return LatentPath<Network, Config, Real>::forward(backend_, state_, w_.autoencoder, latent.per_sample(),
                                                      workspace_)
        .policies();
  }

  // The support sets of prompts, an equal share of the demonstrations each, in order; each prompt stands for
  // `per_prompt` rows.
  SupportSet support(std::span<const Trajectory> demonstrations, Index rows, Index per_prompt) {
    const PromptPath<Network, Config> path(state_);
    const Index share = static_cast<Index>(demonstrations.size()) / (rows / per_prompt);
    const auto result = path.allocate_support(rows, share, density, host_);
    for (Index i = 0; i < rows; ++i) {
      for (Index k = 0; k < share; ++k) {
        path.write_support(demonstrations[static_cast<std::size_t>(i / per_prompt * share + k)],
                           i * share + k, Rng(0x70616972u).fork(static_cast<std::uint64_t>(k)), result);
      }
    }
    return result;
  }

  // Policies with their heads fitted to the support set.
  template <class Head>
  MatrixView<Real> fit_heads(MatrixView<const Real> policies, const SupportSet& support, const Head& head) {
    const auto fitted = workspace_.template matrix<Real>(policies.rows, policies.cols);
    const auto seen = uploaded(backend_, SequenceView<const float>(support.observations), workspace_);
    const auto done = uploaded(backend_, SequenceView<const float>(support.actions), workspace_);
    Model::HeadModel::forward(backend_, Network::layout(), head, policies, seen, done, fitted, workspace_,
                              support.density);
    return fitted;
  }

  // How far each policy's actions are from the support set, the mean square.
  Buffer<double> error_on(MatrixView<const Real> policies, const SupportSet& support) {
    Buffer<double> error(policies.rows);
    add_error(policies, support, 1, error);
    return error;
  }
  // The same on pairs that its head was not fitted to: of several demonstrations each in turn is held out; of
  // a single one every other stretch of two sequences, both ways; each with its corrective copies, so that a
  // policy that would leave the path counts as far.
  template <class Head>
  Buffer<double> held_out_error(MatrixView<const Real> policies, const SupportSet& all, const Head& head) {
    Buffer<double> error(policies.rows);
    const Index share = all.demonstrations;
    const Index each = all.observations.length / share;
    const Index own = each / (all.corrective ? 2 : 1);
    const Index stretch = 2 * Config::prompt.sequence * all.density;
    const Index folds = std::max<Index>(2, share);
    for (Index fold = 0; fold < folds; ++fold) {
      const auto scope = workspace_.scope();
      const auto host_scope = host_.scope();
      const auto held_out = [&](Index row) {
        return (share > 1 ? row / each : row % own / stretch % 2) == fold;
      };
      const auto fitted = part(all, [&](Index row) { return !held_out(row); });
      add_error(fit_heads(policies, fitted, head), part(all, held_out), 1.0 / static_cast<double>(folds),
                error);
    }
    return error;
  }

 private:
  // For which rows a choice between candidates is made.
  std::vector<bool> open_rows(MatrixView<const Real> condition, bool trust_known) {
    std::vector<bool> open(static_cast<std::size_t>(condition.rows), true);
    if (trust_known) {
      const auto scope = host_.scope();
      const auto conditions = downloaded(backend_, condition, host_);
      for (Index i = 0; i < condition.rows; ++i) {
        const bool again = i > 0 && std::ranges::equal(conditions.row_span(i), conditions.row_span(i - 1));
        const auto at = static_cast<std::size_t>(i);
        open[at] = again ? open[at - 1] : state_.known_prompts.novelty(conditions.row_span(i)) > 1;
      }
    }
    return open;
  }

  // By how much of the first candidate's error, which is measured on some 60 steps, and by how much, which is
  // the variance of the noise that training adds to the actions of prompts (in [-1, 1]), another's must be
  // below it: smaller differences say little (docs/method.md).
  static constexpr double margin_share = 0.1;
  static constexpr double margin_difference = 0.0025;
  // A prompt is often longer than the pairs that training takes of it; more of them mean less noise in the
  // head, and cost little here.
  static constexpr Index density = 2;

  template <class Keep>
  SupportSet part(const SupportSet& all, const Keep& keep) {
    std::vector<Index> rows;
    for (Index row = 0; row < all.observations.length; ++row) {
      if (keep(row)) {
        rows.push_back(row);
      }
    }
    const auto length = static_cast<Index>(rows.size());
    auto result = all;
    result.observations = host_.sequence<float>(all.observations.batch, length, Network::observation_size);
    result.actions = host_.sequence<float>(all.observations.batch, length, Network::action_size);
    const auto copy = [&](SequenceView<float> from, SequenceView<float> to) {
      for (Index i = 0; i < to.batch; ++i) {
        for (Index k = 0; k < length; ++k) {
          std::copy_n(from.flat().row(i * from.length + rows[static_cast<std::size_t>(k)]), to.channels,
                      to.flat().row(i * length + k));
        }
      }
    };
    copy(all.observations, result.observations);
    copy(all.actions, result.actions);
    return result;
  }
  // error += weight * mean squared error on the support set.
  void add_error(MatrixView<const Real> policies, const SupportSet& support, double weight,
                 Buffer<double>& error) {
    const auto scope = workspace_.scope();
    const auto host_scope = host_.scope();
    const auto& wanted = support.actions;
    const auto action = workspace_.template sequence<Real>(wanted.batch, wanted.length, wanted.channels);
    policy_batch_forward(backend_, Network::layout(), policies,
                         uploaded(backend_, SequenceView<const float>(support.observations), workspace_),
                         workspace_, action);
    constexpr auto squash = Network::squash == Squash::tanh ? Activation::tanh : Activation::identity;
    activation_forward(backend_, squash, action.span(), action.span());
    const auto found = downloaded(backend_, MatrixView<const Real>(action.per_sample()), host_);
    for (Index i = 0; i < found.rows; ++i) {
      const float* target = wanted.per_sample().row(i);
      for (Index j = 0; j < found.cols; ++j) {
        const double difference = static_cast<double>(found(i, j)) - static_cast<double>(target[j]);
        error[i] += weight * difference * difference / static_cast<double>(found.cols);
      }
    }
  }

  const Backend& backend_;
  const State& state_;
  const Weights& w_;
  WorkspaceOf<Backend>& workspace_;
  Workspace host_;
};

}  // namespace detail
MAA_NAMESPACE_END
