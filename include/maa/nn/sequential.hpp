// Layers in a row, named by their index as in torch.nn.Sequential.
#pragma once

#include <maa/nn/layers.hpp>

#include <array>
#include <tuple>
#include <utility>

MAA_NAMESPACE_BEGIN

template <class... Layers>
struct Sequential {
  static constexpr std::size_t depth = sizeof...(Layers);
  static constexpr Index in = std::tuple_element_t<0, std::tuple<Layers...>>::in;
  static constexpr Index out = std::tuple_element_t<depth - 1, std::tuple<Layers...>>::out;

  template <class T>
  struct Weights {
    std::tuple<typename Layers::template Weights<T>...> layers;
  };

  // What backward needs: the input of every layer and the output; views into the caller's workspace.
  template <class T>
  struct Saved {
    MatrixView<const T> input;
    std::array<MatrixView<T>, depth> outputs;
    std::tuple<typename Layers::template Saved<T>...> layers;

    MatrixView<T> output() const { return outputs[depth - 1]; }
    MatrixView<const T> input_of(std::size_t layer) const {
      return layer == 0 ? input : MatrixView<const T>(outputs[layer - 1]);
    }
  };

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (describe_one<I, Layers>(visit, w...), ...);
    }
    (std::index_sequence_for<Layers...>{});
  }

  // x [batch, in] must outlive the result, which lies in `workspace`.
  template <class Backend, class T>
  static Saved<T> forward(const Backend& backend, const Weights<const T>& w, MatrixView<const T> x,
                          WorkspaceOf<Backend>& workspace) {
    require_shape(x, x.rows, in, "sequential input");
    Saved<T> saved;
    saved.input = x;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      ((saved.outputs[I] = workspace.template matrix<T>(x.rows, Layers::out),
        std::get<I>(saved.layers) =
            Layers::forward(backend, std::get<I>(w.layers), saved.input_of(I), saved.outputs[I], workspace)),
       ...);
    }
    (std::index_sequence_for<Layers...>{});
    return saved;
  }

  // dy [batch, out]; dx [batch, in] is overwritten if it has data. Scratch is given back.
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                       MatrixView<const T> dy, const Weights<T>& gradients, MatrixView<T> dx,
                       WorkspaceOf<Backend>& workspace) {
    const auto scope = workspace.scope();
    auto upstream = dy;
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (backward_one<depth - 1 - I>(backend, w, saved, upstream, gradients, dx, workspace), ...);
    }
    (std::index_sequence_for<Layers...>{});
  }

 private:
  template <std::size_t I, class Layer, class Visitor, class... W>
  static constexpr void describe_one(Visitor& visit, W&... w) {
    visit.template child<Layer>(static_cast<Index>(I), std::get<I>(w.layers)...);
  }
  template <std::size_t I, class Backend, class T>
  static void backward_one(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                           MatrixView<const T>& upstream, const Weights<T>& gradients, MatrixView<T> dx,
                           WorkspaceOf<Backend>& workspace) {
    using Layer = std::tuple_element_t<I, std::tuple<Layers...>>;
    auto downstream = dx;
    if constexpr (I > 0) {
      downstream = workspace.template matrix<T>(upstream.rows, Layer::in);
    }
    Layer::backward(backend, std::get<I>(w.layers), std::get<I>(saved.layers), saved.input_of(I), upstream,
                    std::get<I>(gradients.layers), downstream);
    upstream = downstream;
  }
};

MAA_NAMESPACE_END
