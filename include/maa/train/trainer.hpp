// The training loop's state and step: AdamW with decay groups, global-norm clipping, EMA, learning-rate
// schedule, and saving everything so that a resumed run has the same bits as one that was never stopped.
#pragma once

#include <maa/backend/adamw_step.hpp>
#include <maa/core/describe.hpp>
#include <maa/core/finite.hpp>
#include <maa/core/function_ref.hpp>
#include <maa/core/workspace.hpp>
#include <maa/io/parameters.hpp>
#include <maa/train/learning_rate.hpp>

#include <functional>
#include <optional>

MAA_NAMESPACE_BEGIN

// AdamW with beta2 = .999 and epsilon = 1e-8.
struct TrainOptions {
  Index steps = 1000;               // of the optimizer
  Index batch = 128;                // samples in each
  LearningRate learning_rate = {};  // at each of them
  double beta1 = 0.9;               // of Adam's first moment
  double weight_decay = 0;          // decoupled, of matrices alone
  bool decay_all = false;           // biases and gains decay, too (PyTorch's AdamW without groups)
  double clip_norm = 0;  // global gradient norm above which gradients are scaled down; 0: no clipping
  // The largest decay of an exponential moving average of the weights (ema_decay()), which then is what the
  // trained model uses; 0: none.
  double ema = 0;
  // An epoch's last samples, which fill no batch, are left out (PyTorch's drop_last), where batches run
  // through epochs.
  bool drop_last = false;
  std::uint64_t seed = 0;  // no option of a recipe's: fit() derives it from FitOptions::seed

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("steps", at_least(0), self.steps);
    visit("batch", between(1, 1'000'000), self.batch);
    visit("learning_rate", self.learning_rate);
    visit("beta1", between(0, 0.9999), self.beta1);
    visit("weight_decay", not_negative(), self.weight_decay);
    visit("decay_all", self.decay_all);
    visit("clip_norm", not_negative(), self.clip_norm);
    visit("ema", between(0, 0.999999), self.ema);
    visit("drop_last", self.drop_last);
  }
};

// What a progress callback learns after a step.
struct TrainProgress {
  std::string_view stage;            // of the recipe, by name
  Index step = 0;                    // finished steps
  Index steps = 0;                   // of the stage
  double loss = 0;                   // of the step's batch
  double learning_rate = 0;          // of the step
  double gradient_norm = 0;          // before clipping
  std::optional<double> validation;  // loss on held-out data, when it was measured at this step
};

// Returns false to stop training.
using TrainCallback = std::function<bool(const TrainProgress&)>;

// Owns weights, gradients, Adam moments and EMA as flat arrays in the backend's memory; knows tensors only
// for decay groups and names. All randomness and the data order are functions of the seed and the step, so
// `step` is their whole state.
template <class T, class Backend>
class Trainer {
 public:
  // Numbers in the backend's memory.
  using Array = typename Backend::template Array<T>;
  using Real = typename Backend::template Element<T>;

  // `initial` lies on the host; `rates`: of each tensor, by which its learning rate is multiplied, or none:
  // all 1. Error for options out of range, or if sizes differ.
  Trainer(const Backend& backend, std::vector<TensorInfo> tensors, const TrainOptions& options,
          std::span<const T> initial, std::span<const double> rates = {});

  // The options, the finished steps, whether those are all, and the raw weights.
  const TrainOptions& options() const { return options_; }
  Index step_count() const { return step_; }
  bool finished() const { return step_ >= options_.steps; }
  const Array& weights() const { return weights_; }
  // What the trained model should use: the EMA if there is one.
  const Array& result() const { return options_.ema > 0 ? average_ : weights_; }
  // The stream for the current step's noise.
  Rng step_rng() const { return Rng(options_.seed).fork(static_cast<std::uint64_t>(step_)); }

  // One step: `loss(weights, gradients)` (flat spans; gradients arrive zeroed) returns the batch loss. Error
  // if loss or gradients are not finite; weights and state are then as before the step.
  TrainProgress step(FunctionRef<typename Backend::Scalar(std::span<const Real>, std::span<Real>)> loss);

  // Writes weights, moments, EMA (tensors named "<prefix>weights.<name>" ...) and the step. The trainer must
  // stay as it is until the file is written.
  MAA_COLD void save(SafetensorsWriter& writer, const std::string& prefix) const;
  // Error if the file does not hold this trainer's state; nothing changes then.
  MAA_COLD void load(const SafetensorsReader& reader, const std::string& prefix);

 private:
  AdamWStep next_update() const {
    AdamWStep update;
    update.learning_rate = options_.learning_rate.at(step_, options_.steps);
    update.beta1 = options_.beta1;
    update.weight_decay = options_.weight_decay;
    update.step = step_ + 1;
    update.ema_decay = options_.ema > 0 ? ema_decay(options_.ema, step_) : -1;
    return update;
  }
  Array array() const { return backend_->template make_array<T>(weights_.size()); }
  Array array(std::span<const T> values) const {
    auto result = backend_->template make_array<T>(std::ssize(values));
    upload(*backend_, values, result.span());
    return result;
  }
  // Numbers of one rate.
  struct Part {
    Index first = 0, count = 0;
    double rate = 1;
    DecayGroups groups;  // from `first` on
  };
  // Neighbouring tensors of the same rate are one part, those of the same kind in it one group. What has rate
  // 0 is in none.
  MAA_COLD static std::vector<Part> parts_of(const std::vector<TensorInfo>& tensors,
                                             std::span<const double> rates, bool decay_all);
  // The arrays that make the state; the EMA only if it is kept.
  template <class Self>
  static auto arrays(Self& self) {
    std::vector<std::pair<std::string, decltype(&self.weights_)>> result{
        {"weights.", &self.weights_},
        {"first_moment.", &self.first_moment_},
        {"second_moment.", &self.second_moment_}};
    if (self.options_.ema > 0) {
      result.emplace_back("average.", &self.average_);
    }
    return result;
  }

