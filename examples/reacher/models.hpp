// Generators of the reacher's policies. models.cpp compiles the library's training code for them; nothing
// else does.
#pragma once

#include "model.hpp"

namespace maa::examples::reacher {

// The library's default.
extern const study::ModelFactory models;
// The paper's method, autoencoder on weights and denoiser of latents, in sizes for policies of 5,000 weights.
extern const study::ModelFactory paper_models;
// The same method with what the default does otherwise: its sizes, maps, schedules, and the fitted head.
extern const study::ModelFactory models_of_weights;

// The default with an MLP from condition to latent in the place of the diffusion (hypernetwork.hpp).
extern const study::ModelFactory hypernetwork_models;

}  // namespace maa::examples::reacher
