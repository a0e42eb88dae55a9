# Sourced by tests/run.sh and the scripts in examples/: Debian packages and the time each stage takes.

library_packages=(libtbb-dev libeigen3-dev libxtensor-dev rapidjson-dev libzip-dev)
build_packages=(g++ cmake ninja-build)
example_packages=(libmujoco-dev libosmesa6-dev libcli11-dev nlohmann-json3-dev python3-matplotlib)
metaworld_packages=(nlohmann-json3-dev python3-venv python3-dev pybind11-dev libegl1-mesa-dev libgl1-mesa-dri libosmesa6-dev)

# stage NAME COMMAND...: runs the command and says how long it took. Stops the script if it fails.
stage() {
  local name=$1 started=$SECONDS code=0
  shift
  printf '== %s\n' "$name"
  "$@" || code=$?
  if ((code != 0)); then
    printf '== %s failed (exit code %d) after %d s\n' "$name" "$code" $((SECONDS - started)) >&2
    exit "$code"
  fi
  stage_times+=("$(printf '%6d s  %s' $((SECONDS - started)) "$name")")
}

# The wall time of every stage so far, and of all together.
print_times() {
  printf '%s\n' "${stage_times[@]}"
  printf '%6d s  in all\n' "$SECONDS"
}

# install_packages NAME...: installs what is missing of these, with sudo when not root.
install_packages() {
  if ! command -v apt-get dpkg-query >/dev/null; then
    printf 'No apt here; these Debian packages are taken to be there under other names: %s\n' "$*"
    return 0
  fi
  local package missing=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    echo 'All packages are there.'
    return 0
  fi
  printf 'Installing Debian packages: %s\n' "${missing[*]}"
  local as_root=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      printf 'Neither root nor sudo: please install them and run this again.\n' >&2
      return 1
    fi
    as_root=(sudo)
  fi
  # A repository of the machine's own that does not answer must not stop the installation.
  "${as_root[@]}" apt-get -qq update || echo 'apt-get update was not complete; going on with the lists there are.'
  local log
  log=$(mktemp)
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends \
      -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 install "${missing[@]}" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    return 1
  fi
  grep -E '^(Need to get|[0-9]+ upgraded)' "$log" || true
  rm -f "$log"
}

# All cores that this process may use.
jobs=$(nproc 2>/dev/null || echo 2)
