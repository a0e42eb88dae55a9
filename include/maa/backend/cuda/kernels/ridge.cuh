// ---- Ridge regression: one linear system per sample, in double, solved by a block of threads.
//
// With Phi the features and a column of ones, the system is K = Phi Phi' + strength I of as many equations as
// the sample has rows, or M = Phi'Phi + strength I of as many as Phi has columns: the smaller one.

struct RidgeArguments {
  const float* features;      // [batch, rows, units]
  const float* residual;      // [batch, rows, actions]
  const float* log_strength;  // strength = base exp(log_strength + row_exponent log_rows)
  const float* row_exponent;
  const float* correction;   // [batch, actions, units + 1]; backward only
  const float* dcorrection;  // as correction
  float* to;                 // forward: the correction
  float* dfeatures;
  float* dresidual;
  double* systems;  // [batch, order, order]
  double* work;     // [batch, RidgeWork::size]
  double* slopes;   // [batch]: of the logarithm of the strength
  double base;
  double log_rows;
  Int rows;
  Int units;
  Int actions;
  Int order;
};

MAA_DEVICE double ridge_strength(const RidgeArguments& a) {
  return a.base * exp(double(a.log_strength[0]) + double(a.row_exponent[0]) * a.log_rows);
}

// A sample's matrices.
struct RidgeSample {
  const float* features;
  const float* residual;
  Int units;
  Int actions;

  MAA_DEVICE double phi(Int row, Int column) const {
    return column < units ? double(features[row * units + column]) : 1.0;
  }
  // Row `row` of Phi times a vector of units + 1 numbers.
  template <class Number>
  MAA_DEVICE double apply(Int row, const Number* vector) const {
    const float* const phi_row = features + row * units;
    double sum = double(vector[units]);
    for (Int j = 0; j < units; ++j) {
      sum += double(phi_row[j]) * double(vector[j]);
    }
    return sum;
  }
};
MAA_DEVICE RidgeSample ridge_sample(const RidgeArguments& a, Int b) {
  return {a.features + b * a.rows * a.units, a.residual + b * a.rows * a.actions, a.units, a.actions};
}

// A sample's scratch memory; vectors are one per action.
struct RidgeWork {
  double* inverse;  // [order]
  double* u;        // [actions, units + 1]
  double* applied;  // [actions, rows]
  double* left;     // [actions, rows]

  MAA_DEVICE static Int size(Int order, Int rows, Int units, Int actions) {
    return order + actions * (units + 1 + 2 * rows);
  }
};
MAA_DEVICE RidgeWork ridge_work(const RidgeArguments& a, Int b) {
  double* const inverse = a.work + b * RidgeWork::size(a.order, a.rows, a.units, a.actions);
  double* const u = inverse + a.order;
  double* const applied = u + a.actions * (a.units + 1);
  return {inverse, u, applied, applied + a.actions * a.rows};
}

// The upper triangle of a sample's system: element (r, c) of matrix i / order^2.
MAA_DEVICE void ridge_system(Int i, const RidgeArguments& a) {
  const Int c = i % a.order, r = i / a.order % a.order;
  if (c < r) {
    return;
  }
  const RidgeSample sample = ridge_sample(a, i / (a.order * a.order));
  double sum = r == c ? ridge_strength(a) : 0.0;
  if (a.order == a.rows) {
    const float* const row = sample.features + r * a.units;
    const float* const col = sample.features + c * a.units;
    sum += 1.0;
    for (Int j = 0; j < a.units; ++j) {
      sum += double(row[j]) * double(col[j]);
    }
  } else {
    for (Int row = 0; row < a.rows; ++row) {
      sum += sample.phi(row, r) * sample.phi(row, c);
    }
  }
  a.systems[i] = sum;
}
MAA_PER_ELEMENT(ridge_system, RidgeArguments)

// A = L D L' with L's diagonal of ones, the form of Cholesky's without roots: overwrites A, of which the
// upper triangle is read, by D L' and its mirror image, and `inverse` by 1 / D. One row at a time, so that
// one barrier a row is enough.
MAA_DEVICE void factor_system(const Block& block, Int order, double* a, double* inverse) {
  for (Int i = 0; i < order; ++i) {
    block.each(order - i, [&](Int distance) {
      const Int j = i + distance;
      double value = a[i * order + j];
      for (Int k = 0; k < i; ++k) {
        value -= a[k * order + i] * inverse[k] * a[k * order + j];
      }
      a[i * order + j] = value;
      if (j == i) {
        inverse[i] = 1.0 / value;
      } else {
        a[j * order + i] = value;
      }
    });
  }
}

