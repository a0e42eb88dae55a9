// ---- What matrix products need besides the products: factors as sums, differences and roundings of matrices,
// rows that are all the same, and sums over rows.

// The nearest bfloat16, of two equally near the even one; NaN stays NaN.
MAA_DEVICE unsigned short bfloat16_of(float value) {
  U32 bits;
  memcpy(&bits, &value, sizeof(bits));
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return static_cast<unsigned short>((bits >> 16) | 0x40u);
  }
  return static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

struct CombineArguments {
  const float* a;
  const float* b;           // null: a alone
  float* to;                // null: `rounded` is written
  unsigned short* rounded;  // bfloat16
  Int cols;
  Int a_row;
  Int b_row;
  Int to_row;  // of `to` or `rounded`
  float sign;  // of b
  float unused;
};

// to = a + sign b, rounded to bfloat16 if wanted.
MAA_DEVICE void combine_matrices(Int i, const CombineArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  float value = a.a[r * a.a_row + c];
  if (a.b != nullptr) {
    value += a.sign * a.b[r * a.b_row + c];
  }
  if (a.to != nullptr) {
    a.to[r * a.to_row + c] = value;
  } else {
    a.rounded[r * a.to_row + c] = bfloat16_of(value);
  }
}
MAA_PER_ELEMENT(combine_matrices, CombineArguments)

struct SetRowsArguments {
  const float* row;  // [cols], or null: zeros
  float* to;
  Int cols;
  Int to_row;
};

// Every row of `to` = row.
MAA_DEVICE void set_rows(Int i, const SetRowsArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  a.to[r * a.to_row + c] = a.row == nullptr ? 0.0f : a.row[c];
}
MAA_PER_ELEMENT(set_rows, SetRowsArguments)

struct ColumnSumsArguments {
  const float* x;  // matrices [rows, cols], cut into `chunks` of `chunk` rows
  float* sums;     // per matrix and chunk [cols]
  Int rows;
  Int cols;
  Int chunk;
  Int chunks;
  Int x_row;
  Int x_matrix;  // distance between matrices
  Int sums_row;  // between chunks
  Int sums_matrix;
  Int accumulate;
};

// sums = or += the sums over the rows of each chunk, in order.
MAA_DEVICE void column_sums(Int i, const ColumnSumsArguments& a) {
  const Int c = i % a.cols, q = i / a.cols % a.chunks, matrix = i / (a.cols * a.chunks);
  const Int first = q * a.chunk, end = first + a.chunk < a.rows ? first + a.chunk : a.rows;
  const float* const x = a.x + matrix * a.x_matrix + c;
  float sum = 0.0f;
  for (Int r = first; r < end; ++r) {
    sum += x[r * a.x_row];
  }
  float* const to = a.sums + matrix * a.sums_matrix + q * a.sums_row + c;
  *to = a.accumulate != 0 ? *to + sum : sum;
}
MAA_PER_ELEMENT(column_sums, ColumnSumsArguments)
