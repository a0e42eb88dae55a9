// From conditions to policies: sampling, decoding, fitting heads to prompts, and choosing between candidates.
#pragma once

#include <maa/data/trajectory.hpp>
#include <maa/generator/sampling.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// The observation-action pairs of prompts, one prompt per row of policies: [policies, pairs, ...],
// observations normalised. A part of the pairs may belong to one fold or another.
struct PromptPairs {
  SequenceView<float> observations;
  SequenceView<float> actions;
};

// Results lie in `workspace`. All arguments must outlive it.
template <class Network, class Config, class Backend>
class Generation {
 public:
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;

  using Weights = typename Model::template Weights<const float>;

  Generation(const Backend& backend, const State& state, const Weights& weights, Workspace& workspace)
      : backend_(backend), state_(state), w_(weights), workspace_(workspace) {}

  // Policies [rows, parameters] for normalised observations, from conditions [rows, condition_size] and the
  // prompts' pairs. Each guidance makes a candidate, from the same noise, and the fallback is one more, if it
  // is allowed and there is one; of several each row is the one with the least held_out_error(). The head is
  // fitted to all pairs, if it is to be.
  MatrixView<float> generate(MatrixView<const float> condition, const PromptPairs& pairs,
                             std::span<const double> guidances, bool allow_fallback,
                             const std::vector<Rng>& streams, const SamplingOptions& sampling, bool with_head,
                             const SamplingProgress& progress = {}) {
    require(!guidances.empty(), "generate: expected at least one guidance, found none");
    const bool has_fallback = allow_fallback && with_head && !state_.fallback_policy.empty();
    const bool choosing = guidances.size() > 1 || has_fallback;
    MatrixView<float> chosen;
    Buffer<double> least;
    const auto offer = [&](MatrixView<float> candidates) {
      if (!choosing) {
        chosen = candidates;
        return;
      }
      auto error = held_out_error(candidates, pairs, with_head, w_.head);
      if (!chosen.data) {
        chosen = candidates;
        least = std::move(error);
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
        const auto policies = workspace_.matrix<float>(condition.rows, state_.fallback_policy.size());
        for (Index i = 0; i < condition.rows; ++i) {
          std::copy_n(state_.fallback_policy.data(), policies.cols, policies.row(i));
        }
        const auto head = bind<typename Model::HeadModel>(state_.fallback_head);
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
  MatrixView<float> sample(MatrixView<const float> condition, double guidance, std::span<Rng> streams,
                           const SamplingOptions& sampling, const SamplingProgress& progress) {
    const auto latent = workspace_.sequence<float>(condition.rows, Network::token_count, Config::latent_size);
    require(sample_latents<Network, Config>(backend_, w_.denoiser, state_.diffusion, sampling, guidance,
                                            condition, streams, latent, workspace_, progress),
            "generate: stopped by the progress callback");
    state_.latent.invert(latent.per_sample());
    const auto decoded = Model::AutoencoderModel::decode(backend_, w_.autoencoder,
                                                         SequenceView<const float>(latent), workspace_);
    for (Index i = 0; i < condition.rows; ++i) {
      state_.standardizer.to_normalized(decoded.parameters.row(i));
    }
    return decoded.parameters;
  }

  // Each prompt, an equal share of the demonstrations in order, stands for `per_prompt` rows.
  PromptPairs pairs(std::span<const Trajectory> demonstrations, Index rows, Index per_prompt) {
    const Index share = static_cast<Index>(demonstrations.size()) / (rows / per_prompt);
    const auto result = allocate(rows, share * pair_count);
    for (Index i = 0; i < rows; ++i) {
      for (Index k = 0; k < share; ++k) {
        const Index row = (i * share + k) * pair_count;
        state_.prompt_encoder.write_pairs(
            demonstrations[static_cast<std::size_t>(i / per_prompt * share + k)],
            result.observations.flat().row_range(row, pair_count),
            result.actions.flat().row_range(row, pair_count));
      }
    }
    state_.standardizer.observations().apply(result.observations.flat());
    return result;
  }

  // Policies with their heads fitted to the pairs.
  template <class Head>
  MatrixView<float> fit_heads(MatrixView<const float> policies, const PromptPairs& pairs, const Head& head) {
    const auto corrected = workspace_.matrix<float>(policies.rows, policies.cols);
    Model::HeadModel::forward(backend_, Network::layout(), head, policies,
                              SequenceView<const float>(pairs.observations),
                              SequenceView<const float>(pairs.actions), corrected, workspace_);
    return corrected;
  }

  // How far each policy's actions are from pairs that its head was not fitted to, in the mean square: of
  // several demonstrations each in turn is held out; of a single one every other stretch of two sequences,
  // both ways. A head that is not to be fitted is measured on all pairs.
  template <class Head>
  Buffer<double> held_out_error(MatrixView<const float> policies, const PromptPairs& all, bool with_head,
                                const Head& head) {
    Buffer<double> error(policies.rows);
    if constexpr (Model::has_head) {
      if (with_head) {
        const Index count = all.observations.length;
        const Index share = count / pair_count;
        constexpr Index stretch = 2 * Config::prompt.sequence;
        for (Index fold = 0; fold < std::max<Index>(2, share); ++fold) {
          const Workspace::Scope scope(workspace_);
          const auto held_out = [&](Index row) {
            return (share > 1 ? row / pair_count : row / stretch % 2) == fold;
          };
          const auto fitted = part(all, [&](Index row) { return !held_out(row); });
          add_error(fit_heads(policies, fitted, head), part(all, held_out), error);
        }
        return error;
      }
    }
    add_error(policies, all, error);
    return error;
  }

 private:
  static constexpr Index pair_count = Config::prompt.pairs();

  PromptPairs allocate(Index rows, Index length) {
    return {workspace_.sequence<float>(rows, length, Network::observation_size),
            workspace_.sequence<float>(rows, length, Network::action_size)};
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
    const auto result = allocate(all.observations.batch, length);
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
  void add_error(MatrixView<const float> policies, const PromptPairs& pairs, Buffer<double>& error) {
    const Workspace::Scope scope(workspace_);
    const auto action =
        workspace_.sequence<float>(pairs.actions.batch, pairs.actions.length, pairs.actions.channels);
    policy_batch_forward(backend_, Network::layout(), policies, SequenceView<const float>(pairs.observations),
                         workspace_, action);
    constexpr auto squash = Network::squash == Squash::tanh ? Activation::tanh : Activation::identity;
    activation_forward(backend_, squash, action.span(), action.span());
    const Index numbers = action.length * action.channels;
    for (Index i = 0; i < action.size(); ++i) {
      const double difference =
          static_cast<double>(action.data[i]) - static_cast<double>(pairs.actions.data[i]);
      error[i / numbers] += difference * difference / static_cast<double>(numbers);
    }
  }

  const Backend& backend_;
  const State& state_;
  const Weights& w_;
  Workspace& workspace_;
};

}  // namespace detail
MAA_NAMESPACE_END
