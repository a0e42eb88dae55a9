// The library's side of the comparison with PyTorch on a CUDA device (peers_cuda.py): see peer_server.hpp.
// peers_cuda [--tune] [--emulated]: as for cuda_benchmark.
#include "cuda_cases.hpp"
#include "peer_server.hpp"

int main(int argc, char** argv) {
  bench::DeviceOptions options;
  for (const std::string_view argument : std::span(argv, static_cast<std::size_t>(argc)).subspan(1)) {
    if (argument != "--tune" && argument != "--emulated") {
      std::cerr << "peers_cuda: unknown option " << argument << '\n';
      return 1;
    }
    (argument == "--tune" ? options.tune : options.emulated) = true;
  }
  try {
    // Clocks rise, and graphs are recorded, before the time is taken.
    const bench::PeerSettings settings{.shortest = options.emulated ? 0 : 0.1,
                                       .warm_up = options.emulated ? 1 : 3,
                                       .device = bench::open_device(options, false).describe()};
    const auto make = [&](const std::string& name, int) { return bench::make_device_case(name, options); };
    return bench::PeerServer(make, true, settings).serve();
  } catch (const maa::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
