// The quick-start: scripted experts -> episodes -> a zoo of policies -> a generator -> generated policies,
// measured.
#include <mujoco/mujoco.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>

#include <maa/io/atomic_file.hpp>

#include "data.hpp"
#include "evaluate.hpp"
#include "interrupt.hpp"
#include "model.hpp"
#include "options.hpp"
#include "outputs.hpp"
#include "results.hpp"
#include "stages.hpp"

namespace maa::examples::quickstart {
namespace {

using Json = nlohmann::ordered_json;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  maa::require(static_cast<bool>(file), "cannot read ", path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

Json results(const Options& options, const Stages& stages, const Json& rows) {
  Json protocol{
      {"prompts_per_task", options.prompts},
      {"prompts",
       "first 60 steps and the states after success of a scripted expert with action noise 0, .1, .2 "
       "or .3, on placements never trained on"},
      {"scenes_per_policy", options.scenes},
      {"scenes", "fresh random placements per prompt, the same for every method"},
      {"episode_steps", 120},
      {"success", "any step, joint over all scenes"},
      {"selection", "none: one policy per prompt"}};
  protocol["options"] = describe(options);
  return {{"protocol", protocol},
          {"seeds", {{"seed", options.seed}}},
          {"versions",
           {{"maa", concatenate(MAA_VERSION_MAJOR, ".", MAA_VERSION_MINOR, ".", MAA_VERSION_PATCH)},
            {"mujoco", mj_versionString()},
            {"compiler", compiler()}}},
          {"wall_seconds", stages.seconds()},
          {"tasks",
           {{"seen", options.tasks.seen},
            {"unseen", options.tasks.unseen},
            {"mirror_images", options.tasks.mirror_images()}}},
          {"rows", rows}};
}

void run(const Options& options) {
  Stages stages(options);
  const auto episodes_path = stages.file("episodes.safetensors");
  const auto zoo_path = stages.file("zoo.safetensors");
  const auto checkpoint_path = stages.file("fit.checkpoint");
  const auto generator_path = options.out / "generator.safetensors";
  const auto outcomes_path = stages.file("outcomes.json");
  // Kept in memory from one stage to the next, or read when a stage was skipped.
  std::optional<Dataset> dataset;
  std::optional<Model> model;
  const auto data = [&](const std::filesystem::path& path) -> Dataset& {
    return dataset ? *dataset : dataset.emplace(Dataset::load(path));
  };

  stages.run("collect", [&] {
    dataset = collect(options);
    dataset->save(episodes_path);
  });
  stages.run("zoo", [&] {
    TrainingLog log;
    add_zoo(options, data(episodes_path), log);
    dataset->save(zoo_path);
    log.write(stages.file("zoo.jsonl"));
    std::filesystem::remove(checkpoint_path);
  });
  stages.run("fit", [&] {
    TrainingLog log;
    if (std::filesystem::exists(checkpoint_path) && std::filesystem::exists(stages.file("fit.jsonl"))) {
      log = TrainingLog(read_text(stages.file("fit.jsonl")));
    }
    try {
      model = Model::fit(options, data(zoo_path), checkpoint_path, log);
    } catch (const Interrupted&) {
      log.write(stages.file("fit.jsonl"));
      throw;
    }
    model->save(generator_path);
    log.write(stages.file("fit.jsonl"));
  });
  stages.run("evaluate", [&] {
    if (!model) {
      model = Model::load(options, generator_path);
    }
    const auto test = test_prompts(options);
    const auto& prompts = test.prompts;
    const auto methods = make_methods(options, data(zoo_path), *model, test);
    write_policies(options, methods.front());
    write_prompts(options, prompts);
    write_map(options, *dataset, *model, prompts, methods.front());
    write_file_atomically(outcomes_path, result_rows(options, evaluate(options, methods)).dump());
  });
  stages.run("render", [&] { write_clips(options); });

  const auto rows = Json::parse(read_text(outcomes_path));
  write_file_atomically(options.out / "training.jsonl",
                        read_text(stages.file("zoo.jsonl")) + read_text(stages.file("fit.jsonl")));
  write_file_atomically(options.out / "results.json", results(options, stages, rows).dump(1) + '\n');
  stages.complete();
  print_table(options, rows);
  std::printf("\nSeconds:");
  for (const char* stage : {"collect", "zoo", "fit", "evaluate", "render"}) {
    std::printf(" %s %.1f", stage, stages.seconds().at(stage));
  }
  std::printf("\nResults: %s\n", (options.out / "results.json").c_str());
}

}  // namespace
}  // namespace maa::examples::quickstart

int main(int argc, char** argv) {
  using namespace maa::examples;
  quickstart::Options options;
  bool go_on = false;
  if (const int code = quickstart::parse(argc, argv, options, go_on); !go_on) {
    return code;
  }
  watch_for_interrupt();
  try {
    quickstart::run(options);
    return 0;
  } catch (const Interrupted&) {
    std::fprintf(stderr, "\nStopped. What is finished is kept in %s; the same command goes on from there.\n",
                 options.out.c_str());
    return 130;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "\nerror: %s\n", error.what());
    return 1;
  }
}
