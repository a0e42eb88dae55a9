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
source "$root/examples/python_bridge/make_venv.sh"
# gymnasium imports packaging without asking for it.
make_venv "${1:-$root/build/metaworld/venv}" metaworld \
  metaworld==3.1.1 mujoco==3.3.0 gymnasium==1.4.0 numpy==2.4.6 scipy==1.17.1 imageio==2.38.1 packaging
