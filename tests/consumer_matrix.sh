#!/usr/bin/env bash
# Other people's compilers and flags: a program that trains, saves, loads and generates (tests/compiled/small_program.cpp,
# headers alone) and one that only runs a policy (tests/install/policy_only/main.cpp), each compiled and run. Compilers,
# standard libraries and cross compilers that are not installed are skipped and named (Debian: clang clang-16 clang-19
# libc++-dev, g++-aarch64-linux-gnu g++-arm-linux-gnueabihf g++-i686-linux-gnu g++-s390x-linux-gnu qemu-user). CTest runs a short form: headers.*, policy.*, compiled.*,
# consumer.*. Usage: bash tests/consumer_matrix.sh [--only TEXT]; exit code 1 if a cell fails.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."

only=
if [[ ${1:-} == --only ]]; then
  only=${2:?--only wants a text}
elif (($#)); then
  echo "unknown argument '$1'" >&2
  exit 2
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
strict=(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wundef -Wdouble-promotion -Wold-style-cast -Werror)
includes=(-Iinclude -isystem /usr/include/eigen3)
libraries=(-ltbb -lzip)
generate=tests/compiled/small_program.cpp
policy=tests/install/policy_only/main.cpp
passed=0 failed=0 skipped=0

# cell NAME RUN COMPILER ARGUMENTS...: RUN is what the program is run by, or nothing.
cell() {
  local name=$1 run=$2 compiler=$3
  shift 3
  [[ $name == *"$only"* ]] || return 0
  if ! command -v "$compiler" >/dev/null || { [[ -n $run ]] && ! command -v "${run%% *}" >/dev/null; }; then
    echo "skip  $name"
    skipped=$((skipped + 1))
    return 0
  fi
  local work=$folder/work
  rm -rf "$work" && mkdir "$work"
  # shellcheck disable=SC2086  # the runner may have arguments
  if "$compiler" -std=c++20 -o "$work/program" "$@" >"$work/log" 2>&1 && $run "$work/program" "$work" >>"$work/log" 2>&1; then
    echo "ok    $name  $(tail -n 1 "$work/log")"
    passed=$((passed + 1))
  else
    echo "FAIL  $name"
    tail -n 20 "$work/log"
    failed=$((failed + 1))
  fi
}

for compiler in g++ clang++ clang++-16 clang++-19; do
  for flags in -O0 -O1 -O2 -O3 '-O2 -march=native' '-O2 -ffast-math' '-O2 -D_GLIBCXX_ASSERTIONS' '-O2 -DMAA_NO_SIMD'; do
    read -ra each <<<"$flags"
    cell "generate: $compiler $flags" '' "$compiler" "${each[@]}" -DMAA_ALLOW_UNOPTIMIZED "${includes[@]}" "$generate" "${libraries[@]}"
    cell "policy: $compiler $flags" '' "$compiler" "${each[@]}" -Iinclude "$policy"
  done
  cell "generate: $compiler strict" '' "$compiler" -O1 "${strict[@]}" "${includes[@]}" "$generate" "${libraries[@]}"
  cell "policy: $compiler strict" '' "$compiler" -O1 "${strict[@]}" -Iinclude "$policy"
  cell "policy: $compiler no exceptions, no RTTI" '' "$compiler" -O2 -fno-exceptions -fno-rtti -Iinclude "$policy"
  # Two units in one: every header's names side by side.
  printf '#include "%s/%s"\n#include <maa/maa.hpp>\n#include <maa/policy.hpp>\n' "$PWD" "$generate" >"$folder/unity.cpp"
  cell "generate: $compiler unity" '' "$compiler" -O1 "${includes[@]}" "$folder/unity.cpp" "${libraries[@]}"
  # A shared library that hides everything but one function.
  sed 's/int main(int, char\*\* arguments)/__attribute__((visibility("default"))) int library_main(int, char** arguments)/' "$generate" >"$folder/library.cpp"
  printf 'int library_main(int, char**);\nint main(int n, char** a) { return library_main(n, a); }\n' >"$folder/main.cpp"
  if [[ "generate: $compiler shared" == *"$only"* ]] && command -v "$compiler" >/dev/null; then
    "$compiler" -std=c++20 -O1 -shared -fPIC -fvisibility=hidden "${includes[@]}" -Itests/compiled "$folder/library.cpp" \
      "${libraries[@]}" -o "$folder/libshared.so" >"$folder/log" 2>&1 || tail -n 20 "$folder/log"
  fi
  cell "generate: $compiler shared" '' "$compiler" -O1 "$folder/main.cpp" "$folder/libshared.so" -Wl,-rpath,"$folder"
  rm -f "$folder/libshared.so"
done
for compiler in clang++ clang++-16 clang++-19; do
  if "$compiler" -std=c++20 -stdlib=libc++ -fsyntax-only -x c++ - <<<'#include <vector>' 2>/dev/null; then
    cell "policy: $compiler libc++" '' "$compiler" -O2 -stdlib=libc++ -Iinclude "$policy"
  else
    echo "skip  policy: $compiler libc++"
    skipped=$((skipped + 1))
  fi
done
for machine in aarch64:aarch64-linux-gnu arm:arm-linux-gnueabihf i386:i686-linux-gnu s390x:s390x-linux-gnu; do
  cell "policy: ${machine%%:*}" "qemu-${machine%%:*} -L /usr/${machine#*:}" "${machine#*:}-g++" -O2 "${strict[@]}" -Wno-psabi -Iinclude "$policy"
done

# Debian's libraries for aarch64, unpacked into $folder/aarch64: nothing is installed.
unpack_aarch64() {
  local state=$folder/apt package
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$folder/aarch64" && : >"$state/status"
  local apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o "Dir::State::Lists=$state/lists"
    -o "Dir::Cache=$state/cache" -o "Dir::State::status=$state/status" -o Debug::NoLocking=1)
  "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends --download-only libtbb-dev libzip-dev || return
  for package in "$state"/cache/archives/*.deb; do
    case ${package##*/} in
      libc6* | libc-dev* | linux-libc* | gcc-* | libgcc* | libstdc*) ;;  # the cross compiler's are taken
      *) dpkg -x "$package" "$folder/aarch64" || return ;;
    esac
  done
}
name='generate: aarch64'
if [[ $name == *"$only"* ]]; then
  libs=$folder/aarch64/usr/lib/aarch64-linux-gnu:$folder/aarch64/lib/aarch64-linux-gnu
  if command -v aarch64-linux-gnu-g++ >/dev/null && unpack_aarch64 >/dev/null 2>&1; then
    cell "$name" "qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=$libs" aarch64-linux-gnu-g++ -O2 "${includes[@]}" \
      -idirafter "$folder/aarch64/usr/include" -idirafter /usr/include "$generate" -L"${libs%%:*}" -Wl,-rpath-link,"$libs" "${libraries[@]}"
  else
    echo "skip  $name"
    skipped=$((skipped + 1))
  fi
fi
echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0 && passed > 0))
