#include "options.hpp"

#include <algorithm>
#include <thread>

#include <CLI/CLI.hpp>
#include <maa/core/rng.hpp>

#include "tabletop.hpp"

namespace maa::examples::quickstart {

std::vector<std::string> Tasks::all() const {
  auto result = seen;
  result.insert(result.end(), unseen.begin(), unseen.end());
  return result;
}

std::vector<std::string> Tasks::mirror_images() const {
  std::vector<std::string> images;
  for (const auto& task : unseen) {
    if (std::ranges::find(seen, tabletop::mirror_task(task)) != seen.end()) {
      images.push_back(task);
    }
  }
  return images;
}

void Options::shrink() {
  tasks.seen = {"button-press", "button-press-topdown", "drawer-open", "reach", "window-open"};
  tasks.unseen = {"drawer-close", "window-close"};
  noisy_episodes = 6;
  prompt_episodes = 4;
  dagger_steps = {60};
  dagger_episodes = 2;
  runs = 2;
  zoo_steps = 120;
  snapshots = 6;
  batch = 64;
  autoencoder_steps = embedder_steps = denoiser_steps = behavior_steps = 10;
  prompts = 3;
  scenes = 2;
  clone_steps = 20;
  clone_steps_zoo = 10;
  clip_width = 120;
  clip_height = 90;
  clip_stride = 8;
}

int parse(int argc, char** argv, Options& options, bool& go_on) {
  options.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  CLI::App app("From scripted experts to policies generated from trajectories, measured in MuJoCo.");
  bool no_render = false;
  app.add_option("--seed", options.seed, "seed of everything random")->capture_default_str();
  app.add_option("--out", options.out, "folder for results")->capture_default_str();
  app.add_flag("--resume", options.resume, "go on where an earlier run into the same folder stopped");
  app.add_flag("--smoke", options.smoke, "tiny sizes: shows that everything works, its numbers mean nothing");
  app.add_option("--threads", options.threads, "threads; results do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("--no-render", no_render, "leave the clips out");
  go_on = false;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  go_on = true;
  options.render = !no_render;
  if (options.smoke) {
    options.shrink();
  }
  return 0;
}

std::uint64_t seed_for(const Options& options, Purpose purpose, Index a, Index b, Index c) {
  return Rng(options.seed)
      .fork(static_cast<std::uint64_t>(purpose))
      .fork(static_cast<std::uint64_t>(a))
      .fork(static_cast<std::uint64_t>(b))
      .fork(static_cast<std::uint64_t>(c))
      .next_u64();
}

}  // namespace maa::examples::quickstart
