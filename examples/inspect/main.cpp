// What is in a file of maa's, whatever its policy type: inspect FILE...
#include <maa/data/dataset.hpp>
#include <maa/io/safetensors.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <map>

namespace {

void print(const std::string& text) {
  std::fputs((text + "\n").c_str(), stdout);
}

// Texts come from the file: control characters are shown as such.
std::string shown(std::string_view text) {
  std::string result;
  for (const char c : text.substr(0, 200)) {
    result += static_cast<unsigned char>(c) < ' ' || c == 127 ? '?' : c;
  }
  return text.size() > 200 ? result + "..." : result;
}

void inspect_trajectory(const std::filesystem::path& path) {
  const auto trajectory = maa::load_trajectory(path);
  print(maa::concatenate("trajectory: ", trajectory.length(), " steps, ", trajectory.observation_size(),
                         " observations, ", trajectory.action_size(), " actions",
                         trajectory.has_target_actions() ? ", with target actions" : ""));
  print(maa::concatenate("  task ", shown(trajectory.task), ", run ", trajectory.run));
  print(trajectory.success_step ? maa::concatenate("  success from step ", *trajectory.success_step)
                                : std::string("  no success"));
}

void inspect_interface(const maa::PolicyInterface& interface) {
  using maa::detail::field_text;
  if (interface.scales_observations()) {
    print("  observations: mean " + shown(field_text(interface.observation_mean)));
    print("    scale " + shown(field_text(interface.observation_scale)));
    if (interface.observation_clip < maa::no_clip) {
      print("    clip " + field_text(interface.observation_clip));
    }
  }
  if (interface.scales_actions()) {
    print("  action box: centre " + shown(field_text(interface.action_centre)));
    print("    half width " + shown(field_text(interface.action_half_width)));
  }
  for (const auto& [key, value] : interface.metadata) {
    print("  " + shown(key) + " = " + shown(value));
  }
}

void inspect_dataset(const std::filesystem::path& path) {
  const auto data = maa::Dataset::load(path);
  print(maa::concatenate("data set: ", data.policy_count(), " policies of ", data.parameter_count,
                         " weights, ", data.trajectories.size(), " trajectories, ", data.observation_size,
                         " observations, ", data.action_size, " actions"));
  if (data.policy_shape) {
    const auto& shape = *data.policy_shape;
    print(maa::concatenate("  hidden layers ", maa::detail::field_text(shape.hidden), ", ",
                           maa::detail::field_text(shape.activations), ", heads ",
                           maa::detail::name_of(shape.heads), ", squash ",
                           maa::detail::name_of(shape.squash)));
  }
  inspect_interface(data.interface);
  struct Counts {
    std::size_t policies = 0, trajectories = 0, successes = 0;
    maa::Index shortest = std::numeric_limits<maa::Index>::max(), longest = 0;
  };
  std::vector<Counts> counts(data.tasks.size());
  for (const auto& policy : data.policies) {
    ++counts[static_cast<std::size_t>(policy.task)].policies;
  }
  for (const auto& trajectory : data.trajectories) {
    auto& of = counts[static_cast<std::size_t>(data.task_index(trajectory.task))];
    ++of.trajectories;
    of.successes += trajectory.success_step.has_value() ? 1 : 0;
    of.shortest = std::min(of.shortest, trajectory.length());
    of.longest = std::max(of.longest, trajectory.length());
  }
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto& of = counts[i];
    print(maa::concatenate("  ", shown(data.tasks[i]), ": ", of.policies, " policies, ", of.trajectories,
                           " trajectories, ", of.successes, " with success",
                           of.trajectories == 0
                               ? std::string()
                               : maa::concatenate(", ", of.shortest, " to ", of.longest, " steps")));
  }
}

void inspect_tensors(const maa::SafetensorsReader& reader, const std::string& kind, bool all) {
  maa::Index numbers = 0;
  for (const auto& name : reader.names()) {
    maa::Index count = 1;
    for (const auto size : reader.info(name).shape) {
      count *= size;
    }
    numbers += count;
  }
  print(maa::concatenate(kind, ": ", reader.names().size(), " tensors, ", numbers, " numbers"));
  if (reader.contains("kept.policies") && !reader.info("kept.policies").shape.empty()) {
    print(maa::concatenate("  keeps ", reader.info("kept.policies").shape[0],
                           " policies of its data set, to give where one acts more like a prompt"));
  }
  for (const auto& [key, value] : reader.metadata()) {
    if (all || key.find("recipe.") == key.npos) {
      print("  " + shown(key) + " = " + shown(value));
    }
  }
  if (all || reader.names().size() <= 16) {
    for (const auto& name : reader.names()) {
      const auto& entry = reader.info(name);
      print(maa::concatenate("  ", shown(name), "  ", maa::dtype_info(entry.dtype).name, " ",
                             maa::detail::shape_text(entry.shape)));
    }
  }
}

void inspect(const std::filesystem::path& path, bool all) {
  print(path.string());
  if (path.extension() == ".npz") {
    return inspect_trajectory(path);
  }
  const maa::SafetensorsReader reader(path);
  const auto found = reader.metadata().find("format");
  const auto format = found == reader.metadata().end() ? std::string() : found->second;
  if (format == "maa.dataset") {
    inspect_dataset(path);
  } else if (format.empty() && reader.contains("observations") && reader.contains("actions")) {
    inspect_trajectory(path);
  } else {
    inspect_tensors(reader, format.empty() ? std::string("no format of maa's") : shown(format), all);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> paths;
  bool all = false;
  CLI::App app("Says what is in trajectories, data sets, policies, generators and checkpoints.");
  app.set_version_flag("--version", std::string(maa::library_version));
  app.add_option("files", paths, "files")->required();
  app.add_flag("--all", all, "every tensor, and the recipe that a generator was trained by");
  CLI11_PARSE(app, argc, argv);
  int code = 0;
  for (const auto& path : paths) {
    try {
      inspect(path, all);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "error: %s\n", error.what());
      code = 1;
    }
  }
  return std::fflush(stdout) == 0 ? code : 1;
}
