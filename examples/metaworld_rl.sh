#!/usr/bin/env bash
# From a fresh Debian 12 to reinforcement-learned policies in MetaWorld, and from those to generated ones.
name=metaworld_rl
time='25 minutes'
venv=examples/metaworld/make_venv.sh
source "$(dirname "${BASH_SOURCE[0]}")/learned.sh"
