// Layouts of policies for tests of the ops on many of them.
#pragma once

#include <maa/backend/mlp_layout.hpp>

// A layout whose matrices are apart, with unused parameters in between.
inline maa::MlpLayout layout_of(const std::vector<maa::Index>& sizes,
                                const std::vector<maa::Activation>& activations, bool log_std) {
  maa::MlpLayout layout;
  maa::Index offset = 2;
  const auto next = [&](maa::Index in, maa::Index out, maa::Activation activation) {
    const maa::MlpLayout::Linear linear{in, out, offset, offset + in * out, activation};
    offset += in * out + out + 1;
    return linear;
  };
  for (std::size_t i = 0; i + 2 < sizes.size(); ++i) {
    layout.hidden.push_back(next(sizes[i], sizes[i + 1], activations[i]));
  }
  const maa::Index last = sizes[sizes.size() - 2];
  layout.mean = next(last, sizes.back(), maa::Activation::tanh);  // which the ops leave to the caller
  if (log_std) {
    layout.log_std = next(last, sizes.back(), maa::Activation::identity);
  }
  layout.parameter_count = offset;
  return layout;
}

inline const maa::MlpLayout two_hidden =
    layout_of({5, 18, 7, 3}, {maa::Activation::elu, maa::Activation::tanh}, true);
inline const maa::MlpLayout one_hidden = layout_of({5, 18, 3}, {maa::Activation::mish}, false);
inline const maa::MlpLayout none_hidden = layout_of({5, 3}, {}, true);
