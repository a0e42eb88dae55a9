#include "remote_environment.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include <maa/core/error.hpp>

extern char** environ;

namespace maa::examples {
namespace {

// ---- Messages ----
// Requests and answers alternate. Each is its size in bytes (32 bits), a kind, and values in a fixed order,
// in this machine's representation: both ends are the same machine.

enum class Kind : std::uint32_t {
  // Requests.
  hello,  // -> name, tasks, the mirror task of each, versions
  make,   // task -> sizes, most steps; what follows is about this task
  draw,
  reset,
  step,
  expert,
  render,
  // Answers.
  done,
  error,
};

std::string system_error_text() {
  return std::error_code(errno, std::generic_category()).message();
}

class Message {
 public:
  void begin(Kind kind) {
    bytes_.resize(sizeof(std::uint32_t));
    put(kind);
  }
  template <class Value>
  requires std::is_trivially_copyable_v<Value>
  void put(const Value& value) { put_bytes(&value, sizeof value); }
  template <class Value>
  void put(std::span<const Value> values) {
    put(static_cast<std::uint32_t>(values.size()));
    put_bytes(values.data(), values.size_bytes());
  }
  void put(const std::string& text) { put(std::span(text.data(), text.size())); }

  // Sends in one piece where the system takes it. False if the other end is gone.
  bool send_to(int descriptor, bool is_socket) {
    const auto size = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &size, sizeof size);
    for (std::size_t sent = 0; sent < bytes_.size();) {
      const void* data = bytes_.data() + sent;
      const ssize_t written = is_socket ? ::send(descriptor, data, bytes_.size() - sent, MSG_NOSIGNAL)
                                        : ::write(descriptor, data, bytes_.size() - sent);
      if (written < 0 && errno != EINTR) return false;
      sent += static_cast<std::size_t>(std::max<ssize_t>(written, 0));
    }
    return true;
  }

  // Receives one message and its kind. False if the other end is gone.
  bool receive_from(int descriptor, Kind& kind) {
    // One read for short messages. The peer sends nothing before it has got an answer, so nothing is read
    // that belongs to another message.
    bytes_.resize(4096);
    std::size_t received = 0;
    std::uint32_t size = sizeof size;
    while (received < size) {
      const ssize_t count = ::read(descriptor, bytes_.data() + received, bytes_.size() - received);
      if (count == 0 || (count < 0 && errno != EINTR)) return false;
      received += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
      if (received >= sizeof size) {
        std::memcpy(&size, bytes_.data(), sizeof size);
        bytes_.resize(std::max<std::size_t>(size, received));
      }
    }
    next_ = sizeof size;
    kind = get<Kind>();
    return true;
  }
  template <class Value>
  Value get() {
    Value value;
    get_bytes(&value, sizeof value);
    return value;
  }
  template <class Value>
  void get(std::vector<Value>& values) {
    values.resize(get<std::uint32_t>());
    get_bytes(values.data(), values.size() * sizeof(Value));
  }
  template <class Value>
  void get(std::span<Value> values) {
    const auto size = get<std::uint32_t>();
    require(size == values.size(), "remote environment: expected ", values.size(), " numbers, got ", size);
    get_bytes(values.data(), values.size_bytes());
  }
  std::string get_text() {
    std::string text(get<std::uint32_t>(), '\0');
    get_bytes(text.data(), text.size());
    return text;
  }

 private:
  void put_bytes(const void* data, std::size_t size) {
    const auto* first = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), first, first + size);
  }
  void get_bytes(void* data, std::size_t size) {
    require(size <= bytes_.size() - next_, "remote environment: a message is shorter than it should be");
    if (size > 0) std::memcpy(data, bytes_.data() + next_, size);
    next_ += size;
  }

  std::vector<char> bytes_;
  std::size_t next_ = 0;
};

// ---- This side: workers ----

// A file descriptor, closed at the end.
class Descriptor {
 public:
  explicit Descriptor(int value = -1) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~Descriptor() { close(); }
  void close() {
    if (value_ >= 0) ::close(value_);
    value_ = -1;
  }
  int get() const { return value_; }

