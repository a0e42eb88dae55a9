#include "python_simulator.hpp"

#include <pybind11/embed.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include <maa/core/error.hpp>
#include <maa/core/nearest_names.hpp>

namespace maa::examples {
namespace {

namespace py = pybind11;

constexpr Index largest_image = 4096;

std::string how_to_make(const PythonFamily& family) {
  return "; `" + family.how_to_make + "` makes it";
}

// Runs `call`, with Python's exceptions as maa::Error.
template <class Call>
auto translated(const std::string& prefix, const char* what, Call&& call) {
  try {
    return call();
  } catch (const py::error_already_set& error) {
    fail(prefix, ": ", what, ": ", error.what());
  }
}

class PythonEnvironment final : public Environment {
 public:
  PythonEnvironment(const PythonFamily& family, std::string name, py::object task, bool plain)
      : family_(family),
        name_(std::move(name)),
        task_(std::move(task)),
        reset_(task_.attr(plain ? "reset_by_package" : "reset")),
        draw_placement_(task_.attr(plain ? "draw_placement_by_package" : "draw_placement")),
        step_(task_.attr("step")),
        expert_action_(task_.attr("expert_action")),
        action_array_(task_.attr("action")),
        observation_array_(task_.attr("observation")) {}

  const std::string& task() const override { return name_; }
  Index observation_size() const override { return family_.interface.policy.observation_size(); }
  Index action_size() const override { return family_.interface.policy.action_size(); }
  Index max_episode_steps() const override { return family_.episode_steps; }

  Placement draw_placement(std::uint64_t seed) override {
    return translated(family_.prefix, "draw_placement",
                      [&] { return draw_placement_(seed).cast<Placement>(); });
  }

  void reset(const Placement& placement, std::span<float> observation) override {
    check_size("an observation", observation.size(), observation_size());
    translated(family_.prefix, "reset", [&] {
      const py::list values = py::cast(placement);
      const auto refusal = task_.attr("refusal")(values).cast<std::string>();
      require(refusal.empty(), family_.prefix, ": ", name_, ": ", refusal);
      is_reset_ = false;
      reset_(values);
      is_reset_ = true;
    });
    write(observation_array_, observation);
  }

  StepResult step(std::span<const float> action, std::span<float> observation) override {
    check_reset("step");
    check_size("an action", action.size(), action_size());
    check_size("an observation", observation.size(), observation_size());
    for (float value : action) {
      require(!std::isnan(value), family_.prefix, ": ", name_, ": step got an action that is NaN");
    }
    std::ranges::copy(action, action_array_.mutable_data());
    const auto [success, reward] =
        translated(family_.prefix, "step", [&] { return step_().cast<std::pair<bool, double>>(); });
    write(observation_array_, observation);
    return {.success = success, .reward = reward};
  }

  void expert_action(std::span<float> action) override {
    check_reset("expert_action");
    check_size("an action", action.size(), action_size());
    translated(family_.prefix, "expert_action", [&] { expert_action_(); });
    write(action_array_, action);
  }

  Image render(Index width, Index height) override {
    check_reset("render");
    require(width >= 1 && width <= largest_image && height >= 1 && height <= largest_image, family_.prefix,
            ": images are up to ", largest_image, " x ", largest_image, ", asked for ", width, " x ", height);
    return translated(family_.prefix, "render", [&] {
      const auto pixels = task_.attr("render")(width, height)
                              .cast<py::array_t<std::uint8_t, py::array::c_style | py::array::forcecast>>();
      require(pixels.size() == 3 * width * height, family_.prefix, ": render gave ", pixels.size(),
              " numbers");
      return Image{
          .width = width, .height = height, .pixels = {pixels.data(), pixels.data() + pixels.size()}};
    });
  }

 private:
  using Array = py::array_t<float, py::array::c_style>;

  void check_reset(const char* what) const {
    require(is_reset_, family_.prefix, ": ", name_, ": ", what, " before the first reset");
  }
  void check_size(const char* what, std::size_t found, Index expected) const {
    require(static_cast<Index>(found) == expected, family_.prefix, ": expected ", what, " of ", expected,
            " numbers, got ", found);
  }
  static void write(const Array& from, std::span<float> to) {
    std::copy_n(from.data(), to.size(), to.begin());
  }

