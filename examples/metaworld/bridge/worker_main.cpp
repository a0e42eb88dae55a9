// metaworld_worker VENV [--hand] [--plain]: serves MetaWorld's tasks to the program that started it
// (remote_environment.hpp).
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <string>

#include <signal.h>
#include <sys/socket.h>

#include "metaworld_python.hpp"
#include "remote_environment.hpp"

namespace {

using namespace maa::examples;

metaworld::PythonOptions parse(int argc, char** argv) {
  metaworld::PythonOptions options{.venv = argv[1]};
  for (int i = 2; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--hand") {
      options.aim_with_tool_centre = false;
    } else if (argument == "--plain") {
      options.plain = true;
    } else {
      maa::fail("metaworld_worker: unknown argument ", argument);
    }
  }
  return options;
}

bool is_socket(int descriptor) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || !is_socket(worker_channel)) {
    std::cerr << "metaworld_worker is started by programs that use MetaWorld\n";
    return 2;
  }
  ::signal(SIGINT, SIG_IGN);
  // One worker per core, so no threads within. Rendering without a display.
  for (const char* variable : {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}) {
    ::setenv(variable, "1", 1);
  }
  std::unique_ptr<Simulator> simulator;
  try {
    simulator = metaworld::open_python(parse(argc, argv));
  } catch (const std::exception& error) {
    return refuse_environments(error.what(), worker_channel, worker_channel);
  }
  const int code = serve_environments(*simulator, worker_channel, worker_channel);
  std::cout.flush();
  std::_Exit(code);  // without taking Python apart
}