 private:
  int value_;
};

// What all tasks have in common, as the first worker tells.
struct Family {
  std::string name;
  std::vector<std::string> tasks;
  std::vector<std::string> mirror_tasks;
  std::map<std::string, std::string> versions;
};

struct TaskFacts {
  Index observation_size = 0;
  Index action_size = 0;
  Index max_episode_steps = 0;
  double action_limit = 1;
};

// One worker process. Used by one thread at a time.
class Worker {
 public:
  explicit Worker(const StartWorker& start) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
      fail("remote environment: a socket cannot be made: ", system_error_text());
    }
    channel_ = Descriptor(ends[0]);
    const Descriptor other(ends[1]);
    errors_ = Descriptor(::memfd_create("worker-errors", MFD_CLOEXEC));
    require(errors_.get() >= 0, "remote environment: no file for a worker's errors: ", system_error_text());
    process_ = start(other.get(), errors_.get());
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    channel_.close();  // tells it to end
    using namespace std::chrono_literals;
    for (auto waited = 0ms; process_ > 0 && waited < 2000ms; waited += 2ms) {
      if (ended(WNOHANG)) return;
      std::this_thread::sleep_for(2ms);
    }
    if (process_ > 0) {
      ::kill(process_, SIGKILL);
      ended(0);
    }
  }

  Message& request(Kind kind) {
    message_.begin(kind);
    return message_;
  }
  void send() {
    if (dead() || !message_.send_to(channel_.get(), true)) fail_as_dead();
  }
  // Waits for the answer to what was sent. The reference is to be read before the next request.
  Message& answer() {
    Kind kind{};
    if (dead() || !message_.receive_from(channel_.get(), kind)) fail_as_dead();
    if (kind == Kind::error) throw Error(message_.get_text());
    return message_;
  }
  Message& ask() {
    send();
    return answer();
  }

  bool dead() const { return !last_words_.empty(); }
  std::set<std::string> made;  // tasks that it keeps

 private:
  bool ended(int options) {
    int status = 0;
    const pid_t found = ::waitpid(process_, &status, options);
    if (found < 0 && errno == ECHILD) {  // a program that ignores SIGCHLD
      process_ = 0;
      how_ = "ended";
      return true;
    }
    if (found != process_) return false;
    process_ = 0;
    how_ = WIFSIGNALED(status) ? concatenate("was ended by signal ", WTERMSIG(status), " (",
                                             ::strsignal(WTERMSIG(status)), ")")
                               : concatenate("ended with exit code ", WEXITSTATUS(status));
    return true;
  }

  [[noreturn]] void fail_as_dead() {
    if (!dead()) {
      const pid_t process = process_;
      ::shutdown(channel_.get(), SHUT_RDWR);
      using namespace std::chrono_literals;
      for (auto waited = 0ms; waited < 2000ms && !ended(WNOHANG); waited += 2ms) {
        std::this_thread::sleep_for(2ms);
      }
      last_words_ = concatenate("remote environment: the worker process ", process, " ", how_, error_lines());
    }
    throw Error(last_words_);
  }

  // The last lines of its standard error.
  std::string error_lines() const {
    constexpr off_t most_bytes = 2000;
    constexpr int most_lines = 8;
    const off_t size = ::lseek(errors_.get(), 0, SEEK_END);
    const off_t from = std::max<off_t>(0, size - most_bytes);
    std::string text(static_cast<std::size_t>(std::max<off_t>(0, size - from)), '\0');
    const ssize_t count = ::pread(errors_.get(), text.data(), text.size(), from);
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(0, count)));
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (text.empty()) return "; it wrote no error";
    std::size_t first = text.size();
    for (int line = 0; line < most_lines && first != std::string::npos && first > 0; ++line) {
      first = text.rfind('\n', first - 1);
    }
    return "; the end of its standard error:\n" + text.substr(first == std::string::npos ? 0 : first + 1);
  }

  Descriptor channel_, errors_;
  pid_t process_ = 0;
  std::string how_ = "does not answer";
  std::string last_words_;
  Message message_;
};

