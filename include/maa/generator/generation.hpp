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
  // prompts' support sets and one stream of random numbers for each row. Each row is the first candidate
  // unless the score of another is greater, by more than its margin if the options leave the guidance to the
  // generator.
  MatrixView<Real> generate(MatrixView<const Real> condition, const SupportSet& support,
                            const GenerateOptions& options, const std::vector<Rng>& streams) {
    MatrixView<Real> chosen;
    Buffer<double> best;
    const auto& margins = state_.choice_margins;
    Index number = 0;
    for_candidates(condition, support, options, streams,
                   [&](MatrixView<Real> candidates, Buffer<double> score) {
                     if (number == 0) {
                       chosen = candidates;
                       best = std::move(score);
                     }
                     const double margin = options.guidance.empty() && number > 0 && number < margins.size()
                                               ? static_cast<double>(margins[number])
                                               : 0.0;
                     for (Index i = 0; number > 0 && i < condition.rows; ++i) {
                       if (score[i] - margin > best[i]) {
                         best[i] = score[i] - margin;
                         copy_matrix(backend_, MatrixView<const Real>(candidates.row_range(i, 1)),
                                     chosen.row_range(i, 1));
                       }
                     }
                     ++number;
                   });
    return chosen;
  }

  // By how much the scores of the candidates exceed that of the first at 19 of 20 of these prompts, which
  // training knows and which the first suits; at least 0.
  MAA_COLD std::vector<float> margins(MatrixView<const Real> condition, const SupportSet& support,
                                      const std::vector<Rng>& streams) {
    std::vector<float> result;
    Buffer<double> first;
    for_candidates(condition, support, {}, streams, [&](MatrixView<Real>, Buffer<double> score) {
      if (result.empty()) {
        first = std::move(score);
        result.push_back(0);
        return;
      }
      std::vector<double> excess(static_cast<std::size_t>(score.size()));
      std::ranges::transform(score, first, excess.begin(), std::minus());
      const auto nineteenth = excess.begin() + (std::ssize(excess) - 1) * 19 / 20;
      std::ranges::nth_element(excess, nineteenth);
      result.push_back(static_cast<float>(std::max(0.0, *nineteenth)));
    });
    return result;
  }

  // Policies without fitted heads; guidance 0: without the condition.
  MatrixView<Real> sample(MatrixView<const Real> condition, double guidance, std::span<Rng> streams,
                          const SamplingOptions& sampling, const SamplingProgress& progress) {
    return decode(condition, guidance, streams, sampling, progress).policies();
  }
  // The same with what they were decoded from.
  auto decode(MatrixView<const Real> condition, double guidance, std::span<Rng> streams,
              const SamplingOptions& sampling, const SamplingProgress& progress) {
    const auto latent =
        workspace_.template sequence<Real>(condition.rows, Network::token_count, Config::latent_size);
    require(sample_latents<Network, Config>(backend_, w_.denoiser, state_.settings.diffusion, sampling,
                                            guidance, condition, streams, latent, workspace_, progress),
            "generate: stopped by the progress callback");
    return LatentPath<Network, Config, Real>::forward(backend_, state_, w_.autoencoder, latent.per_sample(),
                                                      workspace_);
  }

  // The support sets of prompts, an equal share of the demonstrations each, in order; each prompt stands for
  // `per_prompt` rows.
  MAA_COLD SupportSet support(std::span<const Trajectory> demonstrations, Index rows, Index per_prompt) {
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

  // What fit_heads() does besides, none or one for each policy.
  struct HeadChoices {
    std::span<double> evidence = {};     // log N of the head's residual as of a prompt that is not known
    std::vector<bool> known = {};        // whether to fit as of a known prompt
    std::vector<double> deviation = {};  // of what is drawn from the posterior around the head, in its own
    std::span<const Rng> streams = {};   // for drawing
  };
  // Policies with their heads fitted to the support set.
  template <class Head>
  MatrixView<Real> fit_heads(MatrixView<const Real> policies, const SupportSet& support, const Head& head,
                             const HeadChoices& choices = {}) {
    using HeadModel = typename Model::HeadModel;
    const auto fitted = workspace_.template matrix<Real>(policies.rows, policies.cols);
    const auto scope = workspace_.scope();
    const auto seen = uploaded(backend_, SequenceView<const float>(support.observations), workspace_);
    const auto done = uploaded(backend_, SequenceView<const float>(support.actions), workspace_);
    const auto fit = [&](HeadFit how, MatrixView<Real> to) {
      how.density = support.density;
      return HeadModel::forward(backend_, Network::layout(), head, policies, seen, done, to, workspace_, how);
    };
    const auto saved = fit({}, fitted);
    const auto& known = choices.known;
    if (!choices.evidence.empty()) {
      HeadModel::log_evidence(backend_, head, saved, {.density = support.density}, choices.evidence, host_);
    }
    if (std::ranges::find(known, true) != known.end()) {
      const auto trusted = workspace_.template matrix<Real>(policies.rows, policies.cols);
      fit({.known = true}, trusted);
      for (Index i = 0; i < policies.rows; ++i) {
        if (known[static_cast<std::size_t>(i)]) {
          copy_matrix(backend_, MatrixView<const Real>(trusted.row_range(i, 1)), fitted.row_range(i, 1));
        }
      }
    }
    if (!choices.deviation.empty()) {
      HeadModel::add_draws(backend_, Network::layout(), head, saved, {.density = support.density},
                           choices.deviation, choices.streams, fitted, workspace_, host_);
    }
    return fitted;
  }

 private:
  // Which prompts are as near to one of training as those are to one another.
  std::vector<bool> known_rows(MatrixView<const Real> condition) {
    const auto scope = host_.scope();
    const auto conditions = downloaded(backend_, condition, host_);
    std::vector<bool> known;
    for (Index i = 0; i < condition.rows; ++i) {
      const bool again = i > 0 && std::ranges::equal(conditions.row_span(i), conditions.row_span(i - 1));
      known.push_back(again ? known.back() : state_.known_prompts.novelty(conditions.row_span(i)) <= 1);
    }
    return known;
  }
  // Calls offer(policies, scores [rows], if there are several): one candidate for each guidance, from the
  // same noise, and of several the fallback, too, if the options leave the guidance to the generator and
  // there is one. The score is the log evidence of the fitted head or, where heads are not fitted, minus the
  // error on the support set.
  template <class Offer>
  void for_candidates(MatrixView<const Real> condition, const SupportSet& support,
                      const GenerateOptions& options, const std::vector<Rng>& streams, const Offer& offer) {
    const auto sampling = options.sampling.value_or(state_.settings.sampling);
    const auto guidances = std::span(options.guidance.empty() ? state_.settings.guidance : options.guidance);
    const bool fit_head = Model::has_head && options.fit_head;
    const bool choosing = guidances.size() > 1;
    const bool has_fallback =
        choosing && options.guidance.empty() && fit_head && !state_.fallback_policy.empty();
    const bool otherwise = fit_head && options.guidance.empty() && guidances.size() == 1 &&
                           state_.settings.unknown_guidance != guidances[0];
    const auto like_trained =
        otherwise || (fit_head && options.trust_known) ? known_rows(condition) : std::vector<bool>();
    const auto known = options.trust_known ? like_trained : std::vector<bool>();
    // The first policy of each prompt has the posterior's mean.
    std::vector<double> deviation;
    std::vector<Rng> draws;
    if (fit_head && options.spread > 0 && options.count > 1) {
      for (Index i = 0; i < condition.rows; ++i) {
        deviation.push_back(i % options.count == 0
                                ? 0.0
                                : options.spread * std::sqrt(static_cast<double>(state_.variance_scale)));
        draws.push_back(streams[static_cast<std::size_t>(i)].fork(0x68656164));
      }
    }
    const auto score_and_offer = [&](MatrixView<Real> policies, const auto& head, double guidance) {
      if constexpr (Model::has_head) {
        if (fit_head) {
          Buffer<double> score(choosing ? policies.rows : 0);
          const auto fitted = fit_heads(policies, support, head,
                                        {.evidence = score.span(),
                                         .known = guidance > 0 ? known : std::vector<bool>(),
                                         .deviation = deviation,
                                         .streams = draws});
          offer(fitted, std::move(score));
          return;
        }
      }
      Buffer<double> score = choosing ? error_on(policies, support) : Buffer<double>();
      std::ranges::transform(score, score.begin(), std::negate());
      offer(policies, std::move(score));
    };
    for (const double guidance : guidances) {
      const auto sampled = [&](double by) {
        auto noise = streams;
        return sample(condition, by, noise, sampling, options.progress);
      };
      const auto known_count = otherwise ? std::ranges::count(like_trained, true) : condition.rows;
      const auto policies = sampled(known_count > 0 ? guidance : state_.settings.unknown_guidance);
      if (known_count > 0 && known_count < condition.rows) {
        const auto others = sampled(state_.settings.unknown_guidance);
        for (Index i = 0; i < condition.rows; ++i) {
          if (!like_trained[static_cast<std::size_t>(i)]) {
            copy_matrix(backend_, MatrixView<const Real>(others.row_range(i, 1)), policies.row_range(i, 1));
          }
        }
      }
      score_and_offer(policies, w_.head, guidance);
    }
    if constexpr (Model::has_head) {
      if (has_fallback) {
        const auto same = host_.matrix<float>(condition.rows, state_.fallback_policy.size());
        for (Index i = 0; i < condition.rows; ++i) {
          std::copy_n(state_.fallback_policy.data(), same.cols, same.row(i));
        }
        const auto& saved = state_.fallback_head;
        const auto policies = workspace_.template matrix<Real>(same.rows, same.cols);
        copy_matrix(backend_, uploaded(backend_, MatrixView<const float>(same), workspace_), policies);
        score_and_offer(
            policies,
            bind<typename Model::HeadModel>(
                uploaded(backend_, MatrixView<const float>(saved.data(), 1, saved.size()), workspace_)
                    .span()),
            0);
      }
    }
  }

  // A prompt is often longer than the pairs that training takes of it; more of them mean less noise in the
  // head, and cost little here.
  static constexpr Index density = 2;

  // How far each policy's actions are from the support set, the mean square.
  Buffer<double> error_on(MatrixView<const Real> policies, const SupportSet& support) {
    const auto scope = workspace_.scope();
    const auto host_scope = host_.scope();
    const auto& wanted = support.actions;
    const auto action = workspace_.template sequence<Real>(wanted.batch, wanted.length, wanted.channels);
    policy_batch_forward(backend_, Network::layout(), policies,
                         uploaded(backend_, SequenceView<const float>(support.observations), workspace_),
                         workspace_, action);
    const auto squash = Network::squashing();
    activation_forward(backend_, squash, action.span(), action.span());
    const auto found = downloaded(backend_, MatrixView<const Real>(action.per_sample()), host_);
    Buffer<double> error(policies.rows);
    for (Index i = 0; i < found.rows; ++i) {
      const float* target = wanted.per_sample().row(i);
      for (Index j = 0; j < found.cols; ++j) {
        const double difference = static_cast<double>(found(i, j)) - static_cast<double>(target[j]);
        error[i] += difference * difference / static_cast<double>(found.cols);
      }
    }
    return error;
  }

  const Backend& backend_;
  const State& state_;
  const Weights& w_;
  WorkspaceOf<Backend>& workspace_;
  Workspace host_;
};

}  // namespace detail
MAA_NAMESPACE_END
