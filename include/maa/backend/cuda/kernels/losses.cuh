// ---- Losses. Each block leaves its share of the sum in `parts`, in double; add_up adds the shares.

struct AddUpArguments {
  const double* parts;
  double* to;
  Int count;
  double factor;
  double offset;
};
// to = factor * (sum of parts) + offset; one block.
MAA_DEVICE void add_up(const Block& block, Int, const AddUpArguments& a) {
  const double sum = block.sum<double>(a.count, [&](Int i) { return a.parts[i]; });
  block.each(1, [&](Int) { *a.to = a.factor * sum + a.offset; });
}
MAA_PER_BLOCK(add_up, AddUpArguments)

struct AddScalarsArguments {
  const double* a;
  const double* b;
  double* to;
};
MAA_DEVICE void add_scalars(Int, const AddScalarsArguments& a) { *a.to = *a.a + *a.b; }
MAA_PER_ELEMENT(add_scalars, AddScalarsArguments)

// Elements per block of the kernels below, where a block has not a row.
constexpr Int elements_per_block = 4096;

MAA_DEVICE Int elements_of_block(Int b, Int count) {
  const Int left = count - b * elements_per_block;
  return left < elements_per_block ? left : elements_per_block;
}

struct MseArguments {
  const float* prediction;
  const float* target;
  float* dprediction;  // null if not wanted
  double* parts;
  Int count;
  Int cols;
  Int prediction_row;
  Int target_row;
  Int dprediction_row;
  double scale;  // 2 / count
  double width;  // of huber
};
MAA_DEVICE void mse(const Block& block, Int b, const MseArguments& a) {
  const double part = block.sum<double>(elements_of_block(b, a.count), [&](Int k) {
    const Int i = b * elements_per_block + k, r = i / a.cols, c = i % a.cols;
    const float difference = a.prediction[r * a.prediction_row + c] - a.target[r * a.target_row + c];
    if (a.dprediction != nullptr) {
      a.dprediction[r * a.dprediction_row + c] = float(a.scale) * difference;
    }
    return double(difference) * double(difference);
  });
  block.each(1, [&](Int) { a.parts[b] = part; });
}
MAA_PER_BLOCK(mse, MseArguments)
MAA_DEVICE void huber(const Block& block, Int b, const MseArguments& a) {
  const double part = block.sum<double>(elements_of_block(b, a.count), [&](Int k) {
    const Int i = b * elements_per_block + k, r = i / a.cols, c = i % a.cols;
    const float difference = a.prediction[r * a.prediction_row + c] - a.target[r * a.target_row + c];
    const double d = double(difference), root = sqrt(d * d + a.width * a.width);
    if (a.dprediction != nullptr) {
      a.dprediction[r * a.dprediction_row + c] = float(a.scale * a.width * d / root);
    }
    return d * d / (root + a.width);
  });
  block.each(1, [&](Int) { a.parts[b] = part; });
}
MAA_PER_BLOCK(huber, MseArguments)

struct InfoNceArguments {
  const float* logits;
  const float* targets;
  float* dlogits;  // null if not wanted
  double* parts;
  float* maxima;  // maxima_per_row for each row
  Int rows;
  Int cols;
  Int logits_row;
  Int targets_row;
  Int dlogits_row;
};

// A row's maximum is found in three steps: of each thread, of 16 threads, of the 16 results.
constexpr Int maxima_per_row = 256 + 16;

MAA_DEVICE float maximum_of(const float* values, Int count, Int step) {
  float maximum = values[0];
  for (Int i = step; i < count; i += step) {
    maximum = values[i] > maximum ? values[i] : maximum;
  }
  return maximum;
}

// Block b has row b: the cross-entropy of softmax(logits) against the targets.
MAA_DEVICE void info_nce(const Block& block, Int b, const InfoNceArguments& a) {
  const float* z = a.logits + b * a.logits_row;
  const float* t = a.targets + b * a.targets_row;
  float* maxima = a.maxima + b * maxima_per_row;
  const Int threads = a.cols < 256 ? a.cols : 256, results = threads < 16 ? threads : 16;
  block.each(threads, [&](Int i) { maxima[i] = maximum_of(z + i, a.cols - i, 256); });
  block.each(results, [&](Int i) { maxima[256 + i] = maximum_of(maxima + i, threads - i, 16); });
  const double maximum = double(maximum_of(maxima + 256, results, 1));

  const double exponentials = block.sum<double>(a.cols, [&](Int j) { return exp(double(z[j]) - maximum); });
  const double log_partition = maximum + log(exponentials);
  const double part = block.sum<double>(a.cols, [&](Int j) {
    // A logit of -infinity is allowed where the target is 0.
    return t[j] == 0.0f ? 0.0 : double(t[j]) * (log_partition - double(z[j]));
  });
  block.each(1, [&](Int) { a.parts[b] = part; });
  if (a.dlogits == nullptr) {
    return;
  }
  const double weight = block.sum<double>(a.cols, [&](Int j) { return double(t[j]); });
  block.each(a.cols, [&](Int j) {
    a.dlogits[b * a.dlogits_row + j] =
        float((weight * exp(double(z[j]) - log_partition) - double(t[j])) / double(a.rows));
  });
}
MAA_PER_BLOCK(info_nce, InfoNceArguments)

struct GaussianNllArguments {
  const float* mean;
  const float* log_std;
  const float* value;
  float* dmean;     // null if not wanted
  float* dlog_std;  // null if not wanted
  double* parts;
  Int count;
  Int cols;
  Int mean_row;
  Int log_std_row;
  Int value_row;
  Int dmean_row;
  Int dlog_std_row;
};
// Without the constant log(2 pi) / 2.
MAA_DEVICE void gaussian_nll(const Block& block, Int b, const GaussianNllArguments& a) {
  const double count = double(a.count);
  const double part = block.sum<double>(elements_of_block(b, a.count), [&](Int k) {
    const Int i = b * elements_per_block + k, r = i / a.cols, c = i % a.cols;
    const double free = double(a.log_std[r * a.log_std_row + c]);
    const double clamped = limited(free, -20.0, 2.0);
    const double inverse = exp(-clamped);
    const double z = (double(a.value[r * a.value_row + c]) - double(a.mean[r * a.mean_row + c])) * inverse;
    if (a.dmean != nullptr) {
      a.dmean[r * a.dmean_row + c] = float(-z * inverse / count);
    }
    if (a.dlog_std != nullptr) {
      a.dlog_std[r * a.dlog_std_row + c] = free == clamped ? float((1.0 - z * z) / count) : 0.0f;
    }
    return 0.5 * z * z + clamped;
  });
  block.each(1, [&](Int) { a.parts[b] = part; });
}
MAA_PER_BLOCK(gaussian_nll, GaussianNllArguments)
