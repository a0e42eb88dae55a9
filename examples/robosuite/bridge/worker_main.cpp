// robosuite_worker VENV [--plain]: robosuite's tasks by one of its robots (robosuite_interface.hpp). A
// placement is the numbers that the package draws in a reset: 7 deviations of the joints from their start, in
// units of 0.02 rad, then x, y and angle of the object. Experts are ours.
#include "python_worker.hpp"
#include "robosuite_interface.hpp"

int main(int argc, char** argv) {
  using namespace maa::examples;
  constexpr const char* glue =
#include "glue_py.inc"
      ;
  return serve_python({.prefix = "robosuite",
                       .name = "robosuite",
                       .how_to_make = "bash examples/robosuite/make_venv.sh",
                       .packages = {{"robosuite", "1.5.2"}, {"mujoco", "3.3.0"}, {"numpy", "1.26.4"}},
                       .glue = glue,
                       .interface = robosuite_interface(),
                       .episode_steps = robosuite_episode_steps},
                      argc, argv);
}
