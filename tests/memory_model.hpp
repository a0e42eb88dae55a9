// Every execution of a few threads that C++'s memory model allows, one after the other: every order of their
// steps, and for each load every value that it may see. For code of which the atomic numbers are a parameter.
//
// A number's writes form one order (the modification order); a thread may read any write that is not older
// than what it has seen there, and a store may come before writes of others that it has not seen. What a
// thread has seen travels with releasing writes to those who acquire them, also through exchanges of others
// (C++20, 6.9.2). Left out: loads that see writes which depend on them (no processor and compiler does that
// to these programs), fences, consume, and failures of an exchange without cause. Executions that lead to the
// same state are followed once.
#pragma once

#include <maa/core/error.hpp>

#include <ucontext.h>
#include <atomic>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <unordered_set>
#include <vector>

namespace test {

class MemoryModel {
 public:
  // What has been found wrong: ends the exploration.
  struct Fault {
    std::string text;
  };

  // The one that is explored.
  static MemoryModel*& current() {
    static MemoryModel* model = nullptr;
    return model;
  }

  // Runs all executions of the threads that `make` gives, the first of which are its own. `make` is called
  // for each execution; after it, when all threads have ended, `check`. Returns how many executions were run;
  // the first fault is in fault().
  std::size_t explore(
      const std::function<std::vector<std::function<void()>>()>& make,
      const std::function<void()>& check = [] {}) {
    current() = this;
    std::size_t executions = 0;
    do {
      ++executions;
      position_ = 0;
      numbers_.clear();
      threads_.clear();
      running_ = -1;
      auto bodies = make();
      for (auto& body : bodies) {
        start(std::move(body));
      }
      run();
      if (fault_.empty() && all_ended()) {
        check();
      }
    } while (fault_.empty() && next_path());
    current() = nullptr;
    return executions;
  }
  const std::string& fault() const { return fault_; }
  std::size_t states() const { return seen_states_.size(); }

  void fail(const std::string& text) {
    if (fault_.empty()) {
      fault_ = text;
    }
  }
  void require(bool condition, const std::string& text) {
    if (!condition) {
      fail(text);
    }
  }
  // One of 0 ... count - 1, each in an execution of its own.
  int choose(int count) {
    if (count == 1) {
      return 0;
    }
    if (position_ == path_.size()) {
      path_.push_back({0, count});
    }
    const int chosen = path_[position_++].chosen;
    if (running_ >= 0) {
      note(static_cast<std::uint64_t>(chosen));
    }
    return chosen;
  }

