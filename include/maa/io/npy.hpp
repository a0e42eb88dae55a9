// NumPy arrays in .npy files, as xtensor arrays; see npy_format.hpp for what is read.
#pragma once

#include <maa/interop/xtensor.hpp>
#include <maa/io/atomic_file.hpp>
#include <maa/io/npy_format.hpp>

MAA_NAMESPACE_BEGIN

namespace detail {

template <class T>
xt::xarray<T> to_xarray(const NpyArray<T>& array) {
  xt::xarray<T> result(std::vector<std::size_t>(array.shape.begin(), array.shape.end()));
  std::copy(array.values.begin(), array.values.end(), result.data());
  return result;
}

template <class Expression>
std::string encode_npy(const xt::xexpression<Expression>& expression) {
  using T = std::remove_cvref_t<typename Expression::value_type>;
  const auto& values = expression.derived_cast();
  const std::vector<Index> shape(values.shape().begin(), values.shape().end());
  return encode_npy(npy_descr<T>(), shape, std::as_bytes(to_buffer<T>(expression).span()));
}

}  // namespace detail

// T is float or double (takes every number type) or an integer type (takes integers that fit, and bools).
// Error names file, expected and found.
template <class T>
xt::xarray<T> load_npy(const std::filesystem::path& path) {
  const InputFile file(path);
  const auto label = "'" + file.path() + "'";
  Buffer<std::byte> beginning(std::min(file.size(), detail::npy_beginning));
  file.read_at(0, beginning.span());
  const auto header = detail::parse_npy(beginning.span(), file.size(), label);
  Buffer<std::byte> data(file.size() - header.data_offset);
  file.read_at(header.data_offset, data.span());
  return detail::to_xarray(detail::decode_npy<T>(header, data.data(), label));
}

// Writes an xtensor expression atomically.
template <class Expression>
void save_npy(const std::filesystem::path& path, const xt::xexpression<Expression>& values) {
  write_file_atomically(path, detail::encode_npy(values));
}

MAA_NAMESPACE_END
