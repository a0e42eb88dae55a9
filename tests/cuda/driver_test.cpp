// CudaDriver against fake_cuda.cpp in place of CUDA's libraries: that products mean the same as on the
// emulated device, that graphs repeat what was recorded, what errors say, and that after any failing call
// nothing leaks and all goes on.
#include <doctest/doctest.h>

#include "../temporary_folder.hpp"
#include "fake_cuda.hpp"

#include <maa/cuda.hpp>
#include <maa/testing/emulated_device.hpp>

#include <bit>

using namespace maa;
using fake::state;

namespace {

// Opens a device without compiling anything.
class Opened {
 public:
  Opened() {
    state = {};
    state.kernels = {&cuda::kernels::copy_matrix_kernel.info, &cuda::kernels::add_matrix_kernel.info};
    test::write_bytes(temporary_ / "kernels.cubin", "compiled");
    options.kernels = (temporary_ / "kernels.cubin").string();
  }
  cuda::Backend backend() const { return cuda::Backend(options); }

  cuda::Options options;

 private:
  test::TemporaryFolder temporary_;
};

std::vector<float> numbers(Index count, int seed) {  // whole eighths: sums are exact in any order
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>((static_cast<int>(i) * 37 + seed * 11) % 17 - 8) / 8;
  }
  return values;
}

// c after the product, computed by a driver.
std::vector<float> result_of(cuda::Driver& driver, cuda::Product p, const std::vector<float>& a,
                             const std::vector<float>& b, const std::vector<float>& c,
                             const std::vector<float>& bias) {
  const auto put = [&](const std::vector<float>& from) {
    auto* const memory = driver.allocate(static_cast<Index>(from.size() * sizeof(float)));
    std::copy(from.begin(), from.end(), static_cast<float*>(memory));
    return memory;
  };
  const auto rounded = [&](const std::vector<float>& from) {
    auto* const memory = driver.allocate(static_cast<Index>(from.size() * sizeof(std::uint16_t)));
    for (std::size_t i = 0; i < from.size(); ++i) {
      static_cast<std::uint16_t*>(memory)[i] =
          static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(from[i]) >> 16);
    }
    return memory;
  };
  void* const blocks[] = {p.arithmetic == cuda::Arithmetic::bf16 ? rounded(a) : put(a),
                          p.arithmetic == cuda::Arithmetic::bf16 ? rounded(b) : put(b), put(c), put(bias)};
  struct Release {
    ~Release() {
      std::ranges::for_each(blocks, [&](void* block) { driver.release(block); });
    }
    cuda::Driver& driver;
    std::span<void* const> blocks;
  } const release{driver, blocks};
  p.a = blocks[0], p.b = blocks[1], p.c = static_cast<float*>(blocks[2]);
  p.bias = bias.empty() ? nullptr : static_cast<const float*>(blocks[3]);
  const cuda::Command command = p;
  driver.run({&command, 1});
  driver.synchronize();
  std::vector<float> result(c.size());
  std::memcpy(result.data(), p.c, c.size() * sizeof(float));
  return result;
}

// Commands of all kinds, as a list that comes three times.
std::vector<float> work(const cuda::Backend& backend) {
  cuda::Array<float> weights(backend, 12), sum(backend, 8);
  const auto start = numbers(12, 1);
  upload(backend, std::span<const float>(start), weights.span());
  backend.context().flush();
  for (int step = 0; step < 3; ++step) {
    const auto x = numbers(6, step);
    cuda::Product p;
    p.a = raw(backend.context().transient(std::span<const float>(x)));
    p.b = raw(weights.data()), p.c = raw(sum.data());
    p.m = 2, p.n = 4, p.k = 3, p.a_row = 3, p.b_row = 4, p.c_row = 4, p.accumulate = 1;
    backend.context().append(p);
    for (int i = 0; i < 8; ++i) {
      add_matrix(backend, cuda::In(weights.data(), 2, 4), cuda::Out(sum.data(), 2, 4));
    }
    backend.context().flush();
  }
  std::vector<float> result(8);
  download(backend, sum.span(), result);
  return result;
}

}  // namespace

