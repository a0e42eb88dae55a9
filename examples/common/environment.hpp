// The simulator interface of the examples: one object, one task, one scene.
//
// Everything above this header (cloning, evaluation, clips) sees only `Environment`, so another simulator is
// one new file. Units are metres and radians; observations and actions are float32. Every environment is
// deterministic: the same placement and the same actions give the same bits. Environments share nothing that
// changes, so several threads may run one each; a single environment is not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <maa/core/config.hpp>
#include <maa/core/error.hpp>

namespace maa::examples {

// The numbers that pin a scene: the whole randomness of an episode. What they mean depends on the task.
using Placement = std::vector<double>;

// What step() reports besides the observation.
struct StepResult {
  // The state after this step fulfils the task, or the episode up to it does where that is what counts; an
  // episode succeeds if any step does.
  bool success = false;
  bool failed = false;  // nothing that follows can make the episode succeed (a fall): it may end here
  double reward = 0;    // what reinforcement learning maximises the sum of; 0 where a simulator has none
};

// An RGB image, 8 bits a channel, rows from the top: pixels[3 * (row * width + column) + channel].
struct Image {
  Index width = 0;
  Index height = 0;
  std::vector<std::uint8_t> pixels;
};

// The symmetries of a family of scenes: reflection in the plane x = 0, and translation. Declared domain
// knowledge.
struct Symmetry {
  std::vector<Index> mirrored_observation;  // columns whose sign a reflection flips
  std::vector<Index> mirrored_action;       // action entries whose sign a reflection flips
  // First columns of the xyz blocks that a translation moves together. A block that is all zeros (an object
  // that the task has not) stays zero.
  std::vector<Index> positions;
  // Deviations of the translations that training draws.
  std::array<double, 3> translation = {0.05, 0.05, 0.02};
};

// Reflects in place. Zeros stay (positive) zeros. Throws maa::Error if a column of the symmetry lies outside
// a span.
void mirror(const Symmetry& symmetry, std::span<float> observation, std::span<float> action);

// Moves every xyz block of one observation by `offset` in place, leaving blocks that are all zeros alone.
// Actions are displacements and do not change.
void translate(const Symmetry& symmetry, std::span<const float, 3> offset, std::span<float> observation);

// One task of a simulator. The state is undefined until the first reset().
class Environment {
 public:
  virtual ~Environment() = default;
  Environment() = default;
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  virtual const std::string& task() const = 0;
  virtual Index observation_size() const = 0;
  virtual Index action_size() const = 0;
  virtual Index max_episode_steps() const = 0;
  // Actions beyond it (either sign) count as it.
  virtual double action_limit() const { return 1; }

  // A random placement, a pure function of the task and the seed. Does not touch the state.
  virtual Placement draw_placement(std::uint64_t seed) = 0;

  // Starts an episode in the pinned scene and writes its first observation (in which the earlier frame equals
  // the present one). Throws maa::Error if the placement's length or values, or the observation's size, are
  // wrong.
  virtual void reset(const Placement& placement, std::span<float> observation) = 0;

  // One control step. Throws maa::Error on wrong sizes, on a NaN action, or before the first reset().
  virtual StepResult step(std::span<const float> action, std::span<float> observation) = 0;

  // The scripted expert's action in the present state, whichever way it was reached: deterministic, within
  // [-1, 1], a continuous function of the observation alone. Throws maa::Error where nobody wrote one.
  virtual void expert_action(std::span<float> action);

  // Draws the present state off-screen. Throws maa::Error where no rendering library was found.
  virtual Image render(Index width, Index height) = 0;
};

struct Interface;  // interface.hpp

// A family of tasks with one interface: what a study (study/) is run on.
class Simulator {
 public:
  virtual ~Simulator() = default;

  // The name in reports.
  virtual std::string name() const = 0;
  // Lives as long as the program.
  virtual const Interface& interface() const = 0;
  // All tasks, in a fixed order.
  virtual const std::vector<std::string>& task_names() const = 0;
  // An environment of the task. Error naming the nearest tasks if the name is unknown. Threads may call this
  // at once; they then use their environments at once.
  virtual std::unique_ptr<Environment> make_environment(const std::string& task) = 0;
  // The task whose scenes are this task's scenes reflected in x = 0 (itself for many), or "" if there is
  // none.
  virtual std::string mirror_task(const std::string& task) const = 0;
  // Versions of what results depend on, by name.
  virtual std::map<std::string, std::string> versions() const = 0;
};

}  // namespace maa::examples
