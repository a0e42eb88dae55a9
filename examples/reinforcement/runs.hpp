// What trainers of many independent runs of one network have in common.
#pragma once

#include <cmath>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <maa/core/buffer.hpp>
#include <maa/core/parallel.hpp>
#include <maa/core/views.hpp>

#include "environment.hpp"
#include "policy_type.hpp"

namespace maa::examples::reinforcement {

// Runs of equal seeds start from equal weights.
struct LearningRun {
  std::string task;
  std::uint64_t seed = 0;
};

// Trains G runs. A run depends on its task and its seed alone: its bits are the same for any number of
// threads, and for a run trained alone.
class Trainer {
 public:
  Trainer() = default;
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;
  virtual ~Trainer() = default;

  virtual const std::vector<LearningRun>& runs() const = 0;
  Index run_count() const { return std::ssize(runs()); }
  virtual Index steps() const = 0;       // environment steps of each run when it is finished
  virtual Index step_count() const = 0;  // so far
  bool finished() const { return step_count() >= steps(); }

  // The least that all runs can do: some environment steps, and the updates that are due after them. Error,
  // naming the run, of an environment, or if a loss is not finite; the trainer is then of no more use.
  virtual void step() = 0;

  // Undiscounted, over the run's last finished episodes; 0 before the first.
  virtual double mean_return(Index run) const = 0;

  // The policies for raw observations: [G, P].
  virtual void export_policies(MatrixView<float> weights) const = 0;

  // All of the training's state. A trainer of the same network, tasks, seeds and options that loads it goes
  // on to the same bits: environments are deterministic, so load repeats present episodes from their
  // placements and actions.
  virtual void save(const std::filesystem::path& path) const = 0;
  // Error if the file does not hold this trainer's state; nothing changes then. Error too if an environment
  // does not come to the same observation again; the trainer is then of no more use.
  virtual void load(const std::filesystem::path& path) = 0;
};

namespace detail {

// A network with the hidden layers of an actor, `inputs` inputs and one value.
inline MlpLayout value_layout(const MlpLayout& actor, Index inputs) {
  MlpLayout layout;
  Index offset = 0;
  const auto next = [&](Index in, Index out, Activation activation) {
    const MlpLayout::Linear linear{in, out, offset, offset + in * out, activation};
    offset += (in + 1) * out;
    return linear;
  };
  for (const auto& layer : actor.hidden) {
    layout.hidden.push_back(next(inputs, layer.out, layer.activation));
    inputs = layer.out;
  }
  layout.mean = next(inputs, 1, Activation::identity);
  layout.parameter_count = offset;
  return layout;
}

// As Init::uniform_fan_in, PyTorch's default.
inline void initialize_values(const MlpLayout& layout, std::span<float> weights, const Rng& rng) {
  std::uint64_t stream = 0;
  const auto draw = [&](const MlpLayout::Linear& layer) {
    const double bound = 1 / std::sqrt(static_cast<double>(layer.in));
    for (const auto& [offset, size] :
         {std::pair(layer.weight_offset, layer.in * layer.out), std::pair(layer.bias_offset, layer.out)}) {
      rng.fork(stream++).fill_uniform(
          weights.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(size)), -bound, bound);
    }
  };
  for (const auto& layer : layout.hidden) {
    draw(layer);
  }
  draw(layout.mean);
}

// Weights and Adam's moments.
struct Learned {
  Buffer<float> weights, first_moment, second_moment;

  explicit Learned(Index size) : weights(size), first_moment(size), second_moment(size) {}
};

// An environment of the run's task that suits the network.
inline std::unique_ptr<Environment> environment_for(const LearningRun& run, Simulator& simulator,
                                                    const NetworkType& network, const char* who) {
  auto environment = simulator.make_environment(run.task);
  require(environment->observation_size() == network.observation_size() &&
              environment->action_size() == network.action_size(),
          who, ": expected the policies' ", network.observation_size(), " observations and ",
          network.action_size(), " actions of the task \"", run.task, "\", found ",
          environment->observation_size(), " and ", environment->action_size());
  return environment;
}

// body(g) for every run, on the pool. The first error of a run, in their order, is thrown afterwards.
template <class Body>
void for_runs(ThreadPool& pool, const std::vector<LearningRun>& runs, const char* who, const Body& body) {
  std::vector<std::exception_ptr> errors(runs.size());
  pool.for_each(std::ssize(runs), [&](Index g) {
    try {
      body(g);
    } catch (...) {
      errors[static_cast<std::size_t>(g)] = std::current_exception();
    }
  });
  for (std::size_t g = 0; g < runs.size(); ++g) {
    try {
      if (errors[g]) {
        std::rethrow_exception(errors[g]);
      }
    } catch (const Error& error) {
      fail(who, ": run ", g, " (\"", runs[g].task, "\"): ", error.what());
    }
  }
}

// What a file of a training's state must agree in.
template <class Options>
struct Fingerprint {
  Index format = 1;
  Index observations = 0;
  Index actions = 0;
  std::vector<Index> hidden;
  std::vector<Activation> activations;
  std::vector<std::string> tasks;
  std::vector<std::uint64_t> seeds;
  Options options;

  Fingerprint(const NetworkType& network, const std::vector<LearningRun>& runs, const Options& options_)
      : observations(network.observation_size()), actions(network.action_size()), options(options_) {
    for (const auto& layer : network.layout.hidden) {
      hidden.push_back(layer.out);
      activations.push_back(layer.activation);
    }
    for (const auto& run : runs) {
      tasks.push_back(run.task);
      seeds.push_back(run.seed);
    }
  }

  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("format", self.format);
    visit("observations", self.observations);
    visit("actions", self.actions);
    visit("hidden", self.hidden);
    visit("activations", self.activations);
    visit("tasks", self.tasks);
    visit("seeds", self.seeds);
    visit("options", self.options);
  }
};

}  // namespace detail
}  // namespace maa::examples::reinforcement
