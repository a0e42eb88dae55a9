// The files beside results.json: policies, the maps of latents and embeddings, and clips.
#pragma once

#include "evaluate.hpp"
#include "model.hpp"
#include "options.hpp"

namespace maa::examples::quickstart {

// policies/<task>_<prompt>.safetensors
void write_policies(const Options& options, const Method& generated);

// prompts/<task>.npz: the first prompt of each task, something to try examples/generate on.
void write_prompts(const Options& options, const std::vector<Trajectory>& prompts);

// map.npz and map.json: latents of a sample of the zoo and of the generated policies, embeddings of prompts.
void write_map(const Options& options, const Dataset& dataset, const Model& model,
               const std::vector<Trajectory>& prompts, const Method& generated);

// clips/<task>.npz: the generated policy of each task's first prompt and the expert in the first of its
// scenes. Returns false, having said why, where nothing can be drawn.
bool write_clips(const Options& options);

}  // namespace maa::examples::quickstart
