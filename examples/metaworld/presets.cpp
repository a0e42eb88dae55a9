#include "presets.hpp"

#include <algorithm>

#include <maa/core/nearest_names.hpp>

#include "ablation_models.hpp"
#include "cuda_models.hpp"
#include "paper_models.hpp"

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

bool part_of_models(const std::string& ingredient) {
  return std::ranges::find(ingredients_of_models(), ingredient) != ingredients_of_models().end();
}

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
  options.symmetry = metaworld_symmetry(false);
  options.tasks = {seen, unseen, {}, validation};
  options.zoo_steps = 2500;
  options.snapshots = 50;
  options.dagger_steps = {700, 400, 400};
  options.prompts.per_task = 20;
  options.unconditioned_rival = true;
  options.clip_width = 320;
  options.clip_height = 240;
  options.clip_stride = 4;
  if (preset == "best") {
    options.tasks.extra = extra;
    options.zoo_steps = 1600;
    options.snapshots = 20;
    options.behavior_steps = 1200;
    options.demonstrations = {1, 3};
    options.huber_width = 0.1;
    options.restoring_pairs = true;
  }
  if (preset == "paper" || preset == "reference") {
    // One placement per run, and many policies; no head and no choice, and training validates by runs.
    options.tasks.validation = {};
    options.placement_per_run = true;
    options.runs = 8;
    options.snapshots = 190;  // about the paper's 1,500 policies of each task
    options.unconditioned_rival = false;
  }
  if (preset == "smoke") {
    options.tasks = {
        {"button-press", "drawer-open", "reach"}, {"drawer-close"}, {}, {"button-press-topdown-wall"}};
    options.smoke = true;
    study::shrink(options);
  }
  return options;
}

const std::vector<std::string>& metaworld_ingredients() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = {
        "reflections", "translations",    "validation",  "extra-tasks", "several-demonstrations",
        "huber",       "restoring-pairs", "shared-start"};
    all.insert(all.end(), ingredients_of_models().begin(), ingredients_of_models().end());
    return all;
  }();
  return names;
}

void remove_ingredient(study::Options& options, const std::string& ingredient) {
  if (ingredient == "reflections") {
    options.symmetry.mirrored_observation = options.symmetry.mirrored_action = {};
  } else if (ingredient == "translations") {
    options.symmetry.positions = {};
  } else if (ingredient == "validation") {
    options.tasks.validation = {};
  } else if (ingredient == "extra-tasks") {
    options.tasks.extra = {};
  } else if (ingredient == "several-demonstrations") {
    options.demonstrations = {1};
  } else if (ingredient == "huber") {
    options.huber_width = 0;
  } else if (ingredient == "restoring-pairs") {
    options.restoring_pairs = false;
  } else if (ingredient == "shared-start") {
    options.shared_start = false;
  } else if (part_of_models(ingredient)) {
    require(std::ranges::none_of(options.without, part_of_models), "metaworld: expected one of ",
            "head, whole-prompts, decoder-start and behavior-loss at a time, found ", ingredient,
            " as another");
  } else {
    fail("metaworld: there is no ingredient \"", ingredient, "\"; the nearest are ",
         nearest_names(ingredient, metaworld_ingredients()));
  }
  options.without.push_back(ingredient);
}

const study::ModelFactory& metaworld_models(const std::string& preset, const std::string& device,
                                            const study::Options& options) {
  const auto taken = std::ranges::find_if(options.without, part_of_models);
  if (taken != options.without.end()) {
    require(device == "cpu" && preset != "paper" && preset != "reference", "metaworld: models without ",
            *taken, " are for the cpu and the library's default configuration");
    return models_without(*taken);
  }
  if (device == "cuda") {
    return cuda_models(preset);
  }
  return preset == "paper" ? paper_models : preset == "reference" ? reference_models : study::default_models;
}

}  // namespace maa::examples
