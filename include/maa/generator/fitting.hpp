// Training of the models in order: autoencoder -> embedder -> denoiser -> behavior. Each stage trains its
// part of the parameters and leaves the rest as it is; the last trains all.
#pragma once

#include <maa/generator/autoencoder_stage.hpp>
#include <maa/generator/behavior_stage.hpp>
#include <maa/generator/denoiser_stage.hpp>
#include <maa/generator/embedder_stage.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config, class Backend>
class Fitting {
 public:
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;

  Fitting(const Backend& backend, const Dataset& dataset, const FitOptions& options,
          const TrainCallback& callback)
      : backend_(backend), options_(options), callback_(callback), data_(dataset, options, state_) {
    initialize<Model>(state_.parameters.span(), Rng(options.seed));
    state_.diffusion = options.denoiser.diffusion;
    state_.sampling = options.sampling;
    require(!options.guidance.empty(), "fit: expected at least one guidance, found none");
    state_.guidance = options.guidance;
    options.behavior.restoring_pairs.check(Network::observation_size, Network::action_size, "fit");
    state_.restoring_pairs = options.behavior.restoring_pairs;
    for (auto* train : {&options_.autoencoder.train, &options_.embedder.train, &options_.denoiser.train,
                        &options_.behavior.train}) {
      train->seed = Rng(options.seed).fork(0x7261696eu + static_cast<std::uint64_t>(seeds_++)).next_u64();
    }
    read_checkpoint();
  }

  // False if the callback stopped training; the checkpoint, if one was asked for, then holds where it was.
  bool run() {
    AutoencoderStage<Network, Config, Backend> autoencoder(backend_, data_, options_.autoencoder);
    if (!train(autoencoder, 0)) {
      return false;
    }
    EmbedderStage<Network, Config, Backend> embedder(backend_, data_, options_.embedder);
    if (!train(embedder, embedder_offset)) {
      return false;
    }
    auto latents = autoencoder.encode_all(constants<typename Model::AutoencoderModel>(0).span());
    normalize_latents(latents);
    auto conditions = embedder.embed_all(constants<typename Model::EmbedderModel>(embedder_offset).span(),
                                         options_.denoiser.normalize_condition, options_.condition, state_);
    DenoiserStage<Network, Config, Backend> denoiser(backend_, data_, options_.denoiser, std::move(latents),
                                                     std::move(conditions));
    if (!train(denoiser, denoiser_offset)) {
      return false;
    }
    BehaviorStage<Network, Config, Backend> behavior(backend_, data_, state_, options_.behavior);
    if (!train(behavior, parameter_count<Model> - parameter_count<typename Model::WithoutEncoders>)) {
      return false;
    }
    state_.known_prompts = KnownPrompts(
        embedder.conditions(constants<typename Model::EmbedderModel>(embedder_offset).span(), state_),
        Model::condition_size);
    if (!options_.checkpoint.empty()) {
      std::filesystem::remove(options_.checkpoint);
    }
    return true;
  }

  State&& take_state() { return std::move(state_); }

 private:
  static constexpr Index stage_count = 4;
  static constexpr const char* best_prefix = "best.";
  static constexpr const char* best_loss = "best_loss";
  static constexpr Index embedder_offset = parameter_count<typename Model::AutoencoderModel>;
  static constexpr Index denoiser_offset = embedder_offset + parameter_count<typename Model::EmbedderModel>;

  template <class Part>
  std::span<float> part(Index offset) {
    return state_.parameters.span().subspan(static_cast<std::size_t>(offset),
                                            static_cast<std::size_t>(parameter_count<Part>));
  }

  // The same where ops can read it.
  template <class Part>
  typename Backend::template Constants<float> constants(Index offset) {
    const auto session = backend_.session();
    return {backend_, part<Part>(offset)};
  }

  // The best result() of a stage so far, by its validation; no loss: none was measured.
  struct Best {
    std::optional<double> loss;
    Buffer<float> weights;
  };