// The answer to hello.
Family receive_family(Worker& worker) {
  Family family;
  Message& answer = worker.answer();
  family.name = answer.get_text();
  family.tasks.resize(answer.get<std::uint32_t>());
  for (std::string& task : family.tasks) task = answer.get_text();
  for (std::size_t i = 0; i < family.tasks.size(); ++i) family.mirror_tasks.push_back(answer.get_text());
  for (auto count = answer.get<std::uint32_t>(); count > 0; --count) {
    std::string what = answer.get_text();
    family.versions[std::move(what)] = answer.get_text();
  }
  return family;
}

TaskFacts make_task(Worker& worker, const std::string& task) {
  worker.request(Kind::make).put(task);
  Message& answer = worker.ask();
  worker.made.insert(task);
  TaskFacts facts;
  facts.observation_size = answer.get<Index>();
  facts.action_size = answer.get<Index>();
  facts.max_episode_steps = answer.get<Index>();
  facts.action_limit = answer.get<double>();
  return facts;
}

// Idle workers. Environments hold it too and give their workers back.
class Pool {
 public:
  explicit Pool(StartWorker start) : start_(std::move(start)) {}

  // An idle worker, best one that has made the task; none if all are busy.
  std::unique_ptr<Worker> take_idle(const std::string& task) {
    const std::scoped_lock lock(mutex_);
    if (idle_.empty()) return nullptr;
    auto chosen =
        std::ranges::find_if(idle_, [&](const auto& worker) { return worker->made.contains(task); });
    if (chosen == idle_.end()) chosen = idle_.end() - 1;
    auto worker = std::move(*chosen);
    idle_.erase(chosen);
    return worker;
  }
  std::unique_ptr<Worker> start() const { return std::make_unique<Worker>(start_); }
  void give_back(std::unique_ptr<Worker> worker) {
    if (worker->dead()) return;
    const std::scoped_lock lock(mutex_);
    if (open_) idle_.push_back(std::move(worker));
  }
  // Ends the idle workers; others end when they are given back.
  void close() {
    std::vector<std::unique_ptr<Worker>> idle;
    const std::scoped_lock lock(mutex_);
    open_ = false;
    idle.swap(idle_);
  }

 private:
  StartWorker start_;
  std::mutex mutex_;
  bool open_ = true;
  std::vector<std::unique_ptr<Worker>> idle_;
};

class RemoteEnvironment final : public Environment {
 public:
  RemoteEnvironment(std::shared_ptr<Pool> pool, std::unique_ptr<Worker> worker, std::string task,
                    const TaskFacts& facts)
      : pool_(std::move(pool)), worker_(std::move(worker)), task_(std::move(task)), facts_(facts) {}
  ~RemoteEnvironment() override { pool_->give_back(std::move(worker_)); }

  const std::string& task() const override { return task_; }
  Index observation_size() const override { return facts_.observation_size; }
  Index action_size() const override { return facts_.action_size; }
  Index max_episode_steps() const override { return facts_.max_episode_steps; }
  double action_limit() const override { return facts_.action_limit; }

  Placement draw_placement(std::uint64_t seed) override {
    worker_->request(Kind::draw).put(seed);
    Placement placement;
    worker_->ask().get(placement);
    return placement;
  }
  void reset(const Placement& placement, std::span<float> observation) override {
    Message& request = worker_->request(Kind::reset);
    request.put(std::span(placement));
    request.put(static_cast<std::uint32_t>(observation.size()));
    worker_->ask().get(observation);
  }
  StepResult step(std::span<const float> action, std::span<float> observation) override {
    Message& request = worker_->request(Kind::step);
    request.put(action);
    request.put(static_cast<std::uint32_t>(observation.size()));
    Message& answer = worker_->ask();
    const StepResult result{
        .success = answer.get<bool>(), .failed = answer.get<bool>(), .reward = answer.get<double>()};
    answer.get(observation);
    return result;
  }
  void expert_action(std::span<float> action) override {
    worker_->request(Kind::expert).put(static_cast<std::uint32_t>(action.size()));
    worker_->ask().get(action);
  }
  Image render(Index width, Index height) override {
    Message& request = worker_->request(Kind::render);
    request.put(width);
    request.put(height);
    Image image;
    Message& answer = worker_->ask();
    image.width = answer.get<Index>();
    image.height = answer.get<Index>();
    answer.get(image.pixels);
    return image;
  }

