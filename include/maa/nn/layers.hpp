// Layers that map rows to rows, [batch, in] -> [batch, out]. A layer is a type without data: it describes its
// parameters and calls backend ops with its shapes.
//
// Common form: forward(backend, weights, x, y, saved) fills `saved` with what backward needs besides x;
// backward accumulates into `gradients` and, when dx has data, overwrites dx.
#pragma once

#include <maa/core/describe.hpp>
#include <maa/core/workspace.hpp>
#include <maa/kernels/activation.hpp>

MAA_NAMESPACE_BEGIN

struct NothingSaved {};

// Views of a layer's parameters; alike for all sizes, so that layers of different sizes fit one array.
template <class T>
struct WeightAndBias {
  T* weight;
  T* bias;
};

// y = x W' + b.
template <Extent In, Extent Out>
struct Linear {
  static constexpr Extent in = In;
  static constexpr Extent out = Out;
  template <class T>
  using Weights = WeightAndBias<T>;
  template <class T>
  using Saved = NothingSaved;

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<Out, In>("weight", Init::uniform_fan_in(In), Role::weight, w.weight...);
    visit.template tensor<Out>("bias", Init::uniform_fan_in(In), Role::bias, w.bias...);
  }
  template <class Backend, class T>
  static NothingSaved forward(const Backend& backend, const Weights<const T>& w, MatrixView<const T> x,
                              MatrixView<T> y, WorkspaceOf<Backend>&) {
    linear_forward(backend, x, w.weight, w.bias, y);
    return {};
  }
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const NothingSaved&,
                       MatrixView<const T> x, MatrixView<const T> dy, const Weights<T>& gradients,
                       MatrixView<T> dx) {
    if (dx.data) {
      linear_backward_input(backend, dy, w.weight, dx);
    }
    linear_backward_weight(backend, dy, x, gradients.weight, gradients.bias);
  }
};

enum class Start { random, zero };
constexpr std::array<std::string_view, 2> names_of(Start) {
  return {"random", "zero"};
}

// y = x W'; `start`: what W is before training.
template <Extent In, Extent Out, Start start = Start::random>
struct LinearNoBias {
  static constexpr Extent in = In;
  static constexpr Extent out = Out;
  template <class T>
  struct Weights {
    T* weight;
  };
  template <class T>
  using Saved = NothingSaved;

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<Out, In>("weight", start == Start::zero ? Init::zeros() : Init::uniform_fan_in(In),
                                   Role::weight, w.weight...);
  }
  template <class Backend, class T>
  static NothingSaved forward(const Backend& backend, const Weights<const T>& w, MatrixView<const T> x,
                              MatrixView<T> y, WorkspaceOf<Backend>&) {
    linear_forward(backend, x, w.weight, static_cast<const T*>(nullptr), y);
    return {};
  }
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const NothingSaved&,
                       MatrixView<const T> x, MatrixView<const T> dy, const Weights<T>& gradients,
                       MatrixView<T> dx) {
    if (dx.data) {
      linear_backward_input(backend, dy, w.weight, dx);
    }
    linear_backward_weight(backend, dy, x, gradients.weight, static_cast<T*>(nullptr));
  }
};

// Layer normalisation over the row with gain and bias, epsilon 1e-5 (Ba et al., 2016).
template <Extent Size>
struct LayerNorm {
  static constexpr Extent in = Size;
  static constexpr Extent out = Size;
  static constexpr double epsilon = 1e-5;
  template <class T>
  using Weights = WeightAndBias<T>;
  template <class T>
  using Saved = MatrixView<T>;  // statistics [batch, 2]

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<Size>("weight", Init::ones(), Role::gain, w.weight...);
    visit.template tensor<Size>("bias", Init::zeros(), Role::bias, w.bias...);
  }
  template <class Backend, class T>
  static MatrixView<T> forward(const Backend& backend, const Weights<const T>& w, MatrixView<const T> x,
                               MatrixView<T> y, WorkspaceOf<Backend>& workspace) {
    auto statistics = workspace.template matrix<T>(x.rows, 2);
    layer_norm_forward(backend, epsilon, x, w.weight, w.bias, y, statistics);
    return statistics;
  }
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const MatrixView<T>& statistics,
                       MatrixView<const T> x, MatrixView<const T> dy, const Weights<T>& gradients,
                       MatrixView<T> dx) {
    layer_norm_backward(backend, x, statistics, w.weight, dy, dx, gradients.weight, gradients.bias);
  }
};

// Element-wise activation without parameters.
template <Extent Size, Activation activation>
struct Activate {
  static constexpr Extent in = Size;
  static constexpr Extent out = Size;
  template <class T>
  struct Weights {};
  template <class T>
  using Saved = NothingSaved;

  template <class Visitor, class... W>
  static constexpr void describe(Visitor&, W&...) {}
  template <class Backend, class T>
  static NothingSaved forward(const Backend& backend, const Weights<const T>&, MatrixView<const T> x,
                              MatrixView<T> y, WorkspaceOf<Backend>&) {
    activation_forward(backend, activation, x.span(), y.span());
    return {};
  }
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>&, const NothingSaved&,
                       MatrixView<const T> x, MatrixView<const T> dy, const Weights<T>&, MatrixView<T> dx) {
    if (dx.data) {
      activation_backward(backend, activation, x.span(), dy.span(), dx.span());
    }
  }
};

MAA_NAMESPACE_END