  const PythonFamily& family_;
  std::string name_;
  py::object task_, reset_, draw_placement_, step_, expert_action_;
  Array action_array_, observation_array_;  // shared with task_
  bool is_reset_ = false;
};

std::string python_version() {
  return concatenate(PY_MAJOR_VERSION, ".", PY_MINOR_VERSION);
}

// Throws unless the folder is a virtual environment of this program's Python.
void check_venv(const PythonFamily& family, const std::filesystem::path& venv) {
  require(std::filesystem::exists(venv / "pyvenv.cfg") && std::filesystem::exists(venv / "bin/python3"),
          family.prefix, ": there is no Python virtual environment in ", venv.string(), how_to_make(family));
  const std::string expected = "python" + python_version();
  if (std::filesystem::is_directory(venv / "lib" / expected)) return;
  std::string found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(venv / "lib", none)) {
    found += " " + entry.path().filename().string();
  }
  fail(family.prefix, ": this program embeds ", expected, ", but the virtual environment ", venv.string(),
       " has", found.empty() ? " none" : found, how_to_make(family));
}

void start_interpreter(const PythonFamily& family, const std::filesystem::path& venv) {
  require(!Py_IsInitialized(), family.prefix, ": this process has a Python interpreter already");
  PyConfig config;
  PyConfig_InitPythonConfig(&config);
  const auto program = (std::filesystem::absolute(venv) / "bin/python3").string();
  // Python looks for pyvenv.cfg beside the program, as if that had been started.
  PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, program.c_str());
  if (!PyStatus_Exception(status)) {
    status = PyConfig_SetBytesString(&config, &config.executable, program.c_str());
  }
  config.install_signal_handlers = 0;
  config.parse_argv = 0;
  config.use_environment = 0;  // PYTHONPATH and PYTHONHOME of whoever started this
  config.user_site_directory = 0;
  config.safe_path = 1;  // nor the current folder
  if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
  PyConfig_Clear(&config);
  require(!PyStatus_Exception(status), family.prefix,
          ": Python does not start: ", status.err_msg != nullptr ? status.err_msg : "unknown reason");
}

// Throws unless the packages are there with their versions.
void check_packages(const PythonFamily& family, const std::filesystem::path& venv) {
  for (const auto& [package, expected] : family.packages) {
    std::string found;
    try {
      found = py::module_::import("importlib.metadata").attr("version")(package).cast<std::string>();
    } catch (const py::error_already_set&) {
      fail(family.prefix, ": ", venv.string(), " has no ", package, " (expected ", package, " ", expected,
           ")", how_to_make(family));
    }
    require(found == expected, family.prefix, ": expected ", package, " ", expected, ", found ", found,
            " in ", venv.string(), how_to_make(family));
  }
}

class PythonSimulator final : public Simulator {
 public:
  PythonSimulator(PythonFamily family, const std::filesystem::path& venv, const std::set<std::string>& flags)
      : family_(std::move(family)), plain_(flags.contains(plain_flag)) {
    for (const auto& flag : flags) {
      require(flag == plain_flag || std::ranges::find(family_.task_flags, flag) != family_.task_flags.end(),
              family_.prefix, ": unknown argument ", flag);
    }
    for (const auto& flag : family_.task_flags) {
      flags_.push_back(flags.contains(flag));
    }
    check_venv(family_, venv);
    start_interpreter(family_, venv);
    check_packages(family_, venv);
    translated(family_.prefix, "cannot be imported", [&] {
      py::dict names;
      names["__builtins__"] = py::module_::import("builtins");
      names["__name__"] = "maa_" + family_.prefix;
      py::exec(family_.glue, names);
      glue_ = names;
      tasks_ = names["TASKS"].cast<std::vector<std::string>>();
      versions_ = names["VERSIONS"].cast<std::map<std::string, std::string>>();
    });
  }
  ~PythonSimulator() override { glue_.release(); }  // numpy cannot be ended and started again

  std::string name() const override { return family_.name; }
  const Interface& interface() const override { return family_.interface; }
  const std::vector<std::string>& task_names() const override { return tasks_; }
  std::map<std::string, std::string> versions() const override { return versions_; }

  std::string mirror_task(const std::string& task) const override {
    const auto found = family_.mirror_tasks.find(task);
    return found == family_.mirror_tasks.end() ? "" : found->second;
  }

  std::unique_ptr<Environment> make_environment(const std::string& task) override {
    require(std::ranges::find(tasks_, task) != tasks_.end(), family_.prefix, ": there is no task \"", task,
            "\"; the nearest names are ", nearest_names(task, tasks_));
    return translated(family_.prefix, "a task cannot be made", [&]() -> std::unique_ptr<Environment> {
      py::list arguments;
      arguments.append(task);
      for (const bool flag : flags_) {
        arguments.append(flag);
      }
      return std::make_unique<PythonEnvironment>(family_, task, glue_[py::str("Task")](*arguments), plain_);
    });
  }

 private:
  PythonFamily family_;
  bool plain_;
  std::vector<bool> flags_;
  py::object glue_;  // the text's names; made once Python runs
  std::vector<std::string> tasks_;
  std::map<std::string, std::string> versions_;
};

}  // namespace

std::unique_ptr<Simulator> open_python(PythonFamily family, const std::filesystem::path& venv,
                                       const std::set<std::string>& flags) {
  return std::make_unique<PythonSimulator>(std::move(family), venv, flags);
}

}  // namespace maa::examples