 private:
  std::shared_ptr<Pool> pool_;
  std::unique_ptr<Worker> worker_;
  std::string task_;
  TaskFacts facts_;
};

class RemoteSimulator final : public Simulator {
 public:
  RemoteSimulator(StartWorker start, const Interface& interface, int workers)
      : pool_(std::make_shared<Pool>(std::move(start))), interface_(interface) {
    std::vector<std::unique_ptr<Worker>> started;
    for (int i = 0; i < std::max(1, workers); ++i) {
      started.push_back(pool_->start());
      started.back()->request(Kind::hello);
      started.back()->send();
    }
    for (auto& worker : started) {  // they start up at the same time
      family_ = receive_family(*worker);
      pool_->give_back(std::move(worker));
    }
  }
  ~RemoteSimulator() override { pool_->close(); }

  std::string name() const override { return family_.name; }
  const Interface& interface() const override { return interface_; }
  const std::vector<std::string>& task_names() const override { return family_.tasks; }
  std::map<std::string, std::string> versions() const override { return family_.versions; }
  std::string mirror_task(const std::string& task) const override {
    const auto found = std::ranges::find(family_.tasks, task);
    return found == family_.tasks.end()
               ? ""
               : family_.mirror_tasks[static_cast<std::size_t>(found - family_.tasks.begin())];
  }
  std::unique_ptr<Environment> make_environment(const std::string& task) override {
    for (;;) {
      std::unique_ptr<Worker> worker = pool_->take_idle(task);
      const bool was_idle = worker != nullptr;
      if (!was_idle) worker = pool_->start();
      try {
        const auto facts = make_task(*worker, task);
        return std::make_unique<RemoteEnvironment>(pool_, std::move(worker), task, facts);
      } catch (const Error&) {
        const bool died_idle = was_idle && worker->dead();  // perhaps long ago
        pool_->give_back(std::move(worker));
        if (!died_idle) throw;
      }
    }
  }

 private:
  std::shared_ptr<Pool> pool_;
  const Interface& interface_;
  Family family_;
};

// ---- The worker's side ----

class Server {
 public:
  Server(Simulator* simulator, std::string refusal) : simulator_(simulator), refusal_(std::move(refusal)) {}

  int run(int in, int out) {
    Kind kind{};
    while (request_.receive_from(in, kind)) {
      answer_.begin(Kind::done);
      try {
        require(simulator_ != nullptr, refusal_);
        answer(kind);
      } catch (const std::exception& error) {
        answer_.begin(Kind::error);
        answer_.put(std::string(error.what()));
      }
      if (!answer_.send_to(out, false)) break;
    }
    return 0;
  }

 private:
  void answer(Kind kind) {
    if (kind == Kind::hello) return say_hello();
    if (kind == Kind::make) return make(request_.get_text());
    require(environment_ != nullptr, "remote environment: no task has been made");
    switch (kind) {
      case Kind::draw:
        answer_.put(std::span<const double>(environment_->draw_placement(request_.get<std::uint64_t>())));
        break;
      case Kind::reset:
        request_.get(placement_);
        observation_.resize(request_.get<std::uint32_t>());
        environment_->reset(placement_, observation_);
        answer_.put(std::span<const float>(observation_));
        break;
      case Kind::step: {
        request_.get(action_);
        observation_.resize(request_.get<std::uint32_t>());
        const auto result = environment_->step(action_, observation_);
        answer_.put(result.success);
        answer_.put(result.failed);
        answer_.put(result.reward);
        answer_.put(std::span<const float>(observation_));
        break;
      }
      case Kind::expert:
        action_.resize(request_.get<std::uint32_t>());
        environment_->expert_action(action_);
        answer_.put(std::span<const float>(action_));
        break;
      case Kind::render: {
        const auto width = request_.get<Index>();
        const Image image = environment_->render(width, request_.get<Index>());
        answer_.put(image.width);
        answer_.put(image.height);
        answer_.put(std::span<const std::uint8_t>(image.pixels));
        break;
      }
      default:
        fail("remote environment: unknown request ", static_cast<std::uint32_t>(kind));
    }
  }

