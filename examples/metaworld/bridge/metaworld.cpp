#include "metaworld.hpp"

#include <string>
#include <vector>

#include "metaworld_interface.hpp"
#include "remote_environment.hpp"

namespace maa::examples {

std::unique_ptr<Simulator> make_metaworld(const MetaWorldOptions& options) {
  const auto worker = find_worker("metaworld", "metaworld_worker", options.worker, MAA_METAWORLD_WORKER);
  std::vector<std::string> command = {worker.string(), options.venv.string()};
  if (!options.aim_with_tool_centre) command.emplace_back("--hand");
  if (options.plain) command.emplace_back("--plain");
  return make_remote_simulator(start_command(std::move(command)), metaworld_interface(), options.workers);
}

}  // namespace maa::examples
