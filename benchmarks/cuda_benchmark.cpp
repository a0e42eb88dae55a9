// The generator's models and stages on the machine's CUDA device, at the sizes of the performance goals. A
// run ends when the device has done everything. Without a device it says so and ends with success.
//
//     cuda_benchmark [--tune] [--check] [--smoke] [Google Benchmark's options]
//
// --tune times several algorithms for each product first (maa::cuda::Options::tune_products). --check
// compares the results with the CPU's first, which takes much longer than the benchmark. --smoke tries the
// program with tiny models on an emulated device and checks them: times mean nothing then.
#include "cuda_cases.hpp"

#include <benchmark/benchmark.h>

#include <iostream>

namespace {

bench::DeviceOptions device_options;
bool check_first = false;
bool failed = false;

// The case of the last benchmark: the library calls a benchmark several times, and making a case takes
// seconds.
struct {
  std::string name;
  std::unique_ptr<bench::Case> work;
} current;

void check(const std::string& name) {
  std::vector<float> found, expected;
  const auto run = [](bench::Case& work) {
    for (int i = 0; i < work.runs_to_check(); ++i) {
      work.run();
    }
    return work.outcome();
  };
  found = run(*current.work);
  expected = run(*bench::make_case(bench::DeviceName(name).name, 0));
  const double difference = bench::relative_difference(found, expected);
  maa::require(difference <= bench::device_tolerance(name), name, ": results differ from the CPU's by ",
               difference, " of the largest, allowed are ", bench::device_tolerance(name));
}

void run_case(benchmark::State& state, const std::string& name) {
  try {
    if (current.name != name) {
      current = {};
      current.work = bench::make_device_case(name, device_options);
      maa::require(current.work != nullptr, name, " is not there");
      current.name = name;
      if (check_first) {
        check(name);
      }
      for (int i = 0; i < 3; ++i) {  // memory, algorithms; graphs are recorded in the second run
        current.work->run();
      }
    }
    for (auto _ : state) {
      current.work->run();
    }
  } catch (const maa::Error& error) {
    failed = true;
    current = {};
    state.SkipWithError(error.what());
    return;
  }
  using benchmark::Counter;
  constexpr auto rate = Counter::kIsIterationInvariantRate;
  const auto work = current.work->work();
  if (work.flops > 0) {
    state.counters["FLOP/s"] = Counter(work.flops, rate);
  }
  state.counters["B/s"] = Counter(work.read + work.updated, rate);
}

void add(const std::string& name) {
  auto* const added = benchmark::RegisterBenchmark(name.c_str(), run_case, name);
  added->UseRealTime()->Unit(benchmark::kMillisecond);
  if (device_options.emulated) {
    added->Iterations(1);
  }
}

// Kinds come in the arithmetics that they have.
void add_all(const std::string& kind, const std::string& rest) {
  const bool infers = kind == "sample" || kind == "generate";
  for (const std::string arithmetic : {"", "_tf32", "_bf16"}) {
    if (arithmetic != "_bf16" || infers) {
      add(kind + arithmetic + rest);
    }
  }
}

void register_cases() {
  if (device_options.emulated) {
    for (const std::string kind : {"sample", "forward", "train", "autoencoder_train", "autoencoder_decode"}) {
      add_all(kind, "/tiny/3");
    }
    add("sample/tiny/300");  // three products per convolution
    add_all("embedder_train", "/tiny/4");
    add("adamw/tiny");
    for (const std::string kind : {"sample", "train", "generate"}) {
      add_all(kind, "/tiny_default/2");
    }
    add_all("behavior", "/2/5");
    add("policies/5");
    return;
  }
  for (const std::string batch : {"1", "100", "1000"}) {
    add_all("sample", "/paper/" + batch);
  }
  for (const std::string batch : {"16", "128"}) {
    add_all("train", "/paper/" + batch);
  }
  add("adamw/paper");
  add_all("autoencoder_train", "/paper/32");
  add_all("autoencoder_decode", "/paper/100");
  add_all("embedder_train", "/paper/16");
  add_all("sample", "/default/100");
  add_all("train", "/default/128");
  add_all("generate", "/default/1");
  add_all("generate", "/default/100");
  add_all("behavior", "/24/96");
  add("policies/100");
}

// Whether `option` was among the arguments, from which it is taken.
bool taken(int& argc, char** argv, std::string_view option) {
  const auto end = std::remove_if(argv + 1, argv + argc, [&](const char* one) { return one == option; });
  const bool found = end != argv + argc;
  argc = static_cast<int>(end - argv);
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  device_options.emulated = taken(argc, argv, "--smoke");
  device_options.tune = taken(argc, argv, "--tune");
  check_first = taken(argc, argv, "--check") || device_options.emulated;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 1;
  }
  if (!device_options.emulated && maa::cuda::visible_devices() == 0) {
    std::cout << "skipped: no CUDA device\n";
    return 0;
  }
  try {
    benchmark::AddCustomContext("device", bench::open_device(device_options, false).describe());
  } catch (const maa::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  benchmark::AddCustomContext("tuned products", device_options.tune ? "yes" : "no");
  register_cases();
  const auto run = benchmark::RunSpecifiedBenchmarks();
  current = {};
  benchmark::Shutdown();
  return failed || run == 0 ? 1 : 0;
}
