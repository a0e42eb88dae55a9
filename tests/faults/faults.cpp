// What a small fit, saves and loads do when the process is killed, a system call or an allocation fails, or
// the disk is full: faults kills|calls|allocations|disk FOLDER COUNT. Prints counts; exit code 1 if anything
// but an error that says so, the old file or the new one, and the same bits afterwards comes of it.
// tests/faults.sh runs all.
#include "inject.hpp"

#include "../short_recipe.hpp"
#include "../small_generator.hpp"
#include "../temporary_folder.hpp"

#include <maa/generator/paper_training.hpp>

#include <tbb/global_control.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <iostream>
#include <random>
#include <thread>

namespace {

using namespace maa;
using test::SmallGenerator;
using Path = std::filesystem::path;
using Clock = std::chrono::steady_clock;

int findings = 0;
void finding(const std::string& text) {
  if (++findings <= 50) {
    std::cerr << "FINDING: " << text << '\n';
  }
}

// How a child's work ended.
struct Outcome {
  enum Kind { ok, error, no_memory, other, died, hung } kind = ok;
  std::string text;  // what the work returned, a message, or a signal
};
std::string text_of(const Outcome& outcome) {
  constexpr const char* names[] = {"ok", "maa::Error", "std::bad_alloc", "another exception", "died", "hung"};
  return concatenate(names[outcome.kind], ": ", outcome.text);
}

// In a process of its own, so that what it breaks does not matter. No thread may run here.
template <class Work>
Outcome in_child(const Work& work, unsigned seconds = 60) {
  int ends[2];
  require(::pipe(ends) == 0, "faults: no pipe");
  std::cout.flush();
  const auto child = ::fork();
  require(child >= 0, "faults: no process");
  if (child == 0) {
    ::close(ends[0]);
    ::alarm(seconds);
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    Outcome outcome;
    {
      const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, 4);
      outcome = work();
    }
    const auto text = static_cast<char>('0' + outcome.kind) + outcome.text;
    [[maybe_unused]] const auto written = ::write(ends[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char part[512];
  for (ssize_t size = 0; (size = ::read(ends[0], part, sizeof part)) > 0;) {
    text.append(part, static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    const bool late = WTERMSIG(status) == SIGALRM;
    return {late ? Outcome::hung : Outcome::died, ::strsignal(WTERMSIG(status))};
  }
  if (text.empty()) {
    return {Outcome::died, concatenate("exit code ", WEXITSTATUS(status))};
  }
  return {static_cast<Outcome::Kind>(text[0] - '0'), text.substr(1)};
}

template <class Action>
Outcome outcome_of(const Action& action) {
  try {
    return {Outcome::ok, action()};
  } catch (const Error& error) {
    return {Outcome::error, error.what()};
  } catch (const std::bad_alloc&) {
    return {Outcome::no_memory, ""};
  } catch (const std::exception& error) {
    return {Outcome::other, error.what()};
  }
}

std::string hash_of(std::span<const float> numbers) {
  ContentHash hash;
  hash.add(numbers);
  return concatenate(hash.value());
}

// Both recipes, so that all stages there are.
constexpr const char* recipes[] = {"behavior", "paper"};
bool fit(SmallGenerator& generator, bool paper, Index steps, const Path& checkpoint, Index every,
         const TrainCallback& callback = {}) {
  const auto adjusted = [&](auto recipe) {
    test::for_stages(recipe, [&](TrainOptions& train) {
      train.steps = steps;
      train.batch = 8;
      train.learning_rate.warmup = std::min<Index>(train.learning_rate.warmup, steps / 2);
    });
    recipe.check = false;
    recipe.validation_every = 10;
    recipe.checkpoint = checkpoint;
    recipe.checkpoint_every = every;
    return recipe;
  };
  if (paper) {
    return generator.fit(test::dataset(), adjusted(PaperRecipe::paper(24, 20)), callback);
  }
  auto recipe = adjusted(test::recipe());
  recipe.validation_tasks = {"minus"};
  return generator.fit(test::dataset(), recipe, callback);
}

// Of targets in the folder, what was left by their writers.
std::size_t temporaries(const Path& folder) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    count += entry.path().filename().string().starts_with(".maa-") ? 1 : 0;
  }
  return count;
}
bool is_whole(const Path& path) {
  try {
    SafetensorsReader reader(path);
    return true;
  } catch (const Error&) {
    return false;
  }
}

// --- kills: at random times, until so many; resumed until finished, to the bits of a run that was left
// alone.

void kills(const Path& folder, int wanted) {
  struct Shared {
    char stage[32];
  };
  auto* const shared = static_cast<Shared*>(
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const auto enter = [&](std::string_view stage) {
    std::memset(shared->stage, 0, sizeof shared->stage);
    stage.copy(shared->stage, sizeof shared->stage - 1);
  };
  const auto work = [&](bool paper, int threads, const Path& checkpoint, const Path& out) {
    return outcome_of([&] {
      enter("start");
      SmallGenerator generator{cpu::Backend(threads)};
      fit(generator, paper, 40, checkpoint, 5, [&](const TrainProgress& progress) {
        enter(progress.stage);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return true;
      });
      enter("save");
      generator.save(out);
      enter("end");
      return std::string();
    });
  };
  std::mt19937 random(7);
  std::map<std::string, int> by_stage;
  std::string expected[2];
  double seconds[2];
  const auto checkpoint = folder / "checkpoint.safetensors", out = folder / "generator.safetensors";
  for (const bool paper : {false, true}) {
    const auto begin = Clock::now();
    std::filesystem::remove(checkpoint);
    const auto outcome = in_child([&] { return work(paper, 1, checkpoint, out); });
    require(outcome.kind == Outcome::ok, "faults: ", text_of(outcome));
    seconds[paper] = std::chrono::duration<double>(Clock::now() - begin).count();
    expected[paper] = test::read_bytes(out);
  }
  int killed = 0, runs = 0, same = 0;
  while (killed < wanted) {
    const bool paper = runs % 2 == 1;
    ++runs;
    std::filesystem::remove(checkpoint);
    std::filesystem::remove(out);
    for (;;) {
      const int threads = 1 + static_cast<int>(random() % 2);
      const auto child = ::fork();
      require(child >= 0, "faults: no process");
      if (child == 0) {
        const tbb::global_control more(tbb::global_control::max_allowed_parallelism, 4);
        ::_exit(work(paper, threads, checkpoint, out).kind == Outcome::ok ? 0 : 1);
      }
      const double limit = std::uniform_real_distribution(0.005, 0.9 * seconds[paper])(random);
      const auto deadline = Clock::now() + std::chrono::duration<double>(limit);
      int status = 0;
      pid_t ended = 0;
      while ((ended = ::waitpid(child, &status, WNOHANG)) == 0 && Clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::microseconds(200));
      }
      if (ended == 0) {
        ::kill(child, SIGKILL);
        ::waitpid(child, &status, 0);
      }
      if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        ++killed;
        const std::string stage = shared->stage;
        ++by_stage[concatenate(recipes[paper], " ", stage)];
        for (const auto& path : {checkpoint, out}) {
          if (std::filesystem::exists(path) && !is_whole(path)) {
            finding(concatenate("half a file: ", path.filename().string(), " after a kill in ", stage));
          }
        }
        if (stage == "save" && !std::filesystem::exists(checkpoint) && !std::filesystem::exists(out)) {
          finding("finished training is lost");
        }
        continue;
      }
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        finding(concatenate("a run after kills ended with status ", status));
      } else if (test::read_bytes(out) != expected[paper]) {
        finding("another result than without kills");
      } else {
        ++same;
      }
      if (const auto left = temporaries(folder); left > 0) {
        finding(concatenate(left, " temporaries left after a finished run"));
      }
      break;
    }
  }
  std::cout << "kills: " << killed << " in " << runs << " fits, " << same
            << " with the bits of one that was left alone;";
  for (const auto& [stage, count] : by_stage) {
    std::cout << ' ' << stage << ' ' << count << ',';
  }
  std::cout << " findings " << findings << '\n';
}

