// Problems of one number whose answers are known, as a simulator for reinforcement learning.
#pragma once

#include <cmath>
#include <functional>
#include <map>
#include <string>

#include <maa/core/rng.hpp>

#include "interface.hpp"

namespace test {

using maa::Index;
using namespace maa::examples;

// x, drawn from [-1, 1], moves by `gain` times the action; a step is rewarded by reward(x, action), and fails
// if fails(x, action).
struct Problem {
  Index episode_steps = 1;
  double gain = 0;
  std::function<double(double x, double action)> reward = [](double, double) { return 0.0; };
  Index observations = 1;
  double limit = 1;  // of actions
  std::function<bool(double x, double action)> fails = [](double, double) { return false; };
};

class Line final : public Environment {
 public:
  Line(std::string task, const Problem& problem) : task_(std::move(task)), problem_(problem) {}

  const std::string& task() const override { return task_; }
  Index observation_size() const override { return problem_.observations; }
  Index action_size() const override { return 1; }
  Index max_episode_steps() const override { return problem_.episode_steps; }
  double action_limit() const override { return problem_.limit; }
  Placement draw_placement(std::uint64_t seed) override { return {maa::Rng(seed).uniform(-1, 1)}; }
  void reset(const Placement& placement, std::span<float> observation) override {
    x_ = placement[0];
    observation[0] = static_cast<float>(x_);
  }
  StepResult step(std::span<const float> action, std::span<float> observation) override {
    const auto a = static_cast<double>(action[0]);
    maa::require(std::abs(a) <= problem_.limit, "expected an action in [-", problem_.limit, ", ",
                 problem_.limit, "], found ", a);
    const double reward = problem_.reward(x_, a);
    const bool failed = problem_.fails(x_, a);
    x_ += problem_.gain * a;
    observation[0] = static_cast<float>(x_);
    return {.success = x_ > 0, .failed = failed, .reward = reward};
  }
  void expert_action(std::span<float>) override { maa::fail("no expert here"); }
  Image render(Index, Index) override { maa::fail("no pictures here"); }

 private:
  std::string task_;
  const Problem& problem_;
  double x_ = 0;
};

class Lines : public Simulator {
 public:
  Lines(std::map<std::string, Problem> problems, const PolicyType& policy)
      : problems_(std::move(problems)), interface_{policy, {}, {}} {
    for (const auto& [name, problem] : problems_) {
      names_.push_back(name);
    }
  }
  std::string name() const override { return "lines"; }
  const Interface& interface() const override { return interface_; }
  const std::vector<std::string>& task_names() const override { return names_; }
  std::unique_ptr<Environment> make_environment(const std::string& task) override {
    return std::make_unique<Line>(task, problems_.at(task));
  }
  std::string mirror_task(const std::string&) const override { return ""; }
  std::map<std::string, std::string> versions() const override { return {}; }

 private:
  std::map<std::string, Problem> problems_;
  std::vector<std::string> names_;
  Interface interface_;
};

}  // namespace test
