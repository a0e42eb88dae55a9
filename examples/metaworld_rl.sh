#!/usr/bin/env bash
# From a fresh Debian 12 to reinforcement-learned policies in MetaWorld, and from those to generated ones.
name=metaworld_rl
time='a time that nobody has measured: only --smoke was run'
venv=examples/metaworld/make_venv.sh
source "$(dirname "${BASH_SOURCE[0]}")/learned.sh"
