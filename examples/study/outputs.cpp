#include "outputs.hpp"

#include <cstdio>

#include <maa/io/npz.hpp>
#include <nlohmann/json.hpp>

#include "data.hpp"
#include "episodes.hpp"
#include "interface.hpp"
#include "parallel.hpp"

namespace maa::examples::study {
namespace {

constexpr Index map_policies_per_task = 60;
constexpr Index map_prompts_per_task = 40;
constexpr Index clip_steps = 200;

std::filesystem::path policy_path(const Options& options, const Reported& reported, Index prompt) {
  return options.out / "policies" / concatenate(reported.name(), "_", prompt, ".safetensors");
}
std::filesystem::path prompt_path(const Options& options, const Reported& reported) {
  return options.out / "prompts" / (reported.name() + ".npz");
}

void add_points(NpzWriter& writer, const std::string& name, const std::string& labels,
                const Buffer<float>& points, const std::vector<std::int64_t>& tasks,
                const std::vector<std::int64_t>& kinds) {
  const auto columns = points.size() / static_cast<Index>(tasks.size());
  const std::vector<std::size_t> one{tasks.size()};
  writer.add(name + "s", as_xtensor(points, {tasks.size(), static_cast<std::size_t>(columns)}));
  writer.add(name + "_task", as_xtensor(std::span<const std::int64_t>(tasks), one));
  writer.add(name + "_" + labels, as_xtensor(std::span<const std::int64_t>(kinds), one));
}

// Every stride-th of the positions whose task is `task`, so that at most `most` are taken.
template <class TaskOf>
std::vector<Index> sample_of(Index count, Index task, Index most, const TaskOf& task_of) {
  std::vector<Index> own;
  for (Index i = 0; i < count; ++i) {
    if (task_of(i) == task) {
      own.push_back(i);
    }
  }
  const auto stride = (static_cast<Index>(own.size()) + most - 1) / most;
  std::vector<Index> result;
  for (Index i = 0; i < static_cast<Index>(own.size()); i += std::max<Index>(1, stride)) {
    result.push_back(own[static_cast<std::size_t>(i)]);
  }
  return result;
}

struct Clip {
  std::vector<std::uint8_t> pixels;
  std::size_t frames = 0;
  std::int64_t success = -1;
};

template <class Act>
Clip film(const Options& options, Environment& environment, const Placement& placement, const Act& act) {
  Clip clip;
  const auto shoot = [&] {
    const auto image = environment.render(options.clips.width, options.clips.height);
    clip.pixels.insert(clip.pixels.end(), image.pixels.begin(), image.pixels.end());
    ++clip.frames;
  };
  Index step = 0;
  const auto success =
      run_episode(environment, placement, [&](std::span<const float> observation, std::span<float> action) {
        if (step++ % options.clips.stride == 0 && step <= clip_steps) {
          shoot();
        }
        act(observation, action);
      });
  shoot();
  clip.success = success ? static_cast<std::int64_t>(*success) : -1;
  return clip;
}

// The root of the mean variance over samples [samples, numbers], number by number.
double deviation(MatrixView<const float> samples) {
  double sum = 0;
  for (Index j = 0; j < samples.cols; ++j) {
    double mean = 0, squares = 0;
    for (Index i = 0; i < samples.rows; ++i) {
      mean += static_cast<double>(samples(i, j)) / static_cast<double>(samples.rows);
    }
    for (Index i = 0; i < samples.rows; ++i) {
      const double difference = static_cast<double>(samples(i, j)) - mean;
      squares += difference * difference;
    }
    sum += squares / static_cast<double>(samples.size());
  }
  return std::sqrt(sum);
}

}  // namespace

void write_policies(const Options& options, const Interface& interface, const std::vector<Reported>& reported,
                    const Buffer<float>& generated) {
  std::filesystem::remove_all(options.out / "policies");
  std::filesystem::create_directories(options.out / "policies");
  const auto& type = interface.policy;
  const auto policies = as_rows(generated, type.parameter_count());
  const Index prompts = options.evaluation.prompts;
  for (Index i = 0; i < policies.rows; ++i) {
    type.save(policy_path(options, reported[static_cast<std::size_t>(i / prompts)], i % prompts),
              policies.row_span(i), interface.metadata);
  }
}

void write_prompts(const Options& options, const TestPrompts& test) {
  std::filesystem::create_directories(options.out / "prompts");
  for (std::size_t r = 0; r < test.reported.size(); ++r) {
    save_trajectory(prompt_path(options, test.reported[r]),
                    test.prompts[r * static_cast<std::size_t>(options.evaluation.prompts)]);
  }
}

void write_map(const Options& options, const Dataset& dataset, const Model& model, const TestPrompts& test,
               const Buffer<float>& generated) {
  std::vector<std::string> tasks;  // each once
  for (const auto& each : test.reported) {
    if (std::ranges::find(tasks, each.task) == tasks.end()) {
      tasks.push_back(each.task);
    }
  }
  const auto number_of = [&](const std::string& task) {
    return std::ranges::find(tasks, task) - tasks.begin();
  };
  std::vector<float> weights;
  std::vector<Trajectory> shown;
  std::vector<std::int64_t> latent_task, latent_kind, embedding_task, embedding_split;
  for (const auto& each : test.reported) {
    if (each.split != Split::seen) {
      continue;
    }
    const Index task = number_of(each.task), learned = dataset.task_index(each.task);
    for (const auto i : sample_of(dataset.policy_count(), learned, map_policies_per_task, [&](Index p) {
           return dataset.policies[static_cast<std::size_t>(p)].task;
         })) {
      const auto row = dataset.weight_matrix().row_span(i);
      weights.insert(weights.end(), row.begin(), row.end());
      latent_task.push_back(task);
      latent_kind.push_back(0);
    }
    for (const auto i : sample_of(
             static_cast<Index>(dataset.trajectories.size()), learned, map_prompts_per_task, [&](Index p) {
               const auto& trajectory = dataset.trajectories[static_cast<std::size_t>(p)];
               return trajectory.success_step ? dataset.task_index(trajectory.task) : Index{-1};
             })) {
      shown.push_back(dataset.trajectories[static_cast<std::size_t>(i)]);
      embedding_task.push_back(task);
      embedding_split.push_back(0);
    }
  }
  weights.insert(weights.end(), generated.begin(), generated.end());
  shown.insert(shown.end(), test.prompts.begin(), test.prompts.end());
  for (Index i = 0; i < std::ssize(test.prompts); ++i) {
    const auto& each = test.reported[static_cast<std::size_t>(i / options.evaluation.prompts)];
    latent_task.push_back(number_of(each.task));
    latent_kind.push_back(1);
    embedding_task.push_back(number_of(each.task));
    embedding_split.push_back(each.split == Split::unseen ? 2 : 1);
  }
  NpzWriter writer;
  const MatrixView<const float> policies(weights.data(), static_cast<Index>(latent_task.size()),
                                         dataset.parameter_count);
  add_points(writer, "latent", "kind", model.latents(policies), latent_task, latent_kind);
  add_points(writer, "embedding", "split", model.embed(shown), embedding_task, embedding_split);
  writer.write(options.out / "map.npz");
  write_file_atomically(options.out / "map.json", nlohmann::json(tasks).dump());
}

void write_samples(const Options& options, const PolicyType& type, const Dataset& dataset, const Model& model,
                   const TestPrompts& test) {
  const Index samples = samples_per_prompt, prompts = options.evaluation.prompts;
  const auto weights =
      model.generate(test.prompts, 1, seed_for(options, Purpose::generation), {.samples = samples});
  const auto all = as_rows(weights, type.parameter_count());
  const double of_zoo = dataset.policies.empty() ? 0 : deviation(dataset.weight_matrix());
  const auto actions_deviate = [&](MatrixView<const float> policies, const Trajectory& shown) {
    Buffer<float> actions(samples * shown.actions().size());
    const auto rows = as_rows(actions, shown.actions().size());
    for (Index i = 0; i < samples; ++i) {
      type.make(policies.row_span(i))->act_batch(shown.observations().span(), rows.row_span(i));
    }
    return deviation(rows);
  };
  nlohmann::ordered_json table = nlohmann::ordered_json::array();
  const auto count = std::ssize(test.prompts);
  for (const auto split : splits_of(test.reported)) {
    double on = 0, off = 0, weight = 0;
    Index number = 0;
    for (Index i = 0; i < count; ++i) {
      if (test.reported[static_cast<std::size_t>(i / prompts)].split == split) {
        const auto own = all.row_range(i * samples, samples);
        on += actions_deviate(own, test.prompts[static_cast<std::size_t>(i)]);
        off += actions_deviate(own, test.prompts[static_cast<std::size_t>((i + prompts) % count)]);
        weight += deviation(own);
        ++number;
      }
    }
    const auto mean = static_cast<double>(number);
    table.push_back({title_of(split), on / mean, off / mean, weight / mean, of_zoo});
  }
  const nlohmann::ordered_json result{
      {"title", "Samples of a prompt"},
      {"note",
       concatenate(
           "How far ", samples,
           " policies that are generated for one prompt differ (GenerateOptions::spread), "
           "as deviations: of actions at the prompt's own observations and at those of another task's "
           "prompt, of weights, and, to compare, of the training policies' weights.")},
      {"columns", {"prompts", "actions on the path", "off the path", "weights", "weights of the zoo"}},
      {"rows", table}};
  write_file_atomically(options.out / "samples.json", result.dump(1) + '\n');
}

bool write_clips(const Options& options, Simulator& simulator, const Demonstrators& demonstrators,
                 const std::vector<Reported>& reported, const std::vector<Placement>& placements) {
  std::filesystem::remove_all(options.out / "clips");
  if (!options.clips.render) {
    std::fprintf(stderr, "  Clips are left out, as asked.\n");
    return false;
  }
  try {
    const auto environment = simulator.make_environment(reported.front().task);
    std::vector<float> observation(static_cast<std::size_t>(environment->observation_size()));
    environment->reset(environment->draw_placement(0), observation);
    environment->render(options.clips.width, options.clips.height);
  } catch (const Error& error) {
    std::fprintf(stderr, "  Clips are left out: %s\n", error.what());
    return false;
  }
  std::filesystem::create_directories(options.out / "clips");
  run_parallel("clips", options.threads, std::ssize(reported), [&](Index i) {
    const auto& each = reported[static_cast<std::size_t>(i)];
    const auto policy = simulator.interface().policy.load(policy_path(options, each, 0));
    const auto environment = simulator.make_environment(each.task);
    const auto placement = scene_placement(options, simulator, *environment, Purpose::scenes, 0, 0);
    const auto demonstrator =
        film(options, *environment, placement, demonstrators.controller(*environment, each.run_of(0)));
    const auto generated = film(options, *environment, placement,
                                [&](std::span<const float> observation, std::span<float> action) {
                                  policy->act(observation, action);
                                });
    const auto prompt = load_trajectory(prompt_path(options, each));
    Index step = 0;
    const auto shown = film(options, *environment, placements[static_cast<std::size_t>(i)],
                            [&](std::span<const float>, std::span<float> action) {
                              const Index row = std::min(step++, prompt.length() - 1);
                              std::ranges::copy(prompt.actions().row_span(row), action.begin());
                            });
    NpzWriter writer;
    const auto add = [&](const std::string& who, const Clip& clip) {
      const std::vector<std::size_t> shape{clip.frames, static_cast<std::size_t>(options.clips.height),
                                           static_cast<std::size_t>(options.clips.width), 3};
      writer.add("frames_" + who, as_xtensor(std::span<const std::uint8_t>(clip.pixels), shape));
      writer.add("success_" + who, as_xtensor(std::span<const std::int64_t>(&clip.success, 1), {1}));
    };
    add("prompt", shown);
    add("expert", demonstrator);
    add("generated", generated);
    writer.write(options.out / "clips" / (each.name() + ".npz"));
  });
  return true;
}

}  // namespace maa::examples::study
