#!/usr/bin/env bash
# From a fresh Debian 12 to generated policies acting in MetaWorld: installs the packages it needs, makes a virtual
# environment with the simulator, builds, collects, trains, evaluates, and writes a report. --help lists the options.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/packages.sh

usage() {
  cat <<'TEXT'
Usage: bash examples/metaworld.sh [collect|train|evaluate|report] [options]

Without a stage: all four, one after the other. A stage alone needs the ones before it, finished with the same options.
The options are those of the program, which --help lists once it is built; for instance --preset best --seed 1
--prompts 100. Results go to out/metaworld/PRESET unless --out names another folder.

It installs Debian packages through apt (with sudo when not root), makes build/metaworld/venv, and builds in
build/quickstart. ctrl-C keeps what is finished; the same command goes on from there.
TEXT
}

program=build/quickstart/examples/metaworld/metaworld
stages=(collect train evaluate report)
case ${1-} in
  collect | train | evaluate | report)
    stages=("$1")
    shift
    ;;
esac
arguments=("$@")
preset=small
out=
others=()
while (($# > 0)); do
  case $1 in
    -h | --help)
      usage
      if [[ -x $program ]]; then
        echo
        "$program" --help
      fi
      exit 0
      ;;
    --preset | --out)
      value=${2:?"$1 wants a value"}
      [[ $1 == --out ]] && out=$value || preset=$value
      shift
      ;;
    --preset=*) preset=${1#*=} ;;
    --out=*) out=${1#*=} ;;
    *) others+=("$1") ;;
  esac
  shift
done
out=${out:-out/metaworld/$preset}
if [[ ${stages[*]} == report ]] && ((${#others[@]} > 0)); then
  echo "metaworld.sh report: unknown option ${others[0]} (--help lists the options)" >&2
  exit 2
fi

stage 'packages' install_packages "${build_packages[@]}" "${library_packages[@]}" "${metaworld_packages[@]}" \
  libcli11-dev python3-matplotlib
stage 'simulator' bash examples/metaworld/make_venv.sh
stage 'configure' cmake --preset quickstart -G Ninja -DPython3_EXECUTABLE=/usr/bin/python3
stage 'build' cmake --build --preset metaworld --parallel "$jobs"
for name in "${stages[@]}"; do
  if [[ $name == report ]]; then
    stage 'report' /usr/bin/python3 examples/study/report.py "$out"
  else
    stage "$name" "$program" "$name" "${arguments[@]}"
  fi
done
print_times
case ${stages[-1]} in
  report) echo "Report: $out/report.html" ;;
  evaluate) echo "Results: $out/results.json; the report: bash examples/metaworld.sh report --preset $preset --out $out" ;;
esac
