// The training loop's state and step: AdamW with decay groups, global-norm clipping, EMA, learning-rate
// schedule, and saving everything so that a resumed run has the same bits as one that was never stopped.
#pragma once

#include <maa/backend/adamw_step.hpp>
#include <maa/core/describe.hpp>
#include <maa/core/finite.hpp>
#include <maa/io/parameters.hpp>
#include <maa/train/learning_rate.hpp>

#include <functional>
#include <optional>

MAA_NAMESPACE_BEGIN

struct TrainOptions {
  Index steps = 1000;
  Index batch = 128;
  LearningRate learning_rate = {};
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double clip_norm = 0;  // global gradient norm above which gradients are scaled down; 0: no clipping
  std::optional<EmaOptions> ema = std::nullopt;  // if set, the average is what the trained model uses
  std::uint64_t seed = 0;                        // Generator::fit sets it from FitOptions::seed
};

// What a progress callback learns after a step.
struct TrainProgress {
  std::string_view stage;
  Index step = 0;  // finished steps
  Index steps = 0;
  double loss = 0;
  double learning_rate = 0;
  std::optional<double> gradient_norm;  // before clipping; not known of fused steps
  std::optional<double> validation;     // loss on held-out data, when it was measured at this step
};

// Returns false to stop training.
using TrainCallback = std::function<bool(const TrainProgress&)>;

// Owns weights, gradients, Adam moments and EMA as flat arrays; knows tensors only for decay groups and
// names. All randomness and the data order are functions of the seed and the step, so `step` is their whole
// state.
template <class T, class Backend>
class Trainer {
 public:
  Trainer(const Backend& backend, std::vector<TensorInfo> tensors, const TrainOptions& options,
          std::span<const T> initial)
      : backend_(&backend),
        tensors_(std::move(tensors)),
        options_(options),
        weights_(initial),
        gradients_(weights_.size()),
        first_moment_(weights_.size()),
        second_moment_(weights_.size()) {
    const Index expected = tensors_.empty() ? 0 : tensors_.back().offset + tensors_.back().size;
    require(weights_.size() == expected, "trainer: expected ", expected, " initial weights, found ",
            weights_.size());
    if (options_.ema) {
      average_ = Buffer<T>(initial);
    }
  }

  const TrainOptions& options() const { return options_; }
  Index step_count() const { return step_; }
  bool finished() const { return step_ >= options_.steps; }
  const Buffer<T>& weights() const { return weights_; }
  // What the trained model should use: the EMA if there is one.
  const Buffer<T>& result() const { return options_.ema ? average_ : weights_; }
  // The stream for the current step's noise.
  Rng step_rng() const { return Rng(options_.seed).fork(static_cast<std::uint64_t>(step_)); }

  // One step: `loss(weights, gradients)` (flat spans; gradients arrive zeroed) returns the batch loss. Error
  // if loss or gradients are not finite; weights and state are then as before the step.
  template <class Loss>
  TrainProgress step(const Loss& loss) {
    const auto session = backend_->session();
    fill_zero(*backend_, MatrixView<T>(gradients_.data(), 1, gradients_.size()));
    const double value = loss(std::as_const(weights_).span(), gradients_.span());
    const double norm = std::sqrt(sum_of_squares(*backend_, gradients_.span()));
    require_finite(is_finite(value) && is_finite(norm));
    auto update = next_update();
    if (options_.clip_norm > 0 && norm > options_.clip_norm) {
      update.gradient_scale = options_.clip_norm / norm;
    }
    for_decay_groups([&](Index first, Index size, bool decays) {
      update.weight_decay = decays ? options_.weight_decay : 0;
      apply(update, first, size);
    });
    auto progress = finish_step(update, value);
    progress.gradient_norm = norm;
    return progress;
  }

