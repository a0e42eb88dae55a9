#!/usr/bin/env bash
# Compares maa with its peers on this machine: installs them, builds, checks that all compute the same numbers, runs
# them in turns, and writes table.md, results.json, ratios.png and growth.png. --help lists the options.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/packages.sh

usage() {
  cat <<'TEXT'
Usage: bash benchmarks/peers.sh [FOLDER] [options]

  FOLDER         where results go (default build/peers)
  --quick        few repetitions, small cases only
  --strict       stop if the machine is busy, in place of marking the results as noisy
  --only TEXT    cases whose title or name contains this
  --list         print the chosen cases and stop
  --rounds N     turns per peer, at most (default 15)
  --seconds S    stop taking turns with a peer after about so long, but not before three (default 20)
  --no-compile   leave torch.compile out; it takes some minutes
  --no-growth    leave the growth plot out

Peers: PyTorch from PyPI (in build/peers/venv), Eigen, OpenBLAS and oneDNN from Debian, and RTNeural if MAA_RTNEURAL
names a checkout with its submodules. MAA_PEERS_PYTHON names a Python that has PyTorch, which is then used instead.
Close what else runs: with two cores, any other load makes the figures for two threads meaningless.
TEXT
}

arguments=("$@")
list=0
out=build/peers
compilations=2
while (($# > 0)); do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --quick) compilations=1 ;;
    --list) list=1 ;;
    --only | --rounds | --seconds | --threads) shift ;;
    --*) ;;
    *) out=$1 ;;
  esac
  shift
done
mkdir -p "$out"

build=build/peers/cmake
python=${MAA_PEERS_PYTHON:-build/peers/venv/bin/python}
peer_packages=(nlohmann-json3-dev libopenblas-dev libdnnl-dev python3-venv python3-dev python3-matplotlib)

make_environment() {
  if [[ -z ${MAA_PEERS_PYTHON:-} && ! -x $python ]]; then
    /usr/bin/python3 -m venv build/peers/venv
    "$python" -m pip install --quiet 'torch>=2' numpy
  fi
  "$python" -c 'import torch; print("PyTorch", torch.__version__)'
}

stage 'packages' install_packages "${build_packages[@]}" "${library_packages[@]}" "${peer_packages[@]}"
/usr/bin/python3 -B benchmarks/peers.py --build "$build" --list "${arguments[@]}"  # an unknown case ends here
if ((list)); then
  exit
fi
stage 'PyTorch' make_environment
stage 'configure' cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE='-O2 -DNDEBUG' \
  -DMAA_BUILD_TESTS=OFF -DMAA_BUILD_EXAMPLES=OFF -DMAA_BUILD_BENCHMARKS=ON "-DMAA_RTNEURAL=${MAA_RTNEURAL:-}"
stage 'build' cmake --build "$build" --target peers --parallel "$jobs"
stage 'compile cost' /usr/bin/python3 benchmarks/compile_cost.py "$out/compile_cost.json" \
  --repetitions "$compilations"
stage 'compare' "$python" benchmarks/peers.py --build "$build/benchmarks" "${arguments[@]}"
stage 'pictures' /usr/bin/python3 -B benchmarks/peers_plots.py "$out"
print_times
echo "Table: $out/table.md"
