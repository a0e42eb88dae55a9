// Every model and stage at the paper's sizes and the default configuration's, for the batches of performance
// goals, on one and two threads. Names: see cases.hpp, then the number of threads.
#include "cases.hpp"
#include "counters.hpp"

namespace {

void run_case(benchmark::State& state, const std::string& name, int threads) {
  const auto work = bench::make_case(name, threads);
  work->run();  // memory is allocated here
  for (auto _ : state) {
    work->run();
  }
  bench::count(state, work->work(), threads);
}

void add(const std::string& name, int iterations) {
  for (const int threads : {1, 2}) {
    auto* const added = benchmark::RegisterBenchmark((name + "/threads:" + std::to_string(threads)).c_str(),
                                                     run_case, name, threads);
    added->UseRealTime()->Unit(benchmark::kMillisecond);
    if (iterations > 0) {
      added->Iterations(iterations);
    }
  }
}

// Full-size cases take seconds: few iterations.
const bool registered = [] {
  for (const std::string model : {"paper", "small", "default"}) {
    const bool large = model == "paper";
    for (const std::string batch : {"1", "16", "100"}) {
      add("forward/" + model + "/" + batch, large ? 5 : 0);
      add("sample/" + model + "/" + batch, large ? 2 : 0);
    }
    for (const std::string batch : {"1", "16", "128"}) {
      add("train/" + model + "/" + batch, large ? 2 : 0);
    }
    add("adamw/" + model, large ? 5 : 0);
  }
  for (const std::string model : {"paper", "default"}) {
    for (const std::string batch : {"1", "16", "100"}) {
      add("autoencoder_decode/" + model + "/" + batch, 0);
    }
    for (const std::string batch : {"16", "32", "128"}) {
      add("autoencoder_train/" + model + "/" + batch, model == "paper" ? 5 : 0);
    }
    for (const std::string batch : {"16", "128"}) {
      add("embedder_train/" + model + "/" + batch, 0);
    }
  }
  return true;
}();

}  // namespace