  // The same step, to the bit, with less memory traffic: weight matrices are updated within the backward
  // pass, as soon as their gradient is known, which is not stored. `loss(backend, weights, gradients)` must
  // run its ops on the backend it is given, form the gradient of each weight matrix in one op, and not read
  // the matrix after that. Only without clipping, which needs all gradients first, and if can_fuse(). Error
  // if loss or gradients are not finite; a part of the weights may then have made the step.
  template <class Loss>
  TrainProgress fused_step(const Loss& loss) {
    require(can_fuse(), "trainer: expected no clipping and vector kernels for a fused step");
    const auto session = backend_->session();
    for_decay_groups([&](Index first, Index size, bool decays) {
      if (!decays) {
        fill_zero(*backend_, MatrixView<T>(gradients_.data() + first, 1, size));
      }
    });
    auto update = next_update();
    update.weight_decay = options_.weight_decay;
    const auto in_backward =
        weight_update(*backend_, update, std::as_const(gradients_).span(), weights_.span(),
                      first_moment_.span(), second_moment_.span(), average_.span());
    const double value =
        loss(backend_->updating(in_backward), std::as_const(weights_).span(), gradients_.span());
    require_finite(is_finite(value) && in_backward.finite);
    Index expected = 0;
    update.weight_decay = 0;
    for_decay_groups([&](Index first, Index size, bool decays) {
      if (decays) {
        expected += size;
      } else {
        apply(update, first, size);
      }
    });
    require(in_backward.updated == expected, "trainer: expected ", expected,
            " weights to get their gradient from one op each, found ", Index(in_backward.updated));
    return finish_step(update, value);
  }
  bool can_fuse() const { return options_.clip_norm == 0 && backend_->can_update(); }
  // Whether it is faster, too: with large batches a pass of its own reads and writes weights in longer
  // pieces.
  bool fusing_pays() const { return can_fuse() && options_.batch <= 64; }

  // Writes weights, moments, EMA (tensors named "<prefix>weights.<name>" ...) and the step.
  void save(SafetensorsWriter& writer, const std::string& prefix) const {
    for (const auto& [part, values] : parts(*this)) {
      add_parameters(writer, named(prefix + part), std::as_const(*values).span());
    }
    writer.add_scalar(prefix + "step", static_cast<std::int64_t>(step_));
  }
  // Error if the file does not hold this trainer's state; nothing changes then.
  void load(const SafetensorsReader& reader, const std::string& prefix) {
    Trainer loaded = *this;
    for (const auto& [part, values] : parts(loaded)) {
      read_parameters(reader, named(prefix + part), values->span());
    }
    loaded.step_ = reader.template read<std::int64_t>(prefix + "step", {})[0];
    require(loaded.step_ >= 0 && loaded.step_ <= options_.steps, reader.path(),
            ": expected a step from 0 to ", options_.steps, ", found ", loaded.step_);
    *this = std::move(loaded);
  }

 private:
  void require_finite(bool finite) const {
    require(finite, "training: the loss or its gradient is not finite at step ", step_,
            "; lower the learning rate or check the data");
  }
  AdamWStep next_update() const {
    AdamWStep update;
    update.learning_rate = options_.learning_rate.at(step_, options_.steps);
    update.beta1 = options_.beta1;
    update.beta2 = options_.beta2;
    update.epsilon = options_.epsilon;
    update.step = step_ + 1;
    update.ema_decay = options_.ema ? options_.ema->decay(step_) : -1;
    return update;
  }
  void apply(const AdamWStep& update, Index first, Index size) {
    const auto part = [&](Buffer<T>& values) {
      return values.empty()
                 ? std::span<T>()
                 : values.span().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(size));
    };
    adamw(*backend_, update, part(weights_), part(gradients_), part(first_moment_), part(second_moment_),
          part(average_));
  }
  TrainProgress finish_step(const AdamWStep& update, double loss) {
    ++step_;
    TrainProgress progress;
    progress.step = step_;
    progress.steps = options_.steps;
    progress.loss = loss;
    progress.learning_rate = update.learning_rate;
    return progress;
  }

  // Neighbouring tensors of the same group are one call.
  template <class Body>
  void for_decay_groups(const Body& body) const {
    std::size_t i = 0;
    while (i < tensors_.size()) {
      const bool decays = tensors_[i].role == Role::weight;
      const Index first = tensors_[i].offset;
      Index size = 0;
      for (; i < tensors_.size() && (tensors_[i].role == Role::weight) == decays; ++i) {
        size += tensors_[i].size;
      }
      body(first, size, decays);
    }
  }

  // The arrays that make the state; the EMA only if it is kept.
  template <class Self>
  static auto parts(Self& self) {
    std::vector<std::pair<std::string, decltype(&self.weights_)>> result{
        {"weights.", &self.weights_},
        {"first_moment.", &self.first_moment_},
        {"second_moment.", &self.second_moment_}};
    if (self.options_.ema) {
      result.emplace_back("average.", &self.average_);
    }
    return result;
  }

  std::vector<TensorInfo> named(const std::string& prefix) const {
    auto tensors = tensors_;
    for (auto& tensor : tensors) {
      tensor.name = prefix + tensor.name;
    }
    return tensors;
  }

  const Backend* backend_;
  std::vector<TensorInfo> tensors_;
  TrainOptions options_;
  Buffer<T> weights_;
  Buffer<T> gradients_;
  Buffer<T> first_moment_;
  Buffer<T> second_moment_;
  Buffer<T> average_;
  Index step_ = 0;
};

MAA_NAMESPACE_END
