// Layers that map rows to rows, [batch, in] -> [batch, out]. A layer is a type without data: it describes its
// parameters, and says in numbers what it does, so that the arithmetic is compiled once for all of them.
#pragma once

#include <maa/core/describe.hpp>
#include <maa/core/workspace.hpp>
#include <maa/kernels/activation.hpp>

MAA_NAMESPACE_BEGIN

// Views of a layer's parameters; alike for all layers, so that different ones fit one array. Null: it has
// none such.
template <class T>
struct WeightAndBias {
  T* weight;
  T* bias;
};

// What a layer does.
struct RowLayer {
  enum class Kind { linear, layer_norm, activation } kind;
  Index in, out;
  Activation activation = Activation::identity;
};

// y = x W' + b.
template <Extent In, Extent Out>
struct Linear {
  static constexpr Extent in = In;
  static constexpr Extent out = Out;
  template <class T>
  using Weights = WeightAndBias<T>;
  static RowLayer row_layer() { return {RowLayer::Kind::linear, In, Out}; }

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<Out, In>("weight", Init::uniform_fan_in(In), Role::weight, w.weight...);
    visit.template tensor<Out>("bias", Init::uniform_fan_in(In), Role::bias, w.bias...);
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
  static RowLayer row_layer() { return {RowLayer::Kind::linear, In, Out}; }

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<Out, In>("weight", start == Start::zero ? Init::zeros() : Init::uniform_fan_in(In),
                                   Role::weight, w.weight...);
  }
};

inline constexpr double layer_norm_epsilon = 1e-5;

// Layer normalisation over the row with gain and bias (Ba et al., 2016).
template <Extent Size>
struct LayerNorm {
  static constexpr Extent in = Size;
  static constexpr Extent out = Size;
  static RowLayer row_layer() { return {RowLayer::Kind::layer_norm, Size, Size}; }

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<Size>("weight", Init::ones(), Role::gain, w.weight...);
    visit.template tensor<Size>("bias", Init::zeros(), Role::bias, w.bias...);
  }
};

// Element-wise activation without parameters.
template <Extent Size, Activation activation>
struct Activate {
  static constexpr Extent in = Size;
  static constexpr Extent out = Size;
  static RowLayer row_layer() { return {RowLayer::Kind::activation, Size, Size, activation}; }

  template <class Visitor, class... W>
  static constexpr void describe(Visitor&, W&...) {}
};

MAA_NAMESPACE_END