// --- What the other faults happen to.

struct Operation {
  std::string name;
  std::function<std::string()> act;  // returns a hash of what it made
  Path target = {};                  // of a save
  std::string before = {};           // what the target holds before, and after
  std::string after = {};
  Path checkpoint = {};  // of a fit: done again, it comes to the same
  std::string expected = {};

  void prepare() const {
    if (!target.empty()) {
      test::write_bytes(target, before);
    }
    std::filesystem::remove(checkpoint);
  }
};

std::vector<Operation> operations(const Path& folder) {
  std::vector<Operation> all;
  const auto load = [&](const std::string& name, auto act) { all.push_back({"load " + name, act}); };
  const auto save = [&](const std::string& name, const std::string& file, auto act) {
    Operation operation{"save " + name, {}, folder / file};
    operation.act = [act, target = operation.target] {
      act(target, 2);
      return std::string();
    };
    const auto bytes = [&](int which) {
      const auto outcome = in_child([&] {
        return outcome_of([&] {
          act(operation.target, which);
          return std::string();
        });
      });
      require(outcome.kind == Outcome::ok, "faults: ", operation.name, ": ", text_of(outcome));
      return test::read_bytes(operation.target);
    };
    operation.before = bytes(1);
    operation.after = bytes(2);
    all.push_back(operation);
  };
  const auto inputs = folder / "inputs";
  std::filesystem::create_directories(inputs);
  const auto generator_path = inputs / "generator.safetensors", policy_path = inputs / "policy.safetensors",
             dataset_path = inputs / "dataset.safetensors", npz_path = inputs / "trajectory.npz",
             trajectory_path = inputs / "trajectory.safetensors";
  const auto made = in_child([&] {
    return outcome_of([&] {
      SmallGenerator generator{cpu::Backend(1)};
      fit(generator, false, 4, {}, 1);
      generator.save(generator_path);
      save_policy(policy_path, test::Policy::untrained(1));
      test::dataset().save(dataset_path);
      save_trajectory(npz_path, test::demonstration(0, 3));
      save_trajectory(trajectory_path, test::demonstration(0, 3));
      return std::string();
    });
  });
  require(made.kind == Outcome::ok, "faults: ", text_of(made));

  load("policy", [=] { return hash_of(load_policy<test::Policy>(policy_path).weights()); });
  load("generator", [=] {
    return hash_of(SmallGenerator::load(generator_path, cpu::Backend(1)).state().parameters.span());
  });
  load("data set", [=] { return concatenate(Dataset::load(dataset_path).content_hash()); });
  for (const auto& path : {npz_path, trajectory_path}) {
    load("trajectory" + path.extension().string(),
         [=] { return hash_of(load_trajectory(path).observations().span()); });
  }
  save("policy", "policy.safetensors", [](const Path& path, int which) {
    save_policy(path, test::Policy::untrained(static_cast<std::uint64_t>(which)));
  });
  save("generator", "generator.safetensors", [=](const Path& path, int which) {
    auto generator = SmallGenerator::load(generator_path, cpu::Backend(1));
    if (which == 1) {
      fit(generator, false, 1, {}, 1);
    }
    generator.save(path);
  });
  for (const std::string kind : {".npz", ".safetensors"}) {
    save("trajectory" + kind, "trajectory" + kind, [](const Path& path, int which) {
      save_trajectory(path, test::demonstration(0, static_cast<std::uint64_t>(which)));
    });
  }
  for (const int threads : {1, 4}) {
    all.push_back({concatenate("generate, threads: ", threads), [=] {
                     const auto generator = SmallGenerator::load(generator_path, cpu::Backend(threads));
                     // So many that other threads get work.
                     const auto policies = generator.generate(test::demonstration(0, 3), {.count = 256});
                     return hash_of(policies.back().weights());
                   }});
    for (const bool paper : {false, true}) {
      Operation operation{concatenate("fit by ", recipes[paper], ", threads: ", threads), {}};
      operation.checkpoint = folder / "checkpoint.safetensors";
      operation.act = [=, checkpoint = operation.checkpoint] {
        SmallGenerator generator{cpu::Backend(threads)};
        fit(generator, paper, 2, checkpoint, 1);
        return hash_of(generator.state().parameters.span());
      };
      all.push_back(operation);
    }
  }
  for (auto& operation : all) {
    operation.prepare();
    const auto outcome = in_child([&] { return outcome_of(operation.act); });
    require(outcome.kind == Outcome::ok, "faults: ", operation.name, ": ", text_of(outcome));
    operation.expected = outcome.text;
  }
  return all;
}

