// ---- AdamW with a moving average (kernels/reference.hpp), and the norm for clipping.

struct SquaresArguments {
  const float* values;
  double* parts;
  Int count;
};
MAA_DEVICE void squares(const Block& block, Int b, const SquaresArguments& a) {
  const float* values = a.values + b * elements_per_block;
  const double part = block.sum<double>(elements_of_block(b, a.count),
                                        [&](Int i) { return double(values[i]) * double(values[i]); });
  block.each(1, [&](Int) { a.parts[b] = part; });
}
MAA_PER_BLOCK(squares, SquaresArguments)

// The scalars of one step from the host, in the order of kernels::AdamWFactors (kernels/reference.hpp).
struct AdamWFactors {
  float gradient_scale;
  float decay;  // 1 - learning rate * weight decay, for groups that decay
  float one_minus_beta1, beta2, one_minus_beta2;
  float step_size;                 // learning rate / (1 - beta1^t)
  float inverse_root_correction2;  // 1 / sqrt(1 - beta2^t)
  float epsilon;
  float one_minus_ema_decay;
};
// The same with the gradients' norm in gradient_scale.
struct AdamWState {
  AdamWFactors factors;
  float finite;  // 1, or 0 for a step that is not to be taken
};

struct AdamWBeginArguments {
  const AdamWFactors* factors;
  const double* loss;
  const double* squares;
  AdamWState* state;
  double clip_norm;  // 0: no clipping
};
// What all elements share.
MAA_DEVICE void adamw_begin(Int, const AdamWBeginArguments& a) {
  AdamWState state = {*a.factors, 0.0f};
  const double largest = 1.7976931348623157e308;
  if (fabs(*a.loss) <= largest && *a.squares <= largest) {  // neither holds for NaN
    state.finite = 1.0f;
    const double norm = sqrt(*a.squares);
    if (a.clip_norm > 0.0 && norm > a.clip_norm) {
      state.factors.gradient_scale = float(double(state.factors.gradient_scale) * (a.clip_norm / norm));
    }
  }
  *a.state = state;
}
MAA_PER_ELEMENT(adamw_begin, AdamWBeginArguments)

struct AdamWArguments {
  const AdamWState* state;
  float* weights;
  const float* gradients;
  float* m;
  float* v;
  float* ema;       // null: no average is kept
  const Int* ends;  // of the groups that decay and do not decay in turn
  Int groups;
  Int first_decays;
};
// Whether weight i decays: the number of groups that end at or before it is even or odd.
MAA_DEVICE bool decays(Int i, const AdamWArguments& a) {
  Int low = 0, high = a.groups;
  while (low < high) {
    const Int middle = (low + high) / 2;
    if (a.ends[middle] <= i) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return (low % 2 == 0) == (a.first_decays != 0);
}
MAA_DEVICE void adamw(Int i, const AdamWArguments& a) {
  const AdamWFactors& f = a.state->factors;
  if (a.state->finite == 0.0f) {
    return;
  }
  const float g = a.gradients[i] * f.gradient_scale;
  const float m = a.m[i] + f.one_minus_beta1 * (g - a.m[i]);
  const float v = f.beta2 * a.v[i] + f.one_minus_beta2 * g * g;
  const float denominator = sqrtf(v) * f.inverse_root_correction2 + f.epsilon;
  const float decay = decays(i, a) ? f.decay : 1.0f;
  const float weight = a.weights[i] * decay - f.step_size * m / denominator;
  a.m[i] = m;
  a.v[i] = v;
  a.weights[i] = weight;
  if (a.ema != nullptr) {
    a.ema[i] += f.one_minus_ema_decay * (weight - a.ema[i]);
  }
}
MAA_PER_ELEMENT(adamw, AdamWArguments)
