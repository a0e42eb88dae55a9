// NVRTC compiles the kernels without a warning for old and new devices; the cache gives the same code. No
// device needed.
#include <doctest/doctest.h>

#include "../temporary_folder.hpp"

#include <maa/backend/cuda/compile.hpp>

#include <chrono>
#include <iostream>

using namespace maa;
namespace fs = std::filesystem;

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

TEST_CASE("all kernels compile for each architecture without warnings") {
  for (const std::string architecture : {"sm_75", "sm_80", "sm_90", "sm_120", "compute_90"}) {
    CAPTURE(architecture);
    const auto start = std::chrono::steady_clock::now();
    const auto kernels = cuda::compile_kernels(cuda::kernels_text(), architecture);
    std::cout << architecture << ": " << seconds_since(start) << " s, " << kernels.code.size() << " bytes\n";
    CHECK(kernels.log == "");
    CHECK(test::has(kernels.code, "maa_copy_matrix"));
    CHECK(test::has(kernels.code, architecture == "compute_90" ? ".target sm_90"
                                                               : "\x7f"
                                                                 "ELF"));
  }
}

TEST_CASE("the newest architecture that a device can run") {
  CHECK(cuda::architecture_for(90) == "sm_90");
  CHECK(cuda::architecture_for(75) == "sm_75");
  CHECK(test::has(cuda::architecture_for(999), "compute_"));
  CHECK(cuda::architecture_for(91) == "compute_90");
  CHECK(test::has(test::error_of([] { cuda::architecture_for(35); }),
                  "cuda: NVRTC compiles nothing for compute capability 3.5"));
}

TEST_CASE("text that does not compile is an Error with the compiler's words") {
  const auto message =
      test::error_of([] { cuda::compile_kernels("__global__ void f() { wrong; }", "sm_90"); });
  CHECK(test::has(message, "cuda: NVRTC cannot compile the kernels for sm_90"));
  CHECK(test::has(message, "identifier \"wrong\" is undefined"));
  CHECK(test::has(test::error_of([] { cuda::compile_kernels("", "sm_1"); }), "sm_1"));
  // A warning is in the log: what the first test looks for can be there.
  const auto warned = cuda::compile_kernels("__global__ void f() { int unused = 1; }", "sm_90");
  CHECK(test::has(warned.log, "unused"));
}

TEST_CASE("kernels come from the cache, or are compiled again") {
  const test::TemporaryFolder temporary;
  const auto folder = temporary / "maa";
  const cuda::KernelCache cache(folder);
  auto start = std::chrono::steady_clock::now();
  const auto first = cuda::kernels_for(90, cache);
  std::cout << "compiled: " << seconds_since(start) << " s";
  start = std::chrono::steady_clock::now();
  CHECK(cuda::kernels_for(90, cache) == first);
  std::cout << ", from the cache: " << seconds_since(start) << " s\n";
  const auto file = fs::directory_iterator(folder)->path();

  const auto bytes = test::read_bytes(file);
  CHECK(bytes.size() == first.size() + 32);
  fs::permissions(folder, fs::perms(0755));
  CHECK(cuda::kernels_for(90, cache) == first);
  fs::permissions(folder, fs::perms::owner_all);
  for (const auto& wrong :
       {bytes.substr(0, bytes.size() / 2), bytes.substr(0, bytes.size() - 1) + char(bytes.back() + 1)}) {
    test::write_bytes(file, wrong);
    CHECK(cuda::kernels_for(90, cache) == first);
    CHECK(test::read_bytes(file) == bytes);  // stored anew
  }
}
