#include "study.hpp"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>

#include <maa/core/nearest_names.hpp>
#include <maa/io/atomic_file.hpp>

#include "interrupt.hpp"
#include "outputs.hpp"
#include "recipe.hpp"
#include "results.hpp"

namespace maa::examples::study {
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

// A method's name as part of a file's.
std::string file_name(const std::string& method) {
  std::string name;
  for (const char c : method) {
    name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  }
  return name;
}

// Names the bytes of a file (FNV-1a).
std::string fingerprint(const std::filesystem::path& path) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : read_text(path)) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  return concatenate(hash);
}

}  // namespace

Study::Study(const Options& options, Simulator& simulator, const ModelFactory& models)
    : options_(options),
      simulator_(simulator),
      models_(models),
      stages_(options.out, {{"simulator", simulator.name()}, {"versions", simulator.versions()}}) {
  check_fields(options, "study");
  const auto& wanted = simulator.interface().policy;
  const auto& found = models.policy();
  require(&found == &wanted, "study: expected models of ", simulator.name(), "'s policies, ",
          wanted.observation_size(), " observations to ", wanted.action_size(), " actions with ",
          wanted.parameter_count(), " weights, found ", found.observation_size(), " to ", found.action_size(),
          " with ", found.parameter_count());
}

Dataset& Study::data() {
  return dataset_ ? *dataset_ : dataset_.emplace(Dataset::load(stages_.file("zoo.safetensors")));
}

std::filesystem::path Study::generator_path(bool conditioned) const {
  return conditioned ? options_.out / "generator.safetensors" : stages_.file("unconditioned.safetensors");
}

Model& Study::model(bool conditioned) {
  auto& model = conditioned ? generator_ : unconditioned_;
  if (!model) {
    model = models_.load(options_, generator_path(conditioned));
  }
  return *model;
}

void Study::collect() {
  const auto episodes_path = stages_.file("episodes.safetensors");
  stages_.run("collect", depends_on(options_, "data"), [&] {
    dataset_ = study::collect(options_, simulator_, options_.out / "episodes");
    dataset_->save(episodes_path);
  });
  stages_.run("zoo", depends_on(options_, "data"), [&] {
    TrainingLog log;
    auto& dataset = dataset_ ? *dataset_ : dataset_.emplace(Dataset::load(episodes_path));
    add_zoo(options_, simulator_.interface().policy, dataset, log);
    dataset.save(stages_.file("zoo.safetensors"));
    log.write(stages_.file("zoo.jsonl"));
  });
}

void Study::fit(bool conditioned) {
  const std::string name = conditioned ? "fit" : "fit_unconditioned";
  stages_.run(name, depends_on(options_, "training"), [&] {
    const auto checkpoint = stages_.file(name + ".checkpoint");
    const auto log_path = stages_.file(name + ".jsonl");
    TrainingLog log;
    if (std::filesystem::exists(checkpoint) && std::filesystem::exists(log_path)) {
      log = TrainingLog(read_text(log_path));
    }
    auto& model = conditioned ? generator_ : unconditioned_;
    try {
      model = models_.fit({options_, simulator_.interface(), data(), conditioned, checkpoint}, log);
    } catch (const Interrupted&) {
      log.write(log_path);
      throw;
    }
    model->save(generator_path(conditioned));
    write_file_atomically(stages_.file(name + ".recipe.json"), to_json(log.recipe).dump());
    log.write(log_path);
  });
}

void Study::train() {
  fit(true);
  if (options_.methods.baseline) {
    fit(false);
  }
  write_file_atomically(options_.out / "training.jsonl",
                        read_text(stages_.file("zoo.jsonl")) + read_text(stages_.file("fit.jsonl")));
}

void Study::require_collected(const std::string& command) {
  stages_.require_finished("zoo", depends_on(options_, "data"), command);
}
void Study::require_trained(const std::string& command) {
  stages_.require_finished("fit", depends_on(options_, "training"), command);
}

// The outcome of a method, from its file if it was measured before in the same way.
Measured Study::measure(const Method& method, const Json& depends_on) {
  const auto path = stages_.file("outcomes/" + file_name(method.name) + ".json");
  if (std::filesystem::exists(path)) {
    const auto found = Json::parse(read_text(path), nullptr, false);
    if (found.is_object() && found.value("depends_on", Json()) == depends_on) {
      return {method.name, found["outcome"].get<Outcome>(), found["selection"].get<Outcome>()};
    }
  }
  const auto weights = method.weights ? method.weights() : Buffer<float>();
  const auto try_in = [&](const std::string& label, Purpose scenes) {
    return study::evaluate(options_, simulator_, label, weights, method.seen_only, scenes);
  };
  Measured measured{method.name, try_in(method.name, Purpose::scenes), {}};
  if (method.selection) {
    measured.selection = try_in(method.name + ", selection", Purpose::selection_scenes);
  }
  write_file_atomically(
      path, Json{{"depends_on", depends_on}, {"outcome", measured.outcome}, {"selection", measured.selection}}
                .dump());
  return measured;
}