TEST_CASE("products mean what they mean on the emulated device") {
  const Opened opened;
  int cases = 0;
  {
    cuda::CudaDriver driver(opened.options);
    testing::EmulatedDevice emulated;
    for (const auto arithmetic : {cuda::Arithmetic::fp32, cuda::Arithmetic::tf32, cuda::Arithmetic::bf16}) {
      for (int variant = 0; variant < 64; ++variant) {
        cuda::Product p;
        p.arithmetic = arithmetic;
        p.a_transposed = variant & 1;
        p.b_transposed = variant >> 1 & 1;
        p.accumulate = variant >> 2 & 1;
        const bool bias = (variant >> 3 & 1) != 0;
        p.batch = (variant >> 4 & 1) != 0 ? 3 : 1;
        const Index apart = variant >> 5 & 1;
        if (bias && (p.accumulate != 0 || p.batch > 1)) {
          continue;
        }
        p.m = 5, p.n = 4, p.k = 3;
        p.a_row = (p.a_transposed ? p.m : p.k) + 2 * apart;
        p.b_row = (p.b_transposed ? p.k : p.n) + 3 * apart;
        p.c_row = p.n + apart;
        p.a_batch = 5 * 8 + apart, p.b_batch = 4 * 8, p.c_batch = 5 * 6 + 2 * apart;
        const auto a = numbers(200, 1), b = numbers(200, 2), c = numbers(200, 3);
        const auto row = bias ? numbers(4, 4) : std::vector<float>();
        CAPTURE(variant);
        CHECK(result_of(driver, p, a, b, c, row) == result_of(emulated, p, a, b, c, row));
        CHECK(state.last_compute ==
              (arithmetic == cuda::Arithmetic::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F));
        ++cases;
      }
    }
    // One row, whose distance to the next means nothing.
    cuda::Product p;
    p.m = 1, p.n = 4, p.k = 3, p.b_row = 4;
    CHECK(result_of(driver, p, numbers(3, 1), numbers(12, 2), numbers(4, 3), {}) ==
          result_of(emulated, p, numbers(3, 1), numbers(12, 2), numbers(4, 3), {}));
    p.k = 0;
    CHECK(test::has(test::error_of([&] { result_of(driver, p, {}, {}, numbers(4, 3), {}); }),
                    "expected a depth"));
  }
  CHECK(cases == 3 * (2 * 4 * 2 * 2 + 2 * 4));
}

TEST_CASE("commands and graphs compute the same as on the emulated device") {
  const Opened opened;
  const auto expected = work(cuda::Backend(std::make_unique<testing::EmulatedDevice>(), opened.options));
  {
    const auto backend = opened.backend();
    CHECK(backend.describe() == "Fake, compute capability 9.0, a driver for CUDA 13.0");
    CHECK(work(backend) == expected);
    CHECK(backend.context().graph_launches() == 2);
    CHECK(work(backend) == expected);
  }
  CHECK(state.handles == 0);
}

TEST_CASE("plans are made once, and again for other alignments; tuning takes the fastest") {
  Opened opened;
  SUBCASE("the first proposal") {}
  SUBCASE("tuned") {
    opened.options.tune_products = true;
  }
  {
    cuda::CudaDriver driver(opened.options);
    auto* const memory = static_cast<float*>(driver.allocate(4096));
    std::fill(memory, memory + 1024, 1.0f);
    cuda::Product p;
    p.a = memory, p.b = memory + 64, p.c = memory + 128;
    p.m = p.n = p.k = 2, p.a_row = p.b_row = p.c_row = 2, p.accumulate = 1;
    const auto run = [&] {
      const cuda::Command command = p;
      state.calls.clear();
      driver.run({&command, 1});
      return std::ranges::count_if(state.calls, [](const char* name) {
        return std::string_view(name) == "cublasLtMatmulAlgoGetHeuristic";
      });
    };
    CHECK(run() == 1);
    CHECK(memory[128] == 3);  // added to once only
    CHECK(state.last_algorithm == (opened.options.tune_products ? 2 : 0));
    CHECK(run() == 0);
    p.c = memory + 192;
    CHECK(run() == 0);  // as well aligned
    p.c = memory + 193;
    CHECK(run() == 1);
    CHECK(run() == 0);
    // The address of the bias is no part of a plan.
    p.c = memory + 128, p.accumulate = 0;
    for (const float bias : {10.0f, 20.0f}) {
      p.bias = std::fill_n(memory + (bias > 10 ? 256 : 320), 2, bias) - 2;
      CHECK(run() == (bias > 10 ? 0 : 1));
      CHECK(memory[128] == 2 + bias);
    }
    driver.release(memory);
  }
  CHECK(state.handles == 0);
}

