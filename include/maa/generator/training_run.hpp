// The steps of a recipe's stages, whatever the models: validation, checkpoints and the way back from them.
#pragma once

#include <maa/core/function_ref.hpp>
#include <maa/generator/options.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// A stage of training: a loss of one part of the parameters. `weights` and `gradients` are flat arrays of
// Part, gradients arrive zeroed; `rng` and `step` determine the batch. It may also have
// write_fallback(weights), which then is called with the weights of the best validation, on the host.
template <class S, class Backend>
concept Stage = requires(S& stage, std::span<const typename Backend::template Element<float>> weights,
                         std::span<typename Backend::template Element<float>> gradients, Rng rng,
                         Index step) {
  parameter_count<typename S::Part>;
  { S::name } -> std::convertible_to<std::string_view>;
  { stage.options() } -> std::convertible_to<const TrainOptions&>;
  stage.loss(weights, gradients, rng, step);
  { stage.validation(weights) } -> std::same_as<std::optional<double>>;
};

// Trains the stages one after the other, each a part of the parameters; the others stay as they are.
template <class Backend>
class TrainingRun {
 public:
  using Real = typename Backend::template Element<float>;

  // `parameters`, described by `tensors`, must outlive it, as all arguments but these and the fingerprint:
  // what must be the same for training to go on from a checkpoint. `rates`: of each tensor (Trainer), or
  // none. Reads the checkpoint if there is one; Error if it is of another run, with each difference named.
  TrainingRun(const Backend& backend, const FitOptions& options, Fields fingerprint,
              std::vector<TensorInfo> tensors, std::span<float> parameters, std::vector<double> rates,
              const TrainCallback& callback);

  // Trains one stage, from `offset` in the parameters on; skips it if the checkpoint is past it. False if the
  // callback stopped it; the checkpoint, if one was asked for, then holds where it was. Error before the
  // first step if no checkpoint can be written.
  template <Stage<Backend> S>
  bool train(S& stage, Index offset) {
    constexpr bool keeps_best = requires(std::span<const float> weights) {
      stage.write_fallback(weights);
    };
    const auto loss = [&](std::span<const Real> weights, std::span<Real> gradients, Rng rng, Index step) {
      return stage.loss(weights, gradients, rng, step);
    };
    const auto validation = [&](std::span<const Real> weights) { return stage.validation(weights); };
    const auto write_fallback = [&](std::span<const float> weights) {
      if constexpr (keeps_best) {
        stage.write_fallback(weights);
      }
    };
    return train({S::name, stage.options(), tensors_of<typename S::Part>(), loss, validation, write_fallback,
                  keeps_best},
                 parameters_.subspan(static_cast<std::size_t>(offset),
                                     static_cast<std::size_t>(parameter_count<typename S::Part>)));
  }

  // After the last stage. Error if the checkpoint was of a stage that the recipe does not have.
  void finish() {
    require(!resume_reader_, "checkpoint ", options_.checkpoint.string(), ": expected one of the recipe's ",
            stage_, " stages, found ", resume_stage_);
  }
  // Error if the finished training is not in its checkpoint, which alone is no reason to give it up.
  void require_written() const {
    require(unwritten_.empty(),
            "fit: the generator is trained, but its checkpoint is not written: ", unwritten_);
  }

 private:
  static constexpr std::string_view fingerprint_prefix = "fit.";
  static constexpr const char* best_prefix = "best.";
  static constexpr const char* best_loss = "best_loss";

  // A stage without its type.
  struct AnyStage {
    std::string_view name;
    const TrainOptions& options;
    std::vector<TensorInfo> tensors;
    FunctionRef<typename Backend::Scalar(std::span<const Real>, std::span<Real>, Rng, Index)> loss;
    FunctionRef<std::optional<double>(std::span<const Real>)> validation;
    FunctionRef<void(std::span<const float>)> write_fallback;
    bool keeps_best;
  };
  // The best result() of a stage so far, by its validation; no loss: none was measured.
  struct Best {
    std::optional<double> loss;
    Buffer<float> weights;
  };

  bool train(const AnyStage& stage, std::span<float> target);

  // Of a stage's tensors, which are neighbours.
  std::span<const double> rates_of(std::span<const float> target, std::size_t count) const;
  MAA_COLD void write_checkpoint(Index stage, const Trainer<float, Backend>& trainer, const Best& best,
                                 const std::vector<TensorInfo>& best_tensors) const;
  MAA_COLD void read_checkpoint();

  const Backend& backend_;
  const FitOptions& options_;
  const TrainCallback& callback_;
  Fields fingerprint_;
  std::vector<TensorInfo> tensors_;
  std::span<float> parameters_;
  std::vector<double> rates_;
  Index stage_ = 0;
  Index resume_stage_ = 0;
  std::unique_ptr<SafetensorsReader> resume_reader_;
  std::string unwritten_;  // why the checkpoint after a stage's last step could not be written
};

