// The two building blocks of the denoiser: convolution -> group norm -> Mish, and the FiLM-conditioned
// residual block.
//
// Their types describe; the arithmetic is one function of run-time sizes, compiled once for all levels.
#pragma once

#include <maa/backend/conv_shape.hpp>
#include <maa/nn/layers.hpp>

MAA_NAMESPACE_BEGIN

inline constexpr double group_norm_epsilon = 1e-5;

// A convolution's parameters; PyTorch shape [out, in, kernel], in memory one [out, in] matrix per tap.
template <Index In, Index Out, Index Kernel>
struct Conv1d {
  template <class T>
  using Weights = WeightAndBias<T>;
  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<Out, In, Kernel>("weight", Init::uniform_fan_in(In * Kernel), Role::weight,
                                           Order::taps_first, w.weight...);
    visit.template tensor<Out>("bias", Init::uniform_fan_in(In * Kernel), Role::bias, w.bias...);
  }
};

// A transposed convolution's parameters; PyTorch shape [in, out, kernel], in memory one [in, out] matrix per
// tap.
template <Index In, Index Out, Index Kernel>
struct ConvTranspose1d {
  template <class T>
  using Weights = WeightAndBias<T>;
  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<In, Out, Kernel>("weight", Init::uniform_fan_in(Out * Kernel), Role::weight,
                                           Order::taps_first, w.weight...);
    visit.template tensor<Out>("bias", Init::uniform_fan_in(Out * Kernel), Role::bias, w.bias...);
  }
};

template <Index Channels>
struct GroupNorm {
  template <class T>
  using Weights = WeightAndBias<T>;
  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<Channels>("weight", Init::ones(), Role::gain, w.weight...);
    visit.template tensor<Channels>("bias", Init::zeros(), Role::bias, w.bias...);
  }
};

template <class T>
struct ConvBlockWeights {
  WeightAndBias<T> conv;
  WeightAndBias<T> norm;
};

// Conv1d (same length) -> GroupNorm -> Mish.
template <Index In, Index Out, Index Kernel>
struct ConvBlock {
  template <class T>
  using Weights = ConvBlockWeights<T>;
  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template child<Conv1d<In, Out, Kernel>>("block", 0, w.conv...);
    visit.template child<GroupNorm<Out>>("block", 1, w.norm...);
  }
};

template <class T>
struct ConvBlockSaved {
  SequenceView<const T> x;
  SequenceView<T> convolved;
  MatrixView<T> statistics;
  SequenceView<T> y;
};

// y = scale * block(x) + bias + residual, with rows of scale_bias [batch, 2 * channels]; scale_bias and
// residual may be without data. residual and y [batch * length, channels], rows may be strided; y may be
// residual. The result's y is left for the caller to set.
template <class Backend, class T>
ConvBlockSaved<T> conv_block_forward(const Backend& backend, Index kernel, Index groups,
                                     const ConvBlockWeights<const T>& w, SequenceView<const T> x,
                                     MatrixView<const T> scale_bias, MatrixView<const T> residual,
                                     MatrixView<T> y, WorkspaceOf<Backend>& workspace) {
  ConvBlockSaved<T> saved;
  saved.x = x;
  saved.convolved = workspace.template sequence<T>(x.batch, x.length, y.cols);
  saved.statistics = workspace.template matrix<T>(x.batch, 2 * groups);
  conv1d_forward(backend, ConvShape{kernel, 1, kernel / 2}, x, w.conv.weight, w.conv.bias, saved.convolved);
  norm_mish_forward(backend, groups, group_norm_epsilon, saved.convolved, w.norm.weight, w.norm.bias,
                    scale_bias, residual, y, saved.statistics);
  return saved;
}

template <class Backend, class T>
ConvBlockSaved<T> conv_block_forward(const Backend& backend, Index kernel, Index groups, Index out_channels,
                                     const ConvBlockWeights<const T>& w, SequenceView<const T> x,
                                     WorkspaceOf<Backend>& workspace) {
  const auto y = workspace.template sequence<T>(x.batch, x.length, out_channels);
  auto saved = conv_block_forward(backend, kernel, groups, w, x, MatrixView<const T>(), MatrixView<const T>(),
                                  y.flat(), workspace);
  saved.y = y;
  return saved;
}

// dy [batch * length, channels], rows may be strided; the residual's gradient is dy. dx is overwritten if it
// has data, dscale_bias if scale_bias has.
template <class Backend, class T>
void conv_block_backward(const Backend& backend, Index kernel, Index groups,
                         const ConvBlockWeights<const T>& w, const ConvBlockSaved<T>& saved,
                         MatrixView<const T> scale_bias, MatrixView<const T> dy,
                         const ConvBlockWeights<T>& gradients, SequenceView<T> dx, MatrixView<T> dscale_bias,
                         WorkspaceOf<Backend>& workspace) {
  const auto scope = workspace.scope();
  const auto& convolved = saved.convolved;
  const auto dconvolved =
      workspace.template sequence<T>(convolved.batch, convolved.length, convolved.channels);
  norm_mish_backward(backend, groups, convolved, saved.statistics, w.norm.weight, w.norm.bias, scale_bias, dy,
                     dconvolved, dscale_bias, gradients.norm.weight, gradients.norm.bias,
                     gradients.conv.bias);
  const ConvShape shape{kernel, 1, kernel / 2};
  if (dx.data) {
    conv1d_backward_input(backend, shape, dconvolved, w.conv.weight, dx);
  }
  conv1d_backward_weight(backend, shape, dconvolved, saved.x, gradients.conv.weight, nullptr);
}

