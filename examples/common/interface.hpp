// What all tasks of a simulator share.
#pragma once

#include <maa/data/corrective_augmentation.hpp>

#include "environment.hpp"
#include "policy_type.hpp"

namespace maa::examples {

// Stated once, in the simulator's folder: which policies act in it, which gives the sizes, and what is known
// of its observations and actions.
struct Interface {
  const PolicyType& policy;
  Symmetry symmetry;
  CorrectiveAugmentation corrective;  // none where experts are no controllers of an effector
};

}  // namespace maa::examples
