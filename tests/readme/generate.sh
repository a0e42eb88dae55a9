#!/usr/bin/env bash
# The program `generate` ($1) in a folder with generator.safetensors and demonstration.npz: what it refuses, before it
# writes anything, and that it fails where what it writes is lost.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
program=$1
folder=$(mktemp -d "$PWD/generate_XXXXXX")
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/a" "$folder/b"
cp demonstration.npz "$folder/a/demo.npz"
cp demonstration.npz "$folder/b/demo.npz"
cp demonstration.npz "$folder/b/other.npz"
generator=$PWD/generator.safetensors
cd "$folder"

# refused TEXT ARGUMENT...: fails with TEXT, and no policy is written.
refused() {
  local text=$1 out
  shift
  if out=$("$program" "$generator" "$@" --out refused 2>&1); then
    echo "expected an error, found none: $*"
    exit 1
  fi
  if [[ $out != *"$text"* ]] || compgen -G 'refused/*' > /dev/null; then
    echo "expected '$text' and no files, found: $out $(ls refused)"
    exit 1
  fi
}
refused "different names" a/demo.npz b/demo.npz
refused "different names" a/demo.npz a/demo.npz
refused "--seed" a/demo.npz --seed -1
refused "count" a/demo.npz --count 0
refused "count" a/demo.npz --count -1
refused "count" a/demo.npz --count 4611686018427387904
(trap "" XFSZ; ulimit -f 1; refused "File too large" a/demo.npz)
mkdir refused_in
cp "$generator" refused_in/demo_0.safetensors
if "$program" refused_in/demo_0.safetensors a/demo.npz --out refused_in 2> error; then
  echo "expected an error where a policy would be written over the generator, found none"
  exit 1
fi
grep -q "expected another file than" error
cmp "$generator" refused_in/demo_0.safetensors
touch file
if "$program" "$generator" a/demo.npz --out file 2> /dev/null; then
  echo "expected an error for a file as folder"
  exit 1
fi
if "$program" "$generator" a/demo.npz --out lost > /dev/full 2> error; then
  echo "expected an error where standard output is full, found none"
  exit 1
fi
grep -q "standard output" error
"$program" "$generator" a/demo.npz b/demo.npz --together --count 2 --out together > /dev/null 2>&1
[[ $(ls together | wc -l) == 2 ]]
"$program" "$generator" a/demo.npz b/other.npz --count 2 --out each > /dev/null 2>&1
[[ $(ls each | wc -l) == 4 ]]
