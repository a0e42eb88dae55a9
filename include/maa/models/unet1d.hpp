// The denoiser: a conditional 1-D convolutional UNet over latents [batch, length = tokens, channels].
#pragma once

#include <maa/core/function_ref.hpp>
#include <maa/nn/conv_block.hpp>

#include <array>
#include <span>

MAA_NAMESPACE_BEGIN

// Channels of the UNet's levels, from the latent's resolution down.
template <Index... Channels>
struct Levels {
  static constexpr std::size_t count = sizeof...(Channels);
  static constexpr std::array<Index, count> channels{Channels...};
};

inline constexpr std::size_t most_unet_levels = 8;

template <class T>
struct UNet1dWeights {
  struct Level {
    std::array<ResidualBlockWeights<T>, 2> blocks;
    WeightAndBias<T> resample;  // unset at the deepest level on the way down
  };
  std::array<WeightAndBias<T>, 2> time;
  std::array<Level, most_unet_levels> down;
  std::array<ResidualBlockWeights<T>, 2> middle;
  std::array<Level, most_unet_levels> up;
  ConvBlockWeights<T> last;
  WeightAndBias<T> output;
};

// Activations of one forward pass; views into the caller's workspace.
template <class T>
struct UNet1dSaved {
  struct Level {
    std::array<ResidualBlockSaved<T>, 2> blocks;
    SequenceView<T> input;      // up only: concatenated with the skip
    SequenceView<T> resampled;  // empty if this level does not resample
  };
  MatrixView<T> time_features;             // sinusoidal
  MatrixView<T> time_hidden, time_active;  // before and after Mish
  MatrixView<T> condition;                 // [batch, time + behaviour]
  MatrixView<T> condition_active;          // Mish(condition)
  std::array<Level, most_unet_levels> down;
  std::array<ResidualBlockSaved<T>, 2> middle;
  std::array<Level, most_unet_levels> up;
  ConvBlockSaved<T> last;
  SequenceView<T> output;
};

// What timesteps and conditions do to the blocks, so that sampling need not repeat it in every step: the
// scales and biases of all blocks side by side. Mish acts on each number of [time; condition] alone, so they
// are the sum of a row for the timestep and one for the sample.
template <class T>
struct UNet1dModulation {
  MatrixView<T> of_timesteps;   // [timesteps, UNet1dSizes::modulation()]
  MatrixView<T> of_conditions;  // [batch, the same]
};

// A UNet1d's sizes, for its arithmetic, which is compiled once for all of them.
struct UNet1dSizes {
  std::span<const Index> channels;  // of each level
  Index latent, condition, kernel, groups, time;

  std::size_t levels() const { return channels.size(); }
  Index full_condition() const { return time + condition; }
  // Numbers of all blocks' scales and biases.
  Index modulation() const {
    Index size = 4 * channels.back();
    for (std::size_t level = 0; level < levels(); ++level) {
      size += (level + 1 < levels() ? 8 : 4) * channels[level];
    }
    return size;
  }
};

namespace detail {

// The passes of UNet1d, which says what they take and give. All arguments must outlive it.
template <class Backend, class T>
class UNet1dPass {
 public:
  using Weights = UNet1dWeights<const T>;
  using Saved = UNet1dSaved<T>;
  using Modulation = UNet1dModulation<T>;

  UNet1dPass(const Backend& backend, const UNet1dSizes& sizes, const Weights& w,
             WorkspaceOf<Backend>& workspace)
      : backend_(backend), sizes_(sizes), w_(w), workspace_(workspace) {}

  Saved forward(SequenceView<const T> x, std::span<const Index> timesteps, MatrixView<const T> condition);
  Modulation modulation(std::span<const Index> timesteps, MatrixView<const T> condition);
  SequenceView<T> infer(SequenceView<const T> x, const Modulation& modulation, Index step);
  void backward(const Saved& saved, SequenceView<const T> doutput, const UNet1dWeights<T>& gradients,
                MatrixView<T> dcondition, SequenceView<T> dx);

 private:
  static constexpr ConvShape down_shape{2, 2, 1};
  // Computes saved.y.
  using Block = FunctionRef<void(const ResidualBlockWeights<const T>&, SequenceView<const T> input, Index out,
                                 ResidualBlockSaved<T>& saved)>;

