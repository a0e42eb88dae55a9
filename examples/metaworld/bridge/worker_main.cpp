// metaworld_worker VENV [--hand] [--plain]: the 50 tasks of MetaWorld v3 with the goal in the observation;
// names as "window-open". A placement is the package's random vector (3 or 6 numbers). Experts are the
// package's.
#include "metaworld_interface.hpp"
#include "python_worker.hpp"

int main(int argc, char** argv) {
  using namespace maa::examples;
  constexpr const char* glue =
#include "glue_py.inc"
      ;
  return serve_python({.prefix = "metaworld",
                       .name = "MetaWorld",
                       .how_to_make = "bash examples/metaworld/make_venv.sh",
                       .packages = {{"metaworld", "3.1.1"}, {"mujoco", "3.3.0"}},
                       .glue = glue,
                       .interface = metaworld_interface(),
                       .episode_steps = 500,
                       // Near-reflections; MetaWorld has no exact ones.
                       .mirror_tasks = {{"window-open", "window-close"},
                                        {"window-close", "window-open"},
                                        {"faucet-open", "faucet-close"},
                                        {"faucet-close", "faucet-open"}},
                       .task_flags = {"--hand"}},
                      argc, argv);
}
