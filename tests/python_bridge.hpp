// What the tests of simulators in Python share.
#pragma once

#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <maa/core/rng.hpp>

#include "environment.hpp"

namespace test {

// What the expert's noisy actions lead to from the placement: the first observation and those of `steps`
// steps, with the actions.
inline std::vector<float> record(maa::examples::Environment& environment,
                                 const maa::examples::Placement& placement, int steps,
                                 std::uint64_t seed = 3) {
  maa::Rng random(seed, 1);
  std::vector<float> record;
  std::vector<float> observation(static_cast<std::size_t>(environment.observation_size()));
  std::vector<float> action(static_cast<std::size_t>(environment.action_size()));
  environment.reset(placement, observation);
  record.insert(record.end(), observation.begin(), observation.end());
  for (int step = 0; step < steps; ++step) {
    environment.expert_action(action);
    for (float& value : action) value += static_cast<float>(0.2 * random.normal());
    record.insert(record.end(), action.begin(), action.end());
    record.push_back(environment.step(action, observation).success ? 1.0F : 0.0F);
    record.insert(record.end(), observation.begin(), observation.end());
  }
  return record;
}

// The tasks on which the expert fails from the placement of a seed, space-separated; two environments at
// once.
inline std::string failures_of_experts(maa::examples::Simulator& simulator,
                                       std::span<const std::string> tasks,
                                       std::initializer_list<std::uint64_t> seeds, int steps) {
  std::array<std::string, 2> failures;
  {
    std::vector<std::jthread> threads;
    for (std::size_t half = 0; half < 2; ++half) {
      threads.emplace_back([&, half] {
        for (std::size_t i = half; i < tasks.size(); i += 2) {
          const auto environment = simulator.make_environment(tasks[i]);
          std::vector<float> observation(static_cast<std::size_t>(environment->observation_size()));
          std::vector<float> action(static_cast<std::size_t>(environment->action_size()));
          for (const std::uint64_t seed : seeds) {
            environment->reset(environment->draw_placement(seed), observation);
            bool success = false;
            for (int step = 0; step < steps && !success; ++step) {
              environment->expert_action(action);
              success = environment->step(action, observation).success;
            }
            if (!success) failures[half] += tasks[i] + " ";
          }
        }
      });
    }
  }
  return failures[0] + failures[1];
}

// Our children that run a program whose name begins so (the system keeps 15 characters).
inline std::set<pid_t> workers(const std::string& program) {
  std::set<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    pid_t process = 0;
    pid_t parent = 0;
    std::string name, state;
    if (file >> process >> name >> state >> parent && parent == ::getpid() && state != "Z" &&
        name.starts_with("(" + program)) {
      found.insert(process);
    }
  }
  return found;
}

// A folder that looks like a virtual environment with these packages.
inline void make_false_venv(const std::filesystem::path& folder, const std::string& python,
                            const std::vector<std::pair<std::string, std::string>>& packages) {
  const auto site = folder / "lib" / python / "site-packages";
  std::filesystem::create_directories(site);
  std::filesystem::create_directories(folder / "bin");
  std::filesystem::create_symlink("/usr/bin/python3", folder / "bin/python3");
  std::ofstream(folder / "pyvenv.cfg") << "home = /usr/bin\ninclude-system-site-packages = false\n";
  for (const auto& [name, version] : packages) {
    const auto info = site / (name + "-" + version + ".dist-info");
    std::filesystem::create_directories(info);
    std::ofstream(info / "METADATA") << "Metadata-Version: 2.1\nName: " << name << "\nVersion: " << version
                                     << "\n";
  }
}

}  // namespace test