  // Numbers, used by Atomic and Plain.
  int add_number(std::uint64_t value) {
    numbers_.push_back({});
    auto& number = numbers_.back();
    number.writes.push_back({value, 0, false, {}});
    number.order = {0};
    return static_cast<int>(numbers_.size()) - 1;
  }
  std::uint64_t load(int at, std::memory_order order) {
    step();
    auto& number = numbers_[static_cast<std::size_t>(at)];
    const int first =
        place(at, thread().seen[static_cast<std::size_t>(at)]) + (thread().must_be_new == at ? 1 : 0);
    thread().must_be_new = -1;
    thread().last_load = at;
    const int size = static_cast<int>(number.order.size());
    const int read = number.order[static_cast<std::size_t>(first + choose(size - first))];
    return take(at, read, order);
  }
  void store(int at, std::uint64_t value, std::memory_order order) {
    if (order != std::memory_order_relaxed) {  // else it may be seen as late as it may come
      step();
    }
    const auto& number = numbers_[static_cast<std::size_t>(at)];
    std::vector<int> places;
    for (int i = place(at, thread().seen[static_cast<std::size_t>(at)]) + 1;
         i <= static_cast<int>(number.order.size()); ++i) {
      if (i == static_cast<int>(number.order.size()) || !number.at(i).follows) {
        places.insert(places.begin(), i);  // the usual one, last, first
      }
    }
    put(at, places[static_cast<std::size_t>(choose(static_cast<int>(places.size())))], value, order, nullptr);
  }
  // Reads a write and puts change(its value) right after it, unless change returns false.
  std::uint64_t exchange(int at, std::memory_order order, std::memory_order failure,
                         const std::function<bool(std::uint64_t&)>& change) {
    step();
    auto& number = numbers_[static_cast<std::size_t>(at)];
    std::vector<int> places;
    for (int i = static_cast<int>(number.order.size()) - 1;
         i >= place(at, thread().seen[static_cast<std::size_t>(at)]); --i) {
      auto value = number.at(i).value;
      const bool taken = i + 1 < static_cast<int>(number.order.size()) && number.at(i + 1).follows;
      if (!taken || !change(value)) {
        places.push_back(i);
      }
    }
    const int read_place = places[static_cast<std::size_t>(choose(static_cast<int>(places.size())))];
    const int read = number.order[static_cast<std::size_t>(read_place)];
    const auto found = number.writes[static_cast<std::size_t>(read)].value;
    auto value = found;
    if (!change(value)) {
      return take(at, read, failure);
    }
    take(at, read, order);
    const auto chain = number.writes[static_cast<std::size_t>(read)].released;
    put(at, read_place + 1, value, order, &chain);
    return found;
  }
  void wait(int at, std::uint64_t old, std::memory_order order) {
    for (;;) {
      step();
      const auto& number = numbers_[static_cast<std::size_t>(at)];
      if (take(at, number.order.back(), order) != old) {
        return;
      }
      thread().asleep_at = at;
      leave();
    }
  }
  void notify_all(int at) {
    for (auto& other : threads_) {
      other->asleep_at = other->asleep_at == at ? -1 : other->asleep_at;
    }
  }
  // Where what this thread does next depends on nothing that it read so far, as at the top of a loop: states
  // that differ in that alone are then one.
  void forget() {
    thread().history = 0;
    thread().steps = 0;
  }
  // In a loop of which each round does the same unless it reads something new: the second round that does not
  // waits until another thread has written what it reads last.
  void pause() {
    thread().waits_for = std::exchange(thread().learned, false) ? -1 : thread().last_load;
    step();
    thread().must_be_new = std::exchange(thread().waits_for, -1);
  }

  // A number that is not atomic.
  void store_plain(int at) {
    require_seen(at, "written");
    put(at, static_cast<int>(numbers_[static_cast<std::size_t>(at)].order.size()), 0,
        std::memory_order_relaxed, nullptr);
  }
  void require_seen(int at, const std::string& how) {
    require(
        thread().seen[static_cast<std::size_t>(at)] == numbers_[static_cast<std::size_t>(at)].order.back(),
        "a number that another thread wrote is " + how + " without order between them");
  }

 private:
  using View = std::vector<int>;  // by number, the last write that is known

  struct Write {
    std::uint64_t value;
    std::uint64_t identity;  // which thread's which write
    bool follows;            // the write before it immediately: an exchange
    View released;           // what those see who acquire it; empty: only itself
  };
  struct Number {
    std::vector<Write> writes;
    std::vector<int> order;
    const Write& at(int place) const {
      return writes[static_cast<std::size_t>(order[static_cast<std::size_t>(place)])];
    }
  };
  struct Thread {
    std::function<void()> body;
    std::unique_ptr<char[]> stack;
    ucontext_t context;  // where it begins
    std::jmp_buf jump;   // where it goes on
    View seen;
    std::uint64_t history = 0;
    std::uint64_t writes = 0;
    std::uint64_t steps = 0;
    std::uint64_t steps_in_all = 0;
    int asleep_at = -1;
    int waits_for = -1;
    int must_be_new = -1;
    int last_load = -1;
    bool learned = true;  // something since the last pause
    bool ended = false;
  };
  struct Choice {
    int chosen;
    int count;
  };
  static constexpr std::size_t stack_size = 1 << 16;

  Thread& thread() { return *threads_[static_cast<std::size_t>(running_)]; }
  int place(int at, int write) const {
    const auto& order = numbers_[static_cast<std::size_t>(at)].order;
    int result = 0;
    while (order[static_cast<std::size_t>(result)] != write) {
      ++result;
    }
    return result;
  }
  static std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 31;
  }
  void note(std::uint64_t value) { thread().history = mixed(thread().history, value + 1); }

