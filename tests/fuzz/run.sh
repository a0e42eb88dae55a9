#!/usr/bin/env bash
# Fuzzes what reads files from elsewhere, for about SECONDS in all: builds (preset fuzz), shares the time over the
# targets, and prints the executions of each, of this run and of all so far. Exit 1 on a finding: what crashes, leaks,
# hangs, takes over a gigabyte, throws another exception than maa::Error or breaks a claim of targets.cpp; its input lies
# in build/fuzz/findings, and belongs into tests/fuzz/regressions/TARGET once it is mended. What was learned is kept in
# build/fuzz/corpus, and build/fuzz/runs has a line per run and target.
# Usage: bash tests/fuzz/run.sh SECONDS [TARGET...]
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source cmake/packages.sh

seconds=${1:?Usage: bash tests/fuzz/run.sh SECONDS [TARGET...]}
shift
targets=("$@")
if ((${#targets[@]} == 0)); then
  targets=(header npy npz trajectory dataset policy generator)
fi

stage 'packages' install_packages "${build_packages[@]}" clang libclang-rt-14-dev "${library_packages[@]}" doctest-dev
stage 'configure' cmake --preset fuzz -G Ninja
stage 'build' cmake --build --preset fuzz --parallel "$jobs"

work=$PWD/build/fuzz
revision=$(git describe --always --dirty 2>/dev/null || echo unknown)
# Inputs are written to files: to memory, where there is such a folder.
temporary=$(mktemp -d -p "$([[ -w /dev/shm ]] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" maa_fuzz_XXXXXX)
trap 'rm -rf "$temporary"' EXIT
rm -rf "$work/findings" "$work/inputs"
mkdir -p "$work/findings"
TMPDIR=$temporary "$work/tests/fuzz_replay" --write "$work/inputs"
((jobs <= ${#targets[@]})) || jobs=${#targets[@]}
export work temporary each=$(((seconds * jobs + ${#targets[@]} - 1) / ${#targets[@]}))

fuzz() {
  local target=$1 more=()
  mkdir -p "$work/corpus/$target" "$work/logs" "$work/targets"
  ln -sf "$work/tests/fuzz" "$work/targets/$target"
  [[ -d tests/fuzz/regressions/$target ]] && more=("tests/fuzz/regressions/$target")
  # Inputs are as long as the longest there is and some more. Replayed, findings say where memory was allocated.
  TMPDIR=$temporary UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=malloc_context_size=1 nice "$work/targets/$target" \
    -max_total_time="$each" -print_final_stats=1 -timeout=600 -rss_limit_mb=1500 -malloc_limit_mb=1000 -len_control=0 \
    -artifact_prefix="$work/findings/$target-" -max_len="$(find "$work/inputs/seeds/$target" -printf '%s\n' |
      awk '$1 > most { most = $1 } END { print 2 * most + 4096 }')" \
    "$work/corpus/$target" "$work/inputs/seeds/$target" "$work/inputs/regressions/$target" "${more[@]}" \
    > "$work/logs/$target" 2>&1 || true
}
export -f fuzz
started=$SECONDS
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$jobs" bash -c 'fuzz "$1"' fuzz
stage_times+=("$(printf '%6d s  %s' $((SECONDS - started)) fuzzing)")
print_times

statistic() { sed -n "s/^stat::$2: *//p" "$work/logs/$1"; }
code=0
printf '%-12s %12s %12s %8s %10s\n' target executions accepted edges findings
for target in "${targets[@]}"; do
  executions=$(statistic "$target" number_of_executed_units)
  accepted=$(statistic "$target" accepted_units)
  edges=$(grep -oE 'cov: [0-9]+' "$work/logs/$target" | tail -n 1 | tr -dc '0-9' || true)
  findings=$(find "$work/findings" -name "$target-*" ! -name '*-slow-unit-*' | wc -l)
  printf '%-12s %12s %12s %8s %10s\n' "$target" "${executions:-none}" "${accepted:-none}" "${edges:-none}" "$findings"
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$target" "${executions:-0}" "${accepted:-0}" "$each" "$findings" "$revision" \
    "$(date -u +%FT%TZ)" >> "$work/runs"
  if [[ -z $executions || $findings != 0 ]]; then
    code=1
    tail -n 30 "$work/logs/$target"
  fi
done
printf '\nAll runs in %s:\n%-12s %12s %12s %8s %10s %6s\n' "$work/runs" target executions accepted hours findings runs
awk -F '\t' '{ executions[$1] += $2; accepted[$1] += $3; seconds[$1] += $4; findings[$1] += $5; ++runs[$1]
    if (!seen[$6]++) revisions = revisions " " $6 }
  END { for (t in runs) printf "%-12s %12d %12d %8.2f %10d %6d\n", t, executions[t], accepted[t], seconds[t] / 3600, \
      findings[t], runs[t] | "sort"
    close("sort"); print "at revisions" revisions }' "$work/runs"
exit "$code"
