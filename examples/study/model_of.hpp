// A model of one configuration. Including this compiles the library's training code.
#pragma once

#include <maa/generator.hpp>

#include "augmentation.hpp"
#include "interrupt.hpp"
#include "model.hpp"
#include "progress.hpp"

namespace maa::examples::study {

// The processor, with the study's threads, or a device (cuda_models.cpp).
template <class Backend>
Backend open_backend(const Options& options) {
  return Backend(options.threads);
}

template <class Config, class Backend = cpu::Backend>
class ModelOf final : public Model {
 public:
  using GeneratorType = Generator<MetaWorldPolicy, Config, Backend>;
  static_assert(prompt_steps == Config::prompt.steps);

  explicit ModelOf(GeneratorType generator) : generator_(std::move(generator)) {}

  // Seed, checkpoint, condition and what validates come from `options`, the rest is the recipe's.
  template <class Recipe>
  static std::unique_ptr<Model> fit(const Options& options, Recipe recipe, const Dataset& dataset,
                                    const std::filesystem::path& checkpoint, TrainingLog& log) {
    recipe.seed = seed_for(options, Purpose::fit);
    recipe.checkpoint = checkpoint;
    recipe.condition = options.condition;
    recipe.validation_tasks = options.tasks.validation;
    GeneratorType generator{open_backend<Backend>(options)};
    std::unique_ptr<Progress> progress;
    std::string stage;
    const bool finished = generator.fit(dataset, recipe, [&](const TrainProgress& now) {
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
    return std::make_unique<ModelOf>(std::move(generator));
  }
  static std::unique_ptr<Model> load(const Options& options, const std::filesystem::path& path) {
    return std::make_unique<ModelOf>(GeneratorType::load(path, open_backend<Backend>(options)));
  }

  void save(const std::filesystem::path& path) const override { generator_.save(path); }
  Index condition_size() const override { return GeneratorType::Model::condition_size; }
  bool has_head() const override { return GeneratorType::Model::has_head; }

  Buffer<float> generate(std::span<const Trajectory> demonstrations, Index share, std::uint64_t seed,
                         const Ablation& ablation) const override {
    GenerateOptions options;
    options.demonstrations_per_prompt = share;
    options.seed = seed;
    options.ridge_head = ablation.ridge_head;
    options.trust_known = ablation.trust_known;
    if (ablation.guidance) {
      options.guidance = {*ablation.guidance};
    }
    return flat(generator_.generate_each(demonstrations, options));
  }
  Buffer<float> fit_heads(const Buffer<float>& policies,
                          std::span<const Trajectory> demonstrations) const override {
    if constexpr (GeneratorType::Model::has_head) {
      return flat(generator_.fit_heads(as_policies(policies.span()), demonstrations));
    } else {
      fail("fit_heads: expected a model with a ridge head, found one without");
    }
  }
  Buffer<float> embed(std::span<const Trajectory> prompts) const override {
    return generator_.embed(prompts);
  }
  Buffer<float> latents(MatrixView<const float> weights) const override {
    return generator_.encode(as_policies(weights.span()));
  }

 private:
  static Buffer<float> flat(const std::vector<MetaWorldPolicy>& policies) {
    Buffer<float> weights(static_cast<Index>(policies.size()) * MetaWorldPolicy::parameter_size);
    auto* next = weights.data();
    for (const auto& policy : policies) {
      next = std::copy(policy.weights().begin(), policy.weights().end(), next);
    }
    return weights;
  }
  static std::vector<MetaWorldPolicy> as_policies(std::span<const float> weights) {
    constexpr auto size = static_cast<std::size_t>(MetaWorldPolicy::parameter_size);
    std::vector<MetaWorldPolicy> policies;
    for (std::size_t first = 0; first < weights.size(); first += size) {
      policies.emplace_back(weights.subspan(first, size));
    }
    return policies;
  }

  GeneratorType generator_;
};

// The library's default recipe as the study's options say.
BehaviorRecipe default_recipe(const Options& options, bool conditioned);

template <class Backend, class Config = DefaultConfig>
constexpr ModelFactory default_factory{[](const Options& options, const Dataset& dataset, bool conditioned,
                                          const std::filesystem::path& checkpoint, TrainingLog& log) {
                                         return ModelOf<Config, Backend>::fit(
                                             options, default_recipe(options, conditioned), dataset,
                                             checkpoint, log);
                                       },
                                       &ModelOf<Config, Backend>::load};

}  // namespace maa::examples::study
