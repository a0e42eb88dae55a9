// A closed-form correction of generated policies: their mean heads are refitted, with shrinkage, to the
// prompt's own observation-action pairs. The result is a plain MLP; the gradient flows through the solve, so
// that a generator can be trained for what the policies do after the correction (differentiable closed-form
// solvers: Bertinetto et al., ICLR 2019).
#pragma once

#include <maa/core/workspace.hpp>
#include <maa/models/mlp_network.hpp>

#include <algorithm>
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
  // normalised; prompt_actions [batch, rows, A]. Writes `corrected` [batch, parameters]. Inputs must outlive
  // the result.
  template <class Backend, class T>
  static auto forward(const Backend& backend, const MlpLayout& layout, const Weights<const T>& w,
                      MatrixView<const T> policies, SequenceView<const T> prompt_observations,
                      SequenceView<const T> prompt_actions, MatrixView<T> corrected, Workspace& workspace) {
    const Index batch = policies.rows;
    const Index rows = prompt_observations.length;
    const auto mean = workspace.sequence<T>(batch, rows, actions);
    const auto features = workspace.sequence<T>(batch, rows, units);
    auto batch_saved = policy_batch_forward(backend, layout, policies, prompt_observations, workspace, mean,
                                            SequenceView<T>(), features);
    Saved<T, decltype(batch_saved)> saved{batch_saved, mean, features,
                                          workspace.sequence<T>(batch, rows, actions),
                                          workspace.sequence<T>(batch, actions, units + 1)};
    for (Index i = 0; i < mean.size(); ++i) {
      saved.residual.data[i] = wanted(mean.data[i], prompt_actions.data[i]).residual;
    }
    ridge_forward(backend, features, saved.residual, strength(w, rows), saved.correction);
    copy_matrix(backend, policies, corrected);
    for_head(layout, saved.correction,
             [&](Index i, Index parameter, T& value) { corrected(i, parameter) += value; });
    return saved;
  }

  // dcorrected [batch, parameters] -> dpolicies (overwritten) and the gradients for log_strength and
  // row_exponent (accumulated).
  template <class Backend, class T, class PolicySaved>
  static void backward(const Backend& backend, const MlpLayout& layout, const Weights<const T>& w,
                       MatrixView<const T> policies, SequenceView<const T> prompt_observations,
                       SequenceView<const T> prompt_actions, const Saved<T, PolicySaved>& saved,
                       MatrixView<const T> dcorrected, const Weights<T>& gradients, MatrixView<T> dpolicies,
                       Workspace& workspace) {
    const Workspace::Scope scope(workspace);
    const auto& [batch_saved, mean, features, residual, correction] = saved;
    const auto like = [&](SequenceView<T> view) {
      return workspace.sequence<T>(view.batch, view.length, view.channels);
    };
    const auto dcorrection = like(correction);
    const auto dfeatures = like(features);
    const auto dmean = like(residual);
    for_head(layout, dcorrection,
             [&](Index i, Index parameter, T& value) { value = dcorrected(i, parameter); });
    const Index rows = prompt_observations.length;
    const double dlog = ridge_backward(backend, features, residual, strength(w, rows), correction,
                                       dcorrection, dfeatures, dmean);
    gradients.log_strength[0] += static_cast<T>(dlog);
    gradients.row_exponent[0] += static_cast<T>(dlog * log_rows(rows));
    for (Index i = 0; i < dmean.size(); ++i) {
      dmean.data[i] *= wanted(mean.data[i], prompt_actions.data[i]).slope;
    }
    copy_matrix(backend, dcorrected, dpolicies);
    policy_batch_backward(backend, layout, policies, prompt_observations, batch_saved, dmean,
                          SequenceView<const T>(), dpolicies, SequenceView<T>(), dfeatures);
  }

 private:
  template <class T>
  struct Wanted {
    T residual;
    T slope;  // its derivative for the mean
  };

  // What the head should add. Before tanh, actions near the bounds ask for infinitely much: they are clipped
  // to .95, and a mean that already saturates on the right side is left alone.
  template <class T>
  static Wanted<T> wanted(T mean, T action) {
    if constexpr (Network::squash == Squash::none) {
      return {action - mean, T(-1)};
    } else {
      constexpr T bound = T(0.95);
      constexpr T saturated = T(1.83);  // atanh(.95)
      if (std::abs(action) > bound && mean * action > saturated) {
        return {T(0), T(0)};
      }
      const T target = std::atanh(std::clamp(action, -bound, bound));
      const T limited = std::clamp(mean, T(-3), T(3));
      return {target - limited, limited == mean ? T(-1) : T(0)};
    }
  }
  template <class T>
  static double strength(const Weights<const T>& w, Index rows) {
    return base_strength * std::exp(static_cast<double>(w.log_strength[0]) +
                                    static_cast<double>(w.row_exponent[0]) * log_rows(rows));
  }
  static double log_rows(Index rows) { return std::log(static_cast<double>(rows) / reference_rows); }
  // Calls body(sample, index of the head's parameter, entry of the correction).
  template <class T, class Body>
  static void for_head(const MlpLayout& layout, SequenceView<T> correction, const Body& body) {
    for (Index i = 0; i < correction.batch; ++i) {
      for (Index action = 0; action < actions; ++action) {
        T* entry = correction.data + (i * actions + action) * (units + 1);
        for (Index unit = 0; unit < units; ++unit) {
          body(i, layout.mean.weight_offset + action * units + unit, entry[unit]);
        }
        body(i, layout.mean.bias_offset + action, entry[units]);
      }
    }
  }
};

MAA_NAMESPACE_END
