// Named NumPy arrays in .npz files, as xtensor arrays.
#pragma once

#include <maa/io/npy.hpp>
#include <maa/io/npz_archive.hpp>

MAA_NAMESPACE_BEGIN

template <class T>
auto NpzReader::load(const std::string& name) const {
  return detail::to_xarray(read_any<T>(name));
}

template <class Expression>
void NpzWriter::add(const std::string& name, const xt::xexpression<Expression>& values) {
  insert(name, detail::encode_npy(values));
}

MAA_NAMESPACE_END
