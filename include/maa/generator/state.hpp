// What training produces and generation needs: all parameters and the maps around the models.
#pragma once

#include <maa/generator/config.hpp>
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
  std::map<std::string, std::string> provenance;

  // The embedder's output as the denoiser's condition: [prompts * segments] rows of h and v -> [prompts,
  // condition_size].
  template <class Backend>
  void condition_from(const Backend& backend, MatrixView<const float> h, MatrixView<const float> v,
                      MatrixView<float> out) const {
    constexpr Index size = Config::embedding_size;
    constexpr Index segments = Config::prompt.segments;
    for (Index i = 0; i < out.rows; ++i) {
      for (Index segment = 0; segment < segments; ++segment) {
        const Index row = i * segments + segment;
        Index column = segment * Model::condition_parts * size;
        if constexpr (Config::condition != ConditionParts::v) {
          copy_matrix(backend, h.row_range(row, 1), out.row_range(i, 1).col_range(column, size));
          column += size;
        }
        if constexpr (Config::condition != ConditionParts::h) {
          copy_matrix(backend, v.row_range(row, 1), out.row_range(i, 1).col_range(column, size));
        }
      }
    }
    condition.apply(out);
  }
  // Its backward: dcondition (changed) -> dh, dv (overwritten).
  template <class Backend>
  void condition_backward(const Backend& backend, MatrixView<float> dcondition, MatrixView<float> dh,
                          MatrixView<float> dv) const {
    constexpr Index size = Config::embedding_size;
    constexpr Index segments = Config::prompt.segments;
    condition.apply_backward(dcondition);
    fill_zero(backend, dh);
    fill_zero(backend, dv);
    for (Index i = 0; i < dcondition.rows; ++i) {
      for (Index segment = 0; segment < segments; ++segment) {
        const Index row = i * segments + segment;
        Index column = segment * Model::condition_parts * size;
        if constexpr (Config::condition != ConditionParts::v) {
          copy_matrix(backend, dcondition.row_range(i, 1).col_range(column, size), dh.row_range(row, 1));
          column += size;
        }
        if constexpr (Config::condition != ConditionParts::h) {
          copy_matrix(backend, dcondition.row_range(i, 1).col_range(column, size), dv.row_range(row, 1));
        }
      }
    }
  }
};

MAA_NAMESPACE_END
