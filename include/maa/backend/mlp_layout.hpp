// Where an MLP's matrices lie in its flat parameter vector, for ops that run many MLPs at once.
#pragma once

#include <maa/core/config.hpp>
#include <maa/kernels/activation.hpp>

#include <optional>
#include <vector>

MAA_NAMESPACE_BEGIN

// Weights are row-major [out, in], followed somewhere by their bias [out]; offsets count from the vector's
// start.
struct MlpLayout {
  struct Linear {
    Index in = 0;
    Index out = 0;
    Index weight_offset = 0;
    Index bias_offset = 0;
    Activation activation = Activation::identity;
  };
  std::vector<Linear> hidden;
  Linear mean;  // reads the last hidden layer; its activation (the squashing) is not applied by ops
  std::optional<Linear> log_std;  // reads the last hidden layer too
  Index parameter_count = 0;
};

MAA_NAMESPACE_END
