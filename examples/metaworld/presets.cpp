#include "presets.hpp"

#include <algorithm>

#include <maa/core/nearest_names.hpp>

#include "models.hpp"

namespace maa::examples {
namespace {

// Tasks of the paper and its code.
const std::vector<std::string> seen = {"window-open",  "door-open",    "drawer-open", "dial-turn",
                                       "faucet-close", "button-press", "door-unlock", "handle-press",
                                       "plate-slide",  "reach"};
const std::vector<std::string> unseen = {"window-close",      "door-close",        "drawer-close",
                                         "faucet-open",       "button-press-wall", "door-lock",
                                         "handle-press-side", "coffee-button",     "reach-wall"};
// In no reported set, seen, unseen or far; training stops by them.
const std::vector<std::string> validation = {"push-back", "sweep", "hand-insert",
                                             "button-press-topdown-wall"};

// The package's other tasks, without the far ones.
const std::vector<std::string> extra = {
    "assembly",  "basketball",      "bin-picking",     "box-close",        "coffee-pull", "disassemble",
    "hammer",    "peg-insert-side", "peg-unplug-side", "pick-out-of-hole", "pick-place",  "pick-place-wall",
    "push-wall", "shelf-place",     "stick-pull",      "stick-push"};

}  // namespace

const std::vector<std::string>& metaworld_presets() {
  static const std::vector<std::string> names = {"smoke", "small", "best", "paper", "reference"};
  return names;
}

study::Options metaworld_options(const std::string& preset) {
  require(std::ranges::find(metaworld_presets(), preset) != metaworld_presets().end(),
          "metaworld: there is no preset \"", preset, "\"; the nearest are ",
          nearest_names(preset, metaworld_presets()));
  study::Options options;
  options.tasks = {seen, unseen, {}, validation};
  options.data.zoo_steps = 2500;
  options.data.snapshots = 50;
  options.data.dagger_steps = {700, 400, 400};
  options.evaluation.prompts = 20;
  options.evaluation.trial = false;  // ten times what a method costs
  options.methods.baseline = true;
  options.clips.width = 320;
  options.clips.height = 240;
  options.clips.stride = 4;
  if (preset == "best") {
    options.tasks.extra = extra;
    options.data.zoo_steps = 1600;
    options.data.snapshots = 20;
    options.training.behavior_steps = 1200;
    options.training.demonstrations = {1, 3};
    options.training.huber_width = 0.1;
    options.training.corrective = true;
  }
  if (preset == "paper" || preset == "reference") {
    // One placement per run, and many policies; no head and no choice, and training validates by runs.
    options.tasks.validation = {};
    options.data.placement_per_run = true;
    options.data.runs = 8;
    options.data.snapshots = 190;  // about the paper's 1,500 policies of each task
    options.methods.baseline = false;
  }
  if (preset == "smoke") {
    options.tasks = {
        {"button-press", "drawer-open", "reach"}, {"drawer-close"}, {}, {"button-press-topdown-wall"}};
    options.smoke = true;
    study::shrink(options);
  }
  return options;
}

const std::vector<Ingredient>& metaworld_ingredients() {
  using study::Options;
  static const std::vector<Ingredient> all = {
      {"reflections", "of demonstrations in the generator's training",
       [](Options& o) { o.training.reflections = false; }},
      {"translations", "the same", [](Options& o) { o.training.translations = false; }},
      {"validation", "tasks that no policy is trained on; without them there is no fallback policy",
       [](Options& o) { o.tasks.validation = {}; }},
      {"extra-tasks", "training tasks that are not reported", [](Options& o) { o.tasks.extra = {}; }},
      {"several-demonstrations", "prompts of more than one demonstration in training",
       [](Options& o) { o.training.demonstrations = {1}; }},
      {"huber", "the loss that small errors weigh more in; the square takes its place",
       [](Options& o) { o.training.huber_width = 0; }},
      {"corrective-augmentation", "pairs that heads are fitted to beside a prompt's own",
       [](Options& o) { o.training.corrective = false; }},
      {"shared-start", "of the zoo's runs; each has an initialisation of its own",
       [](Options& o) { o.data.shared_start = false; }},
      {"behavior-loss", "autoencoder and denoiser learn the zoo's weights instead, and nothing else", nullptr,
       &models_of_weights},
      {"head", "the closed-form correction of the last layer, in training too", nullptr,
       &models_without_head},
      {"whole-prompts", "the first 60 steps of a demonstration take their place", nullptr,
       &models_of_first_steps},
      {"decoder-start", "at zero, so that all policies are the zoo's mean at first; starts at random",
       nullptr, &models_of_random_start}};
  return all;
}

namespace {

const Ingredient& find_ingredient(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& ingredient : metaworld_ingredients()) {
    if (ingredient.name == name) {
      return ingredient;
    }
    names.emplace_back(ingredient.name);
  }
  fail("metaworld: there is no ingredient \"", name, "\"; the nearest are ", nearest_names(name, names));
}

bool part_of_models(const std::string& name) {
  return find_ingredient(name).models != nullptr;
}

}  // namespace

void remove_ingredients(study::Options& options) {
  const auto& without = options.training.without;
  require(std::ranges::count_if(without, part_of_models) <= 1,
          "metaworld: expected one ingredient of the models at a time, found several");
  for (const auto& name : without) {
    if (const auto remove = find_ingredient(name).remove) {
      remove(options);
    }
  }
}

const study::ModelFactory& preset_models(const std::string& preset, const std::string& device,
                                         const study::Options& options) {
  const auto& without = options.training.without;
  const auto taken = std::ranges::find_if(without, part_of_models);
  if (taken != without.end()) {
    require(device == "cpu" && preset != "paper" && preset != "reference", "metaworld: models without ",
            *taken, " are for the cpu and the library's default configuration");
    return *find_ingredient(*taken).models;
  }
  if (device == "cuda") {
    return cuda_models(preset);
  }
  return preset == "paper" ? paper_models : preset == "reference" ? reference_models : metaworld_models;
}

}  // namespace maa::examples