  // Trains one stage from `offset` in the parameters on; skips it if the checkpoint is past it.
  template <class Stage>
  bool train(Stage& stage, Index offset) {
    using Part = typename Stage::Part;
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
      auto progress = trainer.step([&](auto weights, auto gradients) {
        if constexpr (requires { stage.loss(backend_, weights, gradients, rng, step); }) {
          return stage.loss(backend_, weights, gradients, rng, step);
        } else {
          return stage.loss(weights, gradients, rng, step);
        }
      });
      progress.stage = Stage::name;
      if (trainer.step_count() % options_.validation_every == 0 || trainer.finished()) {
        progress.validation = stage.validation(trainer.result().span());
        if constexpr (requires { stage.keep(); }) {
          const auto found = progress.validation;
          if (stage.keep() != Keep::last && found && (best.loss ? *found < *best.loss : is_finite(*found))) {
            best = {found, Buffer<float>(trainer.result().size())};
            download(backend_, trainer.result().span(), best.weights.span());
          }
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
    if constexpr (requires { stage.keep(); }) {
      if (best.loss && stage.keep() == Keep::best) {
        std::copy(best.weights.begin(), best.weights.end(), target.begin());
        return true;
      }
      if (best.loss && Model::has_head) {
        stage.write_fallback(best.weights.span(), state_);
      }
    }
    download(backend_, trainer.result().span(), target);
    return true;
  }

  void normalize_latents(Buffer<float>& latents) {
    constexpr Index numbers = Model::latent_numbers;
    constexpr Index size = Config::latent_size;
    const Index count = latents.size() / numbers;
    if (options_.denoiser.latent_scaling == LatentScaling::standard) {
      state_.latent =
          Normalizer::standard(MatrixView<const float>(latents.data(), count, numbers), 1e-6, 1e-3);
    } else {
      // Minimum and maximum are pooled over the tokens.
      const auto pooled =
          Normalizer::limits(MatrixView<const float>(latents.data(), count * Network::token_count, size));
      state_.latent = Normalizer(numbers);
      for (Index token = 0; token < Network::token_count; ++token) {
        std::copy_n(pooled.offset.data(), size, state_.latent.offset.data() + token * size);
        std::copy_n(pooled.scale.data(), size, state_.latent.scale.data() + token * size);
      }
    }
    state_.latent.apply({latents.data(), count, numbers});
  }

  // What must be the same for training to go on from a checkpoint.
  std::string fingerprint() const {
    const auto text = [](const TrainOptions& o) {
      return concatenate(o.steps, "/", o.batch, "/", o.learning_rate.base, "/", o.weight_decay, "/", o.seed,
                         " ");
    };
    return concatenate("maa ", parameter_count<Model>, " parameters, ", data_.dataset.policy_count(),
                       " policies, ", data_.dataset.trajectories.size(), " trajectories, ",
                       text(options_.autoencoder.train), text(options_.embedder.train),
                       text(options_.denoiser.train), text(options_.behavior.train), "condition ",
                       static_cast<int>(options_.condition), ", ", validation_text());
  }
  std::string validation_text() const {
    const auto& behavior = options_.behavior;
    std::string text = concatenate("width ", behavior.huber_width, ", demonstrations");
    for (const Index count : behavior.demonstrations) {
      text += concatenate(" ", count);
    }
    if (!behavior.restoring_pairs.empty()) {
      text += concatenate(", restoring with ", behavior.restoring_pairs.gain, " and ",
                          behavior.restoring_pairs.deviation);
    }
    if (!behavior.validation_tasks.empty()) {
      text += concatenate(", keeping ", static_cast<int>(behavior.keep), " by ", behavior.validation_prompts,
                          " prompts every ", options_.validation_every, " steps of");
      for (const auto& task : behavior.validation_tasks) {
        text += " " + task;
      }
      text += " with guidance";
      for (const double guidance : options_.guidance) {
        text += concatenate(" ", guidance);
      }
    }
    return text;
  }
  template <class Part>
  void write_checkpoint(Index stage, const Trainer<float, Backend>& trainer, const Best& best) const {
    SafetensorsWriter writer;
    writer.set_metadata("fingerprint", fingerprint());
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
    const auto found = reader->metadata().find("fingerprint");
    require(found != reader->metadata().end() && found->second == fingerprint(), "checkpoint ",
            options_.checkpoint.string(), ": expected the same data and options (", fingerprint(),
            "), found ", found == reader->metadata().end() ? "none" : found->second,
            "; remove it to start anew");
    resume_stage_ = reader->template read<std::int64_t>("stage", {})[0];
    require(resume_stage_ >= 0 && resume_stage_ < stage_count, reader->path(),
            ": expected a stage from 0 to ", stage_count - 1, ", found ", resume_stage_);
    read_parameters(*reader, tensors_of<Model>("parameters."), state_.parameters.span());
    resume_reader_ = std::move(reader);
  }

  const Backend& backend_;
  FitOptions options_;
  const TrainCallback& callback_;
  State state_;
  TrainingData<Network, Config> data_;
  Index seeds_ = 0;
  Index stage_ = 0;
  Index resume_stage_ = 0;
  std::unique_ptr<SafetensorsReader> resume_reader_;
};

}  // namespace detail
MAA_NAMESPACE_END
