#!/usr/bin/env bash
# Installs what the tests need (Debian 12), builds everything with warnings as errors, and runs it under CTest: also an
# installed copy, used by examples/embed_in_your_code with g++ and clang. Usage: bash tests/run.sh [CTest options]
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/packages.sh

build=build/default
stage 'packages' install_packages "${build_packages[@]}" clang "${library_packages[@]}" "${example_packages[@]}" \
  "${metaworld_packages[@]}" doctest-dev libbenchmark-dev libprotozero-dev doxygen
stage 'configure' cmake --preset default -G Ninja
stage 'build' cmake --build --preset default --parallel "$jobs"

results=$PWD/$build/results.xml
code=0
started=$SECONDS
echo '== tests'
ctest --preset default --parallel "$jobs" --output-junit "$results" "$@" || code=$?
stage_times+=("$(printf '%6d s  tests' $((SECONDS - started)))")
print_times

# The closing line, from what CTest recorded.
count() { grep -cE "$1" "$results" || true; }
total=$(count '^[[:space:]]*<testcase ')
passed=$(count '^[[:space:]]*<testcase .*status="run"')
skipped=$(count '^[[:space:]]*<skipped message="SKIP_(RETURN_CODE|REGULAR_EXPRESSION)')
if ((skipped > 0)); then
  echo "$skipped skipped: this machine lacks an instruction set, a Python package, the CUDA toolkit or a device that they need"
fi
failed=$((total - passed - skipped))
echo "$passed passed, $failed failed"
if ((total == 0 || failed > 0)); then
  exit 1
fi
exit "$code"
