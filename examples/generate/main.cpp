// From a generator and recorded trajectories to policy files: generate GENERATOR TRAJECTORY... --out FOLDER
#include <cstdio>
#include <map>

#include <CLI/CLI.hpp>
#include <maa/generator/official.hpp>

#include "generation.hpp"
#include "tool_policy.hpp"

namespace {

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

}  // namespace

int main(int argc, char** argv) {
  maa::examples::GenerateArguments arguments;
  auto& options = arguments.options;
  options.count = 1;
  std::vector<std::filesystem::path> trajectory_paths;
  std::string device = "cpu";
  bool no_look_up = false;

  CLI::App app("Generates policies from trajectories, without any training.");
  app.set_version_flag("--version", std::string(maa::library_version));
  app.add_option("generator", arguments.generator, "generator file (.safetensors)")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("trajectories", trajectory_paths,
                 "trajectory files (.npz or .safetensors): observations, actions, success")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--out", arguments.out, "folder for the policy files")->capture_default_str();
  app.add_option("--count", options.count, "policies per prompt")->capture_default_str();
  app.add_option("--spread", options.spread,
                 "how far policies of a prompt after the first differ: 1 as much as the prompt leaves open")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "equal seeds give equal policies")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--threads", arguments.threads, "0: one per core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--device", device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  app.add_option("--precision", options.precision, "of the denoiser and the decoder")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, maa::Precision>{{"fp32", maa::Precision::fp32},
                                                {"bf16_weights", maa::Precision::bf16_weights},
                                                {"bf16", maa::Precision::bf16}}))
      ->default_str("fp32");
  app.add_flag("--no-look-up", no_look_up,
               "generate, even where a policy of the data set acts more like the prompt");
  app.add_flag("--together", arguments.together,
               "all trajectories are demonstrations of one behaviour and make one prompt");
  CLI11_PARSE(app, argc, argv);

  arguments.cuda = device == "cuda";
  options.look_up = !no_look_up;

  try {
    const auto names = names_of_prompts(trajectory_paths, arguments.together);
    const bool official = maa::is_official(arguments.generator);
    const auto shape = official ? maa::PolicyShape() : maa::load_policy_shape(arguments.generator);
    std::filesystem::create_directories(arguments.out);
    std::vector<maa::examples::Demonstration> demonstrations;
    for (std::size_t i = 0; i < trajectory_paths.size(); ++i) {
      const auto& path = trajectory_paths[i];
      try {
        demonstrations.push_back({path, names[arguments.together ? 0 : i], maa::load_trajectory(path)});
      } catch (const maa::Error& error) {
        maa::require(!arguments.together, error.what());
        std::fprintf(stderr, "error: %s\n", error.what());
      }
    }
    if (official) {
      maa::examples::generate_by_official(demonstrations, arguments);
    } else {
      maa::examples::ToolPolicy::Network::set(shape);
      maa::examples::generate(demonstrations, arguments);
    }
    return demonstrations.size() == trajectory_paths.size() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
