// One reverse step of the diffusion as numbers, for every backend.
#pragma once

#include <maa/core/config.hpp>

MAA_NAMESPACE_BEGIN

// From noisy samples x, the network's prediction p and standard normal z:
//     epsilon = epsilon_x x + epsilon_prediction p
//     x0 = clamp(x0_x x + x0_prediction p, -limit, limit)
//     x_previous = clean x0 + direction epsilon + current x + noise z
// epsilon belongs to the estimate before clipping: the rule the published code samples with.
struct SamplerCoefficients {
  double x0_x = 0;
  double x0_prediction = 0;
  double epsilon_x = 0;
  double epsilon_prediction = 0;
  double limit = 0;  // may be infinity
  double clean = 0;
  double direction = 0;
  double current = 0;
  double noise = 0;  // 0: z is not read
};

MAA_NAMESPACE_END
