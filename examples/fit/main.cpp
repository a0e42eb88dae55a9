// From a data set to a generator: fit DATASET --out GENERATOR
#include <maa/generator.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>

#include "interrupt.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "tool_policy.hpp"
#include "training_curves.hpp"

namespace {

struct Report {
  std::filesystem::path path;  // none, if empty
  double share = 0.2;
};

void fit(const std::filesystem::path& path, const std::filesystem::path& out, maa::BehaviorRecipe recipe,
         const Report& wanted, maa::examples::TrainingCurves curves, int threads) {
  recipe.checkpoint = out.string() + ".checkpoint";
  const auto data = maa::Dataset::load(path);
  std::optional<maa::examples::HeldOut> held_out;
  if (!wanted.path.empty()) {
    const auto folder = wanted.path.parent_path();  // an error now rather than after training
    maa::require(folder.empty() || std::filesystem::is_directory(folder), "cannot write '",
                 wanted.path.string(), "': expected its folder, found none");
    held_out = maa::examples::hold_out(data, wanted.share, recipe.seed);
  }
  maa::Generator<Policy> generator{maa::cpu::Backend(threads)};
  std::unique_ptr<maa::examples::Progress> bar;
  std::string stage;
  const auto& training = held_out ? held_out->training : data;
  const bool finished = generator.fit(training, recipe, [&](const maa::TrainProgress& now) {
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
  if (held_out) {
    auto report = maa::examples::measure(generator, data, *held_out, recipe.seed, threads);
    report.dataset = path;
    report.generator = out;
    report.share = wanted.share;
    maa::write_file_atomically(wanted.path, maa::examples::page_of(report));
    std::printf("%s\n", wanted.path.c_str());
  }
  std::filesystem::remove(recipe.checkpoint);
  std::printf("%s\n", out.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  std::filesystem::path data, out = "generator.safetensors", log, tensorboard;
  maa::BehaviorRecipe recipe;
  Report report;
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
  auto* page = app.add_option("--report", report.path,
                              "HTML page: the generator, trained without some runs and tasks, on these");
  app.add_option("--hold-out", report.share, "share of the tasks, and of the others' runs, for the report")
      ->needs(page)
      ->check(CLI::Range(0.01, 0.9))
      ->capture_default_str();
  app.add_flag("--no-check", unchecked, "train even if policies do not do what the trajectories show");
  app.add_option("--threads", threads, "0: one per core")->check(CLI::Range(0, 1024))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  recipe.check = !unchecked;
  return maa::examples::run_interruptibly(out.string() + ".checkpoint", [&] {
    fit(data, out, recipe, report, {log, tensorboard}, threads);
  });
}
