// Writes what the README's program reads, into the current folder: random data, a generator trained on them
// for a few steps, and a demonstration.
#include <maa/generator.hpp>
#include <maa/io/policy_file.hpp>

namespace {

using namespace maa;
using Policy = MetaWorldPolicy;
// Of other sizes.
using SmallPolicy = MlpPolicy<
    MlpNetwork<5, 2, HiddenLayers<Hidden<64, Activation::relu>, Hidden<64, Activation::relu>>, Heads::mean>>;

// Of runs that show what their policies do, as `fit --report` wants them: the last has one trajectory.
template <class Policy>
Dataset runs_of_tasks() {
  constexpr Index observations = Policy::observation_size, actions = Policy::action_size;
  Dataset dataset(observations, actions, Policy::parameter_size,
                  {"first", "second", "third", "<fourth> & \"last\""});
  for (Index task = 0; task < 4; ++task) {
    for (Index run = 0; run < 3; ++run) {
      const auto seed = static_cast<std::uint64_t>(3 * task + run);
      const auto policy = Policy::untrained(seed);
      dataset.add_policy({task, run, 0}, policy.weights());
      for (Index i = 0; i < (task == 3 && run == 2 ? 1 : 3); ++i) {
        Trajectory trajectory(40, observations, actions);
        Rng(seed).fork(static_cast<std::uint64_t>(i)).fill_normal(trajectory.observations().span());
        policy.act_batch(trajectory.observations().span(), trajectory.actions().span());
        trajectory.success_step = 30;
        trajectory.run = run;
        trajectory.task = dataset.tasks[static_cast<std::size_t>(task)];
        dataset.add_trajectory(std::move(trajectory));
      }
    }
  }
  return dataset;
}

}  // namespace

int main() {
  Dataset dataset(39, 4, Policy::parameter_size, {"first", "second"});
  dataset.policy_shape = PolicyShape::of<Policy::Network>();
  for (Index task = 0; task < 2; ++task) {
    for (Index run = 0; run < 2; ++run) {
      dataset.add_policy({task, run, 0},
                         Policy::untrained(static_cast<std::uint64_t>(2 * task + run)).weights());
    }
    for (std::uint64_t i = 0; i < 4; ++i) {
      Trajectory trajectory(70, 39, 4);
      Rng rng(10 * static_cast<std::uint64_t>(task) + i);
      rng.fill_normal(trajectory.observations().span());
      rng.fill_uniform(trajectory.actions().span(), -1, 1);
      trajectory.success_step = 50;
      trajectory.run = -1;  // of no policy's run
      trajectory.task = dataset.tasks[static_cast<std::size_t>(task)];
      dataset.add_trajectory(std::move(trajectory));
    }
  }
  dataset.save("dataset.safetensors");
  auto runs = runs_of_tasks<Policy>();
  runs.policy_shape = dataset.policy_shape;
  runs.save("runs.safetensors");
  auto small = runs_of_tasks<SmallPolicy>();
  small.interface.observation_mean = {0, 0, 0, 0, 0};
  small.interface.observation_scale = {1, 1, 1, 1, 1};
  small.interface.observation_clip = 100;
  small.interface.action_centre = {0, 0};
  small.interface.action_half_width = {1, 1};
  small.interface.metadata["action_names"] = "left,right";
  small.save("small.safetensors");
  save_trajectory("small.npz", small.trajectories[0]);
  BehaviorRecipe recipe;
  recipe.check = false;  // nothing is learned from random data
  for (auto* train : {&recipe.embedder.train, &recipe.behavior.train}) {
    train->steps = 2;
    train->batch = 4;
  }
  Generator<Policy> generator;
  generator.fit(dataset, recipe);
  generator.save("generator.safetensors");
  save_trajectory("demonstration.npz", dataset.trajectories[0]);
  save_policy("policy.safetensors", generator.generate(dataset.trajectories[0])[0]);
}
