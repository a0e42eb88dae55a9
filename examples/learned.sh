# Sourced by the scripts that run a study of reinforcement-learned policies: `name` is the program, its folder and the
# preset that builds it, `time` what it takes on two cores, `more` options of its own, for the help, `venv` the
# script that makes its simulator's virtual environment, if it has one. Packages, building, running, the report.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/packages.sh

program=build/quickstart/examples/$name/$name
usage() {
  cat <<TEXT
Usage: bash examples/$name.sh [--seed N] [--out FOLDER] [--hold-out TASK...] [--resume] [--smoke] [--help]

  --seed N            seed of everything random
  --out FOLDER        where results go (default out/$name)
  --hold-out TASK...  tasks that are not trained on but reported as the unseen ones, to choose settings by
  --resume            go on where an earlier run into the same folder stopped
  --smoke             a much shortened run that shows that everything works; its numbers mean nothing
${more-}  --help              this text, and the program's options once it is built

It installs Debian packages through apt (with sudo when not root), builds in build/quickstart. On two cores it takes
$time. ctrl-C keeps what is finished.
TEXT
}

out=out/$name
arguments=("$@")
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
    --out)
      out=${2:?--out wants a folder}
      shift
      ;;
    --out=*) out=${1#--out=} ;;
  esac
  shift
done

stage 'packages' install_packages "${build_packages[@]}" "${library_packages[@]}" "${example_packages[@]}"
if [[ -n ${venv-} ]]; then
  install_packages "${metaworld_packages[@]}"
  stage 'simulator' bash "$venv"
fi
stage 'configure' cmake --preset quickstart -G Ninja
stage 'build' cmake --build --preset "$name" --parallel "$jobs"
stage 'learn, train, generate, measure' "$program" "${arguments[@]}"
stage 'report' /usr/bin/python3 examples/study/report.py "$out"
print_times
echo "Report: $out/report.html"