  MAA_COLD std::vector<TensorInfo> named(const std::string& prefix) const {
    auto tensors = tensors_;
    for (auto& tensor : tensors) {
      tensor.name = prefix + tensor.name;
    }
    return tensors;
  }

  const Backend* backend_;
  std::vector<TensorInfo> tensors_;
  std::vector<Part> parts_;
  TrainOptions options_;
  Array weights_;
  Array gradients_;
  Array first_moment_;
  Array second_moment_;
  Array average_;
  Index step_ = 0;
};

template <class T, class Backend>
Trainer<T, Backend>::Trainer(const Backend& backend, std::vector<TensorInfo> tensors,
                             const TrainOptions& options, std::span<const T> initial,
                             std::span<const double> rates)
    : backend_(&backend),
      tensors_(std::move(tensors)),
      parts_(parts_of(tensors_, rates, options.decay_all)),
      options_(options),
      weights_(array(initial)),
      gradients_(array()),
      first_moment_(array()),
      second_moment_(array()) {
  check_fields(options, "trainer");
  const Index expected = tensors_.empty() ? 0 : tensors_.back().offset + tensors_.back().size;
  require(weights_.size() == expected, "trainer: expected ", expected, " initial weights, found ",
          weights_.size());
  if (options_.ema > 0) {
    average_ = array(initial);
  }
}

template <class T, class Backend>
TrainProgress Trainer<T, Backend>::step(
    FunctionRef<typename Backend::Scalar(std::span<const Real>, std::span<Real>)> loss) {
  const auto session = backend_->session();
  fill_zero(*backend_, MatrixView<Real>(gradients_.data(), 1, gradients_.size()));
  const auto value = loss(std::as_const(weights_).span(), gradients_.span());
  const auto squares = sum_of_squares(*backend_, std::as_const(gradients_).span());
  const auto update = next_update();
  for (const auto& part : parts_) {
    const auto of = [&](auto numbers) {
      return numbers.empty() ? numbers
                             : numbers.subspan(static_cast<std::size_t>(part.first),
                                               static_cast<std::size_t>(part.count));
    };
    auto own = update;
    own.learning_rate *= part.rate;
    adamw_if_finite(*backend_, own, options_.clip_norm, value, squares, of(weights_.span()),
                    of(std::as_const(gradients_).span()), of(first_moment_.span()), of(second_moment_.span()),
                    of(average_.span()), part.groups);
  }
  const double found = read(*backend_, value);
  const double norm = std::sqrt(read(*backend_, squares));
  require(is_finite(found) && is_finite(norm), "training: the loss or its gradient is not finite at step ",
          step_, "; lower the learning rate or check the data");
  ++step_;
  TrainProgress progress;
  progress.step = step_;
  progress.steps = options_.steps;
  progress.loss = found;
  progress.learning_rate = update.learning_rate;
  progress.gradient_norm = norm;
  return progress;
}

template <class T, class Backend>
MAA_COLD void Trainer<T, Backend>::save(SafetensorsWriter& writer, const std::string& prefix) const {
  for (const auto& [part, values] : arrays(*this)) {
    if constexpr (in_host_memory<Backend>) {
      add_parameters(writer, named(prefix + part), values->span());
    } else {
      Buffer<T> copy(values->size());
      download(*backend_, values->span(), copy.span());
      add_parameter_copies(writer, named(prefix + part), std::as_const(copy).span());
    }
  }
  writer.add_scalar(prefix + "step", static_cast<std::int64_t>(step_));
}

template <class T, class Backend>
MAA_COLD void Trainer<T, Backend>::load(const SafetensorsReader& reader, const std::string& prefix) {
  std::vector<Buffer<T>> loaded;
  for (const auto& [part, values] : arrays(*this)) {
    read_parameters(reader, named(prefix + part), loaded.emplace_back(values->size()).span());
  }
  const Index step = reader.template read<std::int64_t>(prefix + "step", {})[0];
  require(step >= 0 && step <= options_.steps, reader.path(), ": expected a step from 0 to ", options_.steps,
          ", found ", step);
  std::size_t next = 0;
  for (const auto& [part, values] : arrays(*this)) {
    upload(*backend_, std::as_const(loaded[next++]).span(), values->span());
  }
  step_ = step;
}

template <class T, class Backend>
MAA_COLD std::vector<typename Trainer<T, Backend>::Part> Trainer<T, Backend>::parts_of(
    const std::vector<TensorInfo>& tensors, std::span<const double> rates, bool decay_all) {
  require(rates.empty() || rates.size() == tensors.size(), "trainer: expected a rate for each of ",
          tensors.size(), " tensors, found ", rates.size());
  std::vector<Part> parts;
  bool decayed = false;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& tensor = tensors[i];
    const double rate = rates.empty() ? 1 : rates[i];
    if (parts.empty() || parts.back().rate != rate) {
      parts.push_back({tensor.offset, 0, rate, {}});
    }
    auto& part = parts.back();
    part.count += tensor.size;
    if (decay_all) {
      continue;
    }
    auto& groups = part.groups;
    const bool decays = tensor.role == Role::weight;
    if (groups.ends.empty() || decays != decayed) {
      groups.first_decays = groups.ends.empty() ? decays : groups.first_decays;
      groups.ends.push_back(0);
    }
    groups.ends.back() = part.count;
    decayed = decays;
  }
  std::erase_if(parts, [](const Part& part) { return part.rate == 0; });
  return parts;
}

MAA_NAMESPACE_END
