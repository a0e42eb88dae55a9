#!/usr/bin/env bash
# Makes the virtual environment with the simulator: MetaWorld 3.1.1 on MuJoCo 3.3.0, and what they need, in the versions
# that results were measured with. Usage: bash examples/metaworld/make_venv.sh [FOLDER] (default build/metaworld/venv)
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder

if [[ ${1:-} == -h || ${1:-} == --help || $# -gt 1 ]]; then
  sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"
  exit $(($# > 1))
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=${1:-$root/build/metaworld/venv}
python=/usr/bin/python3
# gymnasium imports packaging without asking for it.
packages=(metaworld==3.1.1 mujoco==3.3.0 gymnasium==1.4.0 numpy==2.4.6 scipy==1.17.1 imageio==2.38.1 packaging)

is_complete() {
  [[ -x $folder/bin/python3 ]] && "$folder/bin/python3" -I - "${packages[@]}" <<'TEXT' 2>/dev/null
import importlib.metadata
import sys

for package in sys.argv[1:]:
    name, _, version = package.partition("==")
    found = importlib.metadata.version(name)
    if version and found != version:
        sys.exit(1)
import metaworld
TEXT
}

if is_complete; then
  echo "The virtual environment $folder is complete."
  exit 0
fi
if ! "$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "$python must be Python 3.11 or later with the module venv (Debian's python3-venv)." >&2
  exit 1
fi
echo "Making the virtual environment $folder with $("$python" --version)"
# A folder that is something else is left alone.
if [[ -e $folder && ! -e $folder/pyvenv.cfg && -n $(ls -A "$folder") ]]; then
  echo "$folder is there and is no virtual environment." >&2
  exit 1
fi
"$python" -m venv "$folder"
echo "Installing ${packages[*]}"
"$folder/bin/python3" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
if ! is_complete; then
  echo "The packages are installed but metaworld cannot be imported:" >&2
  "$folder/bin/python3" -I -c 'import metaworld' >&2 || true
  exit 1
fi
echo "Done: $(du -sh "$folder" | cut -f1) in $folder"
