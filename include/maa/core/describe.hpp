// One description per model, from which count, offsets, initialisation, decay groups, saving, loading,
// gradient checks and parity follow.
//
// A model or layer is a type without data:
//
//     struct Linear {
//       template <class T> struct Weights { T* weight; T* bias; };                        // views, no memory
//       template <class Visitor, class... W> static constexpr void describe(Visitor& visit, W&... w) {
//         visit.template tensor<Out, In>("weight", Init::uniform_fan_in(In), Role::weight, w.weight...);
//         visit.template tensor<Out>("bias", Init::uniform_fan_in(In), Role::bias, w.bias...);
//       }
//     };
//
// and a composite names its parts: visit.template child<Linear<8, 4>>("head", w.head...). Parameters lie in
// one contiguous array in the order of the description, without gaps; gradients, Adam moments and the EMA are
// the same Weights over other arrays.
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/core/extent.hpp>
#include <maa/core/rng.hpp>

#include <cmath>
#include <string>
#include <string_view>
#include <vector>

MAA_NAMESPACE_BEGIN

// Weight decay applies to Role::weight only, unless TrainOptions::decay_all.
enum class Role { weight, bias, gain };

// How a tensor is initialised.
struct Init {
  enum class Kind { zeros, ones, uniform_fan_in, uniform, normal } kind = Kind::zeros;
  double parameter = 0;  // uniform_fan_in: the fan-in; uniform: the end; normal: the standard deviation

  // Standard deviation of what is drawn.
  double deviation() const {
    return kind == Kind::normal           ? parameter
           : kind == Kind::uniform_fan_in ? 1 / std::sqrt(3 * parameter)
           : kind == Kind::uniform        ? parameter / std::sqrt(12)
                                          : 0;
  }

  static constexpr Init zeros() { return {Kind::zeros, 0}; }
  static constexpr Init ones() { return {Kind::ones, 0}; }
  static constexpr Init normal(double deviation) { return {Kind::normal, deviation}; }
  // U(0, end).
  static constexpr Init uniform(double end) { return {Kind::uniform, end}; }
  // U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for linear and convolution weights and biases.
  static constexpr Init uniform_fan_in(Index fan_in) {
    return {Kind::uniform_fan_in, static_cast<double>(fan_in)};
  }
};

// Order of a tensor in memory relative to its file shape. taps_first: a convolution weight that PyTorch
// shapes [a, b, taps] lies in memory as [taps, a, b], so that each tap is one contiguous matrix.
enum class Order { plain, taps_first };

struct TensorInfo {
  std::string name;          // PyTorch's: "down.0.block.weight"
  std::vector<Index> shape;  // as in PyTorch and in files
  Index offset = 0;          // in the flat array
  Index size = 0;
  Init init;
  Role role = Role::weight;
  Order order = Order::plain;
};

namespace detail {

// Visitors share the walk over children; `Derived::on_tensor` sees each tensor.
template <class Derived>
struct VisitorBase {
  template <class Layer, class... W>
  constexpr void child(std::string_view name, W&... w) {
    auto& self = static_cast<Derived&>(*this);
    auto outer = self.enter(name);
    Layer::describe(self, w...);
    self.leave(outer);
  }
  // Child `index` of a list: "name.index".
  template <class Layer, class... W>
  constexpr void child(std::string_view name, Index index, W&... w) {
    auto& self = static_cast<Derived&>(*this);
    auto outer = self.enter(name, index);
    Layer::describe(self, w...);
    self.leave(outer);
  }
  // Child of an unnamed list, as in torch.nn.Sequential: "index".
  template <class Layer, class... W>
  constexpr void child(Index index, W&... w) {
    auto& self = static_cast<Derived&>(*this);
    auto outer = self.enter(index);
    Layer::describe(self, w...);
    self.leave(outer);
  }
  // Names need no storage unless a visitor wants them.
  constexpr int enter(std::string_view, Index = 0) { return 0; }
  constexpr int enter(Index) { return 0; }
  constexpr void leave(int) {}
};

struct CountVisitor : VisitorBase<CountVisitor> {
  Index parameters = 0;
  Index tensors = 0;

  template <Extent... Dims>
  constexpr void tensor(std::string_view, Init, Role, Order = Order::plain) {
    parameters += (Index(Dims) * ...);
    ++tensors;
  }
};

template <class T>
struct BindVisitor : VisitorBase<BindVisitor<T>> {
  T* next;

  explicit BindVisitor(T* data) : next(data) {}
  template <Extent... Dims>
  void tensor(std::string_view, Init, Role, T*& pointer) {
    pointer = next;
    next += (Index(Dims) * ...);
  }
  template <Extent... Dims>
  void tensor(std::string_view, Init, Role, Order, T*& pointer) {
    pointer = next;
    next += (Index(Dims) * ...);
  }
};

struct ListVisitor : VisitorBase<ListVisitor> {
  std::vector<TensorInfo> tensors;
  std::string prefix;
  Index offset = 0;

