// Layers in a row, named by their index as in torch.nn.Sequential.
#pragma once

#include <maa/nn/layers.hpp>

#include <array>
#include <tuple>
#include <utility>

MAA_NAMESPACE_BEGIN

// What backward needs of layers in a row: the first one's input, their outputs, and of each LayerNorm its
// statistics [batch, 2]; views into the caller's workspace.
template <class T, std::size_t depth>
struct SequentialSaved {
  MatrixView<const T> input;
  std::array<MatrixView<T>, depth> outputs;
  std::array<MatrixView<T>, depth> statistics;

  MatrixView<T> output() const { return outputs[depth - 1]; }
  MatrixView<const T> input_of(std::size_t layer) const {
    return layer == 0 ? input : MatrixView<const T>(outputs[layer - 1]);
  }
};

namespace detail {

// Fills outputs and, for LayerNorms, statistics, which lie in `workspace`.
template <class Backend, class T>
void rows_forward(const Backend& backend, std::span<const RowLayer> layers,
                  std::span<const WeightAndBias<const T>> w, MatrixView<const T> x,
                  std::span<MatrixView<T>> outputs, std::span<MatrixView<T>> statistics,
                  WorkspaceOf<Backend>& workspace) {
  require_shape(x, x.rows, layers[0].in, "sequential input");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto y = outputs[i] = workspace.template matrix<T>(x.rows, layers[i].out);
    switch (layers[i].kind) {
      case RowLayer::Kind::linear:
        linear_forward(backend, x, w[i].weight, w[i].bias, y);
        break;
      case RowLayer::Kind::layer_norm:
        statistics[i] = workspace.template matrix<T>(x.rows, 2);
        layer_norm_forward(backend, layer_norm_epsilon, x, w[i].weight, w[i].bias, y, statistics[i]);
        break;
      case RowLayer::Kind::activation:
        activation_forward(backend, layers[i].activation, x.span(), y.span());
        break;
    }
    x = y;
  }
}

template <class Backend, class T>
void rows_backward(const Backend& backend, std::span<const RowLayer> layers,
                   std::span<const WeightAndBias<const T>> w, MatrixView<const T> input,
                   std::span<const MatrixView<T>> outputs, std::span<const MatrixView<T>> statistics,
                   MatrixView<const T> dy, std::span<const WeightAndBias<T>> gradients, MatrixView<T> dinput,
                   WorkspaceOf<Backend>& workspace) {
  const auto scope = workspace.scope();
  for (std::size_t i = layers.size(); i-- > 0;) {
    const auto dx = i > 0 ? workspace.template matrix<T>(dy.rows, layers[i].in) : dinput;
    const auto x = i > 0 ? MatrixView<const T>(outputs[i - 1]) : input;
    switch (layers[i].kind) {
      case RowLayer::Kind::linear:
        if (dx.data) {
          linear_backward_input(backend, dy, w[i].weight, dx);
        }
        linear_backward_weight(backend, dy, x, gradients[i].weight, gradients[i].bias);
        break;
      case RowLayer::Kind::layer_norm:
        layer_norm_backward(backend, x, statistics[i], w[i].weight, dy, dx, gradients[i].weight,
                            gradients[i].bias);
        break;
      case RowLayer::Kind::activation:
        if (dx.data) {
          activation_backward(backend, layers[i].activation, x.span(), dy.span(), dx.span());
        }
        break;
    }
    dy = dx;
  }
}

}  // namespace detail

// x [batch, in] must outlive the result, which lies in `workspace`.
template <class Backend, class T, std::size_t depth>
SequentialSaved<T, depth> sequential_forward(const Backend& backend,
                                             const std::array<RowLayer, depth>& layers,
                                             const std::array<WeightAndBias<const T>, depth>& w,
                                             MatrixView<const T> x, WorkspaceOf<Backend>& workspace) {
  SequentialSaved<T, depth> saved;
  saved.input = x;
  detail::rows_forward<Backend, T>(backend, layers, w, x, saved.outputs, saved.statistics, workspace);
  return saved;
}

// dy [batch, out]; gradients accumulate; dx [batch, in] is overwritten if it has data. Scratch is given back.
template <class Backend, class T, std::size_t depth>
void sequential_backward(const Backend& backend, const std::array<RowLayer, depth>& layers,
                         const std::array<WeightAndBias<const T>, depth>& w,
                         const SequentialSaved<T, depth>& saved, MatrixView<const T> dy,
                         const std::array<WeightAndBias<T>, depth>& gradients, MatrixView<T> dx,
                         WorkspaceOf<Backend>& workspace) {
  detail::rows_backward<Backend, T>(backend, layers, w, saved.input, saved.outputs, saved.statistics, dy,
                                    gradients, dx, workspace);
}

template <class... Layers>
struct Sequential {
  static constexpr std::size_t depth = sizeof...(Layers);
  static constexpr Extent in = std::tuple_element_t<0, std::tuple<Layers...>>::in;
  static constexpr Extent out = std::tuple_element_t<depth - 1, std::tuple<Layers...>>::out;

  template <class T>
  using Weights = std::array<WeightAndBias<T>, depth>;
  template <class T>
  using Saved = SequentialSaved<T, depth>;
  static std::array<RowLayer, depth> row_layers() { return {Layers::row_layer()...}; }

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      (describe_one<At, Layers>(visit, w...), ...);
    }
    (std::index_sequence_for<Layers...>{});
  }

  // The functions above.
  template <class Backend, class T>
  static Saved<T> forward(const Backend& backend, const Weights<const T>& w, MatrixView<const T> x,
                          WorkspaceOf<Backend>& workspace) {
    return sequential_forward(backend, row_layers(), w, x, workspace);
  }
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                       MatrixView<const T> dy, const Weights<T>& gradients, MatrixView<T> dx,
                       WorkspaceOf<Backend>& workspace) {
    sequential_backward(backend, row_layers(), w, saved, dy, gradients, dx, workspace);
  }

 private:
  template <std::size_t At, class Layer, class Visitor, class... W>
  static constexpr void describe_one(Visitor& visit, W&... w) {
    visit.template child<Layer>(static_cast<Index>(At), w[At]...);
  }
};

MAA_NAMESPACE_END