// Counts of what came of faults of one operation.
struct Counts {
  long faults = 0, ok = 0, refused = 0, killed = 0;
  void print(const std::string& what) const {
    std::printf("%-50s %8ld %8ld %8ld %8ld\n", what.c_str(), faults, ok, refused, killed);
    std::fflush(stdout);
  }
  static void print_title(const char* what) {
    std::printf("%-50s %8s %8s %8s %8s\n", what, "faults", "ok", "errors", "killed");
  }
};

// What must hold after a fault, whose outcome is counted. `harmless`: it must not show.
void check(const Operation& operation, const Outcome& outcome, const std::string& fault, bool harmless,
           Counts& counts) {
  const auto report = [&](const std::string& what) {
    finding(concatenate(operation.name, ", ", fault, ": ", what, " (", text_of(outcome), ")"));
  };
  ++counts.faults;
  const bool killed = outcome.kind == Outcome::died && outcome.text == ::strsignal(SIGKILL) &&
                      fault.find("kill") != fault.npos;
  ++(killed ? counts.killed : outcome.kind == Outcome::ok ? counts.ok : counts.refused);
  if (!killed && outcome.kind > Outcome::no_memory) {
    report("expected an error that says so");
  }
  if (harmless && outcome.kind != Outcome::ok) {
    report("expected that nothing is noticed");
  }
  if (outcome.kind == Outcome::ok && outcome.text != operation.expected) {
    report("another result");
  }
  const auto folder =
      operation.target.empty() ? operation.checkpoint.parent_path() : operation.target.parent_path();
  if (!folder.empty() && !killed && fault.find("unlink") == fault.npos && temporaries(folder) > 0) {
    report("a temporary is left");
  }
  if (!operation.target.empty()) {
    const auto found = test::read_bytes(operation.target);
    const bool is_new = found == operation.after;
    if (!is_new && (found != operation.before || outcome.kind == Outcome::ok)) {
      report("another file than the old and the new one");
    }
    if (is_new && outcome.kind == Outcome::error &&
        outcome.text.find("flush its folder") == outcome.text.npos) {
      report("the new file, in spite of an error");
    }
  }
  if (outcome.kind != Outcome::ok && (!operation.target.empty() || !operation.checkpoint.empty())) {
    const auto again = in_child([&] { return outcome_of(operation.act); });
    if (again.kind != Outcome::ok || again.text != operation.expected) {
      report(concatenate("done again: ", text_of(again)));
    }
    if (temporaries(folder) > 0) {
      report("done again: a temporary is left");
    }
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {  // whatever was found
      if (entry.path().filename().string().starts_with(".maa-")) {
        std::filesystem::remove(entry.path());
      }
    }
  }
}

