// Uses every kind of call to the device in a few steps, and trains a small generator; prints a hash of all
// numbers that come out: for compute-sanitizer, and to compare runs bit by bit. Arguments: --device (else the
// emulated one), --soak SECONDS (trains and generates again and again for so long; every round must give the
// same bits in the same memory). Exit code 77: there is no device.
#include "../cuda_device.hpp"

#include <maa/cuda.hpp>
#include <maa/generator.hpp>
#include <maa/generator/paper_training.hpp>

#include "../random_dataset.hpp"
#include "../short_recipe.hpp"
#include "../small_config.hpp"

#include <chrono>
#include <cstdio>

using namespace maa;

namespace {

std::uint64_t hash = 0xcbf29ce484222325ull;
void add_bits(const void* data, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) {
    hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3ull;
  }
}
void add_numbers(DeviceMatrix& matrix) {
  const auto values = matrix.values();
  add_bits(values.data(), values.size() * sizeof(float));
}

std::vector<float> numbers(Index count, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (auto& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / 16777216.0f - 0.5f;
  }
  return values;
}

// y = x W + b; W += x' y / 1000, some steps that differ in x only.
void train(const cuda::Backend& backend, cuda::Arithmetic arithmetic, Index rows, Index inputs,
           Index outputs) {
  DeviceMatrix weights(backend, inputs, outputs, numbers(inputs * outputs, 1));
  DeviceMatrix bias(backend, 1, outputs, numbers(outputs, 2));
  DeviceMatrix y(backend, rows, outputs), small(backend, rows, outputs);
  for (std::uint32_t step = 0; step < 6; ++step) {
    const auto session = backend.session();
    const auto scope = session.workspace().scope();
    const auto x_host = numbers(rows * inputs, 3 + step);
    const auto x =
        uploaded(backend, MatrixView<const float>(x_host.data(), rows, inputs), session.workspace());
    cuda::Product forward;
    forward.a = raw(x.data), forward.b = raw(weights.data()), forward.c = raw(y.data());
    forward.bias = raw(bias.data());
    forward.m = rows, forward.n = outputs, forward.k = inputs;
    forward.a_row = inputs, forward.b_row = outputs, forward.c_row = outputs;
    forward.arithmetic = arithmetic;
    backend.context().append(forward);
    const std::vector<float> noise_host = numbers(rows * outputs, 50 + step);
    const auto noise =
        uploaded(backend, MatrixView<const float>(noise_host.data(), rows, outputs), session.workspace());
    for (int i = 0; i < 6; ++i) {
      add_matrix(backend, noise, y.view());
    }
    cuda::Product gradient;
    gradient.a = raw(x.data), gradient.b = raw(y.data()), gradient.c = raw(weights.data());
    gradient.m = inputs, gradient.n = outputs, gradient.k = rows;
    gradient.a_row = inputs, gradient.b_row = outputs, gradient.c_row = outputs;
    gradient.a_transposed = 1, gradient.accumulate = 1;
    gradient.arithmetic = arithmetic;
    backend.context().append(gradient);
    const auto scalar = backend.context().make_scalar();
    auto* const place = reinterpret_cast<cuda::Real*>(backend.context().address_of(scalar));
    copy_matrix(backend, cuda::In(y.data(), 1, 2), cuda::Out(place, 1, 2));
    const double bits = read(backend, scalar);
    add_bits(&bits, sizeof bits);
  }
  add_numbers(weights);
  add_numbers(y);
}

using Network = MlpNetwork<4, 2, HiddenLayers<Hidden<10, Activation::elu>, Hidden<8, Activation::relu>>>;
using Policy = MlpPolicy<Network>;
using Config = test::SmallConfig;

// Training by both recipes, then policies in every precision.
void train_generator(const cuda::Backend& backend) {
  auto options = test::shortened(BehaviorRecipe(), 8, 6);
  options.behavior.queries = 8;
  options.behavior.demonstrations = {1, 2};
  const auto data = test::random_dataset<Policy::Network>(8);
  Generator<Policy, Config, cuda::Backend> generator{backend};
  generator.fit(data, test::shortened(PaperRecipe::paper(8, 8), 8, 6));
  generator.fit(data, options);
  for (const auto precision : {Precision::fp32, Precision::bf16}) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      for (const auto& policy :
           generator.generate(data.trajectories[0], {.count = 5, .precision = precision})) {
        add_bits(policy.weights().data(), policy.weights().size_bytes());
      }
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  double seconds = 0;
  for (int i = 1; i < count; ++i) {
    if (std::string_view(arguments[i]) == "--device") {
      ::setenv("MAA_TEST_DEVICE", "cuda", 1);
    } else if (std::string_view(arguments[i]) == "--soak" && i + 1 < count) {
      seconds = std::atof(arguments[++i]);
    }
  }
  try {
    const auto backend = test_backend();
    train(backend, cuda::Arithmetic::fp32, 33, 50, 70);
    train(backend, cuda::Arithmetic::fp32, 1, 3, 2);
    train(backend, cuda::Arithmetic::tf32, 64, 128, 96);
    DeviceMatrix large(backend, 1, (Index{1} << 20) + 5, numbers((Index{1} << 20) + 5, 9));
    add_numbers(large);
    const auto before = hash;
    train_generator(backend);
    const auto after = hash;
    const auto started = std::chrono::steady_clock::now();
    long rounds = 1;
    for (; std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count() < seconds;
         ++rounds) {
      hash = before;
      train_generator(backend);
      require(hash == after, "round ", rounds, " of training gave other bits than the first");
    }
    if (seconds > 0) {
      std::printf("%ld equal rounds in %.0f s\n", rounds, seconds);
    }
    std::printf("%s: %016llx, %lld graph launches\n", backend.describe().c_str(),
                static_cast<unsigned long long>(hash),
                static_cast<long long>(backend.context().graph_launches()));
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
