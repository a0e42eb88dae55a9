// The files beside results.json: policies, the maps of latents and embeddings, and clips.
#pragma once

#include "evaluate.hpp"
#include "model.hpp"
#include "options.hpp"

namespace maa::examples::study {

// policies/<name>_<prompt>.safetensors; <name> is Reported::name, of seen and unseen tasks the task.
void write_policies(const Options& options, const Interface& interface, const std::vector<Reported>& reported,
                    const Buffer<float>& generated);

// prompts/<name>.npz: the first prompt of each, something to try examples/generate on.
void write_prompts(const Options& options, const TestPrompts& test);

// map.npz and map.json: latents of a sample of the zoo and of the generated policies, embeddings of prompts.
void write_map(const Options& options, const Dataset& dataset, const Model& model, const TestPrompts& test,
               const Buffer<float>& generated);

// samples.json: how the policies generated for one prompt differ, by group.
void write_samples(const Options& options, const PolicyType& type, const Dataset& dataset, const Model& model,
                   const TestPrompts& test);

// clips/<name>.npz: the first prompt of each, which was recorded in its placement, the policy generated from
// it and the demonstrator in the first of its scenes. Returns false, having said why, where nothing can be
// drawn.
bool write_clips(const Options& options, Simulator& simulator, const Demonstrators& demonstrators,
                 const std::vector<Reported>& reported, const std::vector<Placement>& placements);

}  // namespace maa::examples::study
