#!/usr/bin/env bash
# The scripts find this checkout also where CDPATH is set, and comparisons with peers refuse a case that there is none of.
# Usage: bash tests/scripts_test.sh CHECKOUT
set -euo pipefail
unset CDPATH
checkout=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
failed() {
  printf '%s\n' "$*" >&2
  failures=$((failures + 1))
}

# Each script up to its first cd, at its place in another tree; of that tree CDPATH has a decoy.
mapfile -t scripts < <(cd "$checkout" && find .ci benchmarks cmake examples tests -type f ! -path 'tests/readme/*' \( -name '*.sh' -o -path .ci/run \) |
  xargs grep -lE '\bcd "' | grep -v scripts_test)
for script in "${scripts[@]}"; do
  mkdir -p "$work/tree/$(dirname "$script")" "$work/decoy/$(dirname "$script")"
  sed -E '/\bcd "/q' "$checkout/$script" >"$work/tree/$script"
  echo 'printf "%s\n" "${root:-${folder:-$PWD}}"' >>"$work/tree/$script"
  expected=$work/tree
  arguments=()
  if [[ $script == tests/cuda/toolkit.sh ]]; then  # FOLDER, which it makes
    arguments=(examples/toolkit)
    expected=$work/tree/examples/toolkit
  fi
  found=$(cd "$work/tree" && CDPATH=$work/decoy bash "$script" "${arguments[@]}")
  [[ $found == "$expected" ]] || failed "$script with CDPATH set: expected $expected, found $found"
done
((${#scripts[@]} > 5)) || failed "expected scripts that change the folder, found ${#scripts[@]}"

peers() {
  python3 -B "$checkout/benchmarks/peers.py" --build "$work" --list "$@"
}
if output=$(peers --only 'no such' 2>&1) || [[ $output != *'(act_rows/64)'* ]]; then
  failed "peers.py --only of no case: expected an error that lists the cases, found: $output"
fi
[[ $(peers --only 'one policy, 64' | wc -l) == 1 ]] || failed 'peers.py --only by title: expected one case'
[[ $(peers --only act_rows | wc -l) == 1 ]] || failed 'peers.py --only by name: expected one case'
if output=$(python3 -B "$checkout/benchmarks/peers_cuda.py" --build "$work" --only 'no such' 2>&1) ||
  [[ $output != *'no such case'* ]]; then
  failed "peers_cuda.py --only of no case: expected an error that lists the cases, found: $output"
fi
exit "$failures"
