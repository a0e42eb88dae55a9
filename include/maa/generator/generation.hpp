// From conditions to policies: sampling, decoding, fitting heads to prompts, and choosing between candidates.
#pragma once

#include <maa/data/trajectory.hpp>
#include <maa/generator/sampling.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// The observation-action pairs of prompts, one prompt per row of policies: [policies, pairs, ...],
// observations normalised, on the host. A part of the pairs may belong to one fold or another.
struct PromptPairs {
  SequenceView<float> observations;
  SequenceView<float> actions;
  Index demonstrations = 1;  // per prompt
  bool restoring = false;    // the second half of each demonstration's pairs are restoring pairs of the first
  Index density = 1;         // pairs in place of each that training fits heads to
};

// By how much a candidate's error must be below the first one's: see GenerateOptions.
struct ChoiceMargin {
  double share = 0;
  double difference = 0;

  explicit ChoiceMargin(const GenerateOptions& options)
      : share(options.guidance_margin), difference(options.guidance_difference) {}
};

// Results lie in `workspace`, pairs in the object. All arguments must outlive it.
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

  // Policies [rows, parameters] for normalised observations, from conditions [rows, condition_size] and the
  // prompts' pairs. Each guidance makes a candidate, from the same noise, and the fallback is one more, if it
  // is allowed and there is one; of several each row is the first, or the one with the least held_out_error()
  // if that is below the first's by the margin, and if the prompt is none that trust_known takes for known.
  // The head is fitted to all pairs, if it is to be.
  MatrixView<Real> generate(MatrixView<const Real> condition, const PromptPairs& pairs,
                            std::span<const double> guidances, ChoiceMargin margin, bool trust_known,
                            bool allow_fallback, const std::vector<Rng>& streams,
                            const SamplingOptions& sampling, bool with_head,
                            const SamplingProgress& progress = {}) {
    require(!guidances.empty(), "generate: expected at least one guidance, found none");
    require(margin.share >= 0 && margin.share <= 1, "generate: expected a margin from 0 to 1, found ",
            margin.share);
    require(margin.difference >= 0, "generate: expected a difference that is not negative, found ",
            margin.difference);
    const auto open = open_rows(condition, trust_known);
    const bool any_open = std::ranges::find(open, true) != open.end();
    if (!any_open) {
      guidances = guidances.first(1);
    }
    const bool has_fallback = any_open && allow_fallback && with_head && !state_.fallback_policy.empty();
    const bool choosing = guidances.size() > 1 || has_fallback;
    MatrixView<Real> chosen;
    Buffer<double> least;
    const auto offer = [&](MatrixView<Real> candidates) {
      if (!choosing) {
        chosen = candidates;
        return;
      }
      auto error = held_out_error(candidates, pairs, with_head, w_.head);
      if (!chosen.data) {
        chosen = candidates;
        least = std::move(error);
        for (Index i = 0; i < condition.rows; ++i) {
          const double bar = std::min(least[i] * (1 - margin.share), least[i] - margin.difference);
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
      offer(sample(condition, guidance, noise, sampling, progress));
    }
    if constexpr (Model::has_head) {
      if (!with_head) {
        return chosen;
      }
      auto fitted = fit_heads(chosen, pairs, w_.head);
      if (has_fallback) {
        const auto same = host_.matrix<float>(condition.rows, state_.fallback_policy.size());
        for (Index i = 0; i < condition.rows; ++i) {
          std::copy_n(state_.fallback_policy.data(), same.cols, same.row(i));
        }
        const auto policies = uploaded(backend_, MatrixView<const float>(same), workspace_);
        const auto& saved = state_.fallback_head;
        const auto head = bind<typename Model::HeadModel>(
            uploaded(backend_, MatrixView<const float>(saved.data(), 1, saved.size()), workspace_).span());
        const auto error = held_out_error(policies, pairs, true, head);
        const auto fallback = fit_heads(policies, pairs, head);
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

  // Without fitting heads.
  MatrixView<Real> sample(MatrixView<const Real> condition, double guidance, std::span<Rng> streams,
                          const SamplingOptions& sampling, const SamplingProgress& progress) {
    const auto latent =
        workspace_.template sequence<Real>(condition.rows, Network::token_count, Config::latent_size);
    require(sample_latents<Network, Config>(backend_, w_.denoiser, state_.diffusion, sampling, guidance,
                                            condition, streams, latent, workspace_, progress),
            "generate: stopped by the progress callback");
    state_.scale_latents(backend_, latent.per_sample());
    const auto decoded = Model::AutoencoderModel::decode(backend_, w_.autoencoder,
                                                         SequenceView<const Real>(latent), workspace_);
    state_.standardizer.to_normalized(backend_, decoded.parameters);
    return decoded.parameters;
  }

  // Each prompt, an equal share of the demonstrations in order, stands for `per_prompt` rows.
  PromptPairs pairs(std::span<const Trajectory> demonstrations, Index rows, Index per_prompt) {
    const Index share = static_cast<Index>(demonstrations.size()) / (rows / per_prompt);
    const auto& restoring = state_.restoring_pairs;
    const Index each = pair_count * (restoring.empty() ? 1 : 2);
    const auto result = allocate(rows, share * each, share, !restoring.empty(), density);
    for (Index i = 0; i < rows; ++i) {
      for (Index k = 0; k < share; ++k) {
        const Index row = (i * share + k) * each;
        const auto seen = result.observations.flat().row_range(row, pair_count);
        const auto done = result.actions.flat().row_range(row, pair_count);
        state_.prompt_encoder.write_spread_pairs(
            demonstrations[static_cast<std::size_t>(i / per_prompt * share + k)], seen, done);
        if (!restoring.empty()) {
          restoring.write(Rng(0x70616972u).fork(static_cast<std::uint64_t>(k)), seen, done,
                          result.observations.flat().row_range(row + pair_count, pair_count),
                          result.actions.flat().row_range(row + pair_count, pair_count));
        }
      }
    }
    state_.standardizer.observations().apply(result.observations.flat());
    return result;
  }

  // Policies with their heads fitted to the pairs.
  template <class Head>
  MatrixView<Real> fit_heads(MatrixView<const Real> policies, const PromptPairs& pairs, const Head& head) {
    const auto corrected = workspace_.template matrix<Real>(policies.rows, policies.cols);
    const auto seen = uploaded(backend_, SequenceView<const float>(pairs.observations), workspace_);
    const auto done = uploaded(backend_, SequenceView<const float>(pairs.actions), workspace_);
    Model::HeadModel::forward(backend_, Network::layout(), head, policies, seen, done, corrected, workspace_,
                              pairs.density);
    return corrected;
  }

  // How far each policy's actions are from pairs that its head was not fitted to, the mean square: of
  // several demonstrations each in turn is held out; of a single one every other stretch of two sequences,
  // both ways; each with its restoring pairs, so that a policy that would leave the path counts as far. A
  // head that is not to be fitted is measured on all pairs.
  template <class Head>
  Buffer<double> held_out_error(MatrixView<const Real> policies, const PromptPairs& all, bool with_head,
                                const Head& head) {
    Buffer<double> error(policies.rows);
    if constexpr (Model::has_head) {
      if (with_head) {
        const Index share = all.demonstrations;
        const Index each = all.observations.length / share;
        const Index own = each / (all.restoring ? 2 : 1);
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
    }
    add_error(policies, all, 1, error);
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

  // A prompt is often longer than the pairs that training takes of it; more of them mean less noise in the
  // head, and cost little here.
  static constexpr Index density = 2;
  static constexpr Index pair_count = density * Config::prompt.pairs();

  PromptPairs allocate(Index rows, Index length, Index demonstrations, bool restoring, Index pair_density) {
    return {host_.sequence<float>(rows, length, Network::observation_size),
            host_.sequence<float>(rows, length, Network::action_size), demonstrations, restoring,
            pair_density};
  }
  template <class Keep>
  PromptPairs part(const PromptPairs& all, const Keep& keep) {
    std::vector<Index> rows;
    for (Index row = 0; row < all.observations.length; ++row) {
      if (keep(row)) {
        rows.push_back(row);
      }
    }
    const auto length = static_cast<Index>(rows.size());
    const auto result =
        allocate(all.observations.batch, length, all.demonstrations, all.restoring, all.density);
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
  // error += weight * mean squared error on the pairs.
  void add_error(MatrixView<const Real> policies, const PromptPairs& pairs, double weight,
                 Buffer<double>& error) {
    const auto scope = workspace_.scope();
    const auto host_scope = host_.scope();
    const auto& wanted = pairs.actions;
    const auto action = workspace_.template sequence<Real>(wanted.batch, wanted.length, wanted.channels);
    policy_batch_forward(backend_, Network::layout(), policies,
                         uploaded(backend_, SequenceView<const float>(pairs.observations), workspace_),
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
