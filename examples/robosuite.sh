#!/usr/bin/env bash
# The same for robosuite as examples/metaworld.sh does: trained on one arm's tasks, shown another arm's.
name=robosuite
example='--seed 1 --without head'
source "$(dirname "${BASH_SOURCE[0]}")/staged.sh"
