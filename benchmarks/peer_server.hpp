// One side of the comparison with peers as a process: reads commands, one a line, and answers each with one
// line of JSON. It works only between a command and its answer, so that two such processes can take turns on
// one machine.
//
//     load CASE THREADS FOLDER   makes the case, exchanges weights, inputs and results through files there
//     run REPETITIONS            seconds per run, one number for each repetition
//     calibrate THREADS          the machine's limits now
//     device                     what it runs on, where that is not the processor
//     drop | quit
#pragma once

#include "case.hpp"

#include <sched.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

namespace bench {

// What differs on a device.
struct PeerSettings {
  double shortest = 5e-3;  // seconds of one measurement, at least
  int warm_up = 0;         // untimed runs before each
  std::string device = {};  // its description
};

class PeerServer {
 public:
  using MakeCase = std::function<std::unique_ptr<Case>(const std::string& name, int threads)>;

  // writes: whether this is the side that writes down weights, inputs and results; the others compare with
  // them.
  PeerServer(MakeCase make, bool writes, PeerSettings settings = {})
      : make_(std::move(make)), writes_(writes), settings_(std::move(settings)) {
    sched_getaffinity(0, sizeof allowed_, &allowed_);
    // Threads begin here, on all cores: those begun later would share the one core of a case for one thread.
    maa::ThreadPool().for_each(1 << 12, [](Index) { std::this_thread::yield(); });
  }

  int serve() {
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream words(line);
      std::string command;
      words >> command;
      if (command == "quit") {
        break;
      }
      nlohmann::json answer;
      try {
        answer = handle(command, words);
      } catch (const std::exception& error) {
        answer = {{"error", error.what()}};
      }
      std::cout << answer.dump() << std::endl;
    }
    return 0;
  }

 private:
  nlohmann::json handle(const std::string& command, std::istream& words) {
    if (command == "load") {
      std::string name, folder;
      int threads = 1;
      words >> name >> threads >> folder;
      return load(name, threads, folder);
    }
    if (command == "run") {
      int repetitions = 1;
      words >> repetitions;
      return run(repetitions);
    }
    if (command == "calibrate") {
      int threads = 1;
      words >> threads;
      return calibrate(threads);
    }
    if (command == "device") {
      return {{"device", settings_.device}};
    }
    if (command == "drop") {
      case_.reset();
      return {{"dropped", true}};
    }
    maa::fail("peer: unknown command \"", command, "\"");
  }

  nlohmann::json load(const std::string& name, int threads, const std::filesystem::path& folder) {
    case_.reset();
    pin(threads);
    case_ = make_(name, threads);
    if (!case_) {
      return {{"missing", maa::concatenate(name, " is not there")}};
    }
    nlohmann::json answer{{"loaded", name}};
    if (writes_) {
      write_weights(name, folder);
    }
    for (int i = 0; i < case_->runs_to_check(); ++i) {
      case_->run();
    }
    auto found = case_->outcome();
    std::string file = name + ".safetensors";
    std::replace(file.begin(), file.end(), '/', '.');
    if (writes_) {
      maa::SafetensorsWriter writer;
      case_->write_inputs(writer);
      writer.add("outcome", {static_cast<Index>(found.size())}, std::span<const float>(found));
      writer.set_metadata("runs", maa::concatenate(case_->runs_to_check()));
      writer.write(folder / file);
      const auto work = case_->work();
      answer["work"] = {{"flops", work.flops}, {"read", work.read}, {"updated", work.updated}};
    } else {
      const maa::SafetensorsReader reader(folder / file);
      answer["difference"] = relative_difference(found, reader.read<float>("outcome").span());
    }
    warm_up();
    const double once = time_runs(1);
    runs_ = std::clamp<Index>(static_cast<Index>(settings_.shortest / once) + 1, 1, 1'000'000);
    return answer;
  }

  // The files of weights are shared by the cases of one model.
  void write_weights(const std::string& name, const std::filesystem::path& folder) {
    const auto parts = split_name(name);
    const std::string kind = parts[0].substr(0, parts[0].find('_'));
    const bool unet = kind == "sample" || kind == "forward" || kind == "train";
    if (!unet && kind != "autoencoder" && kind != "embedder") {
      return;
    }
    const auto path = folder / maa::concatenate(unet ? "unet" : kind, ".", parts[1], ".safetensors");
    if (!std::filesystem::exists(path)) {
      maa::SafetensorsWriter writer;
      case_->write_weights(writer);
      writer.write(path);
    }
  }

  nlohmann::json run(int repetitions) {
    maa::require(case_ != nullptr, "peer: expected a case to be loaded, found none");
    std::vector<double> seconds;
    warm_up();
    for (int i = 0; i < repetitions; ++i) {
      seconds.push_back(time_runs(runs_));
    }
    return {{"seconds", seconds}};
  }
  void warm_up() {
    for (int i = 0; i < settings_.warm_up; ++i) {
      case_->run();
    }
  }
  double time_runs(Index runs) {
    const double start = now();
    for (Index i = 0; i < runs; ++i) {
      case_->run();
    }
    return (now() - start) / static_cast<double>(runs);
  }

  nlohmann::json calibrate(int threads) {
    pin(threads);
    const auto found = measure_limits(maa::kernels::select_isa(), threads, 3);
    return {{"flops", found.flops}, {"read", found.read}, {"update", found.update}};
  }

  // One thread stays on the first core that this process may use.
  void pin(int threads) {
    cpu_set_t cores = allowed_;
    if (threads == 1) {
      int first = 0;
      while (!CPU_ISSET(first, &allowed_)) {
        ++first;
      }
      CPU_ZERO(&cores);
      CPU_SET(first, &cores);
    }
    sched_setaffinity(0, sizeof cores, &cores);
  }

  MakeCase make_;
  bool writes_;
  PeerSettings settings_;
  cpu_set_t allowed_{};
  std::unique_ptr<Case> case_;
  Index runs_ = 1;
};

}  // namespace bench
