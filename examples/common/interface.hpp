// What all tasks of a simulator share.
#pragma once

#include <maa/data/corrective_augmentation.hpp>
#include <maa/data/policy_interface.hpp>

#include "environment.hpp"
#include "policy_type.hpp"

namespace maa::examples {

// Stated once, in the simulator's folder: which policies act in it, which gives the sizes, and what is known
// of its observations and actions.
struct Interface {
  const PolicyType& policy;
  Symmetry symmetry;
  CorrectiveAugmentation corrective;  // none where experts are no controllers of an effector
  PolicyMetadata metadata = {};       // of policy files: what a controller must know
};

}  // namespace maa::examples