  void say_hello() {
    answer_.put(simulator_->name());
    const auto& tasks = simulator_->task_names();
    answer_.put(static_cast<std::uint32_t>(tasks.size()));
    for (const std::string& task : tasks) answer_.put(task);
    for (const std::string& task : tasks) answer_.put(simulator_->mirror_task(task));
    const auto versions = simulator_->versions();
    answer_.put(static_cast<std::uint32_t>(versions.size()));
    for (const auto& [what, version] : versions) {
      answer_.put(what);
      answer_.put(version);
    }
  }

  void make(const std::string& task) {
    auto found = environments_.find(task);
    if (found == environments_.end()) {
      found = environments_.emplace(task, simulator_->make_environment(task)).first;
    }
    environment_ = found->second.get();
    answer_.put(environment_->observation_size());
    answer_.put(environment_->action_size());
    answer_.put(environment_->max_episode_steps());
    answer_.put(environment_->action_limit());
  }

  Simulator* simulator_;
  std::string refusal_;
  std::map<std::string, std::unique_ptr<Environment>> environments_;
  Environment* environment_ = nullptr;
  Message request_, answer_;
  Placement placement_;
  std::vector<float> action_, observation_;
};

int serve(Simulator* simulator, const std::string& refusal, int in, int out) {
  ::signal(SIGINT, SIG_IGN);   // the other side decides when to stop
  ::signal(SIGPIPE, SIG_IGN);  // a failed write says it
  return Server(simulator, refusal).run(in, out);
}

}  // namespace

StartWorker start_command(std::vector<std::string> command) {
  require(!command.empty(), "remote environment: the worker's command is empty");
  return [command = std::move(command)](int channel, int errors) {
    std::vector<char*> arguments;
    for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions, errors, STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, channel, worker_channel);
    posix_spawnattr_t attributes;
    ::posix_spawnattr_init(&attributes);
    // A group of its own: a terminal sends ctrl-C to the group in the foreground.
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    pid_t process = 0;
    const int error =
        ::posix_spawn(&process, command[0].c_str(), &actions, &attributes, arguments.data(), environ);
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
    require(error == 0, "remote environment: the worker ", command[0],
            " cannot be started: ", std::error_code(error, std::generic_category()).message());
    return process;
  };
}

std::filesystem::path find_worker(const std::string& prefix, const std::string& name,
                                  const std::filesystem::path& given, const std::filesystem::path& built) {
  std::error_code none;
  if (!given.empty()) {
    require(std::filesystem::is_regular_file(given, none), prefix, ": there is no worker program ",
            given.string());
    return given;
  }
  const auto beside = std::filesystem::read_symlink("/proc/self/exe", none).parent_path() / name;
  if (std::filesystem::is_regular_file(beside, none)) return beside;
  require(std::filesystem::is_regular_file(built, none), prefix, ": the program ", name, " is neither ",
          beside.string(), " nor ", built.string());
  return built;
}

std::unique_ptr<Simulator> make_remote_simulator(StartWorker start, const Interface& interface, int workers) {
  return std::make_unique<RemoteSimulator>(std::move(start), interface, workers);
}

int serve_environments(Simulator& simulator, int in, int out) {
  return serve(&simulator, "", in, out);
}

int refuse_environments(const std::string& error, int in, int out) {
  return serve(nullptr, error, in, out);
}

}  // namespace maa::examples
