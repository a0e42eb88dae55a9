#!/usr/bin/env bash
# The same for the tabletop tasks as examples/reacher.sh does: out/tabletop_rl/report.html.
name=tabletop_rl
time='about five minutes'
source "$(dirname "${BASH_SOURCE[0]}")/learned.sh"