// At most `most` numbers from 1 to count, the first and the last among them.
std::vector<long> spread(long count, long most) {
  std::vector<long> result;
  for (long i = 0; i < std::min(count, most); ++i) {
    result.push_back(count <= most ? i + 1 : 1 + i * (count - 1) / std::max(most - 1, 1L));
  }
  return result;
}

// --- calls: the n-th system call of a kind fails.

void calls(const Path& folder, long most) {
  using namespace faults;
  const std::vector<std::pair<std::string, std::vector<int>>> kinds{
      {"open", {EMFILE, EACCES, EINTR}},
      {"create", {ENOSPC, EROFS, killed_after}},
      {"pread", {EIO, EINTR, cut_short, does_nothing}},
      {"write", {ENOSPC, EIO, EDQUOT, EINTR, cut_short, does_nothing, killed_before, killed_after}},
      {"fsync", {EIO, EDQUOT, EINVAL, killed_before, killed_after}},
      {"rename", {EACCES, EXDEV, killed_before, killed_after}},
      {"close", {EIO}},
      {"stat", {EACCES, EIO}},
      {"lstat", {EACCES, EIO}},
      {"fstat", {EIO}},
      {"flock", {EINTR, ENOLCK, killed_after}},
      {"dup", {EMFILE}},
      {"fchown", {EPERM, killed_after}},
      {"fchmod", {EPERM, killed_after}},
      {"unlink", {EACCES, killed_before}}};
  Counts::print_title("system calls");
  Counts sum;
  for (const auto& operation : operations(folder)) {
    Counts counts;
    for (const auto& [kind, ways] : kinds) {
      operation.prepare();
      const auto counted = in_child([&, &kind = kind] {
        return outcome_of([&] {
          fail_call(kind, 0, 0);
          operation.act();
          return concatenate(stop_failing_calls());
        });
      });
      require(counted.kind == Outcome::ok, "faults: ", operation.name, ": ", text_of(counted));
      for (const int how : ways) {
        for (const long n : spread(std::atol(counted.text.c_str()), most)) {
          operation.prepare();
          const auto outcome = in_child([&, &kind = kind] {
            fail_call(kind, n, how);
            const auto result = outcome_of(operation.act);
            stop_failing_calls();
            return result;
          });
          const char* name = how == killed_before  ? "kill before it"
                             : how == killed_after ? "kill after it"
                             : how == cut_short    ? "cut short"
                             : how == does_nothing ? "does nothing"
                                                   : ::strerrorname_np(how);
          const bool transfer = kind == "write" || kind == "pread";
          const bool harmless = (transfer && (how == EINTR || how == cut_short)) || kind == "flock" ||
                                kind == "fchown" || kind == "fchmod" ||
                                (kind == "write" && how == does_nothing);
          check(operation, outcome, concatenate(kind, " ", n, " ", name), harmless && how != killed_after,
                counts);
        }
      }
    }
    counts.print(operation.name);
    sum.faults += counts.faults, sum.ok += counts.ok, sum.refused += counts.refused,
        sum.killed += counts.killed;
  }
  sum.print("all");
}

