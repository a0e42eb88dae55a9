// The device that tests of the CUDA backend run on: an emulated one, or the machine's own where MAA_TEST_DEVICE=cuda
// asks for it.
#pragma once

#if MAA_TEST_CUDA
#include <maa/backend/cuda/cuda_driver.hpp>
#endif
#include <maa/backend/cuda/backend.hpp>
#include <maa/backend/cuda/transfer.hpp>
#include <maa/testing/emulated_device.hpp>

#include "skip.hpp"

#include <vector>

// Whether tests are to run on the machine's device. Ends the program as skipped if there is none.
inline bool on_device() {
  const char* wanted = std::getenv("MAA_TEST_DEVICE");
  if (wanted == nullptr || std::string_view(wanted) != "cuda") {
    return false;
  }
#if MAA_TEST_CUDA
  if (maa::cuda::visible_devices() > 0) {
    return true;
  }
  test::skip("no CUDA device");
#else
  test::skip("built without the CUDA toolkit");
#endif
}

inline maa::cuda::Backend test_backend(maa::cuda::Options options = {.tf32 = false}) {
#if MAA_TEST_CUDA
  if (on_device()) {
    return maa::cuda::Backend(std::make_unique<maa::cuda::CudaDriver>(options), options);
  }
#else
  on_device();
#endif
  return maa::cuda::Backend(std::make_unique<maa::testing::EmulatedDevice>(), options);
}

// Host numbers on the device, for the life of the object.
class DeviceMatrix {
 public:
  DeviceMatrix(const maa::cuda::Backend& backend, maa::Index rows, maa::Index cols)
      : backend_(backend), array_(backend, rows * cols), rows_(rows), cols_(cols) {}
  DeviceMatrix(const maa::cuda::Backend& backend, maa::Index rows, maa::Index cols,
               const std::vector<float>& values)
      : DeviceMatrix(backend, rows, cols) {
    upload(backend, std::span<const float>(values), array_.span());
  }

  maa::cuda::Out view() { return {array_.data(), rows_, cols_}; }
  maa::cuda::OutSeq sequence(maa::Index length) { return {array_.data(), rows_ / length, length, cols_}; }
  maa::cuda::Real* data() { return array_.data(); }
  std::vector<float> values() const {
    std::vector<float> result(static_cast<std::size_t>(array_.size()));
    download(backend_, array_.span(), result);
    return result;
  }

 private:
  const maa::cuda::Backend& backend_;
  maa::cuda::Array<float> array_;
  maa::Index rows_;
  maa::Index cols_;
};
