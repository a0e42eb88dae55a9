// The last layer of generated policies as a posterior: a prior that training learned, and the prompt's own
// observation-action pairs. Its mean, in closed form, is what a policy's mean head becomes, so the result is
// a plain MLP; the gradient flows through the solve, so that a generator is trained for what its policies do
// afterwards (Bertinetto et al., ICLR 2019; as Bayesian regression with a meta-learned prior: Harrison et
// al., 2018).
#pragma once

#include <maa/backend/cpu/ridge.hpp>
#include <maa/core/workspace.hpp>
#include <maa/models/mlp_network.hpp>

#include <cmath>

MAA_NAMESPACE_BEGIN

// How a prompt's pairs count. density: so many weigh as much as one. known: the policy was generated for a
// prompt whose task training knows, so the prompt is to be trusted less beside it.
struct HeadFit {
  Index density = 1;
  bool known = false;
};

namespace detail {
template <class Network, Index rank>
constexpr Index directions_of_head() {
  return std::clamp<Index>(rank, 1, Network::last_hidden);
}
}  // namespace detail

// Before squashing, an action's entry at the features f [units] of the policy's last hidden layer is
//   y = H [f 1] + D [f 1] + noise,   D ~ N(0, S),   noise ~ N(0, sigma^2),
// H the generated head and D [units + 1] what it lacks, independent for each entry. The covariance
// S = [C c]' [C c] + e e' has `rank` directions that training finds (prior.weight C, prior.bias c) and, along
// e, a bias of variance 1. With g = [C f + c, 1], rank + 1 numbers, this is ridge regression of y - H [f 1]
// on g with strength sigma^2 (backend/cpu/ridge.hpp).
template <class Network, Index rank_>
struct BayesianHead {
  static constexpr auto units = Network::last_hidden;
  static constexpr auto actions = Network::action_size;
  static constexpr auto rank = extent_of<!Network::is_fixed, &detail::directions_of_head<Network, rank_>>();
  // sigma^2 = base_noise exp(log_noise) (rows / reference_rows)^row_exponent for a prompt of `rows` pairs,
  // and known_factor times that for a known one: successive steps are correlated, so that more of them say
  // less each. To tell the two numbers apart takes training prompts of several lengths; at reference_rows,
  // one demonstration, row_exponent gets no gradient and stays 0.
  static constexpr double base_noise = 0.5;
  static constexpr double known_factor = 20;
  static constexpr double reference_rows = 60;
  static constexpr double prior_deviation = 0.3;  // of the entries of D before training

