#!/usr/bin/env bash
# From a fresh Debian 12 to reinforcement-learned policies of the hidden-goal reacher, and from those to generated ones:
# installs the packages it needs, builds, runs, and writes out/reacher/report.html. --help lists the options; all of them
# are passed on to the program, which has more.
name=reacher
time='about seven minutes'
source "$(dirname "${BASH_SOURCE[0]}")/learned.sh"