void Study::evaluate() {
  // A method's outcome is used again as long as this is the same.
  auto measured_by = depends_on(options_, "evaluation");
  measured_by["generator"] = fingerprint(generator_path(true));
  const auto rows_path = stages_.file("rows.json");
  std::filesystem::create_directories(stages_.file("outcomes"));
  auto with_methods = depends_on(options_, "methods");
  with_methods["generator"] = measured_by["generator"];
  stages_.run("evaluate", with_methods, [&] {
    const auto test = test_prompts(options_, simulator_);
    const auto* unconditioned = options_.methods.baseline ? &model(false) : nullptr;
    const auto& interface = simulator_.interface();
    const auto methods =
        make_methods(options_, symmetry_of(options_, interface), data(), model(true), unconditioned, test);
    std::vector<std::string> names;
    std::ranges::transform(methods, std::back_inserter(names), &Method::name);
    for (const auto& wanted : options_.methods.only) {
      require(std::ranges::find(names, wanted) != names.end(), "evaluate: there is no method \"", wanted,
              "\"; the nearest are ", nearest_names(wanted, names));
    }
    const auto generated = methods.front().weights();
    write_policies(options_, interface.policy, generated);
    write_prompts(options_, test.prompts);
    write_map(options_, data(), model(true), test.prompts, generated);
    std::vector<Measured> measured;
    for (const auto& method : methods) {
      if (options_.methods.only.empty() ||
          std::ranges::find(options_.methods.only, method.name) != options_.methods.only.end()) {
        measured.push_back(measure(method, measured_by));
      }
    }
    write_file_atomically(rows_path, result_rows(options_, measured).dump());
  });
  stages_.run("render", depends_on(options_, "clips"), [&] { write_clips(options_, simulator_); });
  const auto rows = Json::parse(read_text(rows_path));
  write_results(rows);
  print_table(options_, rows);
  std::printf("\nSeconds:");
  for (const auto& [stage, seconds] : stages_.seconds()) {
    std::printf(" %s %.1f", stage.c_str(), seconds);
  }
  std::printf("\nResults: %s\n", (options_.out / "results.json").c_str());
}

void Study::study_noise(const std::vector<double>& levels) {
  Json rows = Json::array();
  for (const double level : levels) {
    auto options = options_;
    options.evaluation.prompt_noise = {level};
    const auto test = test_prompts(options, simulator_);
    for (const Index share : {Index{1}, demonstrations_per_prompt}) {
      const auto& shown = share == 1 ? test.prompts : test.demonstrations;
      const auto weights = model(true).generate(shown, share, seed_for(options, Purpose::generation), {});
      const auto label =
          concatenate("noise ", level, ", ", share, share == 1 ? " demonstration" : " demonstrations");
      const Measured measured{
          label, study::evaluate(options, simulator_, label, weights, false, Purpose::scenes), {}};
      Json row{level, share};
      for (const auto& result : result_rows(options, {measured})) {
        if (result["task"] == "mean") {
          const auto percent = [](const Json& rate) { return std::lround(100 * rate.get<double>()); };
          row.push_back(concatenate(percent(result["qualified"]), " % (", percent(result["ci95"][0]), " - ",
                                    percent(result["ci95"][1]), ")"));
        }
      }
      rows.push_back(row);
    }
  }
  const Json table{
      {"title", "Noise in the prompt"},
      {"note", concatenate("Share of generated policies that succeed in all of ", options_.evaluation.scenes,
                           " scenes, by the deviation of the action noise in their prompts; ",
                           options_.evaluation.prompts, " prompts a task, 95 % intervals.")},
      {"columns", {"noise", "demonstrations", "seen tasks", "unseen tasks"}},
      {"rows", rows}};
  write_file_atomically(options_.out / "noise.json", table.dump(1) + '\n');
}

void Study::write_results(const Json& rows) const {
  const auto environment = simulator_.make_environment(options_.tasks.seen.front());
  const auto& evaluation = options_.evaluation;
  const Json protocol{
      {"simulator", simulator_.name()},
      {"prompts_per_task", evaluation.prompts},
      {"prompts", "demonstrations of a scripted expert with action noise, on placements never trained on"},
      {"prompt_noise", evaluation.prompt_noise},
      {"scenes_per_policy", evaluation.scenes},
      {"scenes", "fresh random placements per prompt, the same for every method"},
      {"episode_steps", environment->max_episode_steps()},
      {"success", "any step, joint over all scenes"},
      {"selection", "none: one policy per prompt (top5 and top10: by other scenes than those reported)"},
      {"options", depends_on(options_, "clips")},
      // What fit was called with.
      {"training", Json::parse(read_text(stages_.file("fit.recipe.json")))}};
  Json versions{{"maa", concatenate(MAA_VERSION_MAJOR, ".", MAA_VERSION_MINOR, ".", MAA_VERSION_PATCH)}};
  for (const auto& [name, version] : simulator_.versions()) {
    versions[name] = version;
  }
  versions["compiler"] = compiler();
  const auto& tasks = options_.tasks;
  const Json results{{"command", options_.command},
                     {"protocol", protocol},
                     {"seeds",
                      {{"seed", options_.seed},
                       {"prompt_seed", evaluation.prompt_seed},
                       {"scene_seed", evaluation.scene_seed}}},
                     {"versions", versions},
                     {"wall_seconds", stages_.seconds()},
                     {"tasks",
                      {{"seen", tasks.seen},
                       {"unseen", tasks.unseen},
                       {"extra", tasks.extra},
                       {"validation", tasks.validation},
                       {"mirror_images", tasks.mirror_images(simulator_)}}},
                     {"rows", rows}};
  write_file_atomically(options_.out / "results.json", results.dump(1) + '\n');
}

}  // namespace maa::examples::study
