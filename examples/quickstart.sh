#!/usr/bin/env bash
# From a fresh Debian 12 to generated policies acting in MuJoCo: installs the packages it needs, builds, runs, and
# writes out/quickstart/report.html. --help lists the options; all of them are passed on to the program.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/packages.sh

usage() {
  cat <<'TEXT'
Usage: bash examples/quickstart.sh [--seed N] [--out FOLDER] [--resume] [--smoke] [--help]

  --seed N       seed of everything random
  --out FOLDER   where results go (default out/quickstart)
  --resume       go on where an earlier run into the same folder stopped
  --smoke        a much shortened run that shows that everything works; its numbers mean nothing
  --help         this text

It installs Debian packages through apt (with sudo when not root), builds in build/quickstart, and takes under five
minutes on two cores. ctrl-C keeps what is finished.
TEXT
}

out=out/quickstart
arguments=("$@")
while (($# > 0)); do
  case $1 in
    -h | --help)
      usage
      exit 0
      ;;
    --out)
      out=${2:?--out wants a folder}
      shift
      ;;
    --out=*) out=${1#--out=} ;;
  esac
  shift
done

stage 'packages' install_packages "${build_packages[@]}" "${library_packages[@]}" "${example_packages[@]}"
stage 'configure' cmake --preset quickstart -G Ninja
stage 'build' cmake --build --preset quickstart --parallel "$jobs"
stage 'train, generate, measure' build/quickstart/examples/quickstart/quickstart "${arguments[@]}"
stage 'report' /usr/bin/python3 examples/study/report.py "$out"
print_times
echo "Report: $out/report.html"
