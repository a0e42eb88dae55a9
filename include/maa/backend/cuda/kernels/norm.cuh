// ---- Normalisation over groups of channels with what follows it:
//
//     x_hat = (x - mean) / sqrt(var + epsilon),  n = gain * x_hat + bias,  m = Mish(n) or n
//     y = scale * m + shift + residual
//
// Sample s has the rows from s * length on; row r of x is x + r * x_row. A block has one group of one sample
// at a time. See kernels/norm_table.hpp.

struct NormForwardArguments {
  const float* x;
  const float* gain;      // [channels], null for 1
  const float* bias;      // [channels], null for 0
  const float* film;      // null, or a row for each sample: scales [channels], then shifts [channels]
  const float* residual;  // null, or rows like y; may be y
  float* y;               // may be x
  float* statistics;      // a row for each sample: means [groups], then 1 / sqrt(var + epsilon) [groups]
  Int groups;
  Int group_size;
  Int length;
  Int x_row;
  Int film_row;
  Int residual_row;
  Int y_row;
  Int statistics_row;
  float epsilon;
  int mish;
};

// Block b: sample b / groups, group b % groups.
MAA_DEVICE void norm_forward(const Block& block, Int b, const NormForwardArguments& a) {
  const Int s = b / a.groups, g = b % a.groups;
  const Int begin = g * a.group_size, count = a.length * a.group_size, channels = a.groups * a.group_size;
  const float* x = a.x + s * a.length * a.x_row + begin;
  const double mean = block.sum<double>(count, [&](Int i) {
    return double(x[i / a.group_size * a.x_row + i % a.group_size]);
  }) / double(count);
  const double squares = block.sum<double>(count, [&](Int i) {
    const double deviation = double(x[i / a.group_size * a.x_row + i % a.group_size]) - mean;
    return deviation * deviation;
  });
  const float center = float(mean);
  const float factor = float(1.0 / sqrt(squares / double(count) + double(a.epsilon)));
  const float* film = a.film == nullptr ? nullptr : a.film + s * a.film_row + begin;
  block.each(count, [&](Int i) {
    const Int r = i / a.group_size, c = i % a.group_size, row = s * a.length + r;
    float y = (x[r * a.x_row + c] - center) * factor;
    y = (a.gain == nullptr ? y : y * a.gain[begin + c]) + (a.bias == nullptr ? 0.0f : a.bias[begin + c]);
    y = a.mish != 0 ? mish(y) : y;
    y = film == nullptr ? y : film[c] * y + film[channels + c];
    y = a.residual == nullptr ? y : y + a.residual[row * a.residual_row + begin + c];
    a.y[row * a.y_row + begin + c] = y;
  });
  block.each(1, [&](Int) {
    a.statistics[s * a.statistics_row + g] = center;
    a.statistics[s * a.statistics_row + a.groups + g] = factor;
  });
}
MAA_PER_BLOCK(norm_forward, NormForwardArguments)

struct NormBackwardArguments {
  const float* x;
  const float* statistics;
  const float* gain;
  const float* bias;
  const float* film;
  const float* dy;
  float* dx;     // null if not wanted; may be dy
  float* dfilm;  // like film, overwritten; null if film is
  float* parts;  // 4 * channels for each chunk: its sums of dgain, dbias and dx, and a place for products
  Int batch;
  Int chunk;  // samples per block
  Int groups;
  Int group_size;
  Int length;
  Int x_row;
  Int statistics_row;
  Int film_row;
  Int dy_row;
  Int dx_row;
  Int dfilm_row;
  Int mish;
};

