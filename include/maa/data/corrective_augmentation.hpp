// What a demonstration does not show: how its demonstrator comes back after having left its path.
#pragma once

#include <maa/core/options.hpp>
#include <maa/core/rng.hpp>
#include <maa/core/views.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

MAA_NAMESPACE_BEGIN

// Copies of observation-action pairs with the effector out of place and the action that brings it back.
// Domain knowledge of the caller: where an action moves an effector towards a target that does not depend on
// where the effector is, a = clamp(gain (target - x), -1, 1), then (x + d, a - gain d) is as good a pair as
// (x, a). A head that is fitted to the pairs of one path alone may as well lead away from it as back.
struct CorrectiveAugmentation {
  // First columns of the effector's position: now and, where observations hold it, one step earlier. None: no
  // copies.
  std::vector<Index> effector = {};
  // First columns of objects' positions now; `earlier` columns further lies the same one step earlier, as it
  // does for the effector. Where an object moves along, an effector out of place would be another state of
  // the world: such pairs are copied as they are.
  std::vector<Index> objects = {};
  Index earlier = 0;
  Index axes = 3;           // of a position
  Index action = 0;         // first entry of the action along the axes
  double gain = 10;         // of the demonstrator, action per unit of length
  double deviation = 0.02;  // of the normal displacements, in units of length

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("effector", at_least(0), self.effector);
    visit("objects", at_least(0), self.objects);
    visit("earlier", at_least(0), self.earlier);
    visit("axes", at_least(1), self.axes);
    visit("action", at_least(0), self.action);
    visit("gain", positive(), self.gain);
    visit("deviation", positive(), self.deviation);
  }

  bool empty() const { return effector.empty(); }

  // Error, with `where` before it, if columns lie outside of observations or actions, or numbers are out of
  // range.
  void check(Index observation_size, Index action_size, std::string_view where) const;

  // observations [rows, O] as simulators give them, actions [rows, A] -> their copies, of the same shapes.
  void write(Rng rng, MatrixView<const float> observations, MatrixView<const float> actions,
             MatrixView<float> corrected_observations, MatrixView<float> corrected_actions) const;

 private:
  static constexpr float saturated = 0.95f;

  // Whether an object moves, and at least a third as fast as the effector.
  bool moves_along(const float* observation) const;
};

#if MAA_BODIES

MAA_COLD MAA_INLINE void CorrectiveAugmentation::check(Index observation_size, Index action_size,
                                                       std::string_view where) const {
  check_fields(*this, where, "corrective.");
  const auto inside = [](Index first, Index count, Index size) {
    return count <= size && first <= size - count;
  };
  require(empty() || inside(action, axes, action_size), where, ": corrective augmentation: expected ", axes,
          " entries of the action from ", action, " on, found ", action_size, " in all");
  for (const auto* columns : {&effector, &objects}) {
    require(std::ssize(*columns) <= observation_size, where,
            ": corrective augmentation: expected positions at columns of ", observation_size,
            " observations, found ", columns->size(), " of them");
  }
  for (const Index first : effector) {
    require(inside(first, axes, observation_size), where,
            ": corrective augmentation: expected the effector at columns of ", observation_size,
            " observations, found ", first);
  }
  for (const Index first : objects) {
    require(inside(first, axes, observation_size) && inside(first + earlier, axes, observation_size) &&
                (empty() || inside(effector.front() + earlier, axes, observation_size)),
            where, ": corrective augmentation: expected objects, and the same ", earlier,
            " columns further, among ", observation_size, " observations, found ", first);
  }
}

MAA_INLINE void CorrectiveAugmentation::write(Rng rng, MatrixView<const float> observations,
                                              MatrixView<const float> actions,
                                              MatrixView<float> corrected_observations,
                                              MatrixView<float> corrected_actions) const {
  for (Index i = 0; i < observations.rows; ++i) {
    float* const to = corrected_observations.row(i);
    float* const back = corrected_actions.row(i);
    std::copy_n(observations.row(i), observations.cols, to);
    std::copy_n(actions.row(i), actions.cols, back);
    auto draw = rng.fork(static_cast<std::uint64_t>(i));
    if (empty() || moves_along(observations.row(i))) {
      continue;
    }
    for (Index axis = 0; axis < axes; ++axis) {
      const double displacement = deviation * draw.normal();
      for (const Index first : effector) {
        to[first + axis] += static_cast<float>(displacement);
      }
      float& a = back[action + axis];
      if (std::abs(a) < saturated) {  // beyond, the target may be anywhere ahead
        a = std::clamp(a - static_cast<float>(gain * displacement), -1.0f, 1.0f);
      }
    }
  }
}

MAA_INLINE bool CorrectiveAugmentation::moves_along(const float* observation) const {
  const auto squared_step = [&](Index first) {
    double sum = 0;
    for (Index axis = 0; axis < axes; ++axis) {
      const double step = static_cast<double>(observation[first + axis]) -
                          static_cast<double>(observation[first + earlier + axis]);
      sum += step * step;
    }
    return sum;
  };
  constexpr double still = 1e-3;  // of a length unit per step
  const double effector_step = squared_step(effector.front());
  return std::ranges::any_of(objects, [&](Index first) {
    const double step = squared_step(first);
    return step > still * still && step > effector_step / 10;
  });
}

#endif

MAA_NAMESPACE_END
