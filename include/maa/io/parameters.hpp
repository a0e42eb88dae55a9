// A model's parameters in a safetensors file: one tensor per entry of its description, with PyTorch's names
// and shapes.
#pragma once

#include <maa/core/describe.hpp>
#include <maa/core/options.hpp>
#include <maa/io/safetensors.hpp>

#include <charconv>

MAA_NAMESPACE_BEGIN

namespace detail {

// A taps_first tensor has shape [a, b, taps] in files and lies as [taps, a, b] in memory.
struct Taps {
  Index pairs;  // a * b
  Index taps;
};
inline Taps taps_of(const TensorInfo& tensor) {
  require(tensor.shape.size() == 3, "parameters, tensor ", quote(tensor.name),
          ": expected 3 dimensions, found shape ", shape_text(tensor.shape));
  return {tensor.shape[0] * tensor.shape[1], tensor.shape[2]};
}

template <class T>
std::span<T> part_of(const TensorInfo& tensor, std::span<T> values) {
  require(tensor.offset >= 0 && tensor.size >= 0 &&
              tensor.size <= static_cast<Index>(values.size()) - tensor.offset,
          "parameters, tensor ", quote(tensor.name), ": expected numbers ", tensor.offset, " to ",
          tensor.offset + tensor.size, ", found ", values.size(), " in all");
  return values.subspan(static_cast<std::size_t>(tensor.offset), static_cast<std::size_t>(tensor.size));
}

MAA_COLD inline void set_metadata(SafetensorsWriter& writer, const Fields& fields) {
  for (const auto& [name, text] : fields) {
    writer.set_metadata(name, text);
  }
}

}  // namespace detail

// Adds every tensor of a description (tensors_of<Model>(prefix)) to the writer. `values` is the flat
// parameter array; it must live and stay as it is until the file is written.
template <class T>
MAA_COLD void add_parameters(SafetensorsWriter& writer, const std::vector<TensorInfo>& tensors,
                             std::span<T> values) {
  using Number = std::remove_const_t<T>;
  for (const auto& tensor : tensors) {
    const auto part = detail::part_of<T>(tensor, values);
    if (tensor.order == Order::plain) {
      writer.add(tensor.name, tensor.shape, part);
      continue;
    }
    const auto [pairs, taps] = detail::taps_of(tensor);
    Buffer<Number> file_order(tensor.size);
    for (Index tap = 0; tap < taps; ++tap) {
      for (Index pair = 0; pair < pairs; ++pair) {
        file_order[pair * taps + tap] = part[static_cast<std::size_t>(tap * pairs + pair)];
      }
    }
    writer.add_owned(tensor.name, tensor.shape, std::move(file_order));
  }
}

// The same with copies of the numbers.
template <class T>
MAA_COLD void add_parameter_copies(SafetensorsWriter& writer, const std::vector<TensorInfo>& tensors,
                                   std::span<T> values) {
  for (auto tensor : tensors) {
    Buffer<std::remove_const_t<T>> part(detail::part_of<T>(tensor, values));
    tensor.offset = 0;
    if (tensor.order == Order::plain) {
      writer.add_owned(tensor.name, tensor.shape, std::move(part));
    } else {
      add_parameters(writer, {tensor}, std::as_const(part).span());
    }
  }
}

// Reads every tensor of a description into the flat parameter array (float or double). Error if one is
// missing, has another shape or dtype, or holds NaN or infinity; `values` is then untouched. Of other tensors
// in the file: SafetensorsReader::require_all_read.
template <class T>
MAA_COLD void read_parameters(const SafetensorsReader& reader, const std::vector<TensorInfo>& tensors,
                              std::span<T> values) {
  Buffer<T> all(static_cast<Index>(values.size()));
  for (const auto& tensor : tensors) {
    const auto part = detail::part_of(tensor, all.span());
    const auto read = reader.read_weights<T>(tensor.name, tensor.shape);
    require(read.size() == tensor.size, "parameters, tensor ", detail::quote(tensor.name), ": expected ",
            tensor.size, " numbers, found shape ", detail::shape_text(tensor.shape));
    if (tensor.order == Order::plain) {
      std::copy(read.begin(), read.end(), part.begin());
      continue;
    }
    const auto [pairs, taps] = detail::taps_of(tensor);
    for (Index tap = 0; tap < taps; ++tap) {
      for (Index pair = 0; pair < pairs; ++pair) {
        part[static_cast<std::size_t>(tap * pairs + pair)] = read[pair * taps + tap];
      }
    }
  }
  // Numbers outside the description keep their values: only the described parts are copied.
  for (const auto& tensor : tensors) {
    const auto part = detail::part_of(tensor, all.span());
    std::copy(part.begin(), part.end(), values.begin() + tensor.offset);
  }
}

MAA_INSTANTIATE(add_parameters<float>);
MAA_INSTANTIATE(add_parameters<const float>);
MAA_INSTANTIATE(add_parameters<double>);
MAA_INSTANTIATE(add_parameters<const double>);
MAA_INSTANTIATE(add_parameter_copies<float>);
MAA_INSTANTIATE(add_parameter_copies<const float>);
MAA_INSTANTIATE(read_parameters<float>);
MAA_INSTANTIATE(read_parameters<double>);

MAA_NAMESPACE_END
