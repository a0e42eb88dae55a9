// What training produces and generation needs: all parameters and the maps around the models.
#pragma once

#include <maa/generator/config.hpp>
#include <maa/generator/known_prompts.hpp>
#include <maa/generator/options.hpp>
#include <maa/generator/weight_standardizer.hpp>

#include <map>

MAA_NAMESPACE_BEGIN

template <class Network, class Config>
struct GeneratorState {
  using Model = GeneratorModel<Network, Config>;

  Buffer<float> parameters{parameter_count<Model>};  // all models, in the order of Model's description
  PromptEncoder prompt_encoder;
  WeightStandardizer<Network> standardizer;
  Normalizer latent;     // latent_numbers features; the denoiser sees normalised latents
  Normalizer condition;  // condition_size features, or none
  DiffusionOptions diffusion;
  SamplingOptions sampling;
  std::vector<double> guidance = {1};  // GenerateOptions::guidance
  RestoringPairs restoring_pairs;      // BehaviorOptions::restoring_pairs
  // Keep::best_fallback: a policy for normalised observations and the head's parameters that go with it, or
  // none.
  Buffer<float> fallback_policy;
  Buffer<float> fallback_head;
  KnownPrompts known_prompts;  // of training
  std::map<std::string, std::string> provenance;

  // From now on conditions have zeros in place of the embeddings that are not in `parts`. Error if none is
  // left.
  void restrict_condition(ConditionParts parts) {
    if (parts == Config::condition || parts == ConditionParts::both) {
      return;
    }
    require(Config::condition == ConditionParts::both,
            "fit: expected a condition on an embedding that the configuration has");
    if (condition.features() == 0) {
      condition = Normalizer(Model::condition_size);
    }
    constexpr Index size = Config::embedding_size;
    for (Index segment = 0; segment < Config::prompt.segments; ++segment) {  // h, then v
      const Index hidden = (2 * segment + (parts == ConditionParts::h ? 1 : 0)) * size;
      std::fill_n(condition.scale.data() + hidden, size, 0.0f);
    }
  }

  // The embedder's output as the denoiser's condition: [prompts * segments] rows of h and v -> [prompts,
  // condition_size].
  template <class Backend, class T>
  void condition_from(const Backend& backend, MatrixView<T> h, MatrixView<T> v, MatrixView<T> out) const {
    for_parts(h, v, out,
              [&](MatrixView<T> embedding, MatrixView<T> part) { copy_matrix(backend, embedding, part); });
    standardize_columns(backend, condition.offset.span(), condition.scale.span(), out);
  }
  // Its backward: dcondition (changed) -> dh, dv (overwritten).
  template <class Backend, class T>
  void condition_backward(const Backend& backend, MatrixView<T> dcondition, MatrixView<T> dh,
                          MatrixView<T> dv) const {
    scale_columns(backend, condition.scale.span(), dcondition);
    fill_zero(backend, dh);
    fill_zero(backend, dv);
    for_parts(dh, dv, dcondition,
              [&](MatrixView<T> dembedding, MatrixView<T> part) { copy_matrix(backend, part, dembedding); });
  }

  // Latents as the decoder sees them from latents as the denoiser does [rows, latent_numbers], in place, and
  // its backward.
  template <class Backend, class T>
  void scale_latents(const Backend& backend, MatrixView<T> latents) const {
    unstandardize_columns(backend, latent.offset.span(), latent.scale.span(), latents);
  }
  template <class Backend, class T>
  void scale_latents_backward(const Backend& backend, MatrixView<T> dlatents) const {
    Buffer<float> factor(latent.features());
    for (Index j = 0; j < factor.size(); ++j) {
      factor[j] = 1.0f / latent.scale[j];
    }
    scale_columns(backend, std::as_const(factor).span(), dlatents);
  }

 private:
  // Calls body(embeddings of all prompts, their columns in the condition) for h and v and every segment.
  template <class T, class Body>
  static void for_parts(MatrixView<T> h, MatrixView<T> v, MatrixView<T> conditions, const Body& body) {
    constexpr Index size = Config::embedding_size;
    constexpr Index segments = Config::prompt.segments;
    Index column = 0;
    for (Index segment = 0; segment < segments; ++segment) {
      const auto add = [&](MatrixView<T> all) {
        body(MatrixView<T>(all.row(segment), conditions.rows, size, segments * all.stride),
             conditions.col_range(column, size));
        column += size;
      };
      if constexpr (Config::condition != ConditionParts::v) {
        add(h);
      }
      if constexpr (Config::condition != ConditionParts::h) {
        add(v);
      }
    }
  }
};

MAA_NAMESPACE_END
