// Between host and device memory. The functions have the CPU backend's names, where they do nothing or copy.
#pragma once

#include <maa/backend/cuda/matrix.hpp>

MAA_NAMESPACE_BEGIN
namespace cuda {

// to = from.
inline void upload(const Backend& backend, std::span<const float> from, OutSpan to) {
  require(from.size() == to.size(), "upload: expected ", to.size(), " numbers, found ", from.size());
  if (from.size() > std::size_t{1} << 20) {  // not through memory of every list
    backend.context().copy_in(from.data(), to.data(), static_cast<Index>(from.size_bytes()));
  } else {
    const auto count = static_cast<Index>(from.size());
    copy_matrix(backend, In(backend.context().transient(from), 1, count), Out(to.data(), 1, count));
  }
}
// to = from, when all that is pending has run.
inline void download(const Backend& backend, InSpan from, std::span<float> to) {
  require(from.size() == to.size(), "download: expected ", to.size(), " numbers, found ", from.size());
  backend.context().copy_out(from.data(), to.data(), static_cast<Index>(from.size_bytes()));
}

// Host numbers where ops can read them, until the workspace takes the memory back.
inline In uploaded(const Backend& backend, MatrixView<const float> from, Workspace& workspace) {
  const auto to = workspace.matrix<Real>(from.rows, from.cols);
  upload(backend, from.span(), to.span());
  return to;
}
inline InSeq uploaded(const Backend& backend, SequenceView<const float> from, Workspace& workspace) {
  const auto to = workspace.sequence<Real>(from.batch, from.length, from.channels);
  upload(backend, from.span(), to.span());
  return to;
}
// Results where the host can read them.
inline MatrixView<float> downloaded(const Backend& backend, In from, maa::Workspace& workspace) {
  const auto to = workspace.matrix<float>(from.rows, from.cols);
  download(backend, from.span(), to.span());
  return to;
}

inline double read(const Backend& backend, const Scalar& scalar) {
  return backend.context().read(scalar);
}

template <class T>
Array<T>::Array(const Backend& backend, Index size)
    : block_(backend.memory().allocate(size * static_cast<Index>(sizeof(T)))), size_(size) {
  static_assert(sizeof(T) == sizeof(float));
  fill_zero(backend, Out(reinterpret_cast<Real*>(block_.data()), 1, size));
}

// A copy of host numbers in device memory, for ops to read.
template <class T>
class Constants {
 public:
  Constants() = default;
  Constants(const Backend& backend, std::span<const T> values) : array_(backend, std::ssize(values)) {
    upload(backend, values, array_.span());
    backend.context().finish();  // a failed copy is told here, while its owner can do without it
  }
  std::span<const OnDevice<T>> span() const { return array_.span(); }

 private:
  Array<T> array_;
};

}  // namespace cuda
MAA_NAMESPACE_END
