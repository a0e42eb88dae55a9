// A model of one policy type and one configuration. Including this compiles the library's training code.
#pragma once

#include <maa/generator.hpp>

#include "interrupt.hpp"
#include "progress.hpp"
#include "recipe.hpp"

namespace maa::examples::study {

// The processor, with the study's threads, or a device (cuda_models.cpp).
template <class Backend>
Backend open_backend(const Options& options) {
  return Backend(options.threads);
}

// The network with `more` observations.
template <class Network, Index more>
struct WithInputs;
template <Index observations, Index actions, class Layers, Heads heads, Squash squash, Tokens tokens,
          Index more>
struct WithInputs<MlpNetwork<observations, actions, Layers, heads, squash, tokens>, more> {
  using Network = MlpNetwork<observations + more, actions, Layers, heads, squash, tokens>;
};

template <class Policy, class Config, class Backend>
class ModelOf final : public Model {
 public:
  using GeneratorType = Generator<Policy, Config, Backend>;

  explicit ModelOf(GeneratorType generator) : generator_(std::move(generator)) {}

  template <class Recipe>
  static std::unique_ptr<Model> fit(const Recipe& recipe, const TrainingRun& run, TrainingLog& log) {
    log.recipe = fields_of(recipe);
    GeneratorType generator{open_backend<Backend>(run.options)};
    std::unique_ptr<Progress> progress;
    std::string stage;
    WarmStart start;
    if (!run.options.training.start.empty()) {
      start = WarmStart::load(run.options.training.start);
      start.rate = run.options.training.start_rate;
    }
    const bool finished = generator.fit(run.dataset, recipe, start, [&](const TrainProgress& now) {
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

  const PolicyType& policy() const override { return policy_type<Policy>(); }
  const NetworkType& conditioned_network() const override {
    static const auto network = network_type<
        typename WithInputs<typename Policy::Network, GeneratorType::Model::condition_size>::Network>();
    return network;
  }

  void save(const std::filesystem::path& path) const override { generator_.save(path); }
  Index condition_size() const override { return GeneratorType::Model::condition_size; }
  bool has_head() const override { return GeneratorType::Model::has_head; }

  Buffer<float> generate(std::span<const Trajectory> demonstrations, Index share, std::uint64_t seed,
                         const Ablation& ablation) const override {
    GenerateOptions options;
    options.demonstrations_per_prompt = share;
    options.count = ablation.samples;
    options.seed = seed;
    options.fit_head = ablation.fit_head;
    options.polish = ablation.polish;
    options.look_up = ablation.look_up && ablation.fit_head && !ablation.guidance;
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
      fail("fit_heads: expected a model that fits heads, found one without");
    }
  }
  Buffer<float> embed(std::span<const Trajectory> prompts) const override {
    return generator_.embed(prompts);
  }
  Buffer<float> latents(MatrixView<const float> weights) const override {
    return generator_.encode(as_policies(weights.span()));
  }
  Buffer<float> reconstruct(MatrixView<const float> policies) const override {
    return flat(generator_.decode(latents(policies).span()));
  }

 private:
  static Buffer<float> flat(const std::vector<Policy>& policies) {
    Buffer<float> weights(static_cast<Index>(policies.size()) * Policy::parameter_size);
    auto* next = weights.data();
    for (const auto& policy : policies) {
      next = std::copy(policy.weights().begin(), policy.weights().end(), next);
    }
    return weights;
  }
  static std::vector<Policy> as_policies(std::span<const float> weights) {
    constexpr auto size = static_cast<std::size_t>(Policy::parameter_size);
    std::vector<Policy> policies;
    for (std::size_t first = 0; first < weights.size(); first += size) {
      policies.emplace_back(weights.subspan(first, size));
    }
    return policies;
  }

  GeneratorType generator_;
};

// recipe_for(run): one of recipe.hpp.
template <class Policy, class Config = DefaultConfig, auto recipe_for = &default_recipe,
          class Backend = cpu::Backend>
constexpr ModelFactory model_factory{[](const TrainingRun& run, TrainingLog& log) {
                                       return ModelOf<Policy, Config, Backend>::fit(recipe_for(run), run,
                                                                                    log);
                                     },
                                     &ModelOf<Policy, Config, Backend>::load, &policy_type<Policy>};

}  // namespace maa::examples::study
