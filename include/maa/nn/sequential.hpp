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
  static constexpr Extent in = std::tuple_element_t<0, std::tuple<Layers...>>::in;
  static constexpr Extent out = std::tuple_element_t<depth - 1, std::tuple<Layers...>>::out;

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
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      (describe_one<At, Layers>(visit, w...), ...);
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
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      ((saved.outputs[At] = workspace.template matrix<T>(x.rows, Layers::out),
        std::get<At>(saved.layers) = Layers::forward(backend, std::get<At>(w.layers), saved.input_of(At),
                                                     saved.outputs[At], workspace)),
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
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      (backward_one<depth - 1 - At>(backend, w, saved, upstream, gradients, dx, workspace), ...);
    }
    (std::index_sequence_for<Layers...>{});
  }

 private:
  template <std::size_t At, class Layer, class Visitor, class... W>
  static constexpr void describe_one(Visitor& visit, W&... w) {
    visit.template child<Layer>(static_cast<Index>(At), std::get<At>(w.layers)...);
  }
  template <std::size_t At, class Backend, class T>
  static void backward_one(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                           MatrixView<const T>& upstream, const Weights<T>& gradients, MatrixView<T> dx,
                           WorkspaceOf<Backend>& workspace) {
    using Layer = std::tuple_element_t<At, std::tuple<Layers...>>;
    auto downstream = dx;
    if constexpr (At > 0) {
      downstream = workspace.template matrix<T>(upstream.rows, Layer::in);
    }
    Layer::backward(backend, std::get<At>(w.layers), std::get<At>(saved.layers), saved.input_of(At), upstream,
                    std::get<At>(gradients.layers), downstream);
    upstream = downstream;
  }
};

MAA_NAMESPACE_END