  // Whether it is news.
  bool see(View& view, int at, int write) const {
    auto& known = view[static_cast<std::size_t>(at)];
    const bool newer = place(at, write) > place(at, known);
    known = newer ? write : known;
    return newer;
  }
  void join(View& view, const View& other) const {
    for (std::size_t i = 0; i < other.size(); ++i) {
      see(view, static_cast<int>(i), other[i]);
    }
  }
  static bool acquires(std::memory_order order) {
    return order == std::memory_order_acquire || order == std::memory_order_acq_rel ||
           order == std::memory_order_seq_cst;
  }
  static bool releases(std::memory_order order) {
    return order == std::memory_order_release || order == std::memory_order_acq_rel ||
           order == std::memory_order_seq_cst;
  }
  std::uint64_t take(int at, int read, std::memory_order order) {
    const auto& write = numbers_[static_cast<std::size_t>(at)].writes[static_cast<std::size_t>(read)];
    note(write.identity);
    thread().learned |= see(thread().seen, at, read);
    if (acquires(order)) {
      join(thread().seen, write.released);
    }
    return write.value;
  }
  // `chain`: what the write that an exchange read releases.
  void put(int at, int where, std::uint64_t value, std::memory_order order, const View* chain) {
    auto& number = numbers_[static_cast<std::size_t>(at)];
    const int write = static_cast<int>(number.writes.size());
    const auto identity = mixed(static_cast<std::uint64_t>(running_) + 1, ++thread().writes);
    number.writes.push_back({value, identity, chain != nullptr, {}});
    number.order.insert(number.order.begin() + where, write);
    thread().seen[static_cast<std::size_t>(at)] = write;
    thread().learned = true;
    View released;
    if (chain != nullptr && !chain->empty()) {
      released = *chain;
    }
    if (releases(order)) {
      if (released.empty()) {
        released = thread().seen;
      } else {
        join(released, thread().seen);
      }
    }
    number.writes.back().released = std::move(released);
  }

  static void enter() {
    auto& model = *current();
    model.thread().body();
    model.thread().ended = true;
    model.leave();
  }
  void start(std::function<void()> body) {
    threads_.push_back(std::make_unique<Thread>());
    auto& made = *threads_.back();
    made.body = std::move(body);
    made.stack = std::make_unique_for_overwrite<char[]>(stack_size);
    made.seen.assign(numbers_.size(), 0);
    ::getcontext(&made.context);
    made.context.uc_stack.ss_sp = made.stack.get();
    made.context.uc_stack.ss_size = stack_size;
    made.context.uc_link = nullptr;
    ::makecontext(&made.context, enter, 0);
  }
  void leave() {
    if (_setjmp(thread().jump) == 0) {
      _longjmp(main_, 1);
    }
  }
  // Until it leaves. Jumps rather than swapcontext(), which asks the system about signals.
  void resume(Thread& next) {
    if (_setjmp(main_) != 0) {
      return;
    }
    if (next.steps_in_all++ == 0) {
      ::setcontext(&next.context);
    }
    _longjmp(next.jump, 1);
  }
  // Before what other threads can see: whoever goes on next is a choice.
  void step() { leave(); }

