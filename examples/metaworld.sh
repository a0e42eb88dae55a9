#!/usr/bin/env bash
# From a fresh Debian 12 to generated policies acting in MetaWorld: installs the packages it needs, makes a virtual
# environment with the simulator, builds, collects, trains, evaluates, and writes a report. --help lists the options.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/packages.sh

usage() {
  cat <<'TEXT'
Usage: bash examples/metaworld.sh [collect|train|evaluate|report] [options]

Without a stage: all four, one after the other. A stage alone needs the ones before it, finished with the same options.

  --preset NAME  smoke, small, best, paper or reference (default small); smoke only shows that everything works
  --out FOLDER   where results go (default out/metaworld/NAME)
  --seed N       seed of data and training
  --threads N    threads and simulator processes (default: all cores)
  --placement-per-run  the paper's data: all episodes of a run have one placement
  --without=WHAT       leaves an ingredient of the recipe out, to measure it (metaworld collect --help lists them)
  --hold-out TASK ...  trained tasks that become the unseen ones, to choose settings by
  --no-rival           leave out the rival that takes a training of its own
  --condition WHAT     embeddings that the generator sees: h, v or both (default both)
  --device NAME        what the generator runs on: cpu (default) or cuda
  --epoch-share SHARE  with presets paper and reference: train this share of the epochs; all take two days
  --help         this text, and the options of `evaluate` once the program is built

All other options are those of `evaluate`, for instance --prompts 100 --scenes 10 --scene-seed 5.

It installs Debian packages through apt (with sudo when not root), makes build/metaworld/venv, and builds in
build/quickstart. ctrl-C keeps what is finished; the same command goes on from there.
TEXT
}

program=build/quickstart/examples/metaworld/metaworld
stages=()
preset=small
out=
common=()    # for every stage of the program
generator=() # for train and evaluate
own=()       # for one stage only

while (($# > 0)); do
  case $1 in
    -h | --help)
      usage
      if [[ -x $program ]]; then
        echo
        "$program" evaluate --help
      fi
      exit 0
      ;;
    --preset | --out | --seed | --threads | --condition | --device | --epoch-share)
      name=${1#--} value=${2:?"$1 wants a value"}
      shift
      ;;&
    --preset=* | --out=* | --seed=* | --threads=* | --condition=* | --device=* | --epoch-share=*)
      name=${1%%=*} name=${name#--} value=${1#*=}
      ;;&
    --preset | --preset=*) preset=$value ;;
    --out | --out=*) out=$value ;;
    --seed | --seed=* | --threads | --threads=*) common+=("--$name" "$value") ;;
    --condition | --condition=* | --device | --device=* | --epoch-share | --epoch-share=*)
      generator+=("--$name" "$value")
      ;;
    --placement-per-run | --without=*) common+=("$1") ;;
    --hold-out)
      common+=("$1")
      while (($# > 1)) && [[ $2 != --* ]]; do
        common+=("$2")
        shift
      done
      ;;
    --no-rival) generator+=("$1") ;;
    collect | train | evaluate | report)
      # After an option it is that option's value.
      if ((${#own[@]} == 0 && ${#stages[@]} == 0)); then
        stages=("$1")
      else
        own+=("$1")
      fi
      ;;
    *) own+=("$1") ;;
  esac
  shift
done
out=${out:-out/metaworld/$preset}
common+=(--preset "$preset" --out "$out")

if [[ ${stages[*]} == report ]] && ((${#own[@]} > 0)); then
  echo "metaworld.sh report: unknown option ${own[0]} (--help lists the options)" >&2
  exit 2
fi

# Hours may lie before `evaluate`, so its options are looked up at once.
check_evaluate_options() {
  local option known
  known=$("$program" evaluate --help)
  for option in "${own[@]}"; do
    if [[ $option == --* ]] && ! grep -qE -- "^ +${option%%=*}( |$)" <<<"$known"; then
      echo "metaworld.sh: unknown option $option (--help lists the options)" >&2
      return 2
    fi
  done
}

write_report() {
  /usr/bin/python3 examples/study/report.py "$out"
}

stage 'packages' install_packages "${build_packages[@]}" "${library_packages[@]}" "${metaworld_packages[@]}" \
  libcli11-dev python3-matplotlib
stage 'simulator' bash examples/metaworld/make_venv.sh
stage 'configure' cmake --preset quickstart -G Ninja -DPython3_EXECUTABLE=/usr/bin/python3
stage 'build' cmake --build --preset metaworld --parallel "$jobs"
if ((${#stages[@]} == 0)); then
  stages=(collect train evaluate report)
  check_evaluate_options
fi
for name in "${stages[@]}"; do
  arguments=("${common[@]}")
  if [[ $name == train || $name == evaluate ]]; then
    arguments+=("${generator[@]}")
  fi
  if [[ $name == evaluate || ${#stages[@]} == 1 ]]; then
    arguments+=("${own[@]}")
  fi
  if [[ $name == report ]]; then
    stage 'report' write_report
  else
    stage "$name" "$program" "$name" "${arguments[@]}"
  fi
done
print_times
case ${stages[-1]} in
  report) echo "Report: $out/report.html" ;;
  evaluate) echo "Results: $out/results.json; the report: bash examples/metaworld.sh report --preset $preset --out $out" ;;
esac
