#include "python_worker.hpp"

#include <cstdlib>
#include <exception>
#include <iostream>

#include <signal.h>
#include <sys/socket.h>

#include "remote_environment.hpp"

namespace maa::examples {
namespace {

bool is_socket(int descriptor) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

}  // namespace

int serve_python(const PythonFamily& family, int argc, char** argv) {
  if (argc < 2 || !is_socket(worker_channel)) {
    std::cerr << argv[0] << " is started by programs that use " << family.name << '\n';
    return 2;
  }
  ::signal(SIGINT, SIG_IGN);
  // One worker per core, so no threads within.
  for (const char* variable : {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}) {
    ::setenv(variable, "1", 1);
  }
  std::unique_ptr<Simulator> simulator;
  try {
    simulator = open_python(family, argv[1], {argv + 2, argv + argc});
  } catch (const std::exception& error) {
    return refuse_environments(error.what(), worker_channel, worker_channel);
  }
  const int code = serve_environments(*simulator, worker_channel, worker_channel);
  std::cout.flush();
  std::_Exit(code);  // without taking Python apart
}

}  // namespace maa::examples
