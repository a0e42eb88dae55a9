// The denoiser: a conditional 1-D convolutional UNet over latents [batch, length = tokens, channels].
#pragma once

#include <maa/nn/conv_block.hpp>

#include <array>
#include <vector>

MAA_NAMESPACE_BEGIN

// Channels of the UNet's levels, from the latent's resolution down.
template <Index... Channels>
struct Levels {
  static constexpr std::size_t count = sizeof...(Channels);
  static constexpr std::array<Index, count> channels{Channels...};
};

template <class T>
struct UNet1dWeights {
  struct Level {
    std::array<ResidualBlockWeights<T>, 2> blocks;
    WeightAndBias<T> resample;  // unset at the deepest level on the way down
  };
  std::array<WeightAndBias<T>, 2> time;
  std::array<Level, 8> down;
  std::array<ResidualBlockWeights<T>, 2> middle;
  std::array<Level, 8> up;
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
  std::array<Level, 8> down;
  std::array<ResidualBlockSaved<T>, 2> middle;
  std::array<Level, 8> up;
  ConvBlockSaved<T> last;
  SequenceView<T> output;
};

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
  static_assert(levels >= 1 && levels <= 8 && Kernel % 2 == 1);

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
    const Index batch = x.batch;
    require_shape(x, batch, x.length, LatentChannels, "unet input");
    require_shape(condition, batch, ConditionSize, "unet condition");
    require(static_cast<Index>(timesteps.size()) == batch, "unet timesteps: expected ", batch, ", found ",
            timesteps.size());
    Saved<T> saved;
    saved.condition = workspace.template matrix<T>(batch, full_condition);
    saved.condition_active = workspace.template matrix<T>(batch, full_condition);
    embed_time(backend, w, timesteps, saved.condition.col_range(0, TimeSize), saved, workspace);
    copy_matrix(backend, condition, saved.condition.col_range(TimeSize, ConditionSize));
    activation_forward(backend, Activation::mish, saved.condition.span(), saved.condition_active.span());
    saved.output = pass(
        backend, w, x,
        [&](const ResidualBlockWeights<const T>& weights, SequenceView<const T> input, Index out,
            ResidualBlockSaved<T>& here) {
          const auto scale_bias = workspace.template matrix<T>(batch, 2 * out);
          linear_forward(backend, saved.condition_active, weights.condition.weight, weights.condition.bias,
                         scale_bias);
          here = residual_block_forward(backend, Kernel, Groups, weights, input, scale_bias,
                                        workspace.template sequence<T>(batch, input.length, out), workspace);
        },
        saved, workspace);
    return saved;
  }

  // What timesteps and conditions do to the blocks, so that sampling need not repeat it in every step: the
  // scales and biases of all blocks side by side, modulation_size numbers. Mish acts on each number of [time;
  // condition] alone, so they are the sum of a row for the timestep and one for the sample.
  template <class T>
  struct Modulation {
    MatrixView<T> of_timesteps;   // [timesteps, modulation_size]
    MatrixView<T> of_conditions;  // [batch, modulation_size]
  };
  static constexpr Index modulation_size = [] {
    Index size = 4 * channels[levels - 1];
    for (std::size_t level = 0; level < levels; ++level) {
      size += (level + 1 < levels ? 8 : 4) * channels[level];
    }
    return size;
  }();

  // condition [batch, ConditionSize]; the result lies in `workspace`.
  template <class Backend, class T>
  static Modulation<T> modulation(const Backend& backend, const Weights<const T>& w,
                                  std::span<const Index> timesteps, MatrixView<const T> condition,
                                  WorkspaceOf<Backend>& workspace) {
    require_shape(condition, condition.rows, ConditionSize, "unet condition");
    const auto steps = static_cast<Index>(timesteps.size());
    const Modulation<T> result{workspace.template matrix<T>(steps, modulation_size),
                               workspace.template matrix<T>(condition.rows, modulation_size)};
    const auto scope = workspace.scope();
    Saved<T> saved;
    const auto time = workspace.template matrix<T>(steps, TimeSize);
    embed_time(backend, w, timesteps, time, saved, workspace);
    const auto active = workspace.template matrix<T>(condition.rows, ConditionSize);
    activation_forward(backend, Activation::mish, time.span(), time.span());
    copy_matrix(backend, condition, active);
    activation_forward(backend, Activation::mish, active.span(), active.span());
    Index first = 0;
    const auto block = [&](const ResidualBlockWeights<const T>& weights, Index out) {
      const T* none = nullptr;
      linear_forward(backend, time, weights.condition.weight, full_condition, weights.condition.bias,
                     result.of_timesteps.col_range(first, 2 * out));
      linear_forward(backend, active, weights.condition.weight + TimeSize, full_condition, none,
                     result.of_conditions.col_range(first, 2 * out));
      first += 2 * out;
    };
    for (std::size_t level = 0; level < levels; ++level) {
      block(w.down[level].blocks[0], channels[level]);
      block(w.down[level].blocks[1], channels[level]);
    }
    block(w.middle[0], deepest);
    block(w.middle[1], deepest);
    for (std::size_t i = 0; i + 1 < levels; ++i) {
      block(w.up[i].blocks[0], channels[levels - 2 - i]);
      block(w.up[i].blocks[1], channels[levels - 2 - i]);
    }
    return result;
  }

  // The forward pass alone, with row `step` of modulation.of_timesteps for all samples; nothing is kept but
  // the result, in `workspace`.
  template <class Backend, class T>
  static SequenceView<T> infer(const Backend& backend, const Weights<const T>& w, SequenceView<const T> x,
                               const Modulation<T>& modulation, Index step, WorkspaceOf<Backend>& workspace) {
    require_shape(x, modulation.of_conditions.rows, x.length, LatentChannels, "unet input");
    const auto output = workspace.template sequence<T>(x.batch, x.length, LatentChannels);
    const auto scope = workspace.scope();
    const auto all = workspace.template matrix<T>(x.batch, modulation_size);
    add_row(backend, modulation.of_conditions, modulation.of_timesteps.row(step), all);
    Saved<T> unused;
    Index first = 0;
    const auto computed = pass(
        backend, w, x,
        [&](const ResidualBlockWeights<const T>& weights, SequenceView<const T> input, Index out,
            ResidualBlockSaved<T>& here) {
          const auto y = workspace.template sequence<T>(x.batch, input.length, out);
          const auto inner = workspace.scope();
          residual_block_forward(backend, Kernel, Groups, weights, input, all.col_range(first, 2 * out), y,
                                 workspace);
          here.y = y;
          first += 2 * out;
        },
        unused, workspace);
    copy_matrix(backend, computed.flat(), output.flat());
    return output;
  }

  // doutput [batch, length, LatentChannels]. Parameter gradients accumulate; dcondition [batch,
  // ConditionSize] and dx are overwritten if they have data.
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                       SequenceView<const T> doutput, const Weights<T>& gradients, MatrixView<T> dcondition,
                       SequenceView<T> dx, WorkspaceOf<Backend>& workspace) {
    const auto scope = workspace.scope();
    const Index batch = doutput.batch;
    const MatrixView<const T> active = saved.condition_active;
    auto dactive = workspace.template matrix<T>(batch, full_condition);
    fill_zero(backend, dactive);
    const auto sequence_like = [&](SequenceView<const T> other) {
      return workspace.template sequence<T>(other.batch, other.length, other.channels);
    };
    const auto block = [&](const ResidualBlockWeights<const T>& weights, const ResidualBlockSaved<T>& of,
                           SequenceView<const T> dy, const ResidualBlockWeights<T>& block_gradients,
                           SequenceView<T> dinput) {
      residual_block_backward(backend, Kernel, Groups, weights, of, active, dy, block_gradients, dinput,
                              dactive, workspace);
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
    linear_backward_input(backend, doutput.flat(), w.output.weight, dlast.flat());
    linear_backward_weight(backend, doutput.flat(), saved.last.y.flat(), gradients.output.weight,
                           gradients.output.bias);
    auto dh = sequence_like(saved.last.x);
    conv_block_backward(backend, Kernel, Groups, w.last, saved.last, SequenceView<const T>(dlast),
                        gradients.last, dh, workspace);
    std::array<SequenceView<T>, levels> dskip;  // by level; level 0's skip is not used
    for (std::size_t i = levels - 1; i-- > 0;) {
      const auto& here = saved.up[i];
      const auto level = levels - 1 - i;
      const auto y = here.blocks[1].y;
      const auto shape = up_shape(y.length, here.resampled.length);
      auto dy = sequence_like(y);
      conv_transpose1d_backward_input(backend, shape, dh, w.up[i].resample.weight, dy);
      conv_transpose1d_backward_weight(backend, shape, dh, y, gradients.up[i].resample.weight,
                                       gradients.up[i].resample.bias);
      const auto dinput =
          pair(w.up[i].blocks, here.blocks, SequenceView<const T>(dy), gradients.up[i].blocks);
      const Index skip_channels = channels[level];
      const Index h_channels = dinput.channels - skip_channels;
      dh = workspace.template sequence<T>(batch, dinput.length, h_channels);
      dskip[level] = workspace.template sequence<T>(batch, dinput.length, skip_channels);
      copy_matrix(backend, dinput.flat().col_range(0, h_channels), dh.flat());
      copy_matrix(backend, dinput.flat().col_range(h_channels, skip_channels), dskip[level].flat());
    }
    dh = pair(w.middle, saved.middle, SequenceView<const T>(dh), gradients.middle);
    for (std::size_t level = levels; level-- > 0;) {
      const auto& here = saved.down[level];
      const auto y = here.blocks[1].y;
      auto dy = dh;
      if (level + 1 < levels) {
        dy = sequence_like(y);
        conv1d_backward_input(backend, down_shape, dh, w.down[level].resample.weight, dy);
        conv1d_backward_weight(backend, down_shape, dh, y, gradients.down[level].resample.weight,
                               gradients.down[level].resample.bias);
      }
      if (level > 0) {
        add_matrix(backend, dskip[level].flat(), dy.flat());
      }
      if (level > 0 || dx.data) {
        dh = pair(w.down[level].blocks, here.blocks, SequenceView<const T>(dy), gradients.down[level].blocks);
      } else {
        auto between = sequence_like(here.blocks[0].y);
        block(w.down[0].blocks[1], here.blocks[1], dy, gradients.down[0].blocks[1], between);
        block(w.down[0].blocks[0], here.blocks[0], between, gradients.down[0].blocks[0], SequenceView<T>());
      }
    }
    if (dx.data) {
      copy_matrix(backend, dh.flat(), dx.flat());
    }

    auto dfull = workspace.template matrix<T>(batch, full_condition);
    activation_backward(backend, Activation::mish, saved.condition.span(), dactive.span(), dfull.span());
    if (dcondition.data) {
      copy_matrix(backend, dfull.col_range(TimeSize, ConditionSize), dcondition);
    }
    const auto dtime = dfull.col_range(0, TimeSize);
    auto dhidden = workspace.template matrix<T>(batch, 4 * TimeSize);
    linear_backward_input(backend, dtime, w.time[1].weight, dhidden);
    linear_backward_weight(backend, dtime, saved.time_active, gradients.time[1].weight,
                           gradients.time[1].bias);
    activation_backward(backend, Activation::mish, saved.time_hidden.span(), dhidden.span(), dhidden.span());
    linear_backward_weight(backend, dhidden, saved.time_features, gradients.time[0].weight,
                           gradients.time[0].bias);
  }

 private:
  static constexpr Index deepest = channels[levels - 1];
  static constexpr ConvShape down_shape{2, 2, 1};

  // The embedding of timesteps, one row each, into `time` [timesteps, TimeSize].
  template <class Backend, class T>
  static void embed_time(const Backend& backend, const Weights<const T>& w, std::span<const Index> timesteps,
                         MatrixView<T> time, Saved<T>& saved, WorkspaceOf<Backend>& workspace) {
    const auto count = static_cast<Index>(timesteps.size());
    saved.time_features = workspace.template matrix<T>(count, TimeSize);
    saved.time_hidden = workspace.template matrix<T>(count, 4 * TimeSize);
    saved.time_active = workspace.template matrix<T>(count, 4 * TimeSize);
    sinusoidal_embedding(backend, timesteps, saved.time_features);
    linear_forward(backend, saved.time_features, w.time[0].weight, w.time[0].bias, saved.time_hidden);
    activation_forward(backend, Activation::mish, saved.time_hidden.span(), saved.time_active.span());
    linear_forward(backend, saved.time_active, w.time[1].weight, w.time[1].bias, time);
  }

  // From the input to the output. block(weights, input, out channels, saved) computes saved.y.
  template <class Backend, class T, class Block>
  static SequenceView<T> pass(const Backend& backend, const Weights<const T>& w, SequenceView<const T> x,
                              const Block& block, Saved<T>& saved, WorkspaceOf<Backend>& workspace) {
    SequenceView<const T> h = x;
    for (std::size_t level = 0; level < levels; ++level) {
      auto& here = saved.down[level];
      block(w.down[level].blocks[0], h, channels[level], here.blocks[0]);
      block(w.down[level].blocks[1], here.blocks[0].y, channels[level], here.blocks[1]);
      h = here.blocks[1].y;
      if (level + 1 < levels) {
        here.resampled =
            workspace.template sequence<T>(x.batch, down_shape.output_length(h.length), channels[level]);
        conv1d_forward(backend, down_shape, h, w.down[level].resample.weight, w.down[level].resample.bias,
                       here.resampled);
        h = here.resampled;
      }
    }
    for (std::size_t i = 0; i < 2; ++i) {
      block(w.middle[i], h, deepest, saved.middle[i]);
      h = saved.middle[i].y;
    }
    for (std::size_t i = 0; i + 1 < levels; ++i) {
      const std::size_t level = levels - 1 - i;
      auto& here = saved.up[i];
      const SequenceView<const T> skip = saved.down[level].blocks[1].y;
      here.input = workspace.template sequence<T>(x.batch, h.length, h.channels + skip.channels);
      copy_matrix(backend, h.flat(), here.input.flat().col_range(0, h.channels));
      copy_matrix(backend, skip.flat(), here.input.flat().col_range(h.channels, skip.channels));
      block(w.up[i].blocks[0], here.input, channels[level - 1], here.blocks[0]);
      block(w.up[i].blocks[1], here.blocks[0].y, channels[level - 1], here.blocks[1]);
      const auto shape = up_shape(h.length, saved.down[level - 1].blocks[1].y.length);
      here.resampled = workspace.template sequence<T>(x.batch, shape.transposed_output_length(h.length),
                                                      channels[level - 1]);
      conv_transpose1d_forward(backend, shape, here.blocks[1].y, w.up[i].resample.weight,
                               w.up[i].resample.bias, here.resampled);
      h = here.resampled;
    }
    saved.last = conv_block_forward(backend, Kernel, Groups, channels[0], w.last, h, workspace);
    const auto output = workspace.template sequence<T>(x.batch, x.length, LatentChannels);
    linear_forward(backend, saved.last.y.flat(), w.output.weight, w.output.bias, output.flat());
    return output;
  }

  // Restores the length that the level above had.
  static ConvShape up_shape(Index length, Index target) {
    ConvShape shape{2, 2, 1};
    shape.output_padding = target - shape.transposed_output_length(length);
    return shape;
  }

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