  template <Extent... Dims>
  void tensor(std::string_view name, Init init, Role role, Order order = Order::plain) {
    add(name, {Index(Dims)...}, init, role, order);
  }
  // Each gives back the length of the prefix before, for leave.
  std::size_t enter(std::string_view name) { return enter({name, "."}); }
  std::size_t enter(std::string_view name, Index index) { return enter({name, ".", index, "."}); }
  std::size_t enter(Index index) { return enter({index, "."}); }
  void leave(std::size_t outer) { prefix.resize(outer); }

 private:
  std::size_t enter(std::initializer_list<TextPart> parts);
  void add(std::string_view name, std::initializer_list<Index> shape, Init init, Role role, Order order);
};

template <class Model>
constexpr CountVisitor count() {
  CountVisitor visitor;
  Model::describe(visitor);
  return visitor;
}

// A number that is counted whenever it is needed.
template <class Model>
struct CountedParameters {
  operator Index() const { return count<Model>().parameters; }
};
template <class Model>
concept OfFixedExtents = requires {
  typename std::integral_constant<Index, count<Model>().parameters>;
};
template <class Model>
constexpr auto count_parameters() {
  if constexpr (OfFixedExtents<Model>) {
    return count<Model>().parameters;
  } else {
    return CountedParameters<Model>();
  }
}

}  // namespace detail

// An Index if all extents are fixed; otherwise what converts to one, each time anew.
template <class Model>
inline constexpr auto parameter_count = detail::count_parameters<Model>();
// Of fixed extents.
template <class Model>
inline constexpr Index tensor_count = detail::count<Model>().tensors;

// The model's tensors in memory order, names prefixed with `prefix`.
template <class Model>
MAA_COLD std::vector<TensorInfo> tensors_of(std::string_view prefix = {}) {
  detail::ListVisitor visitor;
  visitor.prefix = prefix;
  Model::describe(visitor);
  return std::move(visitor.tensors);
}

// Views of a flat array of parameter_count<Model> numbers.
template <class Model, class T>
typename Model::template Weights<T> bind(std::span<T> values) {
  require(static_cast<Index>(values.size()) == parameter_count<Model>, "bind: expected ",
          parameter_count<Model>, " parameters, found ", values.size());
  typename Model::template Weights<T> weights{};
  detail::BindVisitor<T> visitor(values.data());
  Model::describe(visitor, weights);
  return weights;
}
template <class Model, class T>
typename Model::template Weights<T> bind(Buffer<T>& values) {
  return bind<Model>(values.span());
}
template <class Model, class T>
typename Model::template Weights<const T> bind(const Buffer<T>& values) {
  return bind<Model>(values.span());
}

namespace detail {

template <class T>
void initialize(const std::vector<TensorInfo>& tensors, std::span<T> values, const Rng& rng) {
  std::uint64_t stream = 0;
  for (const auto& tensor : tensors) {
    auto part =
        values.subspan(static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(tensor.size));
    auto draw = rng.fork(stream++);
    switch (tensor.init.kind) {
      case Init::Kind::zeros:
        std::fill(part.begin(), part.end(), T(0));
        break;
      case Init::Kind::ones:
        std::fill(part.begin(), part.end(), T(1));
        break;
      case Init::Kind::normal:
        draw.fill_normal(part, tensor.init.parameter);
        break;
      case Init::Kind::uniform_fan_in: {
        const double bound = 1.0 / std::sqrt(tensor.init.parameter);
        draw.fill_uniform(part, -bound, bound);
        break;
      }
      case Init::Kind::uniform:
        draw.fill_uniform(part, 0, tensor.init.parameter);
        break;
    }
  }
}
MAA_INSTANTIATE(initialize<float>);
MAA_INSTANTIATE(initialize<double>);

}  // namespace detail

// Draws every tensor from its own stream of `rng`, so that adding a tensor does not change the others'
// values.
template <class Model, class T>
void initialize(std::span<T> values, const Rng& rng) {
  detail::initialize<T>(tensors_of<Model>(), values, rng);
}

#if MAA_BODIES

MAA_COLD MAA_INLINE std::size_t detail::ListVisitor::enter(std::initializer_list<TextPart> parts) {
  const std::size_t outer = prefix.size();
  prefix += join(parts);
  return outer;
}

MAA_COLD MAA_INLINE void detail::ListVisitor::add(std::string_view name, std::initializer_list<Index> shape,
                                                  Init init, Role role, Order order) {
  TensorInfo info{prefix + std::string(name), shape, offset, 1, init, role, order};
  for (const Index size : shape) {
    info.size *= size;
  }
  offset += info.size;
  tensors.push_back(std::move(info));
}

#endif

MAA_NAMESPACE_END
