// A simulator in other processes: for one that has global state or a global lock (an embedded Python), so
// that every thread of this program can still have an environment of its own. One process serves one
// environment at a time and keeps the tasks that it has made.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "interface.hpp"

namespace maa::examples {

// Starts a worker and returns its process. `channel` is the worker's end of a socket, on which it is to call
// serve_environments; `errors` is where its standard output and error go. Both are closed in this process
// afterwards. Throws maa::Error if it cannot be started.
using StartWorker = std::function<pid_t(int channel, int errors)>;

// The descriptor on which a worker of start_command finds its channel.
inline constexpr int worker_channel = 3;

// Runs a program, with its arguments, as the worker. Errors name the program.
StartWorker start_command(std::vector<std::string> command);

// The program `name`: the given one, or, where none is, the one beside the running program, or else `built`,
// where it was built. Error, beginning with `prefix`, if there is none.
std::filesystem::path find_worker(const std::string& prefix, const std::string& name,
                                  const std::filesystem::path& given, const std::filesystem::path& built);

// A simulator with this interface, served by workers. The first is started here, for errors to come early,
// and `workers` in all; more are started where more environments live at once. Workers end with the simulator
// or with this process; ctrl-C does not reach them. Errors of the worker's simulator arrive as the same
// maa::Error; where a worker ended, each call says so, with the end of what it wrote to standard error, and
// the next environment has another worker. Environments may outlive the simulator.
std::unique_ptr<Simulator> make_remote_simulator(StartWorker start, const Interface& interface,
                                                 int workers = 1);

// The worker's side: answers on the descriptors until the other end closes. Returns the process's exit code.
int serve_environments(Simulator& simulator, int in, int out);
// The same where there is no simulator: answers with the error.
int refuse_environments(const std::string& error, int in, int out);

}  // namespace maa::examples