// --- allocations: the n-th fails, that one alone, all from there on, or that of a thread other than the
// caller's.

void allocations(const Path& folder, long most) {
  using namespace faults;
  const std::pair<const char*, Failing> ways[] = {{"one", Failing::once},
                                                  {"all from one on", Failing::from_there_on},
                                                  {"one of another thread", Failing::on_other_threads}};
  Counts::print_title("allocations");
  Counts sum;
  for (const auto& operation : operations(folder)) {
    for (const auto& [name, failing] : ways) {
      operation.prepare();
      const auto counted = in_child([&, failing = failing] {
        return outcome_of([&] {
          fail_allocation(0, failing);
          operation.act();
          return concatenate(stop_failing_allocations());
        });
      });
      require(counted.kind == Outcome::ok, "faults: ", operation.name, ": ", text_of(counted));
      const long count = std::atol(counted.text.c_str());
      if (count == 0) {
        continue;
      }
      Counts counts;
      for (const long n : spread(count, most)) {
        operation.prepare();
        const auto outcome = in_child([&, failing = failing] {
          fail_allocation(n, failing);
          auto result = outcome_of(operation.act);
          stop_failing_allocations();
          if (result.kind != Outcome::ok) {  // the process works on
            const auto again = outcome_of(operation.act);
            if (again.kind != Outcome::ok || again.text != operation.expected) {
              result = {Outcome::other, concatenate("then ", text_of(again))};
            }
          }
          return result;
        });
        // Done again in its process, so that a save is done.
        auto done = operation;
        done.before = outcome.kind == Outcome::ok ? operation.before : operation.after;
        done.target = outcome.kind == Outcome::ok ? operation.target : Path();
        check(done, outcome, concatenate("allocation ", n, ", ", name), false, counts);
      }
      counts.print(concatenate(operation.name, ", ", name));
      sum.faults += counts.faults, sum.ok += counts.ok, sum.refused += counts.refused;
    }
  }
  sum.print("all");
}

