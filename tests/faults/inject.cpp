#include "inject.hpp"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <mutex>

namespace faults {
namespace {

std::string_view chosen;
int chosen_how = 0;
std::atomic<bool> calls_fail = false;
std::atomic<long> calls_left = 0;
std::atomic<long> calls_seen = 0;

std::atomic<bool> allocations_fail = false;
std::atomic<long> allocations_left = 0;
std::atomic<long> allocations_seen = 0;
Failing allocations_how = Failing::once;
thread_local bool is_armed_thread = false;

void kill_self() {
  ::syscall(SYS_kill, ::getpid(), SIGKILL);
}

// 0 or how this call fails.
int fault(std::string_view name) {
  if (!calls_fail || name != chosen) {
    return 0;
  }
  ++calls_seen;
  return --calls_left == 0 ? chosen_how : 0;
}

// The call by its number, or its fault.
template <class... Arguments>
long call(std::string_view name, long number, Arguments... arguments) {
  const int how = fault(name);
  if (how == killed_before) {
    kill_self();
  }
  if (how > 0) {
    errno = how;
    return -1;
  }
  const long result = ::syscall(number, arguments...);
  if (how == killed_after) {
    kill_self();
  }
  return result;
}
template <class Pointer, class... More>
long transfer(std::string_view name, long number, int file, Pointer data, std::size_t size, More... more) {
  const int how = fault(name);
  if (how == killed_before) {
    kill_self();
  }
  if (how > 0) {
    errno = how;
    return -1;
  }
  if (how == does_nothing) {
    return 0;
  }
  const bool half = how == cut_short || how == killed_after;
  const long result = ::syscall(number, file, data, half ? (size + 1) / 2 : size, more...);
  if (how == killed_after) {
    kill_self();
  }
  return result;
}

// Whether this allocation, by `caller`, ends the process whatever a program does: glibc's list of a thread's
// destructors, which it makes at the thread's first use of such an object, and what oneTBB's workers need to
// start one another.
bool is_beyond_reach(const void* caller) {
  void* frames[24];
  const int count = ::backtrace(frames, 24);
  int i = 0;
  while (i < count && frames[i] != caller) {
    ++i;
  }
  for (; i < count; ++i) {
    Dl_info info{};
    if (::dladdr(frames[i], &info) == 0 || info.dli_fname == nullptr) {
      return false;
    }
    if (info.dli_sname != nullptr && std::string_view(info.dli_sname) == "__cxa_thread_atexit_impl") {
      return true;
    }
    const std::string_view file(info.dli_fname);
    if (!is_armed_thread && file.find("libtbb") != file.npos) {
      return true;
    }
    if (file.find("libc.") == file.npos && file.find("/ld-") == file.npos &&
        file.find("libstdc++") == file.npos) {
      return false;
    }
  }
  return false;
}

bool fails(const void* caller) {
  if (!allocations_fail || (allocations_how == Failing::on_other_threads && is_armed_thread)) {
    return false;
  }
  ++allocations_seen;
  const long left = --allocations_left;
  const bool chosen_one = left == 0 || (left < 0 && allocations_how == Failing::from_there_on);
  return chosen_one && !is_beyond_reach(caller);
}

}  // namespace

void fail_call(std::string_view name, long nth, int how) {
  chosen = name;
  chosen_how = how;
  calls_seen = 0;
  calls_left = nth == 0 ? 1L << 60 : nth;
  calls_fail = true;
}
long stop_failing_calls() {
  calls_fail = false;
  return calls_seen;
}

void fail_allocation(long nth, Failing failing) {
  is_armed_thread = true;
  void* frame;
  ::backtrace(&frame, 1);  // which loads a library at its first use
  allocations_how = failing;
  allocations_seen = 0;
  allocations_left = nth == 0 ? 1L << 60 : nth;
  allocations_fail = true;
}
long stop_failing_allocations() {
  allocations_fail = false;
  return allocations_seen;
}

}  // namespace faults

