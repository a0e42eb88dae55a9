// From a generator and recorded trajectories to policy files: generate GENERATOR TRAJECTORY... --out FOLDER
#include <cmath>
#include <cstdio>

#include <CLI/CLI.hpp>
#include <maa/generator/official.hpp>
#if MAA_EXAMPLES_CUDA
#include <maa/cuda.hpp>
#endif

namespace {

struct Demonstration {
  std::filesystem::path path;
  maa::Trajectory trajectory;
};

// Policies for all demonstrations together or for each; says how far the prompts lie from those trained on.
// Of several prompts what is none is told and taken out, so that the others go through.
template <class Generator>
std::vector<maa::MetaWorldPolicy> generate(const Generator& generator,
                                           std::vector<Demonstration>& demonstrations, bool together,
                                           const maa::GenerateOptions& options) {
  std::vector<maa::Trajectory> prompts;
  std::erase_if(demonstrations, [&](const Demonstration& demonstration) {
    try {
      const double novelty = generator.novelty({&demonstration.trajectory, 1})[0];
      if (std::isfinite(novelty)) {  // prompts of training that do not differ tell nothing
        std::fprintf(stderr, "novelty %.2f%s\n", novelty,
                     novelty > 1 ? ": unlike the prompts of training" : "");
      }
      prompts.push_back(demonstration.trajectory);
      return false;
    } catch (const maa::Error& error) {
      const auto message = maa::concatenate("'", demonstration.path.string(), "': ", error.what());
      maa::require(!together, message);
      std::fprintf(stderr, "error: %s\n", message.c_str());
      return true;
    }
  });
  maa::require(!prompts.empty(), "expected at least one prompt, found none");
  return together ? generator.generate(prompts, options) : generator.generate_each(prompts, options);
}

// By a generator of the default configuration, or one that import_official.py made.
template <class Backend>
std::vector<maa::MetaWorldPolicy> generate(const std::filesystem::path& path,
                                           std::vector<Demonstration>& demonstrations, bool together,
                                           const maa::GenerateOptions& options, Backend backend) {
  using Official = maa::Generator<maa::MetaWorldPolicy, maa::ReferenceConfig, Backend>;
  using Default = maa::Generator<maa::MetaWorldPolicy, maa::DefaultConfig, Backend>;
  return maa::is_official(path)
             ? generate(maa::load_official<Official>(path, std::move(backend)), demonstrations, together,
                        options)
             : generate(Default::load(path, std::move(backend)), demonstrations, together, options);
}

}  // namespace

int main(int argc, char** argv) {
  std::filesystem::path generator_path, out = "policies";
  std::vector<std::filesystem::path> trajectory_paths;
  maa::GenerateOptions options;
  options.count = 1;
  int threads = 0;
  bool together = false;
  std::string device = "cpu";

  CLI::App app("Generates policies from trajectories, without any training.");
  app.add_option("generator", generator_path, "generator file (.safetensors)")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("trajectories", trajectory_paths,
                 "trajectory files (.npz or .safetensors): observations, actions, success")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--out", out, "folder for the policy files")->capture_default_str();
  app.add_option("--count", options.count, "policies per prompt")->capture_default_str();
  app.add_option("--seed", options.seed, "equal seeds give equal policies")->capture_default_str();
  app.add_option("--threads", threads, "0: one per core")->check(CLI::Range(0, 1024))->capture_default_str();
  app.add_option("--device", device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--precision", options.precision, "of the denoiser and the decoder")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, maa::Precision>{{"fp32", maa::Precision::fp32},
                                                {"bf16_weights", maa::Precision::bf16_weights},
                                                {"bf16", maa::Precision::bf16}}))
      ->default_str("fp32");
  app.add_flag("--together", together,
               "all trajectories are demonstrations of one behaviour and make one prompt");
  CLI11_PARSE(app, argc, argv);

  try {
    std::vector<Demonstration> demonstrations;
    for (const auto& path : trajectory_paths) {
      try {
        demonstrations.push_back({path, maa::load_trajectory(path)});
      } catch (const maa::Error& error) {
        maa::require(!together, error.what());
        std::fprintf(stderr, "error: %s\n", error.what());
      }
    }
    std::vector<maa::MetaWorldPolicy> policies;
    if (device == "cpu") {
      policies = generate(generator_path, demonstrations, together, options, maa::cpu::Backend(threads));
    } else {
#if MAA_EXAMPLES_CUDA
      policies = generate(generator_path, demonstrations, together, options, maa::cuda::Backend());
#else
      maa::fail("this program was built without CUDA: configure with the CUDA toolkit installed");
#endif
    }
    std::filesystem::create_directories(out);
    for (std::size_t i = 0; i < policies.size(); ++i) {
      const auto prompt = i / static_cast<std::size_t>(options.count);
      const auto name = together ? std::string("policy") : demonstrations[prompt].path.stem().string();
      const auto path =
          out / maa::concatenate(name, "_", i % static_cast<std::size_t>(options.count), ".safetensors");
      maa::save_policy(path, policies[i]);
      std::printf("%s\n", path.c_str());
    }
    return demonstrations.size() == trajectory_paths.size() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
