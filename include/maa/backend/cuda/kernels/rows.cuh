// ---- Every row or column of a matrix with a number of its own: what lies between a generator's models.
// Element i is entry (i / cols, i % cols) of matrices whose rows may be strided; what a kernel has no use for
// is null or 0.

struct RowsArguments {
  const double* factors;  // [rows] or [2 * rows]
  const float* x;
  const float* y;
  float* to;
  Int rows;
  Int cols;
  Int x_row;
  Int y_row;
  Int to_row;
  double limit;
};

// to *= factors[row].
MAA_DEVICE void scale_rows(Int i, const RowsArguments& a) {
  const Int r = i / a.cols;
  a.to[r * a.to_row + i % a.cols] *= float(a.factors[r]);
}
MAA_PER_ELEMENT(scale_rows, RowsArguments)

// to = factors[row] x + factors[rows + row] y, limited.
MAA_DEVICE void combine_rows(Int i, const RowsArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  const double x = double(a.x[r * a.x_row + c]), y = double(a.y[r * a.y_row + c]);
  const double value = a.factors[r] * x + a.factors[a.rows + r] * y;
  a.to[r * a.to_row + c] = float(limited(value, -a.limit, a.limit));
}
MAA_PER_ELEMENT(combine_rows, RowsArguments)

// to *= factors[row], or = 0 where x has reached the limit.
MAA_DEVICE void scale_rows_inside(Int i, const RowsArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  float* to = a.to + r * a.to_row + c;
  *to = fabs(double(a.x[r * a.x_row + c])) >= a.limit ? 0.0f : float(a.factors[r]) * *to;
}
MAA_PER_ELEMENT(scale_rows_inside, RowsArguments)

struct GatherRowsArguments {
  const Int* rows;
  const float* from;
  float* to;
  Int cols;
  Int from_row;
  Int to_row;
};
// to = row rows[r] of from.
MAA_DEVICE void gather_rows(Int i, const GatherRowsArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  a.to[r * a.to_row + c] = a.from[a.rows[r] * a.from_row + c];
}
MAA_PER_ELEMENT(gather_rows, GatherRowsArguments)

// Groups of `size` rows.
struct GroupsArguments {
  const float* from;
  float* to;
  Int size;
  Int cols;
  Int from_row;
  Int to_row;
};
MAA_DEVICE void mean_of_groups(Int i, const GroupsArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  const float share = float(a.size);
  float sum = 0;
  for (Int k = 0; k < a.size; ++k) {
    sum += a.from[(r * a.size + k) * a.from_row + c] / share;
  }
  a.to[r * a.to_row + c] = sum;
}
MAA_PER_ELEMENT(mean_of_groups, GroupsArguments)

MAA_DEVICE void mean_of_groups_backward(Int i, const GroupsArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  a.to[r * a.to_row + c] = a.from[r / a.size * a.from_row + c] / float(a.size);
}
MAA_PER_ELEMENT(mean_of_groups_backward, GroupsArguments)

struct ColumnsArguments {
  const float* numbers;  // [cols] or [2 * cols]
  float* x;
  Int cols;
  Int x_row;
};
// x = (x - numbers[c]) * numbers[cols + c].
MAA_DEVICE void standardize_columns(Int i, const ColumnsArguments& a) {
  const Int c = i % a.cols;
  float* x = a.x + i / a.cols * a.x_row + c;
  *x = (*x - a.numbers[c]) * a.numbers[a.cols + c];
}
MAA_PER_ELEMENT(standardize_columns, ColumnsArguments)

// Its inverse.
MAA_DEVICE void unstandardize_columns(Int i, const ColumnsArguments& a) {
  const Int c = i % a.cols;
  float* x = a.x + i / a.cols * a.x_row + c;
  *x = *x / a.numbers[a.cols + c] + a.numbers[c];
}
MAA_PER_ELEMENT(unstandardize_columns, ColumnsArguments)

// x *= numbers[c].
MAA_DEVICE void scale_columns(Int i, const ColumnsArguments& a) {
  const Int c = i % a.cols;
  a.x[i / a.cols * a.x_row + c] *= a.numbers[c];
}
MAA_PER_ELEMENT(scale_columns, ColumnsArguments)

