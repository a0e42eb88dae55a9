// Whom a study learns from and is shown: who acts in a task, by which run, for which purpose.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <maa/data/dataset.hpp>

#include "options.hpp"
#include "stages.hpp"

namespace maa::examples::study {

// The groups of test prompts: of tasks trained on; of the same tasks, by runs that no data are from; of tasks
// not trained on.
enum class Split { seen, new_run, unseen };
constexpr std::array<std::string_view, 3> names_of(Split) {
  return {"seen", "new_run", "unseen"};
}
constexpr std::string_view name_of(Split split) {
  return names_of(split)[static_cast<std::size_t>(split)];
}

// The prompts of one task in one group.
struct Reported {
  std::string task;
  Split split{};
  std::vector<std::int64_t> runs;  // whose demonstrations they are, prompt by prompt in turn; not empty

  std::int64_t run_of(Index prompt) const { return runs[static_cast<std::size_t>(prompt) % runs.size()]; }
  // Of files: the task, and for new runs the group.
  std::string name() const { return split == Split::new_run ? concatenate(task, '_', name_of(split)) : task; }
};

// The groups that there are, in order.
std::vector<Split> splits_of(const std::vector<Reported>& reported);
// For people: "seen tasks".
const char* title_of(Split split);

// Decides actions: act(observation, action).
using Controller = std::function<void(std::span<const float>, std::span<float>)>;

// What was done, and where.
struct Demonstration {
  Trajectory trajectory;
  Placement placement;
};

class Demonstrators {
 public:
  Demonstrators() = default;
  Demonstrators(const Demonstrators&) = delete;
  Demonstrators& operator=(const Demonstrators&) = delete;
  virtual ~Demonstrators() = default;

  // What they are called as a method beside the others, and what test prompts are, for the protocol.
  virtual std::string name() const = 0;
  virtual std::string prompts() const = 0;

  // The stage "collect": writes the file that everything below is made from. Files in `folder` let a stopped
  // one go on.
  virtual void collect(const std::filesystem::path& folder, TrainingLog& log) = 0;
  // The stage "zoo": policies of the trained tasks and trajectories, those of validation tasks last.
  virtual Dataset zoo(TrainingLog& log) = 0;

  // The test prompts that there are to be: seen tasks, new runs, unseen tasks.
  virtual std::vector<Reported> reported() const = 0;
  // Whether one that cannot show its task is left out and reported, rather than an error.
  virtual bool may_fail() const = 0;
  // Demonstration `number` of a task by a run, for a test prompt: on a fresh placement, with the prompts'
  // noise. Threads may call it at once.
  virtual Demonstration demonstrate(const std::string& task, std::int64_t run, Index number) const = 0;
  // The run in control of an environment of its task, which must outlive the controller.
  virtual Controller controller(Environment& environment, std::int64_t run) const = 0;
};

// Those of the options. `collected` is the file with what collect() made, read when it is needed. Options and
// simulator must outlive them.
std::unique_ptr<Demonstrators> make_demonstrators(const Options& options, Simulator& simulator,
                                                  std::filesystem::path collected);

}  // namespace maa::examples::study