// x = A^-1 x for each of `sides` vectors x [sides, order].
MAA_DEVICE void solve_system(const Block& block, Int order, const double* a, const double* inverse, Int sides,
                             double* x) {
  for (Int i = 0; i + 1 < order; ++i) {  // x = L^-1 x
    const Int after = order - 1 - i;
    block.each(sides * after, [&](Int e) {
      const Int side = e / after, j = i + 1 + e % after;
      x[side * order + j] -= a[i * order + j] * inverse[i] * x[side * order + i];
    });
  }
  for (Int i = order - 1; i > 0; --i) {  // x = D L'^-1 D^-1 x
    block.each(sides * i, [&](Int e) {
      const Int side = e / i, j = e % i;
      x[side * order + j] -= a[i * order + j] * inverse[i] * x[side * order + i];
    });
  }
  block.each(sides * order, [&](Int e) { x[e] *= inverse[e % order]; });
}

MAA_DEVICE void ridge_forward(const Block& block, Int b, const RidgeArguments& a) {
  const RidgeSample sample = ridge_sample(a, b);
  const RidgeWork work = ridge_work(a, b);
  double* const system = a.systems + b * a.order * a.order;
  const Int columns = a.units + 1;
  float* const to = a.to + b * a.actions * columns;
  factor_system(block, a.order, system, work.inverse);
  if (a.order == a.rows) {  // Phi' K^-1 R
    block.each(a.actions * a.rows, [&](Int e) {
      work.applied[e] = double(sample.residual[e % a.rows * a.actions + e / a.rows]);
    });
    solve_system(block, a.order, system, work.inverse, a.actions, work.applied);
    block.each(a.actions * columns, [&](Int e) {
      const double* const solution = work.applied + e / columns * a.rows;
      double sum = 0.0;
      for (Int row = 0; row < a.rows; ++row) {
        sum += solution[row] * sample.phi(row, e % columns);
      }
      to[e] = float(sum);
    });
  } else {  // M^-1 Phi' R
    block.each(a.actions * columns, [&](Int e) {
      const Int action = e / columns;
      double sum = 0.0;
      for (Int row = 0; row < a.rows; ++row) {
        sum += double(sample.residual[row * a.actions + action]) * sample.phi(row, e % columns);
      }
      work.u[e] = sum;
    });
    solve_system(block, a.order, system, work.inverse, a.actions, work.u);
    block.each(a.actions * columns, [&](Int e) { to[e] = float(work.u[e]); });
  }
}
MAA_PER_BLOCK(ridge_forward, RidgeArguments)

// With U = M^-1 dD: dPhi = (R - Phi D) U' - (Phi U) D' without the column of ones, dR = Phi U, and the
// derivative for the logarithm of the strength, -strength sum(U * D).
MAA_DEVICE void ridge_backward(const Block& block, Int b, const RidgeArguments& a) {
  const RidgeSample sample = ridge_sample(a, b);
  const RidgeWork work = ridge_work(a, b);
  double* const system = a.systems + b * a.order * a.order;
  const Int columns = a.units + 1;
  const float* const correction = a.correction + b * a.actions * columns;
  const float* const dcorrection = a.dcorrection + b * a.actions * columns;
  const double strength = ridge_strength(a);
  factor_system(block, a.order, system, work.inverse);
  if (a.order == a.rows) {  // Phi U = K^-1 Phi dD, U = (dD - Phi' (Phi U)) / strength
    block.each(a.actions * a.rows, [&](Int e) {
      work.applied[e] = sample.apply(e % a.rows, dcorrection + e / a.rows * columns);
    });
    solve_system(block, a.order, system, work.inverse, a.actions, work.applied);
    block.each(a.actions * columns, [&](Int e) {
      const double* const solution = work.applied + e / columns * a.rows;
      double sum = double(dcorrection[e]);
      for (Int row = 0; row < a.rows; ++row) {
        sum -= solution[row] * sample.phi(row, e % columns);
      }
      work.u[e] = sum / strength;
    });
  } else {
    block.each(a.actions * columns, [&](Int e) { work.u[e] = double(dcorrection[e]); });
    solve_system(block, a.order, system, work.inverse, a.actions, work.u);
    block.each(a.actions * a.rows, [&](Int e) {
      work.applied[e] = sample.apply(e % a.rows, work.u + e / a.rows * columns);
    });
  }
  float* const dresidual = a.dresidual + b * a.rows * a.actions;
  block.each(a.rows * a.actions, [&](Int e) {
    const Int row = e / a.actions, action = e % a.actions, place = action * a.rows + row;
    work.left[place] = double(sample.residual[e]) - sample.apply(row, correction + action * columns);
    dresidual[e] = float(work.applied[place]);
  });
  float* const dfeatures = a.dfeatures + b * a.rows * a.units;
  block.each(a.rows * a.units, [&](Int e) {
    const Int row = e / a.units, unit = e % a.units;
    double sum = 0.0;
    for (Int action = 0; action < a.actions; ++action) {
      const Int vector = action * columns + unit, place = action * a.rows + row;
      sum += work.left[place] * work.u[vector] - work.applied[place] * double(correction[vector]);
    }
    dfeatures[e] = float(sum);
  });
  const double product =
      block.sum<double>(a.actions * columns, [&](Int e) { return work.u[e] * double(correction[e]); });
  block.each(1, [&](Int) { a.slopes[b] = -strength * product; });
}
MAA_PER_BLOCK(ridge_backward, RidgeArguments)