  template <class T>
  struct Weights {
    T* prior_weight;  // [rank, units]
    T* prior_bias;    // [rank]
    T* log_noise;
    T* row_exponent;
  };
  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<rank, units>("prior.weight", Init::normal(prior_deviation / root_of_rank()),
                                       Role::weight, w.prior_weight...);
    visit.template tensor<rank>("prior.bias", Init::zeros(), Role::bias, w.prior_bias...);
    visit.template tensor<1>("log_noise", Init::zeros(), Role::bias, w.log_noise...);
    visit.template tensor<1>("row_exponent", Init::zeros(), Role::bias, w.row_exponent...);
  }

  template <class T, class PolicySaved>
  struct Saved {
    PolicySaved policies;
    SequenceView<T> mean;          // [batch, rows, actions], before the correction and squashing
    SequenceView<T> features;      // f [batch, rows, units]
    SequenceView<T> directions;    // g without its 1 [batch, rows, rank]
    SequenceView<T> residual;      // [batch, rows, actions]
    SequenceView<T> coefficients;  // of g [batch, actions, rank + 1]
  };

  // policies [batch, parameters] for normalised observations; prompt_observations [batch, rows, O],
  // normalised; prompt_actions [batch, rows, A]. Writes `corrected` [batch, parameters], the posterior's
  // mean. Inputs must outlive the result.
  template <class Backend, class T>
  static auto forward(const Backend& backend, const MlpLayout& layout, const Weights<const T>& w,
                      MatrixView<const T> policies, SequenceView<const T> prompt_observations,
                      SequenceView<const T> prompt_actions, MatrixView<T> corrected,
                      WorkspaceOf<Backend>& workspace, HeadFit fit = {}) {
    const Index batch = policies.rows;
    const Index rows = prompt_observations.length;
    const auto mean = workspace.template sequence<T>(batch, rows, actions);
    const auto features = workspace.template sequence<T>(batch, rows, units);
    auto batch_saved = policy_batch_forward(backend, layout, policies, prompt_observations, workspace, mean,
                                            SequenceView<T>(), features);
    Saved<T, decltype(batch_saved)> saved{batch_saved,
                                          mean,
                                          features,
                                          workspace.template sequence<T>(batch, rows, rank),
                                          workspace.template sequence<T>(batch, rows, actions),
                                          workspace.template sequence<T>(batch, actions, rank + 1)};
    linear_forward(backend, MatrixView<const T>(features.flat()), w.prior_weight, w.prior_bias,
                   saved.directions.flat());
    head_residual(backend, squashed(), mean, prompt_actions, saved.residual);
    ridge_forward(backend, saved.directions, saved.residual, noise(w, rows, fit), saved.coefficients);
    copy_matrix(backend, policies, corrected);
    add_coefficients(backend, layout, w, SequenceView<const T>(saved.coefficients), corrected, workspace);
    return saved;
  }

  // log N(residual | 0, G G' + sigma^2 I), G the rows of g, summed over actions: how well prior and policy
  // explain the prompt. evidence [batch]. `host` keeps nothing.
  template <class Backend, class T, class PolicySaved>
  static void log_evidence(const Backend& backend, const Weights<const T>& w,
                           const Saved<T, PolicySaved>& saved, HeadFit fit, std::span<double> evidence,
                           Workspace& host) {
    const auto scope = host.scope();
    const double strength = noise_on_host(backend, w, saved.mean.length, fit, host);
    cpu::ridge_evidence<float>(processor(backend), on_host(backend, saved.directions, host),
                               on_host(backend, saved.residual, host), strength, evidence);
  }

  // Adds to `corrected` [batch, parameters] what is drawn from the posterior around its mean, times the
  // deviation [batch] of each: cpu::ridge_draw. streams [batch]. `host` keeps nothing.
  template <class Backend, class T, class PolicySaved>
  static void add_draws(const Backend& backend, const MlpLayout& layout, const Weights<const T>& w,
                        const Saved<T, PolicySaved>& saved, HeadFit fit, std::span<const double> deviation,
                        std::span<const Rng> streams, MatrixView<T> corrected,
                        WorkspaceOf<Backend>& workspace, Workspace& host) {
    const auto scope = host.scope();
    const auto device_scope = workspace.scope();
    const auto draws = host.sequence<float>(corrected.rows, actions, rank + 1);
    const double strength = noise_on_host(backend, w, saved.mean.length, fit, host);
    cpu::ridge_draw<float>(processor(backend), on_host(backend, saved.directions, host), strength, deviation,
                           streams, draws);
    add_coefficients(backend, layout, w, uploaded(backend, SequenceView<const float>(draws), workspace),
                     corrected, workspace);
  }

  // dcorrected [batch, parameters] -> dpolicies (overwritten) and the gradients of the head's parameters
  // (accumulated).
  template <class Backend, class T, class PolicySaved>
  static void backward(const Backend& backend, const MlpLayout& layout, const Weights<const T>& w,
                       MatrixView<const T> policies, SequenceView<const T> prompt_observations,
                       SequenceView<const T> prompt_actions, const Saved<T, PolicySaved>& saved,
                       MatrixView<const T> dcorrected, const Weights<T>& gradients, MatrixView<T> dpolicies,
                       WorkspaceOf<Backend>& workspace, HeadFit fit = {}) {
    const auto scope = workspace.scope();
    const auto& [batch_saved, mean, features, directions, residual, coefficients] = saved;
    const auto like = [&](SequenceView<T> view) {
      return workspace.template sequence<T>(view.batch, view.length, view.channels);
    };
    const auto dcorrection =
        workspace.template sequence<T>(coefficients.batch, coefficients.length, units + 1);
    const auto dcoefficients = like(coefficients);
    const auto ddirections = like(directions);
    const auto dfeatures = like(features);
    const auto dmean = like(residual);
    head_gradient(backend, layout, dcorrected, dcorrection);

    const MatrixView<const T> of_directions = coefficients.flat().col_range(0, rank);
    const MatrixView<const T> dweight = dcorrection.flat().col_range(0, units);
    const MatrixView<const T> dbias = dcorrection.flat().col_range(units, 1);
    const auto through_bias = workspace.template matrix<T>(dbias.rows, rank);
    const auto dof_directions = dcoefficients.flat().col_range(0, rank);
    linear_forward(backend, dweight, w.prior_weight, static_cast<const T*>(nullptr), dof_directions);
    linear_backward_input(backend, dbias, w.prior_bias, through_bias);
    add_matrix(backend, MatrixView<const T>(through_bias), dof_directions);
    copy_matrix(backend, dbias, dcoefficients.flat().col_range(rank, 1));
    T* const none = nullptr;
    linear_backward_weight(backend, of_directions, dweight, gradients.prior_weight, none);
    linear_backward_weight(backend, dbias, of_directions, gradients.prior_bias, none);

    ridge_backward(backend, directions, residual, noise(w, prompt_observations.length, fit), coefficients,
                   dcoefficients, ddirections, dmean, gradients.log_noise, gradients.row_exponent);
    const MatrixView<const T> ddirection_rows = ddirections.flat();
    linear_backward_input(backend, ddirection_rows, w.prior_weight, dfeatures.flat());
    linear_backward_weight(backend, ddirection_rows, MatrixView<const T>(features.flat()),
                           gradients.prior_weight, gradients.prior_bias);
    head_residual_backward(backend, squashed(), mean, prompt_actions, dmean);
    copy_matrix(backend, dcorrected, dpolicies);
    policy_batch_backward(backend, layout, policies, prompt_observations, batch_saved, dmean,
                          SequenceView<const T>(), dpolicies, SequenceView<T>(), dfeatures);
  }

  template <class T>
  static RidgeStrength<T> noise(const Weights<const T>& w, Index rows, HeadFit fit = {}) {
    const auto weight = static_cast<double>(fit.density);
    return {w.log_noise, w.row_exponent, base_noise * (fit.known ? known_factor : 1) * weight,
            std::log(static_cast<double>(rows) / weight / reference_rows)};
  }

 private:
  // policies [batch, parameters] += the heads that coefficients of g [batch, actions, rank + 1] stand for.
  template <class Backend, class T>
  static void add_coefficients(const Backend& backend, const MlpLayout& layout, const Weights<const T>& w,
                               SequenceView<const T> coefficients, MatrixView<T> policies,
                               WorkspaceOf<Backend>& workspace) {
    const auto scope = workspace.scope();
    const auto correction = workspace.template sequence<T>(coefficients.batch, actions, units + 1);
    const auto all = coefficients.flat();
    const MatrixView<const T> of_directions = all.col_range(0, rank);
    const auto bias = correction.flat().col_range(units, 1);
    linear_backward_input(backend, of_directions, w.prior_weight, correction.flat().col_range(0, units));
    linear_forward(backend, of_directions, w.prior_bias, static_cast<const T*>(nullptr), bias);
    add_matrix(backend, MatrixView<const T>(all.col_range(rank, 1)), bias);
    add_head(backend, layout, correction, policies);
  }
  static const cpu::Backend& processor(const cpu::Backend& backend) { return backend; }
  template <class Backend>
  static cpu::Backend processor(const Backend&) {
    return cpu::Backend();
  }
  template <class Backend, class T>
  static auto on_host(const Backend& backend, SequenceView<T> view, Workspace& host) {
    const auto flat = downloaded(backend, MatrixView<const T>(view.flat()), host);
    return SequenceView(flat.data, view.batch, view.length, view.channels);
  }
  template <class Backend, class T>
  static double noise_on_host(const Backend& backend, const Weights<const T>& w, Index rows, HeadFit fit,
                              Workspace& host) {
    const auto number = [&](const T* at) {
      return *downloaded(backend, MatrixView<const T>(at, 1, 1), host).data;
    };
    const auto of = noise(w, rows, fit);
    const float log_noise = number(of.log_strength), row_exponent = number(of.row_exponent);
    return cpu::value_of(RidgeStrength<float>{&log_noise, &row_exponent, of.base, of.log_rows});
  }

  static constexpr bool squashed() { return Network::squash == Squash::tanh; }
  static constexpr double root_of_rank() {  // Newton's, since std::sqrt is no constant expression
    const auto number = static_cast<double>(Index(rank));
    double root = number;
    for (int i = 0; i < 64; ++i) {
      root = 0.5 * (root + number / root);
    }
    return root;
  }
};

MAA_NAMESPACE_END
