// Non-owning views that ops take: matrices (rows may be strided) and sequences [batch, length, channels].
#pragma once

#include <maa/core/error.hpp>

#include <span>
#include <type_traits>

MAA_NAMESPACE_BEGIN

// Row-major matrix; `stride` is the distance between rows in elements. MatrixView<float> converts to
// MatrixView<const float>.
template <class T>
struct MatrixView {
  T* data = nullptr;  // the first row's first number
  Index rows = 0;
  Index cols = 0;    // numbers in a row
  Index stride = 0;  // from a row to the next

  // Of none; of contiguous rows; of rows `stride_` apart; of the same numbers, read only.
  MatrixView() = default;
  MatrixView(T* data_, Index rows_, Index cols_) : MatrixView(data_, rows_, cols_, cols_) {}
  MatrixView(T* data_, Index rows_, Index cols_, Index stride_)
      : data(data_), rows(rows_), cols(cols_), stride(stride_) {}
  template <class U>
  requires std::is_same_v<const U, T> &&(!std::is_same_v<U, T>)MatrixView(MatrixView<U> other)
      : MatrixView(other.data, other.rows, other.cols, other.stride) {}

  // Row i, number j of it, how many numbers there are, and parts. Unchecked.
  T* row(Index i) const { return data + i * stride; }
  T& operator()(Index i, Index j) const { return data[i * stride + j]; }
  Index size() const { return rows * cols; }
  bool contiguous() const { return stride == cols || rows <= 1; }
  MatrixView row_range(Index first, Index count) const { return {row(first), count, cols, stride}; }
  MatrixView col_range(Index first, Index count) const { return {data + first, rows, count, stride}; }
  // All elements; rows must be contiguous.
  std::span<T> span() const {
    require(contiguous(), "matrix view: expected contiguous rows, found stride ", stride, " for ", cols,
            " columns");
    return {data, static_cast<std::size_t>(size())};
  }
  std::span<T> row_span(Index i) const { return {row(i), static_cast<std::size_t>(cols)}; }
};

// Channels-last sequence [batch, length, channels], contiguous. A policy latent [B, tokens, features] is one
// with length = tokens and channels = features; PyTorch's Conv1d would call it [B, channels, length].
template <class T>
struct SequenceView {
  T* data = nullptr;  // of the first one's first position
  Index batch = 0;
  Index length = 0;
  Index channels = 0;

  // Of none; of the numbers at data_; of the same numbers, read only.
  SequenceView() = default;
  SequenceView(T* data_, Index batch_, Index length_, Index channels_)
      : data(data_), batch(batch_), length(length_), channels(channels_) {}
  template <class U>
  requires std::is_same_v<const U, T> &&(!std::is_same_v<U, T>)SequenceView(SequenceView<U> other)
      : SequenceView(other.data, other.batch, other.length, other.channels) {}

  // All numbers.
  Index size() const { return batch * length * channels; }
  std::span<T> span() const { return {data, static_cast<std::size_t>(size())}; }
  // All positions as rows: [batch * length, channels].
  MatrixView<T> flat() const { return {data, batch * length, channels}; }
  // One position of every batch element: [batch, channels], strided.
  MatrixView<T> position(Index l) const { return {data + l * channels, batch, channels, length * channels}; }
  // One row per batch element: [batch, length * channels].
  MatrixView<T> per_sample() const { return {data, batch, length * channels}; }
};

// Throws unless the view has this shape; `what` names op and argument.
template <class T>
void require_shape(MatrixView<T> view, Index rows, Index cols, const char* what) {
  require(view.rows == rows && view.cols == cols, what, ": expected [", rows, ", ", cols, "], found [",
          view.rows, ", ", view.cols, "]");
}
template <class T>
void require_shape(SequenceView<T> view, Index batch, Index length, Index channels, const char* what) {
  require(view.batch == batch && view.length == length && view.channels == channels, what, ": expected [",
          batch, ", ", length, ", ", channels, "], found [", view.batch, ", ", view.length, ", ",
          view.channels, "]");
}

MAA_NAMESPACE_END
