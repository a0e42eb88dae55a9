// The generator as the quick-start uses it; the only place that compiles the library's training code.
#pragma once

#include <memory>
#include <span>

#include <maa/data/dataset.hpp>

#include "options.hpp"
#include "stages.hpp"

namespace maa::examples::quickstart {

class Model {
 public:
  static constexpr Index prompt_steps = 60;  // the least a prompt has
  // Trains it; goes on from `checkpoint` if an earlier run with the same data was stopped there.
  static Model fit(const Options& options, const Dataset& dataset, const std::filesystem::path& checkpoint,
                   TrainingLog& log);
  static Model load(const Options& options, const std::filesystem::path& path);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  void save(const std::filesystem::path& path) const;
  // What generation may be denied, to measure what it is worth.
  struct Ablation {
    bool correct_head = true;
    bool condition = true;  // false: the generator does not see the prompt; only the head does
  };
  // One policy per prompt of `share` demonstrations: [prompts, P].
  Buffer<float> generate(std::span<const Trajectory> demonstrations, Index share, std::uint64_t seed,
                         const Ablation& ablation = {true, true}) const;
  // Policies [prompts, P] with their heads refitted, each to an equal share of the demonstrations: [prompts,
  // P].
  Buffer<float> adapt(const Buffer<float>& policies, std::span<const Trajectory> demonstrations) const;
  // One embedding per prompt, as the denoiser is conditioned on: [prompts, E].
  Buffer<float> embed(std::span<const Trajectory> prompts) const;
  // The latents of policies [N, P]: [N, L].
  Buffer<float> latents(MatrixView<const float> policies) const;

 private:
  struct Implementation;
  explicit Model(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace maa::examples::quickstart
