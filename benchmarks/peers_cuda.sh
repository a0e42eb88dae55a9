#!/usr/bin/env bash
# Compares maa with PyTorch on this machine's CUDA device: builds, checks that both compute the same numbers, runs them
# in turns, and writes table.md and results.json. --help lists the options. Installs nothing.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/packages.sh

usage() {
  cat <<'TEXT'
Usage: bash benchmarks/peers_cuda.sh [FOLDER] [--only TEXTS] [--ways TEXTS] [--no-compile] [--all-ways] [--tune]
                                     [--rounds N] [--smoke] [--help]

  FOLDER         where results go (default build/peers_cuda)
  --only TEXTS   cases whose title or name contains one of these: --only train/paper,train_tf32/paper
  --ways TEXTS   ways of PyTorch whose name contains one of these: --ways eager,captured
  --no-compile   leave torch.compile out; it takes a minute for each case
  --all-ways     also torch.compile's max-autotune, which takes minutes for each case
  --tune         maa times several algorithms for each product first
  --rounds N     turns of each side (default 7)
  --smoke        try the programs without a device: tiny models on an emulated one, PyTorch on the CPU

MAA_PEERS_PYTHON names a Python that has PyTorch (default python3). MAA_PEERS_BUILD names a folder where peers_cuda was
built already; without it, it is built here with the CUDA toolkit that CMake finds.
TEXT
}

for argument in "$@"; do
  if [[ $argument == -h || $argument == --help ]]; then
    usage
    exit 0
  fi
done

python=${MAA_PEERS_PYTHON:-python3}
programs=${MAA_PEERS_BUILD:-}
"$python" -c 'import torch; print("PyTorch", torch.__version__)'
if [[ -z $programs ]]; then
  build=build/peers_cuda/cmake
  programs=$build/benchmarks
  stage 'configure' cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_CXX_FLAGS_RELEASE='-O2 -DNDEBUG' -DMAA_BUILD_TESTS=OFF -DMAA_BUILD_EXAMPLES=OFF -DMAA_BUILD_BENCHMARKS=ON \
    -DMAA_CUDA=ON
  stage 'build' cmake --build "$build" --target peers_cuda --parallel "$jobs"
fi
stage 'compare' "$python" -B benchmarks/peers_cuda.py --build "$programs" "$@"
print_times
