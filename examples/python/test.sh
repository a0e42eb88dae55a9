#!/usr/bin/env bash
# Builds the Python package into a virtual environment of its own and tests it: for its default policy type, then for one
# of PPO's. Usage: bash examples/python/test.sh [--with-sb3], which adds PyTorch and Stable-Baselines3 (gigabytes): without
# them stand-ins of the same keys are read, and test_sb3.py is skipped.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source cmake/packages.sh

extras=test
case ${1:-} in
  '') ;;
  --with-sb3) extras=test,sb3 ;;
  *) echo "expected --with-sb3 or nothing, found $1" >&2; exit 1 ;;
esac
stage 'packages' install_packages "${build_packages[@]}" "${library_packages[@]}" libprotozero-dev python3-venv python3-dev
folder=$PWD/build/python
rm -rf "$folder/venv"
stage 'environment' python3 -m venv "$folder/venv"

# build EXTRAS OPTION...: the package with its extras, for the type that the options name.
build() {
  local extras=$1
  shift
  "$folder/venv/bin/pip" -q --disable-pip-version-check install "./examples/python$extras" -C build-dir="$folder/build" "$@"
}
stage 'build' build "[$extras]" -C cmake.define.MAA_ACTIVATION=relu -C cmake.define.MAA_SQUASH=tanh \
  -C cmake.define.MAA_HEADS=mean
stage 'tests' "$folder/venv/bin/pytest" -q examples/python
stage 'build for PPO' build '' --force-reinstall --no-deps -C cmake.define.MAA_ACTIVATION=tanh \
  -C cmake.define.MAA_SQUASH=clip -C cmake.define.MAA_HEADS=mean_and_log_std
stage 'tests for PPO' "$folder/venv/bin/pytest" -q examples/python
print_times
