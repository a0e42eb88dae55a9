#!/usr/bin/env bash
# Everything that needs a CUDA device, in order: builds, runs the tests on the device, repeats one for equal bits, looks
# for wrong accesses with compute-sanitizer, soaks, measures times, and writes what came out to
# docs/results/cuda-<date>-<device>.json. Usage: bash tests/cuda/on_device.sh [CMake options]
# Exit code 0 only if no stage failed. Stages that could not run are "skipped" in the file, with the reason.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source cmake/packages.sh
build=${MAA_DEVICE_BUILD:-build/device}
work=$build/on_device
repeats=20

# What a reader needs to know how old the evidence is, and of what machine.
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi >/dev/null 2>&1; then
  echo 'No CUDA device: nvidia-smi is missing or finds none.' >&2
  exit 77
fi
ask() { nvidia-smi --query-gpu="$1" --format=csv,noheader --id="${CUDA_VISIBLE_DEVICES:-0}" | head -n 1; }
device=$(ask name)
driver=$(ask driver_version)
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[[ -z $(git status --porcelain 2>/dev/null) ]] || commit="$commit with changes"
date=$(date -u +%Y-%m-%d)
name=$(tr -cs 'A-Za-z0-9' '-' <<<"$device" | tr 'A-Z' 'a-z' | sed 's/-*$//')
result=docs/results/cuda-$date-$name.json

stages=() # one JSON object each
failed=0
# record NAME OUTCOME SECONDS [TEXT]
record() {
  stages+=("$(python3 -c 'import json, sys
name, outcome, seconds, text = sys.argv[1:]
print(json.dumps({"stage": name, "outcome": outcome, "seconds": int(seconds), "text": text}))' "$1" "$2" "$3" "${4:-}")")
  printf '== %s: %s after %d s%s\n' "$1" "$2" "$3" "${4:+ ($4)}"
}
# device_stage NAME COMMAND...: exit code 77 is "skipped", and the last line of the output says why.
device_stage() {
  local name=$1 started=$SECONDS code=0 log=$work/$1.log
  shift
  printf '== %s\n' "$name"
  "$@" >"$log" 2>&1 || code=$?
  case $code in
    0) record "$name" passed $((SECONDS - started)) "$(tail -n 1 "$log")" ;;
    77) record "$name" skipped $((SECONDS - started)) "$(tail -n 1 "$log")" ;;
    *)
      failed=1
      tail -n 40 "$log" >&2
      record "$name" failed $((SECONDS - started)) "exit code $code; $(tail -n 1 "$log")"
      ;;
  esac
}

write_results() {
  mkdir -p docs/results
  printf '%s\n' "${stages[@]}" | python3 -c 'import json, sys
path, date, device, driver, commit, capability, toolkit, seconds, work = sys.argv[1:]
results = {"date": date, "device": device, "driver": driver, "commit": commit, "capability": capability,
           "cuda": toolkit, "wall_seconds": int(seconds),
           "stages": [json.loads(line) for line in sys.stdin if line.strip()]}
for name, part in (("timings", "timings.json"), ("peers", "peers/results.json")):
    try:
        with open(f"{work}/{part}") as file:
            results[name] = json.load(file)
    except OSError:
        pass  # the stage says why
with open(path, "w") as file:
    json.dump(results, file, indent=1)
    file.write("\n")' "$result" "$date" "$device" "$driver" "$commit" "$(ask compute_cap)" "$toolkit" "$SECONDS" "$work"
  echo "Written: $result"
}

build_all() {
  cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DMAA_CUDA=ON -DMAA_BUILD_EXAMPLES=OFF "$@" &&
    { cmake --build "$build" --target help | grep -oE '\b(cuda_[a-z0-9_]+|peers_cuda)\b' | sort -u |
      xargs cmake --build "$build" --parallel "$jobs" --target; }
}

# All tests named *.device. A skipped one is a failure here: there is a device.
device_tests() {
  local code=0
  (cd "$build" && ctest -R '^cuda_.*\.device$|^cuda\.' --output-on-failure --no-tests=error) >"$work/tests.txt" 2>&1 ||
    code=$?
  cat "$work/tests.txt"
  if grep -qE '\.device .*Skipped' "$work/tests.txt"; then
    echo 'a test on the device was skipped'
    return 1
  fi
  grep -E 'tests passed' "$work/tests.txt"
  return "$code"
}

# The same program prints the same bits every time, in new processes and within one, with graphs and without.
equal_bits() {
  local first='' next i
  for ((i = 0; i < repeats; ++i)); do
    next=$("$build/tests/cuda_small_program" --device) || {
      local code=$?
      echo "$next"
      return "$code"
    }
    [[ -n $next ]] || return
    first=${first:-$next}
    if [[ $next != "$first" ]]; then
      echo "run $i differs: $next, not $first"
      return 1
    fi
  done
  echo "$repeats runs: $first"
}

sanitize() {
  local tool=$1 sanitizer
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null) || {
    echo 'compute-sanitizer is not installed'
    return 77
  }
  "$sanitizer" --tool "$tool" --error-exitcode 1 "$build/tests/cuda_small_program" --device || return 1
  echo "no error found by $tool"
}

# Training and generation again and again, MAA_SOAK_SECONDS long: the same bits in every round, and no more memory at the
# end than after the first half minute.
soak() {
  local length=${MAA_SOAK_SECONDS:-300} first last pid
  "$build/tests/cuda_small_program" --device --soak "$length" &
  pid=$!
  sleep 30
  first=$(ask memory.used)
  sleep $((length > 60 ? length - 45 : 1))
  last=$(ask memory.used)
  wait "$pid" || return
  echo "memory used: $first, later $last"
  ((${last%% *} <= ${first%% *} + 64))
}
# Times of training steps, sampling and the optimizer, with achieved bandwidth and arithmetic; kept whole in the results.
timings() {
  "$build/benchmarks/cuda_benchmark" --benchmark_out="$work/timings.json" --benchmark_out_format=json \
    --benchmark_repetitions=5 --benchmark_report_aggregates_only=true || return
  test -s "$work/timings.json" || return
  echo "in the results under timings"
}
# Beside PyTorch on the same device, in turns; where a Python with PyTorch is (MAA_PEERS_PYTHON).
peers() {
  "${MAA_PEERS_PYTHON:-python3}" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null || {
    echo 'no PyTorch with CUDA (MAA_PEERS_PYTHON names a Python that has it)'
    return 77
  }
  MAA_PEERS_BUILD=$build/benchmarks bash benchmarks/peers_cuda.sh "$work/peers" --no-compile || return
  echo "in the results under peers"
}

rm -rf "$work"
mkdir -p "$work"
toolkit=unknown
device_stage build build_all "$@"
toolkit=$(sed -nE 's/.*Found CUDAToolkit:.*version "([0-9.]+)".*/\1/p' "$work/build.log" | head -n 1)
if ((failed == 0)); then
  device_stage tests device_tests
  device_stage equal-bits equal_bits
  for tool in memcheck racecheck initcheck synccheck; do
    device_stage "$tool" sanitize "$tool"
  done
  device_stage soak soak
  device_stage timings timings
  device_stage peers peers
fi
write_results
exit "$failed"