TEST_CASE("errors say what was found and what to do") {
  Opened opened;
  const auto error = [&] { return test::error_of([&] { opened.backend(); }); };
  state.devices = -1;
  CHECK(test::has(error(), "or newer, found no NVIDIA driver"));
  state.devices = 0;
  CHECK(test::has(error(), "cuda: found no device"));
  state.devices = 2;
  opened.options.device = 2;
  CHECK(error() == "cuda: expected a device from 0 to 1, found 2");
  opened.options.device = 1;
  state.capability = 70;
  CHECK(test::has(error(), "expected a device of compute capability 7.5 or higher, found Fake"));
  state.capability = 75;
  CHECK(test::has(error(), "set Options::tf32 to false"));
  opened.options.tf32 = false;
  CHECK(error() == "no error");
  {
    cuda::CudaDriver driver(opened.options);
    cuda::Product p;
    p.m = p.n = p.k = p.a_row = p.b_row = p.c_row = 1;
    p.arithmetic = cuda::Arithmetic::bf16;
    CHECK(test::has(test::error_of([&] { result_of(driver, p, {1}, {1}, {1}, {}); }),
                    "bfloat16 needs compute capability 8.0"));
    state.fail(0);
    CHECK(test::error_of([&] { driver.allocate(Index{5} << 20); }) ==
          "cuda: out of device memory: expected 5242880 bytes (5 MiB), found 3 MiB free of 8 MiB; use "
          "smaller batches, "
          "or end what else uses the device");
    CHECK(state.last == cudaSuccess);  // the error was taken
    CHECK(state.device == 0);          // the thread's device is the user's again
    state.fail(0);
    CHECK(test::has(test::error_of([&] { driver.allocate_staging(100); }), "ulimit"));
    state.fail(-1);
    const cuda::Command unknown =
        cuda::Launch::of(cuda::kernels::add_row_kernel, 1, cuda::kernels::MatrixArguments());
    CHECK(test::has(test::error_of([&] {
                      driver.run({&unknown, 1});
                    }),
                    "the compiled kernels have no 'maa_add_row'"));
    state.sticky = cudaErrorIllegalAddress;
    CHECK(test::error_of([&] { driver.synchronize(); }) ==
          "cuda: waiting for the device: cudaErrorIllegalAddress (in words); this process cannot use the "
          "device any "
          "more: end it and start it again");
  }
  state.sticky = 0;
  opened.options.kernels += ".none";
  CHECK(test::has(error(), "kernels.cubin.none"));
}

TEST_CASE("any call may fail") {
  Opened opened;
  SUBCASE("with the first proposals") {}
  SUBCASE("while tuning") {
    opened.options.tune_products = true;
  }
  const auto expected = work(cuda::Backend(std::make_unique<testing::EmulatedDevice>(), opened.options));
  long calls = 0;
  {
    const auto backend = opened.backend();
    state.fail(-1);
    CHECK(work(backend) == expected);
    calls = static_cast<long>(state.calls.size());
  }
  CHECK(calls > 50);
  int errors = 0;
  for (long call = 0; call < calls; ++call) {
    CAPTURE(call);
    {
      const auto backend = opened.backend();
      state.fail(call);
      const auto message = test::error_of([&] { work(backend); });
      const std::string failed = state.calls.at(static_cast<std::size_t>(call));
      CAPTURE(failed);
      CAPTURE(message);
      CHECK(message != "no error");
      ++errors;
      state.fail(-1);
      CHECK(work(backend) == expected);
      CHECK(work(backend) == expected);
    }
    CHECK(state.handles == 0);
  }
  CHECK(errors == calls);
  // Opening.
  state.fail(-1);
  { const auto backend = opened.backend(); }
  calls = static_cast<long>(state.calls.size());
  for (long call = 0; call < calls; ++call) {
    state.fail(call);
    test::error_of([&] { opened.backend(); });
    state.fail(-1);
    CHECK(state.handles == 0);
  }
}
