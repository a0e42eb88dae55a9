// A program that uses an installed copy with the component cuda: the device if there is one.
#include <maa/cuda.hpp>

#include <iostream>

int main() {
  try {
    std::cout << maa::cuda::Backend({.tf32 = false}).describe() << "\n";
  } catch (const maa::Error& error) {
    std::cout << error.what() << "\n";
    return maa::cuda::visible_devices() > 0;
  }
}
