#!/usr/bin/env bash
# From a fresh Debian 12 to generated policies acting in MetaWorld: installs the packages it needs, makes a virtual
# environment with the simulator, builds, collects, trains, evaluates, and writes a report. --help lists the options.
name=metaworld
example='--preset best --seed 1 --prompts 100'
source "$(dirname "${BASH_SOURCE[0]}")/staged.sh"
