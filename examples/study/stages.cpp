#include "stages.hpp"

#include <cstdio>
#include <fstream>
#include <iterator>

#include <maa/core/error.hpp>
#include <maa/io/atomic_file.hpp>

namespace maa::examples::study {
namespace {

using Json = nlohmann::ordered_json;

Json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  return file ? Json::parse(file, nullptr, false) : Json();
}

}  // namespace

Stages::Stages(const std::filesystem::path& out, Json origin)
    : folder_(out / "stages"), origin_(std::move(origin)) {
  std::filesystem::create_directories(folder_);
}

void Stages::begin(bool resume) {
  const auto marker = folder_ / "unfinished";
  if (std::filesystem::exists(marker)) {
    std::fprintf(stderr, "An earlier run into %s was stopped: its finished stages are used.\n",
                 folder_.parent_path().c_str());
  } else if (!resume) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  write_file_atomically(marker, "");
}

void Stages::complete() {
  std::filesystem::remove(folder_ / "unfinished");
}

bool Stages::finished(const std::string& name, const Json& depends_on) {
  const auto record = read_json(folder_ / (name + ".json"));
  if (fresh_ || !record.is_object() || record.value("depends_on", Json()) != depends_on ||
      record.value("origin", Json()) != origin_) {
    return false;
  }
  seconds_[name] = record.value("seconds", 0.0);
  return true;
}

void Stages::run(const std::string& name, const Json& depends_on, const std::function<void()>& work) {
  if (finished(name, depends_on)) {
    std::fprintf(stderr, "== %s: finished before (%.0f s)\n", name.c_str(), seconds_[name]);
    return;
  }
  fresh_ = true;
  const auto record_path = folder_ / (name + ".json");
  std::filesystem::remove(record_path);
  std::fprintf(stderr, "== %s\n", name.c_str());
  const auto start = std::chrono::steady_clock::now();
  work();
  seconds_[name] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write_file_atomically(
      record_path, Json{{"origin", origin_}, {"depends_on", depends_on}, {"seconds", seconds_[name]}}.dump());
}

void Stages::require_finished(const std::string& name, const Json& depends_on, const std::string& command) {
  require(finished(name, depends_on), folder_.parent_path().string(), ": expected a finished \"", name,
          "\" with the same options, found ",
          std::filesystem::exists(folder_ / (name + ".json")) ? "one with other options" : "none", "; run \"",
          command, "\" first");
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  maa::require(static_cast<bool>(file), "cannot read ", path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

void TrainingLog::add(const std::string& stage, Index step, Index steps, double loss,
                      const double* validation) {
  Json line{{"stage", stage}, {"step", step}, {"steps", steps}, {"loss", loss}};
  if (validation != nullptr) {
    line["validation"] = *validation;
  }
  lines_ += line.dump() + '\n';
}

void TrainingLog::write(const std::filesystem::path& path) const {
  write_file_atomically(path, lines_);
}

}  // namespace maa::examples::study
