#!/usr/bin/env bash
# The same for the tabletop tasks as examples/reacher.sh does: out/tabletop_rl/report.html.
name=tabletop_rl
minutes=five
source "$(dirname "${BASH_SOURCE[0]}")/learned.sh"
