// Errors of many numbers as one.
#pragma once

#include <limits>

namespace test {

// The larger of the worst error so far and another; infinity once one is not a number, which std::max would
// pass over.
inline double larger(double worst, double error) {
  return error <= worst ? worst : error > worst ? error : std::numeric_limits<double>::infinity();
}

}  // namespace test