// x = numbers[cols + c] + numbers[c] * x.
MAA_DEVICE void affine_columns(Int i, const ColumnsArguments& a) {
  const Int c = i % a.cols;
  float* x = a.x + i / a.cols * a.x_row + c;
  *x = a.numbers[a.cols + c] + a.numbers[c] * *x;
}
MAA_PER_ELEMENT(affine_columns, ColumnsArguments)

struct ScaledArguments {
  const float* from;
  float* to;
  Int cols;
  Int from_row;
  Int to_row;
  float number;
  int unused;
};
// to *= number.
MAA_DEVICE void scale(Int i, const ScaledArguments& a) {
  a.to[i / a.cols * a.to_row + i % a.cols] *= a.number;
}
MAA_PER_ELEMENT(scale, ScaledArguments)

// to += number * from.
MAA_DEVICE void add_scaled(Int i, const ScaledArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  a.to[r * a.to_row + c] += a.number * a.from[r * a.from_row + c];
}
MAA_PER_ELEMENT(add_scaled, ScaledArguments)

// to = from, limited to [-number, number].
MAA_DEVICE void clamp(Int i, const ScaledArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  a.to[r * a.to_row + c] = limited(a.from[r * a.from_row + c], -a.number, a.number);
}
MAA_PER_ELEMENT(clamp, ScaledArguments)

// to = from'; to += from'.
MAA_DEVICE void transpose(Int i, const ScaledArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  a.to[r * a.to_row + c] = a.from[c * a.from_row + r];
}
MAA_PER_ELEMENT(transpose, ScaledArguments)

MAA_DEVICE void add_transposed(Int i, const ScaledArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  a.to[r * a.to_row + c] += a.from[c * a.from_row + r];
}
MAA_PER_ELEMENT(add_transposed, ScaledArguments)

// ---- Sampling.

struct GuideArguments {
  const float* without;
  float* prediction;
  Int cols;
  Int without_row;
  Int prediction_row;
  double scale;
};
// prediction = without + scale * (prediction - without).
MAA_DEVICE void guide(Int i, const GuideArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  const double base = double(a.without[r * a.without_row + c]);
  float* prediction = a.prediction + r * a.prediction_row + c;
  *prediction = float(base + a.scale * (double(*prediction) - base));
}
MAA_PER_ELEMENT(guide, GuideArguments)

struct SamplerStepArguments {
  const float* prediction;
  const float* noise;  // null if noise_scale is 0
  float* x;
  Int cols;
  Int prediction_row;
  Int noise_row;
  Int x_row;
  double x0_x, x0_prediction, epsilon_x, epsilon_prediction, limit, clean, direction, current, noise_scale;
};
// See backend/sampler_coefficients.hpp.
MAA_DEVICE void sampler_step(Int i, const SamplerStepArguments& a) {
  const Int r = i / a.cols, c = i % a.cols;
  const double x = double(a.x[r * a.x_row + c]), p = double(a.prediction[r * a.prediction_row + c]);
  const double epsilon = a.epsilon_x * x + a.epsilon_prediction * p;
  const double x0 = limited(a.x0_x * x + a.x0_prediction * p, -a.limit, a.limit);
  double value = a.clean * x0 + a.direction * epsilon + a.current * x;
  if (a.noise != nullptr) {
    value += a.noise_scale * double(a.noise[r * a.noise_row + c]);
  }
  a.x[r * a.x_row + c] = float(value);
}
MAA_PER_ELEMENT(sampler_step, SamplerStepArguments)

struct EmbeddingArguments {
  const Int* timesteps;
  float* y;
  Int half;
  Int y_row;
};
// Element i: frequency i % half of timestep i / half, its sine and its cosine.
MAA_DEVICE void sinusoidal_embedding(Int i, const EmbeddingArguments& a) {
  const Int r = i / a.half, j = i % a.half;
  const double angle = double(a.timesteps[r]) * exp(-log(10000.0) * double(j) / double(a.half - 1));
  a.y[r * a.y_row + j] = float(sin(angle));
  a.y[r * a.y_row + a.half + j] = float(cos(angle));
}
MAA_PER_ELEMENT(sinusoidal_embedding, EmbeddingArguments)
