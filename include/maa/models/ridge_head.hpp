// A closed-form correction of generated policies: their mean heads are refitted, with shrinkage, to the
// prompt's own observation-action pairs. The result is a plain MLP; the gradient flows through the solve, so
// that a generator can be trained for what the policies do after the correction (differentiable closed-form
// solvers: Bertinetto et al., ICLR 2019).
#pragma once

#include <maa/backend/ridge_strength.hpp>
#include <maa/core/workspace.hpp>
#include <maa/models/mlp_network.hpp>

#include <cmath>

MAA_NAMESPACE_BEGIN

template <class Network>
struct RidgeHead {
  static constexpr Index units = Network::last_hidden;
  static constexpr Index actions = Network::action_size;
  // strength = base_strength exp(log_strength) (rows / reference_rows)^row_exponent for a prompt of `rows`
  // pairs: a sum over more pairs may bear more shrinkage. To tell the two numbers apart takes training
  // prompts of several lengths; at reference_rows, one demonstration, row_exponent gets no gradient and stays
  // 0.
  static constexpr double base_strength = 10;
  static constexpr double reference_rows = 60;

  template <class T>
  struct Weights {
    T* log_strength;
    T* row_exponent;
  };
  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<1>("log_strength", Init::zeros(), Role::bias, w.log_strength...);
    visit.template tensor<1>("row_exponent", Init::zeros(), Role::bias, w.row_exponent...);
  }

  template <class T, class PolicySaved>
  struct Saved {
    PolicySaved policies;
    SequenceView<T> mean;        // [batch, rows, actions], before the correction and squashing
    SequenceView<T> features;    // [batch, rows, units]
    SequenceView<T> residual;    // [batch, rows, actions]
    SequenceView<T> correction;  // [batch, actions, units + 1]
  };

  // policies [batch, parameters] for normalised observations; prompt_observations [batch, rows, O],
  // normalised; prompt_actions [batch, rows, A]. Writes `corrected` [batch, parameters]. `density` rows weigh
  // as much against the shrinkage as one. Inputs must outlive the result.
  template <class Backend, class T>
  static auto forward(const Backend& backend, const MlpLayout& layout, const Weights<const T>& w,
                      MatrixView<const T> policies, SequenceView<const T> prompt_observations,
                      SequenceView<const T> prompt_actions, MatrixView<T> corrected,
                      WorkspaceOf<Backend>& workspace, Index density = 1) {
    const Index batch = policies.rows;
    const Index rows = prompt_observations.length;
    const auto mean = workspace.template sequence<T>(batch, rows, actions);
    const auto features = workspace.template sequence<T>(batch, rows, units);
    auto batch_saved = policy_batch_forward(backend, layout, policies, prompt_observations, workspace, mean,
                                            SequenceView<T>(), features);
    Saved<T, decltype(batch_saved)> saved{batch_saved, mean, features,
                                          workspace.template sequence<T>(batch, rows, actions),
                                          workspace.template sequence<T>(batch, actions, units + 1)};
    head_residual(backend, squashed, mean, prompt_actions, saved.residual);
    ridge_forward(backend, features, saved.residual, strength(w, rows, density), saved.correction);
    copy_matrix(backend, policies, corrected);
    add_head(backend, layout, saved.correction, corrected);
    return saved;
  }

  // dcorrected [batch, parameters] -> dpolicies (overwritten) and the gradients for log_strength and
  // row_exponent (accumulated).
  template <class Backend, class T, class PolicySaved>
  static void backward(const Backend& backend, const MlpLayout& layout, const Weights<const T>& w,
                       MatrixView<const T> policies, SequenceView<const T> prompt_observations,
                       SequenceView<const T> prompt_actions, const Saved<T, PolicySaved>& saved,
                       MatrixView<const T> dcorrected, const Weights<T>& gradients, MatrixView<T> dpolicies,
                       WorkspaceOf<Backend>& workspace) {
    const auto scope = workspace.scope();
    const auto& [batch_saved, mean, features, residual, correction] = saved;
    const auto like = [&](SequenceView<T> view) {
      return workspace.template sequence<T>(view.batch, view.length, view.channels);
    };
    const auto dcorrection = like(correction);
    const auto dfeatures = like(features);
    const auto dmean = like(residual);
    head_gradient(backend, layout, dcorrected, dcorrection);
    ridge_backward(backend, features, residual, strength(w, prompt_observations.length), correction,
                   dcorrection, dfeatures, dmean, gradients.log_strength, gradients.row_exponent);
    head_residual_backward(backend, squashed, mean, prompt_actions, dmean);
    copy_matrix(backend, dcorrected, dpolicies);
    policy_batch_backward(backend, layout, policies, prompt_observations, batch_saved, dmean,
                          SequenceView<const T>(), dpolicies, SequenceView<T>(), dfeatures);
  }

 private:
  static constexpr bool squashed = Network::squash == Squash::tanh;

  template <class T>
  static RidgeStrength<T> strength(const Weights<const T>& w, Index rows, Index density = 1) {
    const auto weight = static_cast<double>(density);
    return {w.log_strength, w.row_exponent, base_strength * weight,
            std::log(static_cast<double>(rows) / weight / reference_rows)};
  }
};

MAA_NAMESPACE_END
