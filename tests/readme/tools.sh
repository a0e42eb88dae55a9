#!/usr/bin/env bash
# The programs fit ($1) and inspect ($2) in a folder with dataset.safetensors, runs.safetensors and
# demonstration.npz: what they print, that a stopped fit goes on to the same generator, what they refuse, and the report.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
fit=$1 inspect=$2 here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d "$PWD/tools_XXXXXX")
trap 'rm -rf "$folder"' EXIT
data=$PWD/dataset.safetensors runs=$PWD/runs.safetensors demonstration=$PWD/demonstration.npz
small_data=$PWD/small.safetensors small_demonstration=$PWD/small.npz
cd "$folder"

# expect TEXT COMMAND...: succeeds, and its output has TEXT.
expect() {
  local text=$1 out
  shift
  out=$("$@" 2>&1) || { echo "failed: $*: $out"; exit 1; }
  [[ $out == *"$text"* ]] || { echo "expected '$text', found: $out"; exit 1; }
}
# refused TEXT COMMAND...: fails with TEXT before it has trained.
refused() {
  local text=$1 out
  shift
  if out=$("$@" 2>&1) || [[ $out != *"$text"* || $out == *"check: "* ]]; then
    echo "expected an error with '$text' before training, found: $out"
    exit 1
  fi
}
expect "data set: 4 policies" "$inspect" "$data"
expect "second: 2 policies, 4 trajectories, 4 with success, 70 to 70 steps" "$inspect" "$data"
expect "trajectory: 70 steps, 39 observations, 4 actions" "$inspect" "$demonstration"
refused "expected policies that do what the trajectories show" "$fit" "$data" --out refused.safetensors
options=(--steps 6 --batch 2 --no-check)
expect whole.safetensors "$fit" "$data" --out whole.safetensors --log loss.csv --tensorboard curves "${options[@]}"
grep -q '^behavior,6,' loss.csv
"${MAA_TEST_PYTHON:-python3}" -B "$here/check_curves.py" loss.csv curves
refused "cannot write 'loss.jsonl': expected curves to go on with" \
  env -C "$(mkdir other && echo text > other/loss.jsonl && echo other)" "$fit" "$data" --log loss.jsonl "${options[@]}"
rm -rf loss.csv curves other
[[ ! -e whole.safetensors.checkpoint ]]
for log in loss.jsonl loss.csv; do
  logs=(--log "$log" --tensorboard curves)
  rm -rf curves
  "$fit" "$data" --out stopped.safetensors "${logs[@]}" "${options[@]}" & running=$!
  # Once it trains, and once only: a second signal would end it before it has saved anything.
  while ! grep -qs '[0-9]$\|}$' "$log" && kill -0 "$running" 2> /dev/null; do
    sleep 0.01
  done
  kill -INT "$running" 2> /dev/null || true
  wait "$running" || true
  printf '{"stage":"beh' >> "$log"  # as a killed process may leave it
  expect stopped.safetensors "$fit" "$data" --out stopped.safetensors "${logs[@]}" "${options[@]}"
  "${MAA_TEST_PYTHON:-python3}" -B "$here/check_curves.py" "$log" curves
  cmp whole.safetensors stopped.safetensors
done
# What a killed training did after its checkpoint comes once more, and is logged once.
for log in killed.jsonl killed.csv; do
  logs=(--log "$log" --tensorboard "$log.events") long=(--steps 400 --batch 2 --no-check)
  "$fit" "$data" --out killed.safetensors "${logs[@]}" "${long[@]}" & running=$!
  while ! grep -qs '"behavior","step":9,\|^behavior,9,' "$log" && kill -0 "$running" 2> /dev/null; do
    sleep 0.01
  done
  kill -KILL "$running"
  wait "$running" || true
  expect killed.safetensors "$fit" "$data" --out killed.safetensors "${logs[@]}" "${long[@]}"
  "${MAA_TEST_PYTHON:-python3}" -B "$here/check_curves.py" "$log" "$log.events"
  [[ $(find "$log.events" -type f | wc -l) == 2 ]]
done
log=loss.csv logs=(--log loss.csv --tensorboard curves)
# A training that is refused leaves them; another's take their place.
refused "expected policies that do what the trajectories show" "$fit" "$data" --out again.safetensors "${logs[@]}"
[[ $(wc -l < "$log") == 307 ]]
rm -rf curves
expect again.safetensors "$fit" "$data" --out again.safetensors "${logs[@]}" "${options[@]}"
"${MAA_TEST_PYTHON:-python3}" -B "$here/check_curves.py" "$log" curves
if [[ -w /dev/full ]]; then
  refused "cannot write '/dev/full': No space left on device" "$fit" "$data" --log /dev/full "${options[@]}"
