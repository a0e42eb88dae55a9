// From a data set to a generator: fit DATASET --out GENERATOR
#include <maa/generator.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <fstream>

#include "interrupt.hpp"
#include "progress.hpp"
#include "tool_policy.hpp"

namespace {

// One line per step: stage, step, loss, learning rate.
class Log {
 public:
  explicit Log(const std::filesystem::path& path) {
    if (!path.empty()) {
      const bool goes_on = std::filesystem::exists(path);
      file_.open(path, std::ios::app);
      if (!goes_on) {
        file_ << "stage,step,loss\n";
      }
      maa::require(file_.good(), "cannot write '", path.string(), "'");
    }
  }
  void write(const maa::TrainProgress& now) {
    if (file_.is_open()) {
      file_ << now.stage << ',' << now.step << ',' << now.loss << '\n';
    }
  }

 private:
  std::ofstream file_;
};

void fit(const std::filesystem::path& data, const std::filesystem::path& out, maa::BehaviorRecipe recipe,
         const std::filesystem::path& log_path, int threads) {
  recipe.checkpoint = out.string() + ".checkpoint";
  Log log(log_path);
  maa::Generator<Policy> generator{maa::cpu::Backend(threads)};
  std::unique_ptr<maa::examples::Progress> bar;
  std::string stage;
  const bool finished = generator.fit(maa::Dataset::load(data), recipe, [&](const maa::TrainProgress& now) {
    if (stage != now.stage) {
      stage = now.stage;
      bar = std::make_unique<maa::examples::Progress>(stage, now.steps);
    }
    bar->update(now.step, maa::concatenate("  loss ", now.loss));
    log.write(now);
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
  std::filesystem::path data, out = "generator.safetensors", log;
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
  app.add_option("--log", log, "CSV of the loss at every step");
  app.add_flag("--no-check", unchecked, "train even if policies do not do what the trajectories show");
  app.add_option("--threads", threads, "0: one per core")->check(CLI::Range(0, 1024))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  recipe.check = !unchecked;
  return maa::examples::run_interruptibly(out.string() + ".checkpoint",
                                          [&] { fit(data, out, recipe, log, threads); });
}
