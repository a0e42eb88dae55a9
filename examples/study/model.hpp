// The generator as a study uses it.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include <maa/data/dataset.hpp>
#include <maa/generator/polish.hpp>

#include "interface.hpp"
#include "options.hpp"
#include "stages.hpp"

namespace maa::examples::study {

class Model {
 public:
  Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  virtual ~Model() = default;

  // The policies that it generates, and the same network with condition_size() more observations.
  virtual const PolicyType& policy() const = 0;
  virtual const NetworkType& conditioned_network() const = 0;

  virtual void save(const std::filesystem::path& path) const = 0;
  virtual Index condition_size() const = 0;  // E
  virtual bool has_head() const = 0;

  // What generation may be denied, or do besides, to measure what it is worth.
  struct Ablation {
    bool fit_head = true;
    // Otherwise the generator chooses. 0: it does not see the prompt; only the head does.
    std::optional<double> guidance = std::nullopt;
    PolishOptions polish = {};
    Index samples = 1;    // policies per prompt
    bool look_up = true;  // only what the generator chooses by itself
  };
  // Policies for each prompt of `share` demonstrations: [prompts * samples, P].
  virtual Buffer<float> generate(std::span<const Trajectory> demonstrations, Index share, std::uint64_t seed,
                                 const Ablation& ablation) const = 0;
  // Policies [prompts, P] with their heads refitted, each to an equal share of the demonstrations: [prompts,
  // P]. Error without a head.
  virtual Buffer<float> fit_heads(const Buffer<float>& policies,
                                  std::span<const Trajectory> demonstrations) const = 0;
  // One embedding per prompt, as the denoiser is conditioned on: [prompts, E].
  virtual Buffer<float> embed(std::span<const Trajectory> prompts) const = 0;
  // The latents of policies [N, P]: [N, L].
  virtual Buffer<float> latents(MatrixView<const float> policies) const = 0;
  // The policies [N, P] that the autoencoder makes of policies.
  virtual Buffer<float> reconstruct(MatrixView<const float> policies) const = 0;
};

// One training of a generator.
struct TrainingRun {
  const Options& options;
  const Interface& interface;
  const Dataset& dataset;
  bool conditioned = true;           // otherwise it never sees a prompt and leaves everything to the head
  std::filesystem::path checkpoint;  // goes on from here if an earlier run with the same data was stopped
};

// Where models come from: one policy type and one configuration of the library (model_of.hpp).
struct ModelFactory {
  std::unique_ptr<Model> (*fit)(const TrainingRun& run, TrainingLog& log);
  std::unique_ptr<Model> (*load)(const Options& options, const std::filesystem::path& path);
  const PolicyType& (*policy)();
};

}  // namespace maa::examples::study
