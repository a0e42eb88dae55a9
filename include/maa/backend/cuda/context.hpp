// The state behind a device backend: the list of pending commands, the graphs made of earlier lists, and
// memory.
#pragma once

#include <maa/backend/cuda/device.hpp>
#include <maa/backend/cuda/driver.hpp>
#include <maa/core/workspace.hpp>

#include <algorithm>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

MAA_NAMESPACE_BEGIN
namespace cuda {

class Context;

// A block of device memory; returned when it is destroyed, after the commands that use it.
class DeviceBlock {
 public:
  DeviceBlock() = default;
  DeviceBlock(std::shared_ptr<Context> context, Index bytes);
  DeviceBlock(DeviceBlock&& other) noexcept
      : context_(std::move(other.context_)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  DeviceBlock& operator=(DeviceBlock other) noexcept {
    std::swap(context_, other.context_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DeviceBlock();

  std::byte* data() const noexcept { return data_; }
  Index size() const noexcept { return size_; }

 private:
  std::shared_ptr<Context> context_;
  std::byte* data_ = nullptr;
  Index size_ = 0;
};

struct DeviceMemory {
  using Chunk = DeviceBlock;
  template <class T>
  static constexpr bool holds = is_on_device<T>;

  std::shared_ptr<Context> context;

  Chunk allocate(Index bytes) const { return DeviceBlock(context, bytes); }
};

using Workspace = BasicWorkspace<DeviceMemory>;

// A double that the device computes: a loss, a norm. Reading one reads all that were made since the last
// reading; those made before are gone.
struct Scalar {
  Index place = 0;
  std::uint64_t round = 0;
};

// Lists of commands. A list is run command by command when it is new, recorded as a graph when it comes
// again, and launched as that graph from then on: a training step and a pass of the sampler come again and
// again, with equal addresses (BasicWorkspace) and with what differs between steps in uploaded memory.
//
// A list ends with flush() or with the reading of a result. Errors of the device come out there, not where
// the op was called. Then all that was pending is dropped: no result of it is valid, scalars made since the
// last reading cannot be read, and the object can be used on. All members but the constructor, allocate() and
// release() need the lock that Session holds.
class Context {
 public:
  explicit Context(std::unique_ptr<Driver> driver) : driver_(std::move(driver)) {
    require(driver_ != nullptr, "cuda: expected a driver, found none");
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() {
    try {
      driver_->synchronize();
    } catch (...) {  // nobody is left to tell
    }
    graphs_.clear();
    release_transients();
    if (results_ != nullptr) {
      driver_->release_staging(results_);
    }
    if (scalars_ != nullptr) {
      driver_->release(scalars_);
    }
  }

  Driver& driver() { return *driver_; }
  std::recursive_mutex& mutex() { return mutex_; }

  void append(const Command& command) {
    pending_.push_back(command);
    if (std::ssize(pending_) >= longest_list) {
      start();
    }
  }

  // A copy of host data in device memory that lasts until the next flush() or reading of a result: arguments
  // that differ from call to call. Equal calls in equal order have equal addresses once the memory is there.
  template <class T>
  const OnDevice<T>* transient(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (restart_) {
      restart_transients();
    }
    const Index room = std::max<Index>((static_cast<Index>(values.size_bytes()) + 255) / 256 * 256, 256);
    if (transients_.empty() || transients_.back().size - transients_.back().used < room) {
      add_transients(room);  // those before stay where they are
    }
    auto& chunk = transients_.back();
    if (chunk.upload < 0) {
      pending_.push_back(Copy{Copy::Kind::to_device, nullptr, nullptr, 0});  // filled in by start()
      chunk.upload = std::ssize(pending_) - 1;
    }
    if (!values.empty()) {
      std::memcpy(chunk.staging + chunk.used, values.data(), values.size_bytes());
    }
    auto* const result = chunk.device + chunk.used;
    chunk.used += room;
    return reinterpret_cast<const OnDevice<T>*>(result);
  }

  // A place for a scalar that a command is about to write. Places begin anew with every reading, so that
  // equal steps use equal ones.
  Scalar make_scalar() {
    if (scalars_ == nullptr) {
      scalars_ = driver_->allocate(scalar_capacity * static_cast<Index>(sizeof(double)));
    }
    require(used_scalars_ < scalar_capacity, "cuda: expected at most ", scalar_capacity,
            " scalars between two readings");
    return {used_scalars_++, round_};
  }
  double* address_of(const Scalar& scalar) {
    require(scalar.round == round_ && scalar.place < used_scalars_,
            "cuda: a scalar was used after a later reading or failure");
    return static_cast<double*>(scalars_) + scalar.place;
  }
  double read(const Scalar& scalar) {
    if (scalar.round == round_ && used_scalars_ > 0) {
      Buffer<double> values(used_scalars_);
      copy_out(scalars_, values.data(), used_scalars_ * static_cast<Index>(sizeof(double)));
      last_scalars_ = std::move(values);
      used_scalars_ = 0;
      ++round_;
    }
    require(scalar.round + 1 == round_ && scalar.place < last_scalars_.size(),
            "cuda: a scalar was read after a later reading or failure");
    return last_scalars_[scalar.place];
  }

  // Runs what is pending and waits for the copy. `from` is device memory. The copy is not part of the list,
  // so that equal lists are one graph whatever is read after them.
  void copy_out(const void* from, void* to, Index bytes) {
    if (results_ == nullptr && bytes > 0) {
      results_ = driver_->allocate_staging(result_capacity);
    }
    flush();
    for (Index done = 0; done < bytes; done += result_capacity) {
      const Index piece = std::min(result_capacity, bytes - done);
      run_copy({Copy::Kind::to_host, results_, static_cast<const std::byte*>(from) + done, piece});
      synchronize();
      std::memcpy(static_cast<std::byte*>(to) + done, results_, static_cast<std::size_t>(piece));
    }
  }
  // Copies host data of any size to device memory, after what is pending. Ends no list and no transient
  // memory; waits for the device, so it is for what does not come in every step.
  void copy_in(const void* from, void* to, Index bytes) {
    report_failure();  // of memory given back before: else a whole fit may end without telling
    if (results_ == nullptr && bytes > 0) {
      results_ = driver_->allocate_staging(result_capacity);
    }
    start();
    for (Index done = 0; done < bytes; done += result_capacity) {
      const Index piece = std::min(result_capacity, bytes - done);
      std::memcpy(results_, static_cast<const std::byte*>(from) + done, static_cast<std::size_t>(piece));
      run_copy({Copy::Kind::to_device, static_cast<std::byte*>(to) + done, results_, piece});
      synchronize();
    }
  }

  // Starts what is pending and ends the list and its transient memory.
  void flush() {
    report_failure();
    start();
    end_transients();
  }
  // Runs what is pending and waits; transient memory stays. For what an op makes once and keeps.
  void finish() {
    report_failure();
    start();
    synchronize();
  }
  void synchronize() {
    running_ = false;
    try {
      driver_->synchronize();
    } catch (...) {
      drop();
      throw;
    }
  }
  // Forgets what is pending, after a failure.
  void drop() noexcept {
    pending_.clear();
    end_transients();
    used_scalars_ = 0;
    last_scalars_ = {};
    ++round_;
  }
  Index pending() const { return std::ssize(pending_); }
  // How many lists have run as graphs, and how many graphs there are: for tests and reports.
  Index graph_launches() const { return graph_launches_; }
  Index graphs() const {
    return std::ranges::count_if(graphs_, [](const auto& g) { return g.graph != nullptr; });
  }

  void* allocate(Index bytes) {
    const std::lock_guard lock(mutex_);
    return driver_->allocate(bytes);
  }
  // A block's commands must have run before it is given back. If they fail, the next flush() or reading says
  // so.
  void release(void* memory) noexcept {
    const std::lock_guard lock(mutex_);
    if (!pending_.empty() || running_) {
      try {
        start();
        synchronize();
      } catch (const std::exception& error) {
        note_failure(error.what());
      }
    }
    driver_->release(memory);
  }

 private:
  static constexpr Index longest_list = 8192;
  static constexpr Index shortest_graph = 8;
  static constexpr std::size_t most_lists = 64;
  static constexpr Index scalar_capacity = 256;
  static constexpr Index result_capacity = Index{1} << 22;

  struct Recorded {
    std::uint64_t hash = 0;
    std::vector<Command> commands;
    std::unique_ptr<Driver::Graph> graph;  // null until the list has come twice
  };
  struct Transients {
    std::byte* device = nullptr;
    std::byte* staging = nullptr;
    Index size = 0;
    Index used = 0;
    Index started = 0;  // uploaded by lists that were started
    Index upload = -1;  // in pending_: the copy of what came since
  };

  // Starts what is pending. Transient memory stays: an op may be at work whose next command reads it.
  void start() {
    if (pending_.empty()) {
      return;
    }
    for (auto& chunk : transients_) {
      if (chunk.upload >= 0) {
        pending_[static_cast<std::size_t>(chunk.upload)] =
            Copy{Copy::Kind::to_device, chunk.device + chunk.started, chunk.staging + chunk.started,
                 chunk.used - chunk.started};
        chunk.started = chunk.used;
        chunk.upload = -1;
      }
    }
    auto commands = std::exchange(pending_, {});
    running_ = true;
    try {
      run(commands);
    } catch (...) {
      drop();
      throw;
    }
    commands.clear();
    pending_ = std::move(commands);  // its memory serves the next list
  }
  void run(const std::vector<Command>& commands) {
    if (std::ssize(commands) < shortest_graph) {
      driver_->run(commands);
      return;
    }
    std::uint64_t hash = 0xcbf29ce484222325ull;
    for (const auto& command : commands) {
      hash = hash_of(command, hash);
    }
    const auto found = std::ranges::find_if(graphs_, [&](const Recorded& recorded) {
      return recorded.hash == hash && std::ranges::equal(recorded.commands, commands, same);
    });
    if (found == graphs_.end()) {
      driver_->run(commands);
      if (graphs_.size() == most_lists) {
        graphs_.pop_back();
      }
      graphs_.push_front({hash, commands, nullptr});
      return;
    }
    graphs_.splice(graphs_.begin(), graphs_, found);  // the ones used last stay longest
    auto& recorded = graphs_.front();
    if (recorded.graph == nullptr) {
      recorded.graph = driver_->record(commands);
    }
    driver_->launch(*recorded.graph);
    ++graph_launches_;
  }
  void run_copy(const Copy& copy) {
    const Command command = copy;
    running_ = true;
    driver_->run({&command, 1});
  }

  void end_transients() noexcept {
    for (auto& chunk : transients_) {
      restart_ = restart_ || chunk.used > 0;
      chunk.used = 0;
      chunk.started = 0;
      chunk.upload = -1;
    }
  }
  // Before the first transient of a list.
  void restart_transients() {
    if (running_) {  // the device may still be reading what would be overwritten
      synchronize();
    }
    restart_ = false;
    if (transients_.size() > 1) {  // the last list did not fit; the next one will
      Index size = 0;
      for (const auto& chunk : transients_) {
        size += chunk.size;
      }
      graphs_.clear();  // they copy to and from the memory that goes
      release_transients();
      add_transients(size);
    }
  }
  void add_transients(Index room) {
    Transients chunk;
    chunk.size = std::max(room, transients_.empty() ? Index{1} << 20 : 2 * transients_.back().size);
    transients_.reserve(transients_.size() + 1);
    chunk.device = static_cast<std::byte*>(driver_->allocate(chunk.size));
    try {
      chunk.staging = static_cast<std::byte*>(driver_->allocate_staging(chunk.size));
    } catch (...) {
      driver_->release(chunk.device);
      throw;
    }
    transients_.push_back(chunk);
  }
  void release_transients() noexcept {
    for (const auto& chunk : transients_) {
      driver_->release_staging(chunk.staging);
      driver_->release(chunk.device);
    }
    transients_.clear();
  }

  void note_failure(const char* message) noexcept {
    try {
      failure_ = message;
    } catch (const std::bad_alloc&) {
    }
    failed_ = true;
  }
  void report_failure() {
    if (failed_) {
      failed_ = false;
      drop();  // it may depend on what failed
      fail("cuda: work started earlier has failed: ", std::exchange(failure_, {}));
    }
  }

  std::unique_ptr<Driver> driver_;
  std::recursive_mutex mutex_;
  std::vector<Command> pending_;
  bool running_ = false;
  std::list<Recorded> graphs_;
  Index graph_launches_ = 0;
  std::string failure_;  // of release(), which cannot throw
  bool failed_ = false;

  std::vector<Transients> transients_;
  bool restart_ = false;
  void* results_ = nullptr;  // host memory that copy_out and copy_in go through
  void* scalars_ = nullptr;
  Index used_scalars_ = 0;
  std::uint64_t round_ = 1;
  Buffer<double> last_scalars_;
};

inline DeviceBlock::DeviceBlock(std::shared_ptr<Context> context, Index bytes)
    : context_(std::move(context)),
      data_(bytes > 0 ? static_cast<std::byte*>(context_->allocate(bytes)) : nullptr),
      size_(bytes) {}
inline DeviceBlock::~DeviceBlock() {
  if (data_ != nullptr) {
    context_->release(data_);
  }
}

}  // namespace cuda
MAA_NAMESPACE_END
