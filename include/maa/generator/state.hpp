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
  std::vector<double> guidance = {1};  // GenerateOptions::guidance
  // Keep::best_fallback: a policy for normalised observations and the head's parameters that go with it, or
  // none.
  Buffer<float> fallback_policy;
  Buffer<float> fallback_head;
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
  // One condition per prompt of several demonstrations: the means over groups of equal size, rows
  // [prompts * group, condition_size] -> out [prompts, condition_size].
  static void mean_conditions(MatrixView<const float> rows, MatrixView<float> out) {
    const Index group = group_size(rows.rows, out.rows);
    const auto share = static_cast<float>(group);
    for (Index i = 0; i < out.rows; ++i) {
      std::fill_n(out.row(i), out.cols, 0.0f);
      for (Index k = 0; k < group; ++k) {
        const float* from = rows.row(i * group + k);
        for (Index j = 0; j < out.cols; ++j) {
          out(i, j) += from[j] / share;
        }
      }
    }
  }
  // Its backward: dmean [prompts, condition_size] -> drows (overwritten).
  static void mean_conditions_backward(MatrixView<const float> dmean, MatrixView<float> drows) {
    const Index group = group_size(drows.rows, dmean.rows);
    const auto share = static_cast<float>(group);
    for (Index i = 0; i < drows.rows; ++i) {
      for (Index j = 0; j < drows.cols; ++j) {
        drows(i, j) = dmean(i / group, j) / share;
      }
    }
  }
  // The backward of condition_from: dcondition (changed) -> dh, dv (overwritten).
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

 private:
  static Index group_size(Index rows, Index groups) {
    require(groups > 0 && rows % groups == 0, "conditions: expected rows in ", groups,
            " groups of one size, found ", rows);
    return rows / groups;
  }
};

MAA_NAMESPACE_END
