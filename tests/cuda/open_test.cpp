// Opening the machine's device: where there is none, an Error says so and what to do.
#include <doctest/doctest.h>

#include "../temporary_folder.hpp"

#include <maa/cuda.hpp>

#include <iostream>

using namespace maa;

TEST_CASE("the device is opened, or an Error names the cause") {
  const test::TemporaryFolder temporary;
  const cuda::Options options{.tf32 = false, .kernel_cache = (temporary / "maa").string()};
  if (cuda::visible_devices() > 0) {
    const cuda::Backend backend(options);
    std::cout << backend.describe() << "\n";
    CHECK(test::has(backend.describe(), "compute capability"));
    const auto message =
        test::error_of([&] { cuda::Backend({.device = cuda::visible_devices(), .kernel_cache = "off"}); });
    CHECK(test::has(message, "cuda: expected a device from 0 to "));
    return;
  }
  const auto message = test::error_of([&] { cuda::Backend backend(options); });
  std::cout << message << "\n";
  CHECK(message.starts_with("cuda: "));
  CHECK((test::has(message, "driver") || test::has(message, "no device")));
  CHECK(test::has(message, "use the CPU backend"));
  CHECK(test::error_of([&] { cuda::CudaDriver driver(options); }) ==
        message);  // again: nothing is left behind
}