template <class Backend>
TrainingRun<Backend>::TrainingRun(const Backend& backend, const FitOptions& options, Fields fingerprint,
                                  std::vector<TensorInfo> tensors, std::span<float> parameters,
                                  std::vector<double> rates, const TrainCallback& callback)
    : backend_(backend),
      options_(options),
      callback_(callback),
      fingerprint_(std::move(fingerprint)),
      tensors_(std::move(tensors)),
      parameters_(parameters),
      rates_(std::move(rates)) {
  for (auto& field : fingerprint_) {
    field.name.insert(0, fingerprint_prefix);
  }
  for (auto& tensor : tensors_) {
    tensor.name.insert(0, "parameters.");
  }
  read_checkpoint();
}

template <class Backend>
bool TrainingRun<Backend>::train(const AnyStage& stage, std::span<float> target) {
  const Index number = stage_++;
  if (number < resume_stage_ || stage.options.steps == 0) {
    return true;
  }
  Trainer<float, Backend> trainer(backend_, stage.tensors, stage.options, std::span<const float>(target),
                                  rates_of(target, stage.tensors.size()));
  auto best_tensors = stage.tensors;
  for (auto& tensor : best_tensors) {
    tensor.name.insert(0, best_prefix);
  }
  Best best;
  if (resume_reader_) {
    trainer.load(*resume_reader_, "trainer.");
    if (resume_reader_->contains(best_loss)) {
      best.loss = resume_reader_->template read<double>(best_loss, {})[0];
      best.weights = Buffer<float>(std::ssize(target));
      read_parameters(*resume_reader_, best_tensors, best.weights.span());
    }
    resume_reader_.reset();
  }
  if (!trainer.finished() && !options_.checkpoint.empty()) {
    const AtomicFile probe(options_.checkpoint);
  }
  while (!trainer.finished()) {
    const Rng rng = trainer.step_rng();
    const Index step = trainer.step_count();
    auto progress = trainer.step([&](std::span<const Real> weights, std::span<Real> gradients) {
      try {
        return stage.loss(weights, gradients, rng, step);
      } catch (const Error& error) {  // of an op, which cannot know where its numbers come from
        fail("training, step ", step, " of the stage ", stage.name, ": ", error.what());
      }
    });
    progress.stage = stage.name;
    if (trainer.step_count() % options_.validation_every == 0 || trainer.finished()) {
      const auto found = progress.validation = stage.validation(trainer.result().span());
      if (stage.keeps_best && found && (best.loss ? *found < *best.loss : is_finite(*found))) {
        best = {found, Buffer<float>(trainer.result().size())};
        download(backend_, trainer.result().span(), best.weights.span());
      }
    }
    const bool go_on = !callback_ || callback_(progress);
    const bool due = trainer.step_count() % options_.checkpoint_every == 0;
    if (!options_.checkpoint.empty() && (!go_on || due || trainer.finished())) {
      unwritten_.clear();
      try {
        write_checkpoint(number, trainer, best, best_tensors);
      } catch (const Error& error) {
        if (!go_on || !trainer.finished()) {
          throw;
        }
        unwritten_ = error.what();
      }
    }
    if (!go_on) {
      return false;
    }
  }
  if (best.loss) {
    stage.write_fallback(best.weights.span());
  }
  download(backend_, trainer.result().span(), target);
  require(first_nonfinite(target) < 0,
          "training: the weights are not finite after the last step of the stage ", stage.name,
          "; lower the learning rate or check the data");
  return true;
}

template <class Backend>
std::span<const double> TrainingRun<Backend>::rates_of(std::span<const float> target,
                                                       std::size_t count) const {
  const auto first = std::ranges::find(tensors_, target.data() - parameters_.data(), &TensorInfo::offset);
  return rates_.empty()
             ? rates_
             : std::span(rates_).subspan(static_cast<std::size_t>(first - tensors_.begin()), count);
}

template <class Backend>
MAA_COLD void TrainingRun<Backend>::write_checkpoint(Index stage, const Trainer<float, Backend>& trainer,
                                                     const Best& best,
                                                     const std::vector<TensorInfo>& best_tensors) const {
  SafetensorsWriter writer;
  set_metadata(writer, fingerprint_);
  writer.add_scalar("stage", static_cast<std::int64_t>(stage));
  add_parameters(writer, tensors_, parameters_);
  trainer.save(writer, "trainer.");
  if (best.loss) {
    writer.add_scalar(best_loss, *best.loss);
    add_parameters(writer, best_tensors, best.weights.span());
  }
  writer.write(options_.checkpoint);
}

template <class Backend>
MAA_COLD void TrainingRun<Backend>::read_checkpoint() {
  std::error_code code;
  if (options_.checkpoint.empty() || !std::filesystem::exists(options_.checkpoint, code)) {
    require(!code, "cannot examine '", options_.checkpoint.string(), "': ", code.message());
    return;
  }
  auto reader = std::make_unique<SafetensorsReader>(options_.checkpoint);
  const auto different = differences(fingerprint_, reader->metadata(), fingerprint_prefix);
  require(different.empty(), "checkpoint ", options_.checkpoint.string(),
          ": expected the same data, model and options: ", different, "; remove it to start anew");
  resume_stage_ = reader->template read<std::int64_t>("stage", {})[0];
  require(resume_stage_ >= 0, reader->path(), ": expected a stage from 0 on, found ", resume_stage_);
  read_parameters(*reader, tensors_, parameters_);
  resume_reader_ = std::move(reader);
}

}  // namespace detail
MAA_NAMESPACE_END