  bool ready(const Thread& of) const {
    if (of.ended || of.asleep_at >= 0) {
      return false;
    }
    if (of.waits_for < 0) {
      return true;
    }
    const auto known = of.seen[static_cast<std::size_t>(of.waits_for)];
    return place(of.waits_for, known) + 1 <
           static_cast<int>(numbers_[static_cast<std::size_t>(of.waits_for)].order.size());
  }
  bool all_ended() const {
    for (const auto& one : threads_) {
      if (!one->ended) {
        return false;
      }
    }
    return true;
  }
  void run() {
    const auto replayed = path_.size();
    while (fault_.empty()) {
      if (position_ >= replayed && !seen_states_.insert(state()).second) {
        return;  // followed before
      }
      std::vector<int> can;
      for (std::size_t i = 0; i < threads_.size(); ++i) {
        if (ready(*threads_[i])) {
          can.push_back(static_cast<int>(i));
        }
      }
      if (can.empty()) {
        require(all_ended(), "threads wait for each other, or one sleeps for good");
        return;
      }
      running_ = -1;
      running_ = can[static_cast<std::size_t>(choose(static_cast<int>(can.size())))];
      ++thread().steps;
      resume(thread());
    }
  }
  std::uint64_t state() const {
    std::uint64_t hash = 1;
    const auto add_view = [&](const View& view) {
      for (std::size_t i = 0; i < view.size(); ++i) {
        hash = mixed(hash, numbers_[i].writes[static_cast<std::size_t>(view[i])].identity);
      }
    };
    for (const auto& number : numbers_) {
      for (const int write : number.order) {
        hash = mixed(hash, number.writes[static_cast<std::size_t>(write)].identity);
        add_view(number.writes[static_cast<std::size_t>(write)].released);
      }
      hash = mixed(hash, 7);
    }
    for (const auto& one : threads_) {
      add_view(one->seen);
      for (const int part : {one->asleep_at, one->waits_for, one->must_be_new, one->last_load}) {
        hash = mixed(hash, static_cast<std::uint64_t>(part + 1));
      }
      hash = mixed(hash, one->history);
      hash = mixed(hash, 4 * one->steps + (one->learned ? 2 : 0) + (one->ended ? 1 : 0));
    }
    return hash;
  }
  bool next_path() {
    while (!path_.empty() && path_.back().chosen + 1 == path_.back().count) {
      path_.pop_back();
    }
    if (path_.empty()) {
      return false;
    }
    ++path_.back().chosen;
    return true;
  }

  std::vector<Number> numbers_;
  std::vector<std::unique_ptr<Thread>> threads_;
  int running_ = -1;
  std::jmp_buf main_;
  std::vector<Choice> path_;
  std::size_t position_ = 0;
  std::unordered_set<std::uint64_t> seen_states_;
  std::string fault_;
};

// std::atomic in the model.
template <class T>
class ModelAtomic {
 public:
  ModelAtomic(T value) : at_(MemoryModel::current()->add_number(bits(value))) {}

  T load(std::memory_order order) const { return value(MemoryModel::current()->load(at_, order)); }
  void store(T value, std::memory_order order) { MemoryModel::current()->store(at_, bits(value), order); }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order order, std::memory_order failure) {
    bool equal = false;
    const auto found = MemoryModel::current()->exchange(at_, order, failure, [&](std::uint64_t& now) {
      equal = now == bits(expected);
      now = equal ? bits(desired) : now;
      return equal;
    });
    expected = value(found);
    return equal;
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order order) {
    return compare_exchange_weak(expected, desired, order, std::memory_order_acquire);
  }
  T exchange(T desired, std::memory_order order) {
    return value(MemoryModel::current()->exchange(at_, order, order, [&](std::uint64_t& now) {
      now = bits(desired);
      return true;
    }));
  }
  T fetch_sub(T amount, std::memory_order order) {
    return value(MemoryModel::current()->exchange(at_, order, order, [&](std::uint64_t& now) {
      now = bits(static_cast<T>(value(now) - amount));
      return true;
    }));
  }
  void wait(T old, std::memory_order order) const { MemoryModel::current()->wait(at_, bits(old), order); }
  void notify_all() { MemoryModel::current()->notify_all(at_); }

 private:
  static_assert(sizeof(T) <= sizeof(std::uint64_t) && std::is_trivially_copyable_v<T>);
  static std::uint64_t bits(T value) {
    std::uint64_t result = 0;
    std::memcpy(&result, &value, sizeof value);
    return result;
  }
  static T value(std::uint64_t bits) {
    T result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
  }
  int at_;
};

// A number that is not atomic: to read or write it is a fault unless all earlier writes are known.
class ModelPlain {
 public:
  ModelPlain() : at_(MemoryModel::current()->add_number(0)) {}
  void write() { MemoryModel::current()->store_plain(at_); }
  void read() const { MemoryModel::current()->require_seen(at_, "read"); }

 private:
  int at_;
};

}  // namespace test
