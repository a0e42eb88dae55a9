#!/usr/bin/env bash
# Small fits, saves and loads under faults: kill -9 at random times, the n-th system call that fails or kills, the n-th
# allocation that fails (on any thread, on another than the caller's), less and less room on the disk. Afterwards there
# is an error that says so, the old file or the new one, and the same bits as without. Prints counts; exit 1 on a finding.
# Usage: bash tests/faults.sh [--short]
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/packages.sh

kills=200 calls=20 allocations=100 disk=50
case ${1:-} in
  --short) kills=10 calls=1 allocations=5 disk=4 ;;
  '') ;;
  *)
    echo 'Usage: bash tests/faults.sh [--short]' >&2
    exit 2
    ;;
esac

stage 'packages' install_packages "${build_packages[@]}" "${library_packages[@]}" "${example_packages[@]}" doctest-dev
stage 'configure' cmake --preset default -G Ninja
stage 'build' cmake --build --preset default --target faults --parallel "$jobs"

# In memory, where there is such a folder: what is tested is not the disk.
folder=$(mktemp -d -p "$([[ -w /dev/shm ]] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" maa_faults_XXXXXX)
trap 'umount "$folder/small" 2> /dev/null || true; rm -rf "$folder"' EXIT
code=0
run() {
  echo "== $1"
  nice build/default/tests/faults "$@" || code=1
}
run kills "$folder/kills" "$kills"
run calls "$folder/calls" "$calls"
run allocations "$folder/allocations" "$allocations"
mkdir "$folder/small"
if mount -t tmpfs -o size=4m maa_faults "$folder/small" 2> /dev/null; then
  run disk "$folder/small" "$disk"
else
  echo 'No small file system may be mounted here: a limit of the size of files alone.'
fi
run disk "$folder/limited" "$disk"
print_times
exit "$code"
