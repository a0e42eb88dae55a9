// The behaviour embedder (eq. 6, 7): h = phi(first steps of a trajectory), v = psi(states after success), and
// the bilinear metric W of the contrastive loss, h' W v.
#pragma once

#include <maa/nn/sequential.hpp>

MAA_NAMESPACE_BEGIN

// The networks phi and psi may have. mlp: three linear layers with ReLU (the paper). mlp_normed: the same,
// then LayerNorm, which bounds the condition that the denoiser sees. tanh_normed: 256 units, LayerNorm, tanh,
// linear (psi in the public code).
enum class EmbedderForm { mlp, mlp_normed, tanh_normed };
constexpr std::array<std::string_view, 3> names_of(EmbedderForm) {
  return {"mlp", "mlp_normed", "tanh_normed"};
}

// How W of the contrastive logits is initialised. fan_in: as a linear layer; unit: U(0, 1) (the public code).
enum class MetricStart { fan_in, unit };
constexpr std::array<std::string_view, 2> names_of(MetricStart) {
  return {"fan_in", "unit"};
}

namespace detail {

template <EmbedderForm form, Extent In, Index HiddenSize, Index Out>
struct EmbedderNetwork;
template <Extent In, Index HiddenSize, Index Out>
struct EmbedderNetwork<EmbedderForm::mlp, In, HiddenSize, Out> {
  using type = Sequential<Linear<In, HiddenSize>, Activate<HiddenSize, Activation::relu>,
                          Linear<HiddenSize, HiddenSize>, Activate<HiddenSize, Activation::relu>,
                          Linear<HiddenSize, Out>>;
};
template <Extent In, Index HiddenSize, Index Out>
struct EmbedderNetwork<EmbedderForm::mlp_normed, In, HiddenSize, Out> {
  using type = Sequential<Linear<In, HiddenSize>, Activate<HiddenSize, Activation::relu>,
                          Linear<HiddenSize, HiddenSize>, Activate<HiddenSize, Activation::relu>,
                          Linear<HiddenSize, Out>, LayerNorm<Out>>;
};
template <Extent In, Index HiddenSize, Index Out>
struct EmbedderNetwork<EmbedderForm::tanh_normed, In, HiddenSize, Out> {
  using type = Sequential<Linear<In, 256>, LayerNorm<256>, Activate<256, Activation::tanh>, Linear<256, Out>>;
};

}  // namespace detail

template <Extent TrajectoryFeatures, Extent SuccessFeatures, Index Embedding = 128, Index HiddenSize = 1024,
          EmbedderForm phi_form = EmbedderForm::mlp, EmbedderForm psi_form = EmbedderForm::mlp,
          MetricStart metric_start = MetricStart::fan_in>
struct BehaviorEmbedder {
  using Phi = typename detail::EmbedderNetwork<phi_form, TrajectoryFeatures, HiddenSize, Embedding>::type;
  using Psi = typename detail::EmbedderNetwork<psi_form, SuccessFeatures, HiddenSize, Embedding>::type;
  static constexpr Index embedding_size = Embedding;

  template <class T>
  struct Weights {
    typename Phi::template Weights<T> phi;
    typename Psi::template Weights<T> psi;
    T* metric;  // [Embedding, Embedding]
  };

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template child<Phi>("phi", w.phi...);
    visit.template child<Psi>("psi", w.psi...);
    visit.template tensor<Embedding, Embedding>(
        "metric", metric_start == MetricStart::unit ? Init::uniform(1) : Init::uniform_fan_in(Embedding),
        Role::weight, w.metric...);
  }

  template <class Visitor>
  static constexpr void describe_structure(Visitor& visit) {
    visit("embedding", Embedding);
    visit("hidden", HiddenSize);
    visit("phi", phi_form);
    visit("psi", psi_form);
    visit("metric_start", metric_start);
  }

  template <class T>
  struct Saved {
    typename Phi::template Saved<T> phi;
    typename Psi::template Saved<T> psi;

    MatrixView<T> h() const { return phi.output(); }
    MatrixView<T> v() const { return psi.output(); }
  };

  // trajectory [batch, TrajectoryFeatures], success [batch, SuccessFeatures]; both must outlive the result,
  // whose h and v are [batch, Embedding].
  template <class Backend, class T>
  static Saved<T> forward(const Backend& backend, const Weights<const T>& w, MatrixView<const T> trajectory,
                          MatrixView<const T> success, WorkspaceOf<Backend>& workspace) {
    require_shape(success, trajectory.rows, SuccessFeatures, "embedder success states");
    return {Phi::forward(backend, w.phi, trajectory, workspace),
            Psi::forward(backend, w.psi, success, workspace)};
  }

  // dh, dv [batch, Embedding] -> the gradients of phi and psi, which accumulate.
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                       MatrixView<const T> dh, MatrixView<const T> dv, const Weights<T>& gradients,
                       WorkspaceOf<Backend>& workspace) {
    const auto scope = workspace.scope();
    Phi::backward(backend, w.phi, saved.phi, dh, gradients.phi, MatrixView<T>(), workspace);
    Psi::backward(backend, w.psi, saved.psi, dv, gradients.psi, MatrixView<T>(), workspace);
  }

  // The contrastive metric between all pairs of a batch.
  template <class T>
  struct Contrast {
    MatrixView<T> metric_v;  // v W', [batch, Embedding]
    MatrixView<T> logits;    // [batch, batch], row i column j: h_i' W v_j
  };
  template <class Backend, class T>
  static Contrast<T> contrast(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                              WorkspaceOf<Backend>& workspace) {
    const Index batch = saved.h().rows;
    const Contrast<T> result{workspace.template matrix<T>(batch, Embedding),
                             workspace.template matrix<T>(batch, batch)};
    const T* none = nullptr;
    linear_forward(backend, saved.v(), w.metric, none, result.metric_v);
    linear_forward(backend, saved.h(), result.metric_v.data, none, result.logits);
    return result;
  }
  // dlogits [batch, batch] -> dh, dv [batch, Embedding] (overwritten) and the metric's gradient
  // (accumulates).
  template <class Backend, class T>
  static void contrast_backward(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                                const Contrast<T>& contrast, MatrixView<const T> dlogits,
                                const Weights<T>& gradients, MatrixView<T> dh, MatrixView<T> dv,
                                WorkspaceOf<Backend>& workspace) {
    const auto scope = workspace.scope();
    // logits = h metric_v': dh = dlogits metric_v, dmetric_v = dlogits' h; metric_v = v W'.
    linear_backward_input(backend, dlogits, contrast.metric_v.data, dh);
    const auto dmetric_v = workspace.template matrix<T>(dh.rows, Embedding);
    fill_zero(backend, dmetric_v);
    T* none = nullptr;
    linear_backward_weight(backend, dlogits, saved.h(), dmetric_v.data, none);
    linear_backward_input(backend, dmetric_v, w.metric, dv);
    linear_backward_weight(backend, dmetric_v, saved.v(), gradients.metric, none);
  }
};

MAA_NAMESPACE_END