fi
expect "maa generator 1" "$inspect" whole.safetensors
expect "recipe.behavior.train.steps = 6" "$inspect" --all whole.safetensors
expect "demonstration_0.safetensors" "$3" whole.safetensors "$demonstration" --out .
expect "maa policy 1: 8 tensors" "$inspect" demonstration_0.safetensors
# Policies of other sizes, whose data set does not say what they are.
small=(--hidden 64x64 --activation relu --squash tanh --heads mean)
for text in "34 trajectories, 5 observations, 2 actions" "mean [0, 0, 0, 0, 0]" "scale [1, 1, 1, 1, 1]" "clip 100" \
    "centre [0, 0]" "half width [1, 1]" "action_names = left,right"; do
  expect "$text" "$inspect" "$small_data"
done
refused "expected --hidden, --activation, --squash and --heads" "$fit" "$small_data"
refused "expected a dataset of 5 observations, 2 actions" "$fit" "$small_data" "${small[@]/64x64/64x32}"
refused "found [1, 1, 1, 1]" "$fit" "$small_data" "${small[@]/64x64/1x1x1x1}"
refused "expected units of layers such as 64x64, found '64x'" "$fit" "${small[@]/64x64/64x}" "$small_data"
refused "expected policies of one to three" "$fit" "${small[@]/64x64/1x1x1x1}" "$small_data"  # options first
refused "--hidden requires --activation" "$fit" "$small_data" --hidden 64x64
refused "policies of this program's type, found others: hidden: expected [64, 64], found '[128, 128]'" \
  "$fit" "$data" "${small[@]}"
expect small_report.html "$fit" "$small_data" "${small[@]}" --out small.safetensors --report small_report.html \
  --steps 20 --batch 4
"${MAA_TEST_PYTHON:-python3}" -B "$here/check_fit_report.py" small_report.html
expect "policy.hidden = [64, 64]" "$inspect" small.safetensors
expect "provenance.check = " "$inspect" small.safetensors
expect "copied from whole.safetensors" "$fit" "$small_data" "${small[@]}" --start whole.safetensors --out warm.safetensors \
  --steps 2 --batch 4
refused "maa generator 1" "$fit" "$small_data" "${small[@]}" --start "$data"
expect "keeps 12 policies of its data set" "$inspect" warm.safetensors
expect "small_0.safetensors' is a policy of the data set" "$3" warm.safetensors "$small_demonstration" --out .
[[ $("$3" warm.safetensors "$small_demonstration" --out . --no-look-up 2>&1) != *"is a policy of"* ]]
expect "kept.safetensors" "$fit" "$small_data" "${small[@]}" --out kept.safetensors --steps 2 --batch 4 --no-keep-policies
expect "keeps 0 policies of its data set" "$inspect" kept.safetensors
expect "small_1.safetensors" "$3" small.safetensors "$small_demonstration" --out . --count 2
expect "layers.1.weight  F32 [64, 64]" "$inspect" small_1.safetensors
refused "prompt: expected 5 observations and 2 actions, found 39 and 4" "$3" small.safetensors "$demonstration" --out .
echo text > text.safetensors
refused "text.safetensors" "$inspect" text.safetensors
refused "cannot write 'nowhere/loss.csv': No such file or directory" "$fit" "$data" --log nowhere/loss.csv "${options[@]}"
touch file
refused "cannot write 'file/in': Not a directory" "$fit" "$data" --tensorboard file/in "${options[@]}"
refused "file" "$fit" "$data" --tensorboard file "${options[@]}"
cp "$runs" mine.safetensors
ln -s mine.safetensors link.safetensors
refused "expected another file than 'mine.safetensors'" "$fit" mine.safetensors --out link.safetensors "${options[@]}"
refused "expected another file than 'mine.safetensors'" "$fit" mine.safetensors --report mine.safetensors "${options[@]}"
refused "expected another file than 'new.html'" "$fit" mine.safetensors --out new.html --report new.html "${options[@]}"
cmp "$runs" mine.safetensors
for bad in . /dev/null whole.safetensors/in; do
  refused "cannot write '$bad" "$fit" "$runs" --out "$bad" "${options[@]}"
  refused "cannot write '$bad" "$fit" "$runs" --report "$bad" "${options[@]}"
done
refused "cannot write" "$fit" "$data" --out nowhere/generator.safetensors "${options[@]}"
refused "expected held-out runs of at least two trajectories" "$fit" "$data" --report report.html "${options[@]}"
refused "cannot write 'nowhere/report.html'" "$fit" "$runs" --report nowhere/report.html
refused "--report" "$fit" "$data" --hold-out 0.5
expect "measuring prompts" "$fit" "$runs" --out barred.safetensors --report barred.html --steps 2 --batch 4
expect report.html "$fit" "$runs" --report report.html --steps 20 --batch 4
"${MAA_TEST_PYTHON:-python3}" -B "$here/check_fit_report.py" report.html
expect "provenance.policies = 6" "$inspect" generator.safetensors  # what is held out was not trained on
