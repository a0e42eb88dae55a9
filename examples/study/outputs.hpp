// The files beside results.json: policies, the maps of latents and embeddings, and clips.
#pragma once

#include "evaluate.hpp"
#include "model.hpp"
#include "options.hpp"

namespace maa::examples::study {

// policies/<task>_<prompt>.safetensors
void write_policies(const Options& options, const PolicyType& type, const Buffer<float>& generated);

// prompts/<task>.npz: the first prompt of each task, something to try examples/generate on.
void write_prompts(const Options& options, const std::vector<Trajectory>& prompts);

// map.npz and map.json: latents of a sample of the zoo and of the generated policies, embeddings of prompts.
void write_map(const Options& options, const Dataset& dataset, const Model& model,
               const std::vector<Trajectory>& prompts, const Buffer<float>& generated);

// clips/<task>.npz: the first prompt of each task, the policy generated from it and the expert in the first
// of its scenes. Returns false, having said why, where nothing can be drawn.
bool write_clips(const Options& options, Simulator& simulator);

}  // namespace maa::examples::study
