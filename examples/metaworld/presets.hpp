// The named studies on MetaWorld.
#pragma once

#include "model.hpp"
#include "options.hpp"

namespace maa::examples {

const std::vector<std::string>& metaworld_presets();

// Error if there is no such preset.
//   smoke      three tasks, tiny: shows that everything works
//   small      the ten seen and nine unseen tasks of the paper's code, in under two hours on two cores
//   best       the same with the best recipe found, and more training tasks
//   paper      the paper's tables; reference: the public code's choices where they differ
study::Options metaworld_options(const std::string& preset);

// Takes one ingredient of the recipe away, to measure what it is worth.
//   reflections, translations   of demonstrations in the generator's training
//   validation                  tasks that no policy is trained on; without them there is no fallback policy
//   extra-tasks                 training tasks that are not reported
//   several-demonstrations      prompts of more than one demonstration in training
//   huber                       the loss that small errors weigh more in; the square takes its place
//   restoring-pairs             that heads are fitted to beside a prompt's own
//   shared-start                of the zoo's runs; each has an initialisation of its own
//   behavior-loss               autoencoder and denoiser learn the zoo's weights instead, and nothing else
//   head                        the closed-form correction of the last layer, in training too
//   whole-prompts               the first 60 steps of a demonstration take their place
//   decoder-start               at zero, so that all policies are the zoo's mean at first; starts at random
const std::vector<std::string>& metaworld_ingredients();
// Error if there is no such ingredient, or if it and one taken before are both part of the models.
void remove_ingredient(study::Options& options, const std::string& ingredient);

// The models that the preset trains without the ingredients of options.without, on the device "cpu" or
// "cuda". Error if this program was built without CUDA, or was built without such models.
const study::ModelFactory& metaworld_models(const std::string& preset, const std::string& device,
                                            const study::Options& options);

}  // namespace maa::examples
