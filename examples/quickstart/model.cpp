#include "model.hpp"

#include <maa/generator.hpp>

#include "augmentation.hpp"
#include "interrupt.hpp"
#include "progress.hpp"

namespace maa::examples::quickstart {
namespace {

FitOptions fit_options(const Options& options) {
  auto fit = FitOptions::fixed();
  fit.seed = seed_for(options, Purpose::fit);
  fit.behavior.augmentation = reflect_and_translate(metaworld_symmetry(true));
  const auto set = [](TrainOptions& train, Index steps) {
    train.steps = steps;
    train.learning_rate.warmup = std::min<Index>(100, steps / 10);
  };
  set(fit.autoencoder.train, options.autoencoder_steps);
  set(fit.embedder.train, options.embedder_steps);
  set(fit.denoiser.train, options.denoiser_steps);
  set(fit.behavior.train, options.behavior_steps);
  return fit;
}

Buffer<float> flat(const std::vector<MetaWorldPolicy>& policies) {
  Buffer<float> weights(static_cast<Index>(policies.size()) * MetaWorldPolicy::parameter_size);
  auto* next = weights.data();
  for (const auto& policy : policies) {
    next = std::copy(policy.weights().begin(), policy.weights().end(), next);
  }
  return weights;
}

std::vector<MetaWorldPolicy> as_policies(std::span<const float> weights) {
  constexpr auto size = static_cast<std::size_t>(MetaWorldPolicy::parameter_size);
  std::vector<MetaWorldPolicy> policies;
  for (std::size_t first = 0; first < weights.size(); first += size) {
    policies.emplace_back(weights.subspan(first, size));
  }
  return policies;
}

}  // namespace

static_assert(Model::prompt_steps == FixedConfig::prompt.steps);

struct Model::Implementation {
  Generator<MetaWorldPolicy> generator;
};

Model::Model(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Model Model::fit(const Options& options, const Dataset& dataset, const std::filesystem::path& checkpoint,
                 TrainingLog& log) {
  auto settings = fit_options(options);
  settings.checkpoint = checkpoint;
  Generator<MetaWorldPolicy> generator{cpu::Backend(options.threads)};
  std::unique_ptr<Progress> progress;
  std::string stage;
  const bool finished = generator.fit(dataset, settings, [&](const TrainProgress& now) {
    if (stage != now.stage) {
      stage = now.stage;
      progress = std::make_unique<Progress>(stage, now.steps);
    }
    progress->update(now.step, concatenate("loss ", now.loss));
    if (now.step % std::max<Index>(1, now.steps / 200) == 0 || now.validation) {
      log.add(stage, now.step, now.steps, now.loss, now.validation ? &*now.validation : nullptr);
    }
    return !interrupted();
  });
  if (!finished) {
    throw Interrupted();
  }
  return Model(std::make_unique<Implementation>(Implementation{std::move(generator)}));
}

Model Model::load(const Options& options, const std::filesystem::path& path) {
  return Model(std::make_unique<Implementation>(
      Implementation{Generator<MetaWorldPolicy>::load(path, cpu::Backend(options.threads))}));
}

void Model::save(const std::filesystem::path& path) const {
  implementation_->generator.save(path);
}

Buffer<float> Model::generate(std::span<const Trajectory> demonstrations, Index share, std::uint64_t seed,
                              const Ablation& ablation) const {
  GenerateOptions options;
  options.demonstrations_per_prompt = share;
  options.seed = seed;
  options.correct_head = ablation.correct_head;
  options.guidance = ablation.condition ? 1 : 0;
  return flat(implementation_->generator.generate_each(demonstrations, options));
}

Buffer<float> Model::adapt(const Buffer<float>& policies, std::span<const Trajectory> demonstrations) const {
  return flat(implementation_->generator.adapt(as_policies(policies.span()), demonstrations));
}

Buffer<float> Model::embed(std::span<const Trajectory> prompts) const {
  return implementation_->generator.embed(prompts);
}

Buffer<float> Model::latents(MatrixView<const float> weights) const {
  return implementation_->generator.encode(as_policies(weights.span()));
}

}  // namespace maa::examples::quickstart