template <class Backend, class T>
void conv_block_backward(const Backend& backend, Index kernel, Index groups,
                         const ConvBlockWeights<const T>& w, const ConvBlockSaved<T>& saved,
                         SequenceView<const T> dy, const ConvBlockWeights<T>& gradients, SequenceView<T> dx,
                         WorkspaceOf<Backend>& workspace) {
  conv_block_backward(backend, kernel, groups, w, saved, MatrixView<const T>(), dy.flat(), gradients, dx,
                      MatrixView<T>(), workspace);
}

template <class T>
struct ResidualBlockWeights {
  ConvBlockWeights<T> first;
  ConvBlockWeights<T> second;
  WeightAndBias<T> condition;
  WeightAndBias<T> shortcut;  // unset if in == out
};

// block -> FiLM -> block, plus the input (through a 1x1 convolution if the channels differ).
template <Index In, Index Out, Index Condition, Index Kernel>
struct ResidualBlock {
  template <class T>
  using Weights = ResidualBlockWeights<T>;
  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template child<ConvBlock<In, Out, Kernel>>("blocks", 0, w.first...);
    visit.template child<ConvBlock<Out, Out, Kernel>>("blocks", 1, w.second...);
    visit.template child<Linear<Condition, 2 * Out>>("cond_encoder", 1, w.condition...);
    if constexpr (In != Out) {
      visit.template child<Conv1d<In, Out, 1>>("residual_conv", w.shortcut...);
    }
  }
};

template <class T>
struct ResidualBlockSaved {
  ConvBlockSaved<T> first;   // its y is modulated
  MatrixView<T> scale_bias;  // [batch, 2 * out]
  ConvBlockSaved<T> second;
  SequenceView<T> y;
};

// scale_bias [batch, 2 * out] modulates between the blocks: W Mish(cond) + b. y is overwritten.
template <class Backend, class T>
ResidualBlockSaved<T> residual_block_forward(const Backend& backend, Index kernel, Index groups,
                                             const ResidualBlockWeights<const T>& w, SequenceView<const T> x,
                                             MatrixView<T> scale_bias, SequenceView<T> y,
                                             WorkspaceOf<Backend>& workspace) {
  ResidualBlockSaved<T> saved;
  saved.scale_bias = scale_bias;
  saved.y = y;
  const auto modulated = workspace.template sequence<T>(y.batch, y.length, y.channels);
  saved.first = conv_block_forward(backend, kernel, groups, w.first, x, MatrixView<const T>(scale_bias),
                                   MatrixView<const T>(), modulated.flat(), workspace);
  saved.first.y = modulated;
  MatrixView<const T> residual = x.flat();
  if (w.shortcut.weight) {
    linear_forward(backend, x.flat(), w.shortcut.weight, w.shortcut.bias, y.flat());
    residual = y.flat();
  }
  saved.second = conv_block_forward(backend, kernel, groups, w.second, SequenceView<const T>(modulated),
                                    MatrixView<const T>(), residual, y.flat(), workspace);
  saved.second.y = y;
  return saved;
}

// condition [batch, condition size] is Mish(cond), which all blocks share. dx is overwritten if it has data;
// dcondition accumulates over the blocks.
template <class Backend, class T>
void residual_block_backward(const Backend& backend, Index kernel, Index groups,
                             const ResidualBlockWeights<const T>& w, const ResidualBlockSaved<T>& saved,
                             MatrixView<const T> condition, SequenceView<const T> dy,
                             const ResidualBlockWeights<T>& gradients, SequenceView<T> dx,
                             MatrixView<T> dcondition, WorkspaceOf<Backend>& workspace) {
  const auto scope = workspace.scope();
  const auto& x = saved.first.x;
  auto dmodulated = workspace.template sequence<T>(dy.batch, dy.length, dy.channels);
  conv_block_backward(backend, kernel, groups, w.second, saved.second, dy, gradients.second, dmodulated,
                      workspace);
  auto dscale_bias = workspace.template matrix<T>(dy.batch, 2 * dy.channels);
  conv_block_backward(backend, kernel, groups, w.first, saved.first, MatrixView<const T>(saved.scale_bias),
                      MatrixView<const T>(dmodulated.flat()), gradients.first, dx, dscale_bias, workspace);
  auto dcondition_here = workspace.template matrix<T>(dcondition.rows, dcondition.cols);
  linear_backward_input(backend, dscale_bias, w.condition.weight, dcondition_here);
  add_matrix(backend, dcondition_here, dcondition);
  linear_backward_weight(backend, dscale_bias, condition, gradients.condition.weight,
                         gradients.condition.bias);
  if (w.shortcut.weight) {
    if (dx.data) {
      auto dshortcut = workspace.template sequence<T>(x.batch, x.length, x.channels);
      linear_backward_input(backend, dy.flat(), w.shortcut.weight, dshortcut.flat());
      add_matrix(backend, dshortcut.flat(), dx.flat());
    }
    linear_backward_weight(backend, dy.flat(), x.flat(), gradients.shortcut.weight, gradients.shortcut.bias);
  } else if (dx.data) {
    add_matrix(backend, dy.flat(), dx.flat());
  }
}

MAA_NAMESPACE_END
