// System calls and allocations of this program that fail when told to: inject.cpp stands before the C
// library's.
#pragma once

#include <string_view>

namespace faults {

// How a call fails: with an errno; or so.
inline constexpr int killed_before = -1;  // the process, by SIGKILL, before the call or after it
inline constexpr int killed_after = -2;
inline constexpr int cut_short = -3;     // reads and writes do half of what was asked for
inline constexpr int does_nothing = -4;  // and return 0

// The `nth` call from now on (from 1) of this name fails so; 0: none does, calls are counted.
void fail_call(std::string_view name, long nth, int how);
// Back to normal. How many calls of that name there were.
long stop_failing_calls();

enum class Failing { once, from_there_on, on_other_threads };
// The `nth` allocation from now on fails; 0: none does, they are counted.
void fail_allocation(long nth, Failing failing);
long stop_failing_allocations();

}  // namespace faults
