#!/usr/bin/env bash
# Makes the virtual environment with the simulator: robosuite 1.5.2 on MuJoCo 3.3.0, and what they need, in the versions
# that results were measured with. Usage: bash examples/robosuite/make_venv.sh [FOLDER] (default build/robosuite/venv)
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder

if [[ ${1:-} == -h || ${1:-} == --help || $# -gt 1 ]]; then
  sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"
  exit $(($# > 1))
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$root/examples/python_bridge/make_venv.sh"
make_venv "${1:-$root/build/robosuite/venv}" robosuite \
  robosuite==1.5.2 mujoco==3.3.0 numpy==1.26.4 scipy==1.17.1 numba==0.68.1 opencv-python==4.11.0.86
