// ---- Moving numbers. Element i is entry (i / cols, i % cols) of matrices whose rows may be strided.

struct MatrixArguments {
  const float* from;  // null: zeros
  float* to;
  const float* row;  // add_row only: [cols]
  Int cols;
  Int from_stride;
  Int to_stride;
};

// to = from.
MAA_DEVICE void copy_matrix(Int i, const MatrixArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  a.to[r * a.to_stride + c] = a.from == nullptr ? 0.0f : a.from[r * a.from_stride + c];
}
MAA_PER_ELEMENT(copy_matrix, MatrixArguments)

// to += from.
MAA_DEVICE void add_matrix(Int i, const MatrixArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  a.to[r * a.to_stride + c] += a.from[r * a.from_stride + c];
}
MAA_PER_ELEMENT(add_matrix, MatrixArguments)

// to = from + row.
MAA_DEVICE void add_row(Int i, const MatrixArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  a.to[r * a.to_stride + c] = a.from[r * a.from_stride + c] + a.row[c];
}
MAA_PER_ELEMENT(add_row, MatrixArguments)
