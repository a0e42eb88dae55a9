# Sourced by the scripts that run a study of a Python package's experts in stages: `name` is the program, its folder and the
# preset that builds it, `example` some options, for the help. Packages, the virtual environment, building, the stages.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/packages.sh

usage() {
  cat <<TEXT
Usage: bash examples/$name.sh [collect|train|evaluate|report] [options]

Without a stage: all four, one after the other. A stage alone needs the ones before it, finished with the same options.
The options are those of the program, which --help lists once it is built; for instance $example.
Results go to out/$name/PRESET unless --out names another folder.

It installs Debian packages through apt (with sudo when not root), makes build/$name/venv, and builds in
build/quickstart. ctrl-C keeps what is finished; the same command goes on from there.
TEXT
}

program=build/quickstart/examples/$name/$name
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
out=${out:-out/$name/$preset}
if [[ ${stages[*]} == report ]] && ((${#others[@]} > 0)); then
  echo "$name.sh report: unknown option ${others[0]} (--help lists the options)" >&2
  exit 2
fi

stage 'packages' install_packages "${build_packages[@]}" "${library_packages[@]}" "${metaworld_packages[@]}" \
  libcli11-dev python3-matplotlib
stage 'simulator' bash "examples/$name/make_venv.sh"
stage 'configure' cmake --preset quickstart -G Ninja -DPython3_EXECUTABLE=/usr/bin/python3
stage 'build' cmake --build --preset "$name" --parallel "$jobs"
for stage_name in "${stages[@]}"; do
  if [[ $stage_name == report ]]; then
    stage 'report' /usr/bin/python3 examples/study/report.py "$out"
  else
    stage "$stage_name" "$program" "$stage_name" "${arguments[@]}"
  fi
done
print_times
case ${stages[-1]} in
  report) echo "Report: $out/report.html" ;;
  evaluate) echo "Results: $out/results.json; the report: bash examples/$name.sh report --preset $preset --out $out" ;;
esac