struct RidgeSlopeArguments {
  const double* slopes;  // [count]
  float* dlog_strength;
  float* drow_exponent;
  double log_rows;
  Int count;
};

// Adds the samples' derivatives to those of the two parameters.
MAA_DEVICE void ridge_slope(const Block& block, Int, const RidgeSlopeArguments& a) {
  const double sum = block.sum<double>(a.count, [&](Int i) { return a.slopes[i]; });
  block.each(1, [&](Int) {
    a.dlog_strength[0] += float(sum);
    a.drow_exponent[0] += float(sum * a.log_rows);
  });
}
MAA_PER_BLOCK(ridge_slope, RidgeSlopeArguments)

// ---- The parts of the policies' head around it.

struct HeadTargetArguments {
  const float* mean;
  const float* actions;
  float* to;
  Int squashed;
};

// Before tanh, actions near the bounds ask for infinitely much: they are clipped to .95, and a mean that
// saturates on the right side (atanh(.95) is 1.83) is left alone.
MAA_DEVICE bool head_is_saturated(float mean, float action) {
  return fabsf(action) > 0.95f && mean * action > 1.83f;
}

// to = what the head should add to the mean.
MAA_DEVICE void head_residual(Int i, const HeadTargetArguments& a) {
  const float mean = a.mean[i], action = a.actions[i];
  if (a.squashed == 0) {
    a.to[i] = action - mean;
  } else if (head_is_saturated(mean, action)) {
    a.to[i] = 0.0f;
  } else {
    a.to[i] = atanhf(limited(action, -0.95f, 0.95f)) - limited(mean, -3.0f, 3.0f);
  }
}
MAA_PER_ELEMENT(head_residual, HeadTargetArguments)

// to *= its derivative for the mean.
MAA_DEVICE void head_residual_backward(Int i, const HeadTargetArguments& a) {
  const float mean = a.mean[i];
  const bool flat =
      a.squashed != 0 && (head_is_saturated(mean, a.actions[i]) || limited(mean, -3.0f, 3.0f) != mean);
  a.to[i] *= flat ? 0.0f : -1.0f;
}
MAA_PER_ELEMENT(head_residual_backward, HeadTargetArguments)

struct HeadArguments {
  const float* from;
  float* to;
  Int actions;
  Int units;
  Int weight_offset;
  Int bias_offset;
  Int policy_row;
};

// Where entry i of corrections [policies, actions, units + 1] lies in the policies.
MAA_DEVICE Int head_place(Int i, const HeadArguments& a) {
  const Int unit = i % (a.units + 1), action = i / (a.units + 1) % a.actions;
  const Int policy = i / ((a.units + 1) * a.actions);
  return policy * a.policy_row +
         (unit < a.units ? a.weight_offset + action * a.units + unit : a.bias_offset + action);
}

// Policies += corrections.
MAA_DEVICE void add_head(Int i, const HeadArguments& a) { a.to[head_place(i, a)] += a.from[i]; }
MAA_PER_ELEMENT(add_head, HeadArguments)

// The corrections' gradients, from the policies'.
MAA_DEVICE void head_gradient(Int i, const HeadArguments& a) { a.to[i] = a.from[head_place(i, a)]; }
MAA_PER_ELEMENT(head_gradient, HeadArguments)
