#include "metaworld.hpp"

#include <string>
#include <system_error>
#include <vector>

#include <maa/core/error.hpp>

#include "metaworld_interface.hpp"
#include "remote_environment.hpp"

namespace maa::examples {
namespace {

std::filesystem::path find_worker(const std::filesystem::path& given) {
  std::error_code none;
  if (!given.empty()) {
    require(std::filesystem::is_regular_file(given, none), "metaworld: there is no worker program ",
            given.string());
    return given;
  }
  const auto beside =
      std::filesystem::read_symlink("/proc/self/exe", none).parent_path() / "metaworld_worker";
  if (std::filesystem::is_regular_file(beside, none)) return beside;
  const std::filesystem::path built = MAA_METAWORLD_WORKER;
  require(std::filesystem::is_regular_file(built, none),
          "metaworld: the program metaworld_worker is neither ", beside.string(), " nor ", built.string());
  return built;
}

}  // namespace

std::unique_ptr<Simulator> make_metaworld(const MetaWorldOptions& options) {
  std::vector<std::string> command = {find_worker(options.worker).string(), options.venv.string()};
  if (!options.aim_with_tool_centre) command.emplace_back("--hand");
  if (options.plain) command.emplace_back("--plain");
  return make_remote_simulator(start_command(std::move(command)), metaworld_interface(), options.workers);
}

}  // namespace maa::examples
