// From a data set to a generator: fit DATASET --out GENERATOR
#include <maa/generator.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>

#include "interrupt.hpp"
#include "progress.hpp"
#include "tool_policy.hpp"
#include "training_curves.hpp"

namespace {

void fit(const std::filesystem::path& data, const std::filesystem::path& out, maa::BehaviorRecipe recipe,
         maa::examples::TrainingCurves curves, int threads) {
  recipe.checkpoint = out.string() + ".checkpoint";
  maa::Generator<Policy> generator{maa::cpu::Backend(threads)};
  std::unique_ptr<maa::examples::Progress> bar;
  std::string stage;
  const bool finished = generator.fit(maa::Dataset::load(data), recipe, [&](const maa::TrainProgress& now) {
    if (stage != now.stage) {
      stage = now.stage;
      bar = std::make_unique<maa::examples::Progress>(stage, now.steps);
    }
    bar->update(now.step, maa::concatenate("  loss ", now.loss));
    curves.write(now);
    return !maa::examples::interrupted();
  });
  bar.reset();
  if (!finished) {
    throw maa::examples::Interrupted();
  }
  generator.save(out);
  std::filesystem::remove(recipe.checkpoint);
  std::printf("%s\n", out.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  std::filesystem::path data, out = "generator.safetensors", log, tensorboard;
  maa::BehaviorRecipe recipe;
  bool unchecked = false;
  int threads = 0;
  CLI::App app("Trains a generator by the default recipe. Stopped, the same command goes on where it was.");
  app.set_version_flag("--version", std::string(maa::library_version));
  app.add_option("dataset", data, "data set (.safetensors)")->required()->check(CLI::ExistingFile);
  app.add_option("--out", out, "generator file; while training, a checkpoint beside it")
      ->capture_default_str();
  app.add_option("--steps", recipe.behavior.train.steps, "of training the generated policies' behaviour")
      ->capture_default_str();
  app.add_option("--batch", recipe.behavior.train.batch, "prompts in each")->capture_default_str();
  app.add_option("--seed", recipe.seed, "equal seeds give equal generators")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--log", log, "loss and more at every step: CSV, or JSON lines (.jsonl)");
  app.add_option("--tensorboard", tensorboard, "folder: the same for TensorBoard");
  app.add_flag("--no-check", unchecked, "train even if policies do not do what the trajectories show");
  app.add_option("--threads", threads, "0: one per core")->check(CLI::Range(0, 1024))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  recipe.check = !unchecked;
  return maa::examples::run_interruptibly(out.string() + ".checkpoint", [&] {
    fit(data, out, recipe, {log, tensorboard}, threads);
  });
}
