// Checkpoints of the public code, as examples/import_official.py writes them: what is generated is what the
// public code generates. fixtures/official_checkpoints.py has the same models in PyTorch.
#include "parity_fixture.hpp"

#include <maa/generator/official.hpp>

#include "errors.hpp"
#include "small_generator.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace test;
using parity::check_close;

struct OfficialConfig : ReferenceConfig {
  static constexpr Index latent_size = 24;
  static constexpr Index autoencoder_hidden = 24;
  static constexpr Index embedding_size = 8;
  static constexpr Index embedder_hidden = 32;
  static constexpr PromptShape prompt{.steps = 12, .sequence = 3, .success_states = 3};
  template <Index Latent, Index Condition>
  using Denoiser = UNet1d<Latent, Condition, Levels<16, 24, 32>, 3, 8, 16>;
};
using OfficialGenerator = Generator<Policy, OfficialConfig>;
struct OtherSize : OfficialConfig {
  static constexpr Index embedding_size = 12;
};

const std::filesystem::path file = std::string(MAA_TEST_DATA) + "/official.safetensors";

Trajectory prompt_of(const parity::Fixture& fixture) {
  const auto observations = fixture.read<float>("observations"), actions = fixture.read<float>("actions");
  Trajectory prompt(observations.matrix(), actions.matrix());
  prompt.success_step = static_cast<Index>(fixture.scalar("success"));
  return prompt;
}

// Policies from noise [2, tokens, features] and a condition, step by step.
Buffer<float> policies_from(const OfficialGenerator& generator, MatrixView<const float> noise,
                            MatrixView<const float> condition) {
  using Model = OfficialGenerator::Model;
  const cpu::Backend backend(2);
  const auto& state = generator.state();
  const auto w = bind<Model>(state.parameters);
  const DiffusionSchedule schedule(state.settings.diffusion);
  const auto visited = schedule.timesteps(state.settings.sampling.steps, state.settings.sampling.spacing);
  CHECK(visited.front() == 90);
  Buffer<float> x(noise.span());
  const MatrixView<float> rows(x.data(), 2, Model::latent_numbers);
  for (std::size_t k = 0; k < visited.size(); ++k) {
    Workspace workspace;
    const std::vector<Index> timesteps(2, visited[k]);
    const auto predicted =
        Model::DenoiserModel::forward(backend, w.denoiser, SequenceView<const float>(x.data(), 2, 2, 24),
                                      std::span<const Index>(timesteps), condition, workspace);
    sampler_step(backend,
                 reverse_step(schedule, SamplerKind::ddim, 0, visited[k],
                              k + 1 < visited.size() ? visited[k + 1] : -1),
                 predicted.output.per_sample(), MatrixView<const float>(), rows);
  }
  Workspace workspace;
  const auto made = detail::LatentPath<Network, OfficialConfig, float>::forward(
      backend, state, w.autoencoder, MatrixView<const float>(rows), workspace);
  return Buffer<float>(std::span<const float>(made.policies().span()));
}

TEST_CASE("imported checkpoints generate what the public code does") {
  const parity::Fixture fixture("official_outputs");
  const auto generator = load_official<OfficialGenerator>(file, cpu::Backend(2));
  const auto prompt = prompt_of(fixture);
  const auto condition = generator.embed(std::span(&prompt, 1));
  check_close<float>("condition", condition.span(), fixture.read<float>("condition").span(), 2e-6);
  Buffer<float> conditions(2 * condition.size());
  std::ranges::copy(condition, conditions.begin());
  std::ranges::copy(condition, conditions.begin() + condition.size());
  const MatrixView<const float> both(conditions.data(), 2, condition.size());
  const auto noise = fixture.read<float>("noise");
  const auto made = policies_from(generator, noise.sequence().per_sample(), both);
  check_close<float>("weights", made.span(), fixture.read<float>("weights").span(), 5e-6);

  // The same steps from the noise of a seed are what generate() does.
  Buffer<float> drawn(noise.values.size());
  auto streams = sample_streams(Rng(7), 0, 2);
  fill_normal(cpu::Backend(1), streams, MatrixView<float>(drawn.data(), 2, drawn.size() / 2));
  const auto expected =
      policies_from(generator, MatrixView<const float>(drawn.data(), 2, drawn.size() / 2), both);
  const auto policies = generator.generate(prompt, {.count = 2, .seed = 7});
  for (std::size_t i = 0; i < 2; ++i) {
    check_close<float>("generated", policies[i].weights(),
                       expected.span().subspan(i * Policy::parameter_size, Policy::parameter_size), 2e-6);
  }
  const TemporaryFolder folder;
  generator.save(folder / "generator.safetensors");
  const auto loaded = OfficialGenerator::load(folder / "generator.safetensors", cpu::Backend(1));
  CHECK(same_bits(loaded.generate(prompt, {.count = 2, .seed = 7})[1].weights(), policies[1].weights()));
}

TEST_CASE("the public code's sizes are the reference configuration's") {
  using Official = Generator<MetaWorldPolicy, ReferenceConfig>::Model;
  static_assert(parameter_count<Official::AutoencoderModel> == 46'417'920);
  static_assert(parameter_count<Official::DenoiserModel> == 163'048'576);
  static_assert(tensor_count<Official::DenoiserModel> == 148);
  static_assert(Official::EmbedderModel::Phi::in == 1'020 && Official::EmbedderModel::Psi::in == 117);
  static_assert(Official::condition_size == 256);
}

TEST_CASE("what is missing, foreign, of another size or of another format is named with the file") {
  const TemporaryFolder folder;
  const SafetensorsReader reader(file);
  const auto error_with = [&](const std::string& without, const std::string& renamed,
                              const std::string& format = "maa official 1") {
    SafetensorsWriter writer;
    writer.set_metadata("format", format);
    for (const auto& tensor : reader.tensors()) {
      if (tensor.name != without) {
        writer.add_owned(tensor.name, tensor.shape, reader.read<float>(tensor.name));
      } else if (!renamed.empty()) {
        writer.add_owned(renamed, tensor.shape, reader.read<float>(tensor.name));
      }
    }
    const auto path = folder / "changed.safetensors";
    writer.write(path);
    return error_of([&] { load_official<OfficialGenerator>(path); });
  };
  CHECK(error_with("", "") == "no error");
  CHECK(is_official(file));
  CHECK_FALSE(is_official(std::string(MAA_TEST_DATA) + "/ops.safetensors"));
  for (const auto& name : reader.names()) {
    const auto error = error_with(name, "");
    CHECK(has(error, name));
    CHECK(has(error, "changed.safetensors"));
  }
  CHECK(has(error_with("", "", "maa generator 1"),
            "expected a file of format 'maa official 1', found 'maa generator 1'"));
  SafetensorsWriter writer;
  writer.set_metadata("format", "maa official 1");
  for (const auto& tensor : reader.tensors()) {
    writer.add_owned(tensor.name, tensor.shape, reader.read<float>(tensor.name));
  }
  Buffer<float> one(1);
  writer.add("denoiser.extra", {1}, one.span());
  writer.write(folder / "more.safetensors");
  CHECK(has(error_of([&] { load_official<OfficialGenerator>(folder / "more.safetensors"); }),
            "denoiser.extra"));
  CHECK(has(error_of([&] { load_official<Generator<Policy, OtherSize>>(file); }), "embedder.phi.4.weight"));
  CHECK(has(error_of([&] { OfficialGenerator::load(file); }), "maa generator 1"));
}

}  // namespace