// --- disk: less and less room. In a small file system of its own (FOLDER is one), or by a limit of files'
// sizes.

void disk(const Path& folder, long most) {
  struct statvfs room {};
  require(::statvfs(folder.c_str(), &room) == 0, "faults: cannot examine ", folder.string());
  const auto free_bytes = [&] {
    ::statvfs(folder.c_str(), &room);
    return static_cast<long>(room.f_bavail * room.f_bsize);
  };
  const bool is_small = free_bytes() <= (64 << 20);
  Counts::print_title(is_small ? "full disk (a small file system)" : "full disk (by RLIMIT_FSIZE)");
  Counts sum;
  const auto filler = folder / "filler";
  for (const auto& operation : operations(folder)) {
    const auto target = operation.target.empty() ? operation.checkpoint : operation.target;
    if (target.empty()) {
      continue;
    }
    Counts counts;
    operation.prepare();
    in_child([&] { return outcome_of(operation.act); });
    const long step = is_small ? static_cast<long>(room.f_bsize) : 1;
    const long needed = (static_cast<long>(std::filesystem::file_size(target)) + step - 1) / step;
    for (const long n : spread(needed, most)) {
      const long left = (n - 1) * step;
      operation.prepare();
      if (is_small) {
        std::ofstream file(filler, std::ios::binary);
        const std::string block(static_cast<std::size_t>(step), 'x');
        for (long more = free_bytes() / step; more > left / step && file.good(); --more) {
          file << block << std::flush;
        }
      }
      const auto outcome = in_child([&] {
        if (!is_small) {
          std::signal(SIGXFSZ, SIG_IGN);
          const rlimit limit{static_cast<rlim_t>(left), RLIM_INFINITY};
          ::setrlimit(RLIMIT_FSIZE, &limit);
        }
        return outcome_of(operation.act);
      });
      std::filesystem::remove(filler);
      check(operation, outcome, concatenate("room for ", left, " bytes"), false, counts);
      if (outcome.kind == Outcome::error && outcome.text.find("No space left") == outcome.text.npos &&
          outcome.text.find("File too large") == outcome.text.npos) {
        finding(concatenate(operation.name, ": expected the reason, found ", outcome.text));
      }
    }
    counts.print(operation.name);
    sum.faults += counts.faults, sum.ok += counts.ok, sum.refused += counts.refused;
  }
  sum.print("all");
}

}  // namespace

int main(int count, char** arguments) {
  try {
    require(count == 4, "usage: faults kills|calls|allocations|disk FOLDER COUNT");
    const std::string what = arguments[1];
    const Path folder = arguments[2];
    const int number = std::atoi(arguments[3]);
    std::filesystem::create_directories(folder);
    if (what == "kills") {
      kills(folder, number);
    } else if (what == "calls") {
      calls(folder, number);
    } else if (what == "allocations") {
      allocations(folder, number);
    } else {
      require(what == "disk", "expected kills, calls, allocations or disk, found ", what);
      disk(folder, number);
    }
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  std::cout << findings << " findings\n";
  return findings == 0 ? 0 : 1;
}
