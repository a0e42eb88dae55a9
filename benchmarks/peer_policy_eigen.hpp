// The MetaWorld policy in Eigen with sizes known at compile time, in a translation unit of its own: compile
// that with -O3 -march=native for a fair comparison.
#pragma once

#include <memory>

namespace peer {

class EigenPolicy {
 public:
  // 39-128-128-4 with elu, relu and tanh: weights in the flat order of maa::MetaWorldNetwork, log_std not
  // used.
  explicit EigenPolicy(const float* weights);
  ~EigenPolicy();
  // observation [39] -> action [4]
  void act(const float* observation, float* action) const;

 private:
  struct Layers;
  std::unique_ptr<Layers> layers_;
};

}  // namespace peer