  MatrixView<T> matrix(Index rows, Index cols) { return workspace_.template matrix<T>(rows, cols); }
  SequenceView<T> sequence(Index batch, Index length, Index channels) {
    return workspace_.template sequence<T>(batch, length, channels);
  }
  // The embedding of timesteps, one row each, into `time` [timesteps, TimeSize].
  void embed_time(std::span<const Index> timesteps, MatrixView<T> time, Saved& saved);
  // From the input to the output.
  SequenceView<T> pass(SequenceView<const T> x, Block block, Saved& saved);
  // Restores the length that the level above had.
  static ConvShape up_shape(Index length, Index target) {
    ConvShape shape{2, 2, 1};
    shape.output_padding = target - shape.transposed_output_length(length);
    return shape;
  }

  const Backend& backend_;
  const UNet1dSizes& sizes_;
  const Weights& w_;
  WorkspaceOf<Backend>& workspace_;
};

template <class Backend, class T>
UNet1dSaved<T> UNet1dPass<Backend, T>::forward(SequenceView<const T> x, std::span<const Index> timesteps,
                                               MatrixView<const T> condition) {
  const Index batch = x.batch;
  require_shape(x, batch, x.length, sizes_.latent, "unet input");
  require_shape(condition, batch, sizes_.condition, "unet condition");
  require(static_cast<Index>(timesteps.size()) == batch, "unet timesteps: expected ", batch, ", found ",
          timesteps.size());
  Saved saved;
  saved.condition = matrix(batch, sizes_.full_condition());
  saved.condition_active = matrix(batch, sizes_.full_condition());
  embed_time(timesteps, saved.condition.col_range(0, sizes_.time), saved);
  copy_matrix(backend_, condition, saved.condition.col_range(sizes_.time, sizes_.condition));
  activation_forward(backend_, Activation::mish, saved.condition.span(), saved.condition_active.span());
  saved.output = pass(
      x,
      [&](const ResidualBlockWeights<const T>& weights, SequenceView<const T> input, Index out,
          ResidualBlockSaved<T>& here) {
        const auto scale_bias = matrix(batch, 2 * out);
        linear_forward(backend_, saved.condition_active, weights.condition.weight, weights.condition.bias,
                       scale_bias);
        here = residual_block_forward(backend_, sizes_.kernel, sizes_.groups, weights, input, scale_bias,
                                      sequence(batch, input.length, out), workspace_);
      },
      saved);
  return saved;
}

template <class Backend, class T>
UNet1dModulation<T> UNet1dPass<Backend, T>::modulation(std::span<const Index> timesteps,
                                                       MatrixView<const T> condition) {
  require_shape(condition, condition.rows, sizes_.condition, "unet condition");
  const auto steps = static_cast<Index>(timesteps.size());
  const Modulation result{matrix(steps, sizes_.modulation()), matrix(condition.rows, sizes_.modulation())};
  const auto scope = workspace_.scope();
  Saved saved;
  const auto time = matrix(steps, sizes_.time);
  embed_time(timesteps, time, saved);
  const auto active = matrix(condition.rows, sizes_.condition);
  activation_forward(backend_, Activation::mish, time.span(), time.span());
  copy_matrix(backend_, condition, active);
  activation_forward(backend_, Activation::mish, active.span(), active.span());
  Index first = 0;
  const auto block = [&](const ResidualBlockWeights<const T>& weights, Index out) {
    const T* none = nullptr;
    linear_forward(backend_, time, weights.condition.weight, sizes_.full_condition(), weights.condition.bias,
                   result.of_timesteps.col_range(first, 2 * out));
    linear_forward(backend_, active, weights.condition.weight + sizes_.time, sizes_.full_condition(), none,
                   result.of_conditions.col_range(first, 2 * out));
    first += 2 * out;
  };
  for (std::size_t level = 0; level < sizes_.levels(); ++level) {
    block(w_.down[level].blocks[0], sizes_.channels[level]);
    block(w_.down[level].blocks[1], sizes_.channels[level]);
  }
  block(w_.middle[0], sizes_.channels.back());
  block(w_.middle[1], sizes_.channels.back());
  for (std::size_t i = 0; i + 1 < sizes_.levels(); ++i) {
    block(w_.up[i].blocks[0], sizes_.channels[sizes_.levels() - 2 - i]);
    block(w_.up[i].blocks[1], sizes_.channels[sizes_.levels() - 2 - i]);
  }
  return result;
}

template <class Backend, class T>
SequenceView<T> UNet1dPass<Backend, T>::infer(SequenceView<const T> x, const Modulation& modulation,
                                              Index step) {
  require_shape(x, modulation.of_conditions.rows, x.length, sizes_.latent, "unet input");
  const auto output = sequence(x.batch, x.length, sizes_.latent);
  const auto scope = workspace_.scope();
  const auto all = matrix(x.batch, sizes_.modulation());
  add_row(backend_, modulation.of_conditions, modulation.of_timesteps.row(step), all);
  Saved unused;
  Index first = 0;
  const auto computed = pass(
      x,
      [&](const ResidualBlockWeights<const T>& weights, SequenceView<const T> input, Index out,
          ResidualBlockSaved<T>& here) {
        const auto y = sequence(x.batch, input.length, out);
        const auto inner = workspace_.scope();
        residual_block_forward(backend_, sizes_.kernel, sizes_.groups, weights, input,
                               all.col_range(first, 2 * out), y, workspace_);
        here.y = y;
        first += 2 * out;
      },
      unused);
  copy_matrix(backend_, computed.flat(), output.flat());
  return output;
}

template <class Backend, class T>
void UNet1dPass<Backend, T>::backward(const Saved& saved, SequenceView<const T> doutput,
                                      const UNet1dWeights<T>& gradients, MatrixView<T> dcondition,
                                      SequenceView<T> dx) {
  const auto scope = workspace_.scope();
  const Index batch = doutput.batch;
  const MatrixView<const T> active = saved.condition_active;
  auto dactive = matrix(batch, sizes_.full_condition());
  fill_zero(backend_, dactive);
  const auto sequence_like = [&](SequenceView<const T> other) {
    return sequence(other.batch, other.length, other.channels);
  };
  const auto block = [&](const ResidualBlockWeights<const T>& weights, const ResidualBlockSaved<T>& of,
                         SequenceView<const T> dy, const ResidualBlockWeights<T>& block_gradients,
                         SequenceView<T> dinput) {
    residual_block_backward(backend_, sizes_.kernel, sizes_.groups, weights, of, active, dy, block_gradients,
                            dinput, dactive, workspace_);
  };
  // Both blocks of a level; returns the gradient of the first one's input.
  const auto pair = [&](const auto& weights, const auto& of, SequenceView<const T> dy,
                        const auto& pair_gradients) {
    auto between = sequence_like(of[0].y);
    block(weights[1], of[1], dy, pair_gradients[1], between);
    auto dinput = sequence_like(of[0].first.x);
    block(weights[0], of[0], between, pair_gradients[0], dinput);
    return dinput;
  };

  auto dlast = sequence_like(saved.last.y);
  linear_backward_input(backend_, doutput.flat(), w_.output.weight, dlast.flat());
  linear_backward_weight(backend_, doutput.flat(), saved.last.y.flat(), gradients.output.weight,
                         gradients.output.bias);
  auto dh = sequence_like(saved.last.x);
  conv_block_backward(backend_, sizes_.kernel, sizes_.groups, w_.last, saved.last,
                      SequenceView<const T>(dlast), gradients.last, dh, workspace_);
  std::array<SequenceView<T>, most_unet_levels> dskip;  // by level; level 0's skip is not used
  for (std::size_t i = sizes_.levels() - 1; i-- > 0;) {
    const auto& here = saved.up[i];
    const auto level = sizes_.levels() - 1 - i;
    const auto y = here.blocks[1].y;
    const auto shape = up_shape(y.length, here.resampled.length);
    auto dy = sequence_like(y);
    conv_transpose1d_backward_input(backend_, shape, dh, w_.up[i].resample.weight, dy);
    conv_transpose1d_backward_weight(backend_, shape, dh, y, gradients.up[i].resample.weight,
                                     gradients.up[i].resample.bias);
    const auto dinput = pair(w_.up[i].blocks, here.blocks, SequenceView<const T>(dy), gradients.up[i].blocks);
    const Index skip_channels = sizes_.channels[level];
    const Index h_channels = dinput.channels - skip_channels;
    dh = sequence(batch, dinput.length, h_channels);
    dskip[level] = sequence(batch, dinput.length, skip_channels);
    copy_matrix(backend_, dinput.flat().col_range(0, h_channels), dh.flat());
    copy_matrix(backend_, dinput.flat().col_range(h_channels, skip_channels), dskip[level].flat());
  }
  dh = pair(w_.middle, saved.middle, SequenceView<const T>(dh), gradients.middle);
  for (std::size_t level = sizes_.levels(); level-- > 0;) {
    const auto& here = saved.down[level];
    const auto y = here.blocks[1].y;
    auto dy = dh;
    if (level + 1 < sizes_.levels()) {
      dy = sequence_like(y);
      conv1d_backward_input(backend_, down_shape, dh, w_.down[level].resample.weight, dy);
      conv1d_backward_weight(backend_, down_shape, dh, y, gradients.down[level].resample.weight,
                             gradients.down[level].resample.bias);
    }
    if (level > 0) {
      add_matrix(backend_, dskip[level].flat(), dy.flat());
    }
    if (level > 0 || dx.data) {
      dh = pair(w_.down[level].blocks, here.blocks, SequenceView<const T>(dy), gradients.down[level].blocks);
    } else {
      auto between = sequence_like(here.blocks[0].y);
      block(w_.down[0].blocks[1], here.blocks[1], dy, gradients.down[0].blocks[1], between);
      block(w_.down[0].blocks[0], here.blocks[0], between, gradients.down[0].blocks[0], SequenceView<T>());
    }
  }
  if (dx.data) {
    copy_matrix(backend_, dh.flat(), dx.flat());
  }

  auto dfull = matrix(batch, sizes_.full_condition());
  activation_backward(backend_, Activation::mish, saved.condition.span(), dactive.span(), dfull.span());
  if (dcondition.data) {
    copy_matrix(backend_, dfull.col_range(sizes_.time, sizes_.condition), dcondition);
  }
  const auto dtime = dfull.col_range(0, sizes_.time);
  auto dhidden = matrix(batch, 4 * sizes_.time);
  linear_backward_input(backend_, dtime, w_.time[1].weight, dhidden);
  linear_backward_weight(backend_, dtime, saved.time_active, gradients.time[1].weight,
                         gradients.time[1].bias);
  activation_backward(backend_, Activation::mish, saved.time_hidden.span(), dhidden.span(), dhidden.span());
  linear_backward_weight(backend_, dhidden, saved.time_features, gradients.time[0].weight,
                         gradients.time[0].bias);
}

template <class Backend, class T>
void UNet1dPass<Backend, T>::embed_time(std::span<const Index> timesteps, MatrixView<T> time, Saved& saved) {
  const auto count = static_cast<Index>(timesteps.size());
  saved.time_features = matrix(count, sizes_.time);
  saved.time_hidden = matrix(count, 4 * sizes_.time);
  saved.time_active = matrix(count, 4 * sizes_.time);
  sinusoidal_embedding(backend_, timesteps, saved.time_features);
  linear_forward(backend_, saved.time_features, w_.time[0].weight, w_.time[0].bias, saved.time_hidden);
  activation_forward(backend_, Activation::mish, saved.time_hidden.span(), saved.time_active.span());
  linear_forward(backend_, saved.time_active, w_.time[1].weight, w_.time[1].bias, time);
}

template <class Backend, class T>
SequenceView<T> UNet1dPass<Backend, T>::pass(SequenceView<const T> x, Block block, Saved& saved) {
  SequenceView<const T> h = x;
  for (std::size_t level = 0; level < sizes_.levels(); ++level) {
    auto& here = saved.down[level];
    block(w_.down[level].blocks[0], h, sizes_.channels[level], here.blocks[0]);
    block(w_.down[level].blocks[1], here.blocks[0].y, sizes_.channels[level], here.blocks[1]);
    h = here.blocks[1].y;
    if (level + 1 < sizes_.levels()) {
      here.resampled = sequence(x.batch, down_shape.output_length(h.length), sizes_.channels[level]);
      conv1d_forward(backend_, down_shape, h, w_.down[level].resample.weight, w_.down[level].resample.bias,
                     here.resampled);
      h = here.resampled;
    }
  }
  for (std::size_t i = 0; i < 2; ++i) {
    block(w_.middle[i], h, sizes_.channels.back(), saved.middle[i]);
    h = saved.middle[i].y;
  }
  for (std::size_t i = 0; i + 1 < sizes_.levels(); ++i) {
    const std::size_t level = sizes_.levels() - 1 - i;
    auto& here = saved.up[i];
    const SequenceView<const T> skip = saved.down[level].blocks[1].y;
    here.input = sequence(x.batch, h.length, h.channels + skip.channels);
    copy_matrix(backend_, h.flat(), here.input.flat().col_range(0, h.channels));
    copy_matrix(backend_, skip.flat(), here.input.flat().col_range(h.channels, skip.channels));
    block(w_.up[i].blocks[0], here.input, sizes_.channels[level - 1], here.blocks[0]);
    block(w_.up[i].blocks[1], here.blocks[0].y, sizes_.channels[level - 1], here.blocks[1]);
    const auto shape = up_shape(h.length, saved.down[level - 1].blocks[1].y.length);
    here.resampled = sequence(x.batch, shape.transposed_output_length(h.length), sizes_.channels[level - 1]);
    conv_transpose1d_forward(backend_, shape, here.blocks[1].y, w_.up[i].resample.weight,
                             w_.up[i].resample.bias, here.resampled);
    h = here.resampled;
  }
  saved.last =
      conv_block_forward(backend_, sizes_.kernel, sizes_.groups, sizes_.channels[0], w_.last, h, workspace_);
  const auto output = sequence(x.batch, x.length, sizes_.latent);
  linear_forward(backend_, saved.last.y.flat(), w_.output.weight, w_.output.bias, output.flat());
  return output;
}

}  // namespace detail

