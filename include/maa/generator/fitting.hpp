// Training of a generator by a recipe: the loop over a stage's steps, with validation, checkpoints and the
// way back from them. What the stages are and in which order is the recipe's: overloads of train_stages().
#pragma once

#include <maa/core/content_hash.hpp>
#include <maa/generator/file.hpp>
#include <maa/generator/training_data.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// A stage of training: a loss of one part of the parameters. `weights` and `gradients` are flat arrays of
// Part, gradients arrive zeroed; `rng` and `step` determine the batch. It may also have
// write_fallback(weights, state), which then is called with the weights of the best validation.
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

template <class Network, class Config, class Backend>
class Fitting {
 public:
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;
  using Data = TrainingData<Network, Config>;

  // `what` names all that must be the same for training to go on from a checkpoint. All arguments must
  // outlive it.
  Fitting(const Backend& backend, const Dataset& dataset, const FitOptions& options, bool standardize,
          Fields what, const TrainCallback& callback)
      : backend_(backend),
        options_(options),
        callback_(callback),
        fingerprint_(std::move(what)),
        data_(dataset, options, standardize, state_) {
    initialize<Model>(state_.parameters.span(), Rng(options.seed));
    state_.settings.diffusion = options.diffusion;
    state_.settings.sampling = options.sampling;
    state_.settings.guidance = options.guidance;
    for (auto& field : structure_of<Model>("model.")) {
      fingerprint_.push_back(std::move(field));
    }
    fingerprint_.push_back({"data", concatenate(dataset.content_hash())});
    for (auto& field : fingerprint_) {
      field.name.insert(0, fingerprint_prefix);
    }
    read_checkpoint();
  }

  const Backend& backend() const { return backend_; }
  const Data& data() const { return data_; }
  State& state() { return state_; }

  // The options of a stage with its own stream of random numbers.
  template <class StageOptions>
  StageOptions seeded(StageOptions options, std::uint64_t stream) const {
    options.train.seed = Rng(options_.seed).fork(0x7261696eu + stream).next_u64();
    return options;
  }
  // Part's share of the parameters, from `offset` on, where ops can read it.
  template <class Part>
  typename Backend::template Constants<float> constants(Index offset) {
    const auto session = backend_.session();
    return {backend_, part<Part>(offset)};
  }

  // Trains one stage from `offset` in the parameters on; skips it if the checkpoint is past it. False if the
  // callback stopped it; the checkpoint, if one was asked for, then holds where it was.
  template <Stage<Backend> S>
  bool train(S& stage, Index offset) {
    using Part = typename S::Part;
    const Index number = stage_++;
    if (number < resume_stage_ || stage.options().steps == 0) {
      return true;
    }
    auto target = part<Part>(offset);
    Trainer<float, Backend> trainer(backend_, tensors_of<Part>(), stage.options(),
                                    std::span<const float>(target));
    Best best;
    if (resume_reader_) {
      trainer.load(*resume_reader_, "trainer.");
      if (resume_reader_->contains(best_loss)) {
        best.loss = resume_reader_->template read<double>(best_loss, {})[0];
        best.weights = Buffer<float>(parameter_count<Part>);
        read_parameters(*resume_reader_, tensors_of<Part>(best_prefix), best.weights.span());
      }
      resume_reader_.reset();
    }
    while (!trainer.finished()) {
      const Rng rng = trainer.step_rng();
      const Index step = trainer.step_count();
      auto progress = trainer.step(
          [&](auto weights, auto gradients) { return stage.loss(weights, gradients, rng, step); });
      progress.stage = S::name;
      if (trainer.step_count() % options_.validation_every == 0 || trainer.finished()) {
        progress.validation = stage.validation(trainer.result().span());
        const auto found = progress.validation;
        if (keeps_best<S> && found && (best.loss ? *found < *best.loss : is_finite(*found))) {
          best = {found, Buffer<float>(trainer.result().size())};
          download(backend_, trainer.result().span(), best.weights.span());
        }
      }
      const bool go_on = !callback_ || callback_(progress);
      const bool due = trainer.step_count() % options_.checkpoint_every == 0;
      if (!options_.checkpoint.empty() && (!go_on || due)) {
        write_checkpoint<Part>(number, trainer, best);
      }
      if (!go_on) {
        return false;
      }
    }
    if constexpr (keeps_best<S>) {
      if (best.loss) {
        stage.write_fallback(best.weights.span(), state_);
      }
    }
    download(backend_, trainer.result().span(), target);
    return true;
  }

  // Error if the checkpoint was of a stage that the recipe does not have.
  void finish() {
    require(!resume_reader_, "checkpoint ", options_.checkpoint.string(), ": expected one of the recipe's ",
            stage_, " stages, found number ", resume_stage_);
    if (!options_.checkpoint.empty()) {
      std::filesystem::remove(options_.checkpoint);
    }
  }

 private:
  static constexpr const char* best_prefix = "best.";
  static constexpr const char* best_loss = "best_loss";
  static constexpr std::string_view fingerprint_prefix = "fit.";
  template <class S>
  static constexpr bool keeps_best = requires(S& stage, std::span<const float> weights, State& state) {
    stage.write_fallback(weights, state);
  };

  template <class Part>
  std::span<float> part(Index offset) {
    return state_.parameters.span().subspan(static_cast<std::size_t>(offset),
                                            static_cast<std::size_t>(parameter_count<Part>));
  }

  // The best result() of a stage so far, by its validation; no loss: none was measured.
  struct Best {
    std::optional<double> loss;
    Buffer<float> weights;
  };

  template <class Part>
  void write_checkpoint(Index stage, const Trainer<float, Backend>& trainer, const Best& best) const {
    SafetensorsWriter writer;
    set_metadata(writer, fingerprint_);
    writer.add_scalar("stage", static_cast<std::int64_t>(stage));
    add_parameters(writer, tensors_of<Model>("parameters."), state_.parameters.span());
    trainer.save(writer, "trainer.");
    if (best.loss) {
      writer.add_scalar(best_loss, *best.loss);
      add_parameters(writer, tensors_of<Part>(best_prefix), best.weights.span());
    }
    writer.write(options_.checkpoint);
  }
  void read_checkpoint() {
    if (options_.checkpoint.empty() || !std::filesystem::exists(options_.checkpoint)) {
      return;
    }
    auto reader = std::make_unique<SafetensorsReader>(options_.checkpoint);
    const auto different = differences(fingerprint_, reader->metadata(), fingerprint_prefix);
    require(different.empty(), "checkpoint ", options_.checkpoint.string(),
            ": expected the same data, model and options: ", different, "; remove it to start anew");
    resume_stage_ = reader->template read<std::int64_t>("stage", {})[0];
    require(resume_stage_ >= 0, reader->path(), ": expected a stage from 0 on, found ", resume_stage_);
    read_parameters(*reader, tensors_of<Model>("parameters."), state_.parameters.span());
    resume_reader_ = std::move(reader);
  }

  const Backend& backend_;
  const FitOptions& options_;
  const TrainCallback& callback_;
  Fields fingerprint_;
  State state_;
  Data data_;
  Index stage_ = 0;
  Index resume_stage_ = 0;
  std::unique_ptr<SafetensorsReader> resume_reader_;
};

}  // namespace detail
MAA_NAMESPACE_END
