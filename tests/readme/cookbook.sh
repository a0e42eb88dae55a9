#!/usr/bin/env bash
# docs/cookbook.md ($1) as it stands there: the program made of it ($2), what that writes as C with the compiler $3 (its
# source $4), then the shell lines, for which the programs fit ($5) and inspect ($6) train for a few steps on the
# data sets of the folder $7.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
page=$(realpath "$1") program=$2 compiler=$3 c_source=$4 data=$7
fit_program=$5 inspect_program=$6
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$program"
"$compiler" -x c -std=c99 -Wall -Wextra -Werror -I. -c "$c_source" -o control.o

fit() {
  "$fit_program" --steps 6 --batch 2 --no-check "$@"
}
inspect() {
  "$inspect_program" "$@"
}
cp "$data"/{dataset,runs,small}.safetensors .
lines=$(sed -n '/^```sh$/,/^```$/p' "$page" | sed '/^```/d')
[[ $(wc -l <<< "$lines") == 4 ]]
eval "$lines"
[[ -s report.html && -s small_generator.safetensors && -s loss.csv && -d curves ]]