// Under the C library's names, whatever its headers declare.
#define MAA_INSTEAD_OF(name) asm(#name)
extern "C" {
int maa_open(const char* path, int flags, ...) MAA_INSTEAD_OF(open);
int maa_open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const auto mode = (flags & O_CREAT) != 0 ? va_arg(more, unsigned) : 0;
  va_end(more);
  return static_cast<int>(
      faults::call((flags & O_CREAT) != 0 ? "create" : "open", SYS_openat, AT_FDCWD, path, flags, mode));
}
int maa_close(int file) MAA_INSTEAD_OF(close);
int maa_close(int file) {
  const int how = faults::fault("close");
  if (how > 0) {  // closed all the same, as on Linux
    ::syscall(SYS_close, file);
    errno = how;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_close, file));
}
long maa_write(int file, const void* data, std::size_t size) MAA_INSTEAD_OF(write);
long maa_write(int file, const void* data, std::size_t size) {
  return faults::transfer("write", SYS_write, file, data, size);
}
long maa_pread(int file, void* data, std::size_t size, long offset) MAA_INSTEAD_OF(pread);
long maa_pread(int file, void* data, std::size_t size, long offset) {
  return faults::transfer("pread", SYS_pread64, file, data, size, offset);
}
int maa_fsync(int file) MAA_INSTEAD_OF(fsync);
int maa_fsync(int file) {
  return static_cast<int>(faults::call("fsync", SYS_fsync, file));
}
int maa_rename(const char* from, const char* to) MAA_INSTEAD_OF(rename);
int maa_rename(const char* from, const char* to) {
  return static_cast<int>(faults::call("rename", SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int maa_unlink(const char* path) MAA_INSTEAD_OF(unlink);
int maa_unlink(const char* path) {
  return static_cast<int>(faults::call("unlink", SYS_unlinkat, AT_FDCWD, path, 0));
}
int maa_stat(const char* path, void* status) MAA_INSTEAD_OF(stat);
int maa_stat(const char* path, void* status) {
  return static_cast<int>(faults::call("stat", SYS_newfstatat, AT_FDCWD, path, status, 0));
}
int maa_lstat(const char* path, void* status) MAA_INSTEAD_OF(lstat);
int maa_lstat(const char* path, void* status) {
  return static_cast<int>(faults::call("lstat", SYS_newfstatat, AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW));
}
int maa_fstat(int file, void* status) MAA_INSTEAD_OF(fstat);
int maa_fstat(int file, void* status) {
  return static_cast<int>(faults::call("fstat", SYS_fstat, file, status));
}
int maa_flock(int file, int operation) MAA_INSTEAD_OF(flock);
int maa_flock(int file, int operation) {
  return static_cast<int>(faults::call("flock", SYS_flock, file, operation));
}
int maa_dup(int file) MAA_INSTEAD_OF(dup);
int maa_dup(int file) {
  return static_cast<int>(faults::call("dup", SYS_dup, file));
}
int maa_fchown(int file, unsigned user, unsigned group) MAA_INSTEAD_OF(fchown);
int maa_fchown(int file, unsigned user, unsigned group) {
  return static_cast<int>(faults::call("fchown", SYS_fchown, file, user, group));
}
int maa_fchmod(int file, unsigned mode) MAA_INSTEAD_OF(fchmod);
int maa_fchmod(int file, unsigned mode) {
  return static_cast<int>(faults::call("fchmod", SYS_fchmod, file, mode));
}

void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* maa_malloc(std::size_t size) MAA_INSTEAD_OF(malloc);
void* maa_malloc(std::size_t size) {
  return faults::fails(__builtin_return_address(0)) ? (errno = ENOMEM, nullptr) : __libc_malloc(size);
}
void* maa_calloc(std::size_t count, std::size_t size) MAA_INSTEAD_OF(calloc);
void* maa_calloc(std::size_t count, std::size_t size) {
  return faults::fails(__builtin_return_address(0)) ? (errno = ENOMEM, nullptr) : __libc_calloc(count, size);
}
void* maa_realloc(void* memory, std::size_t size) MAA_INSTEAD_OF(realloc);
void* maa_realloc(void* memory, std::size_t size) {
  return faults::fails(__builtin_return_address(0)) ? (errno = ENOMEM, nullptr)
                                                    : __libc_realloc(memory, size);
}
void* maa_aligned_alloc(std::size_t alignment, std::size_t size) MAA_INSTEAD_OF(aligned_alloc);
void* maa_aligned_alloc(std::size_t alignment, std::size_t size) {
  return faults::fails(__builtin_return_address(0)) ? (errno = ENOMEM, nullptr)
                                                    : __libc_memalign(alignment, size);
}
int maa_posix_memalign(void** memory, std::size_t alignment, std::size_t size) MAA_INSTEAD_OF(posix_memalign);
int maa_posix_memalign(void** memory, std::size_t alignment, std::size_t size) {
  void* const found = faults::fails(__builtin_return_address(0)) ? nullptr : __libc_memalign(alignment, size);
  if (found == nullptr) {
    return ENOMEM;
  }
  *memory = found;
  return 0;
}
}