// LatentChannels: features per token. ConditionSize: the behaviour embedding. With the defaults and a
// condition of 256 the network has 163,048,576 parameters in 148 tensors, the one of the paper's code. Any
// latent length works.
template <Index LatentChannels, Index ConditionSize, class LevelsT = Levels<512, 1024, 2048>,
          Index Kernel = 3, Index Groups = 8, Index TimeSize = 128>
struct UNet1d {
  static constexpr Index latent_channels = LatentChannels;
  static constexpr Index condition_size = ConditionSize;
  static constexpr Index full_condition = TimeSize + ConditionSize;
  static constexpr auto channels = LevelsT::channels;
  static constexpr std::size_t levels = LevelsT::count;
  static_assert(levels >= 1 && levels <= most_unet_levels && Kernel % 2 == 1);

  template <class T>
  using Weights = UNet1dWeights<T>;
  template <class T>
  using Saved = UNet1dSaved<T>;

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template child<Linear<TimeSize, 4 * TimeSize>>("diffusion_step_encoder", 1, w.time[0]...);
    visit.template child<Linear<4 * TimeSize, TimeSize>>("diffusion_step_encoder", 3, w.time[1]...);
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      (describe_down<At>(visit, w...), ...);
    }
    (std::make_index_sequence<levels>{});
    visit.template child<Block<deepest, deepest>>("mid_modules", 0, w.middle[0]...);
    visit.template child<Block<deepest, deepest>>("mid_modules", 1, w.middle[1]...);
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      (describe_up<At>(visit, w...), ...);
    }
    (std::make_index_sequence<levels - 1>{});
    visit.template child<ConvBlock<channels[0], channels[0], Kernel>>("final_conv", 0, w.last...);
    visit.template child<Conv1d<channels[0], LatentChannels, 1>>("final_conv", 1, w.output...);
  }

  template <class Visitor>
  static constexpr void describe_structure(Visitor& visit) {
    visit("kind", std::string_view("unet1d"));
    visit("channels", channels);
    visit("kernel", Kernel);
    visit("groups", Groups);
    visit("time", TimeSize);
  }

  // x [batch, length, LatentChannels], one timestep per batch element, condition [batch, ConditionSize]. x
  // must outlive the result, which lies in `workspace`; result.output has x's shape.
  template <class Backend, class T>
  static Saved<T> forward(const Backend& backend, const Weights<const T>& w, SequenceView<const T> x,
                          std::span<const Index> timesteps, MatrixView<const T> condition,
                          WorkspaceOf<Backend>& workspace) {
    return detail::UNet1dPass<Backend, T>(backend, sizes, w, workspace).forward(x, timesteps, condition);
  }

  // condition [batch, ConditionSize]; the result lies in `workspace`.
  template <class Backend, class T>
  static UNet1dModulation<T> modulation(const Backend& backend, const Weights<const T>& w,
                                        std::span<const Index> timesteps, MatrixView<const T> condition,
                                        WorkspaceOf<Backend>& workspace) {
    return detail::UNet1dPass<Backend, T>(backend, sizes, w, workspace).modulation(timesteps, condition);
  }

  // The forward pass alone, with row `step` of modulation.of_timesteps for all samples; nothing is kept but
  // the result, in `workspace`.
  template <class Backend, class T>
  static SequenceView<T> infer(const Backend& backend, const Weights<const T>& w, SequenceView<const T> x,
                               const UNet1dModulation<T>& modulation, Index step,
                               WorkspaceOf<Backend>& workspace) {
    return detail::UNet1dPass<Backend, T>(backend, sizes, w, workspace).infer(x, modulation, step);
  }

  // doutput [batch, length, LatentChannels]. Parameter gradients accumulate; dcondition [batch,
  // ConditionSize] and dx are overwritten if they have data.
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                       SequenceView<const T> doutput, const Weights<T>& gradients, MatrixView<T> dcondition,
                       SequenceView<T> dx, WorkspaceOf<Backend>& workspace) {
    detail::UNet1dPass<Backend, T>(backend, sizes, w, workspace)
        .backward(saved, doutput, gradients, dcondition, dx);
  }

 private:
  static constexpr Index deepest = channels[levels - 1];
  static constexpr UNet1dSizes sizes{channels, LatentChannels, ConditionSize, Kernel, Groups, TimeSize};

  template <Index In, Index Out>
  using Block = ResidualBlock<In, Out, full_condition, Kernel>;

  // Scopes "name.index.part"; the parts of a level are blocks 0 and 1 and the resampling convolution.
  template <Index In, Index Out, class Resample>
  struct LevelPart {
    template <class Visitor, class... W>
    static constexpr void describe(Visitor& visit, W&... w) {
      visit.template child<Block<In, Out>>(0, w.blocks[0]...);
      visit.template child<Block<Out, Out>>(1, w.blocks[1]...);
      visit.template child<Resample>(2, w.resample...);
    }
  };
  struct NoResample {
    template <class Visitor, class... W>
    static constexpr void describe(Visitor&, W&...) {}
  };
  template <class Conv>
  struct NamedConv {
    template <class Visitor, class... W>
    static constexpr void describe(Visitor& visit, W&... w) {
      visit.template child<Conv>("conv", w...);
    }
  };
  template <std::size_t At, class Visitor, class... W>
  static constexpr void describe_down(Visitor& visit, W&... w) {
    constexpr Index in = At == 0 ? LatentChannels : channels[At == 0 ? 0 : At - 1];
    constexpr Index out = channels[At];
    using Resample = std::conditional_t<At + 1 < levels, NamedConv<Conv1d<out, out, 2>>, NoResample>;
    visit.template child<LevelPart<in, out, Resample>>("down_modules", static_cast<Index>(At), w.down[At]...);
  }
  template <std::size_t At, class Visitor, class... W>
  static constexpr void describe_up(Visitor& visit, W&... w) {
    constexpr Index out = channels[levels - 2 - At];
    using Resample = NamedConv<ConvTranspose1d<out, out, 2>>;
    visit.template child<LevelPart<2 * channels[levels - 1 - At], out, Resample>>(
        "up_modules", static_cast<Index>(At), w.up[At]...);
  }
};

MAA_NAMESPACE_END