// Block b: group b % groups of the samples of chunk b / groups, one after the other. A channel is one
// thread's in all passes, which is why sums of channels need no barrier of their own and dx may be dy.
MAA_DEVICE void norm_backward(const Block& block, Int b, const NormBackwardArguments& a) {
  const Int chunk = b / a.groups, g = b % a.groups;
  const Int begin = g * a.group_size, channels = a.groups * a.group_size;
  const Int first = chunk * a.chunk;
  const Int last = first + a.chunk < a.batch ? first + a.chunk : a.batch;
  float* parts = a.parts + chunk * 4 * channels + begin;
  float* dgains = parts;
  float* dbiases = parts + channels;
  float* dxs = parts + 2 * channels;
  float* products = parts + 3 * channels;
  for (Int s = first; s < last; ++s) {
    const float mean = a.statistics[s * a.statistics_row + g];
    const float factor = a.statistics[s * a.statistics_row + a.groups + g];
    const float* x = a.x + s * a.length * a.x_row + begin;
    const float* dy = a.dy + s * a.length * a.dy_row + begin;
    const float* film = a.film == nullptr ? nullptr : a.film + s * a.film_row + begin;
    float* dfilm = a.film == nullptr ? nullptr : a.dfilm + s * a.dfilm_row + begin;
    const bool fresh = s == first;  // parts hold no sums yet
    // Sums over the group of the gradient of x_hat, and of that times x_hat.
    const float sum = block.sum<float>(a.group_size, [&](Int c) {
      const float gain = a.gain == nullptr ? 1.0f : a.gain[begin + c];
      const float bias = a.bias == nullptr ? 0.0f : a.bias[begin + c];
      float dgain = 0, dbias = 0, dscale = 0, dshift = 0;
      for (Int r = 0; r < a.length; ++r) {
        const float x_hat = (x[r * a.x_row + c] - mean) * factor;
        const float n = gain * x_hat + bias;
        float d = dy[r * a.dy_row + c];
        if (film != nullptr) {
          dscale += d * (a.mish != 0 ? mish(n) : n);
          dshift += d;
          d *= film[c];
        }
        d = a.mish != 0 ? d * mish_slope(n) : d;
        dgain += d * x_hat;
        dbias += d;
      }
      if (film != nullptr) {
        dfilm[c] = dscale;
        dfilm[channels + c] = dshift;
      }
      dgains[c] = fresh ? dgain : dgains[c] + dgain;
      dbiases[c] = fresh ? dbias : dbiases[c] + dbias;
      products[c] = gain * dgain;
      return gain * dbias;
    });
    if (a.dx == nullptr) {
      continue;
    }
    const float product = block.sum<float>(a.group_size, [&](Int c) { return products[c]; });
    const float count = float(a.length * a.group_size);
    float* dx = a.dx + s * a.length * a.dx_row + begin;
    block.each(a.group_size, [&](Int c) {
      const float gain = a.gain == nullptr ? 1.0f : a.gain[begin + c];
      const float bias = a.bias == nullptr ? 0.0f : a.bias[begin + c];
      float total = 0;
      for (Int r = 0; r < a.length; ++r) {
        const float x_hat = (x[r * a.x_row + c] - mean) * factor;
        float d = dy[r * a.dy_row + c];
        d = film == nullptr ? d : d * film[c];
        d = a.mish != 0 ? d * mish_slope(gain * x_hat + bias) : d;
        d = factor * (d * gain - sum / count - x_hat * (product / count));
        dx[r * a.dx_row + c] = d;
        total += d;
      }
      dxs[c] = fresh ? total : dxs[c] + total;
    });
  }
}
MAA_PER_BLOCK(norm_backward, NormBackwardArguments)

// Sums of rows of parts, a share of `chunk` rows at a time, in order: share i / cols, column i % cols.
struct AddPartsArguments {
  const float* parts;
  float* sums;  // [shares, cols]
  Int rows;
  Int row;  // distance between rows of parts
  Int cols;
  Int chunk;
};
MAA_DEVICE float sum_of_rows(const float* column, Int rows, Int row) {
  float sum = 0;
#if defined(__CUDACC__)
#pragma unroll 8
#endif
  for (Int r = 0; r < rows; ++r) {
    sum += column[r * row];
  }
  return sum;
}
MAA_DEVICE void add_parts(Int i, const AddPartsArguments& a) {
  const Int first = i / a.cols * a.chunk, left = a.rows - first;
  a.sums[i] = sum_of_rows(a.parts + first * a.row + i % a.cols, left < a.chunk ? left : a.chunk, a.row);
}
MAA_PER_ELEMENT(add_parts, AddPartsArguments)

// Element i: column i of parts, whose sum is added to the i / channels-th total, unless that is null.
struct NormTotalsArguments {
  const float* parts;
  float* dgain;
  float* dbias;
  float* dx_sums;
  Int rows;
  Int row;
  Int channels;
};
MAA_DEVICE void norm_totals(Int i, const NormTotalsArguments& a) {
  const Int which = i / a.channels;
  float* totals = which == 0 ? a.dgain : which == 1 ? a.dbias : a.dx_sums;
  if (totals != nullptr) {
    totals[i % a.channels] += sum_of_rows(a.parts + i, a.rows, a.row);
  }
}
MAA_PER_ELEMENT(norm_totals, NormTotalsArguments)
