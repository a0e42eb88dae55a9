// Domain knowledge for training a generator: a task moved or reflected is a task too.
#pragma once

#include <array>

#include <maa/generator/options.hpp>

#include "environment.hpp"

namespace maa::examples {

// Reflects in half of the draws, and moves everything by normal offsets with these deviations (metres).
inline Augmentation reflect_and_translate(Symmetry symmetry,
                                          std::array<double, 3> deviation = {0.05, 0.05, 0.02}) {
  auto name = concatenate(symmetry.mirrored_observation.empty() ? "" : "reflect ",
                          symmetry.positions.empty() ? "" : "translate ", deviation[0], " ", deviation[1],
                          " ", deviation[2]);
  return {std::move(name), [symmetry = std::move(symmetry), deviation](
                               Rng rng, MatrixView<float> observations, MatrixView<float> actions) {
            const bool reflected = rng.uniform() < 0.5;
            std::array<float, 3> offset{};
            for (std::size_t axis = 0; axis < 3; ++axis) {
              offset[axis] = static_cast<float>(deviation[axis] * rng.normal());
            }
            for (Index i = 0; i < observations.rows; ++i) {
              if (reflected) {
                mirror(symmetry, observations.row_span(i),
                       i < actions.rows ? actions.row_span(i) : std::span<float>());
              }
              translate(symmetry, offset, observations.row_span(i));
            }
          }};
}

// For experts that move a hand towards targets that do not depend on where it is, in MetaWorld's observations
// and actions. The gain is what most of them have; they differ from 4 to 25.
inline CorrectiveAugmentation metaworld_corrective_augmentation() {
  return {.effector = {0, metaworld_frame_size}, .objects = {4, 11}, .earlier = metaworld_frame_size};
}

}  // namespace maa::examples
