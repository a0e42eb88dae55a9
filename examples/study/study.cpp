#include "study.hpp"

#include <cmath>
#include <cstdio>
#include <iterator>

#include <maa/core/nearest_names.hpp>
#include <maa/io/atomic_file.hpp>

#include "data.hpp"
#include "interrupt.hpp"
#include "outputs.hpp"
#include "recipe.hpp"
#include "results.hpp"

namespace maa::examples::study {
namespace {

using Json = nlohmann::ordered_json;

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

// What the stages that make data depend on: learned demonstrators of unseen tasks are made with the others.
Json data_depends_on(const Options& options) {
  auto all = depends_on(options, "data");
  if (options.learned) {
    all["tasks.unseen"] = options.tasks.unseen;
  }
  return all;
}

Json to_json(const TestPrompts& test) {
  Json reported = Json::array(), shown = Json::array();
  for (std::size_t r = 0; r < test.reported.size(); ++r) {
    const auto& each = test.reported[r];
    const auto first = r * (test.prompts.size() / test.reported.size());
    reported.push_back({{"task", each.task},
                        {"split", name_of(each.split)},
                        {"runs", each.runs},
                        {"first_placement", test.placements[first]}});
  }
  for (const auto& each : test.shown) {
    shown.push_back({{"task", each.of.task},
                     {"split", name_of(each.of.split)},
                     {"run", each.of.runs.front()},
                     {"demonstrations", each.drawn},
                     {"failed", each.failed},
                     {"left_out", each.left_out}});
  }
  return {{"reported", reported}, {"shown", shown}};
}

std::vector<Reported> reported_in(const Json& prompts) {
  std::vector<Reported> result;
  for (const auto& each : prompts["reported"]) {
    constexpr auto names = names_of(Split{});
    const auto split = std::ranges::find(names, each["split"].get<std::string>()) - names.begin();
    result.push_back(
        {each["task"], static_cast<Split>(split), each["runs"].get<std::vector<std::int64_t>>()});
  }
  return result;
}

}  // namespace

Study::Study(const Options& options, Simulator& simulator, const ModelFactory& models)
    : options_(options),
      simulator_(simulator),
      models_(models),
      stages_(options.out, {{"simulator", simulator.name()}, {"versions", simulator.versions()}}),
      demonstrators_(make_demonstrators(options, simulator, stages_.file("collected.safetensors"))) {
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
  const auto depends = data_depends_on(options_);
  stages_.run("collect", depends, [&] {
    TrainingLog log;
    demonstrators_->collect(options_.out / "episodes", log);
    log.write(stages_.file("collect.jsonl"));
  });
  stages_.run("zoo", depends, [&] {
    TrainingLog log;
    dataset_ = demonstrators_->zoo(log);
    dataset_->save(stages_.file("zoo.safetensors"));
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
    Dataset changed;
    if (!options_.training.zoo_weights) {
      changed = data();
      const auto normalizer = observation_normalizer(ExampleTable(trained_episodes(options_, data())));
      for (Index i = 0; i < changed.policy_count(); ++i) {
        initial_weights(simulator_.interface().policy, normalizer, seed_for(options_, Purpose::untrained, i),
                        changed.weight_matrix().row_span(i));
      }
    }
    if (options_.training.align_units) {
      if (changed.policies.empty()) {
        changed = data();
      }
      align_policies(simulator_.interface().policy.layout, data().weight_matrix().row_span(0),
                     changed.weight_matrix());
    }
    const auto& given = changed.policies.empty() ? data() : changed;
    try {
      model = models_.fit({options_, simulator_.interface(), given, conditioned, checkpoint}, log);
    } catch (const Interrupted&) {
      log.write(log_path);
      throw;
    }
    log.write(log_path);  // before the checkpoint goes: a rerun trains no step
    model->save(generator_path(conditioned));
    write_file_atomically(stages_.file(name + ".recipe.json"), to_json(log.recipe).dump());
    std::filesystem::remove(checkpoint);
  });
}

void Study::train() {
  fit(true);
  if (options_.methods.baseline) {
    fit(false);
  }
  write_file_atomically(options_.out / "training.jsonl", read_text(stages_.file("collect.jsonl")) +
                                                             read_text(stages_.file("zoo.jsonl")) +
                                                             read_text(stages_.file("fit.jsonl")));
}

void Study::require_collected(const std::string& command) {
  stages_.require_finished("zoo", data_depends_on(options_), command);
}
void Study::require_trained(const std::string& command) {
  stages_.require_finished("fit", depends_on(options_, "training"), command);
}

// The outcome of a method, from its file if it was measured before in the same way.
Measured Study::measure(const Method& method, const std::vector<Reported>& reported, const Json& depends_on) {
  const auto path = stages_.file("outcomes/" + file_name(method.name) + ".json");
  if (std::filesystem::exists(path)) {
    const auto found = Json::parse(read_text(path), nullptr, false);
    if (found.is_object() && found.value("depends_on", Json()) == depends_on) {
      return {method.name, found["outcome"].get<Outcome>(), found["selection"].get<Outcome>()};
    }
  }
  const auto weights = method.weights ? method.weights() : Buffer<float>();
  const auto try_in = [&](const std::string& label, Purpose scenes) {
    return study::evaluate(options_, simulator_, reported, label, method, weights, scenes);
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
  const auto rows_path = stages_.file("rows.json"), prompts_path = stages_.file("prompts.json");
  std::filesystem::create_directories(stages_.file("outcomes"));
  auto with_methods = depends_on(options_, "methods");
  with_methods["generator"] = measured_by["generator"];
  stages_.run("evaluate", with_methods, [&] {
    const auto test = test_prompts(options_, *demonstrators_);
    const auto* unconditioned = options_.methods.baseline ? &model(false) : nullptr;
    const auto& interface = simulator_.interface();
    const auto methods = make_methods(options_, symmetry_of(options_, interface), data(), model(true),
                                      unconditioned, simulator_, *demonstrators_, test);
    std::vector<std::string> names;
    std::ranges::transform(methods, std::back_inserter(names), &Method::name);
    for (const auto& wanted : options_.methods.only) {
      require(std::ranges::find(names, wanted) != names.end(), "evaluate: there is no method \"", wanted,
              "\"; the nearest are ", nearest_names(wanted, names));
    }
    const auto generated = methods.front().weights();
    write_policies(options_, interface, test.reported, generated);
    write_prompts(options_, test);
    write_map(options_, data(), model(true), test, generated);
    write_samples(options_, interface.policy, data(), model(true), test);
    write_file_atomically(prompts_path, to_json(test).dump());
    std::vector<Measured> measured;
    for (const auto& method : methods) {
      if (options_.methods.only.empty() ||
          std::ranges::find(options_.methods.only, method.name) != options_.methods.only.end()) {
        measured.push_back(measure(method, test.reported, measured_by));
      }
    }
    write_file_atomically(rows_path, result_rows(options_, test.reported, measured).dump());
  });
  const auto prompts = Json::parse(read_text(prompts_path));
  const auto reported = reported_in(prompts);
  stages_.run("render", depends_on(options_, "clips"), [&] {
    std::vector<Placement> placements;
    for (const auto& each : prompts["reported"]) {
      placements.push_back(each["first_placement"].get<Placement>());
    }
    write_clips(options_, simulator_, *demonstrators_, reported, placements);
  });
  const auto rows = Json::parse(read_text(rows_path));
  write_results(rows, prompts);
  print_table(options_, reported, rows);
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
    const auto test = test_prompts(
        options, *make_demonstrators(options, simulator_, stages_.file("collected.safetensors")));
    for (const Index share : {Index{1}, demonstrations_per_prompt}) {
      const auto& shown = share == 1 ? test.prompts : test.demonstrations;
      const auto weights = model(true).generate(shown, share, seed_for(options, Purpose::generation), {});
      const auto label =
          concatenate("noise ", level, ", ", share, share == 1 ? " demonstration" : " demonstrations");
      const Measured measured{
          label,
          study::evaluate(options, simulator_, test.reported, label, {}, weights, Purpose::scenes),
          {}};
      Json row{level, share};
      for (const auto& result : result_rows(options, test.reported, {measured})) {
        if (result["task"] == "mean") {
          const auto percent = [](const Json& rate) { return std::lround(100 * rate.get<double>()); };
          row.push_back(concatenate(percent(result["qualified"]), " % (", percent(result["ci95"][0]), " - ",
                                    percent(result["ci95"][1]), ")"));
        }
      }
      rows.push_back(row);
    }
  }
  Json columns{"noise", "demonstrations"};
  for (const auto split : splits_of(demonstrators_->reported())) {
    columns.push_back(title_of(split));
  }
  const Json table{
      {"title", "Noise in the prompt"},
      {"note", concatenate("Share of generated policies that succeed in all of ", options_.evaluation.scenes,
                           " scenes, by the deviation of the action noise in their prompts; ",
                           options_.evaluation.prompts, " prompts a task, 95 % intervals.")},
      {"columns", columns},
      {"rows", rows}};
  write_file_atomically(options_.out / "noise.json", table.dump(1) + '\n');
}

void Study::write_results(const Json& rows, const Json& prompts) const {
  const auto environment = simulator_.make_environment(options_.tasks.seen.front());
  const auto& evaluation = options_.evaluation;
  // Of training, what fit was called with stands in the place of what was asked for: recipes do not take all
  // of it.
  auto options = depends_on(options_, "clips");
  const auto training = Json::parse(read_text(stages_.file("fit.recipe.json")));
  for (const auto& field : fields_of(options_.training, "training.")) {
    if (field.name != "training.without") {
      options.erase(field.name);
    }
  }
  const Json protocol{
      {"simulator", simulator_.name()},
      {"prompts_per_task", evaluation.prompts},
      {"prompts", demonstrators_->prompts()},
      {"prompt_noise", evaluation.prompt_noise},
      {"scenes_per_policy", evaluation.scenes},
      {"scenes", "fresh random placements per prompt, the same for every method"},
      {"episode_steps", environment->max_episode_steps()},
      {"success", "any step, joint over all scenes"},
      {"selection", "none: one policy per prompt (top5 and top10: by other scenes than those reported)"},
      {"options", options},
      {"training", training}};
  Json versions{{"maa", concatenate(MAA_VERSION_MAJOR, ".", MAA_VERSION_MINOR, ".", MAA_VERSION_PATCH)}};
  for (const auto& [name, version] : simulator_.versions()) {
    versions[name] = version;
  }
  versions["compiler"] = compiler();
  const auto& tasks = options_.tasks;
  std::vector<std::string> new_run;
  for (const auto& each : demonstrators_->reported()) {
    if (each.split == Split::new_run) {
      new_run.push_back(each.task);
    }
  }
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
                       {"new_run", new_run},
                       {"unseen", tasks.unseen},
                       {"extra", tasks.extra},
                       {"validation", tasks.validation},
                       {"mirror_images", tasks.mirror_images(simulator_)}}},
                     {"demonstrators", prompts["shown"]},
                     {"rows", rows}};
  write_file_atomically(options_.out / "results.json", results.dump(1) + '\n');
}

}  // namespace maa::examples::study
