#!/usr/bin/env bash
# Times the training of a MetaWorld generator beside PyTorch's on one and the same core, in turns: the stages of
# `metaworld train` (embedder, 800 steps of prompts to policies' actions, validation) against training_torch.py.
# Usage: bash benchmarks/training.sh [ROUNDS] (default 3). Needs `bash examples/metaworld.sh collect` (preset small) and
# PyTorch, which it installs in build/peers/venv; MAA_PEERS_PYTHON names a Python that has it, which is then used instead.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds=${1:-3}
program=build/quickstart/examples/metaworld/metaworld
collected=out/metaworld/small/stages
out=build/peers/training
validation=(push-back sweep hand-insert button-press-topdown-wall)
python=${MAA_PEERS_PYTHON:-build/peers/venv/bin/python}

if [[ ! -x $program || ! -f $collected/zoo.json ]]; then
  echo "training.sh: no data; make them with: bash examples/metaworld.sh collect --preset small" >&2
  exit 1
fi
if [[ -z ${MAA_PEERS_PYTHON:-} && ! -x $python ]]; then
  /usr/bin/python3 -m venv build/peers/venv
  "$python" -m pip install --quiet 'torch>=2' numpy
fi

# seconds NAME FILE: the number of seconds in a JSON text, in a line.
seconds() {
  printf '%-18s %.1f s\n' "$1" "$(sed -nE 's/.*"seconds": *([0-9.]+).*/\1/p' "$2")"
}

for ((round = 1; round <= rounds; ++round)); do
  rm -rf "$out"
  mkdir -p "$out/stages"
  cp "$collected"/{collect.json,zoo.json,zoo.jsonl,episodes.safetensors,zoo.safetensors} "$out/stages"
  taskset -c 0 "$program" train --preset small --no-baseline --threads 1 --out "$out" >"$out/log" 2>&1
  seconds maa "$out/stages/fit.json"
  for compile in '' --compile; do
    taskset -c 0 "$python" benchmarks/training_torch.py "$collected/zoo.safetensors" --skip "${validation[@]}" $compile \
      >"$out/torch" 2>"$out/torch.log"
    seconds "PyTorch $compile" "$out/torch"
  done
done
