// Training as the program fit does it, for ToolPolicy.
#pragma once

#include <filesystem>

#include <maa/data/dataset.hpp>
#include <maa/generator/behavior_recipe.hpp>

#include "training_curves.hpp"

namespace maa::examples {

struct FitArguments {
  std::filesystem::path dataset;  // as the report names it
  std::filesystem::path out = "generator.safetensors";
  std::filesystem::path report;  // none, if empty
  std::filesystem::path start;   // generator to begin from; none, if empty
  double share = 0.2;            // held out for the report
  BehaviorRecipe recipe;
  int threads = 0;
};

// Trains, saves and reports, with a bar. Throws Interrupted if it was; the checkpoint is then kept.
void fit(const Dataset& data, const FitArguments& arguments, TrainingCurves& curves);

}  // namespace maa::examples
