// A baseline without a generator: one policy for all tasks that reads the prompt's embedding beside the
// observation.
#pragma once

#include "data.hpp"
#include "model.hpp"

namespace maa::examples::study {

// Clones it on the trained episodes, each seen with the embeddings of other prompts of its task (and half of
// them reflected, as the generator's training does), and returns what it is for each prompt: a plain policy,
// since a constant input is a bias. [prompts, P].
Buffer<float> multi_task_policies(const Options& options, const Symmetry& symmetry, const Dataset& dataset,
                                  const Model& model, const std::vector<Trajectory>& prompts);

}  // namespace maa::examples::study
