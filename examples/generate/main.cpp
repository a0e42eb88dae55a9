// From a generator and recorded trajectories to policy files: generate GENERATOR TRAJECTORY... --out FOLDER
#include <cmath>
#include <cstdio>
#include <map>

#include <CLI/CLI.hpp>
#include <maa/generator/official.hpp>

#include "tool_policy.hpp"
#if MAA_EXAMPLES_CUDA
#include <maa/cuda.hpp>
#endif

namespace {

struct Demonstration {
  std::filesystem::path path;
  std::string name;  // of its policies
  maa::Trajectory trajectory;
};

struct Generated {
  std::vector<Policy> policies;
  maa::PolicyMetadata metadata;
};

// Policies for all demonstrations together or for each; says how far the prompts lie from those trained on.
// Of several prompts what is none is told and taken out, so that the others go through.
template <class Generator>
Generated generate(const Generator& generator, std::vector<Demonstration>& demonstrations, bool together,
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
  return {together ? generator.generate(prompts, options) : generator.generate_each(prompts, options),
          generator.interface().metadata};
}

// A name for each prompt's policies. Error if two are one: the second's files would replace the first's.
std::vector<std::string> names_of_prompts(const std::vector<std::filesystem::path>& trajectories,
                                          bool together) {
  if (together) {
    return {"policy"};
  }
  std::map<std::string, std::filesystem::path> first;
  std::vector<std::string> names;
  for (const auto& path : trajectories) {
    names.push_back(path.stem().string());
    const auto [at, is_new] = first.emplace(names.back(), path);
    maa::require(
        is_new, "expected trajectory files of different names, after which their policies are named, found '",
        at->second.string(), "' and '", path.string(), "'");
  }
  return names;
}

// By a generator of the default configuration, or one that import_official.py made.
template <class Backend>
Generated generate(const std::filesystem::path& path, std::vector<Demonstration>& demonstrations,
                   bool together, const maa::GenerateOptions& options, Backend backend) {
  using Official = maa::Generator<Policy, maa::ReferenceConfig, Backend>;
  using Default = maa::Generator<Policy, maa::DefaultConfig, Backend>;
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
  app.set_version_flag("--version", std::string(maa::library_version));
  app.add_option("generator", generator_path, "generator file (.safetensors)")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("trajectories", trajectory_paths,
                 "trajectory files (.npz or .safetensors): observations, actions, success")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--out", out, "folder for the policy files")->capture_default_str();
  app.add_option("--count", options.count, "policies per prompt")->capture_default_str();
  app.add_option("--spread", options.spread,
                 "how far policies of a prompt after the first differ: 1 as much as the prompt leaves open")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "equal seeds give equal policies")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
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
    const auto names = names_of_prompts(trajectory_paths, together);
    std::filesystem::create_directories(out);
    std::vector<Demonstration> demonstrations;
    for (std::size_t i = 0; i < trajectory_paths.size(); ++i) {
      const auto& path = trajectory_paths[i];
      try {
        demonstrations.push_back({path, names[together ? 0 : i], maa::load_trajectory(path)});
      } catch (const maa::Error& error) {
        maa::require(!together, error.what());
        std::fprintf(stderr, "error: %s\n", error.what());
      }
    }
    Generated made;
    if (device == "cpu") {
      made = generate(generator_path, demonstrations, together, options, maa::cpu::Backend(threads));
    } else {
#if MAA_EXAMPLES_CUDA
      made = generate(generator_path, demonstrations, together, options, maa::cuda::Backend());
#else
      maa::fail("this program was built without CUDA: configure with the CUDA toolkit installed");
#endif
    }
    for (std::size_t i = 0; i < made.policies.size(); ++i) {
      const auto count = static_cast<std::size_t>(options.count);
      const auto path =
          out / maa::concatenate(demonstrations[i / count].name, "_", i % count, ".safetensors");
      maa::save_policy(path, made.policies[i], made.metadata);
      std::printf("%s\n", path.c_str());
    }
    maa::require(std::fflush(stdout) == 0 && std::ferror(stdout) == 0,
                 "the policies are saved, but their names cannot be written to standard output");
    return demonstrations.size() == trajectory_paths.size() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
