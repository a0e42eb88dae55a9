#include "robosuite.hpp"

#include <string>
#include <vector>

#include "remote_environment.hpp"
#include "robosuite_interface.hpp"

namespace maa::examples {

std::unique_ptr<Simulator> make_robosuite(const RobosuiteOptions& options) {
  const auto worker = find_worker("robosuite", "robosuite_worker", options.worker, MAA_ROBOSUITE_WORKER);
  std::vector<std::string> command = {worker.string(), options.venv.string()};
  if (options.plain) command.emplace_back("--plain");
  return make_remote_simulator(start_command(std::move(command)), robosuite_interface(), options.workers);
}

}  // namespace maa::examples
