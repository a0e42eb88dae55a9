# Sourced by the scripts that make a simulator's virtual environment. Needs Debian's python3-venv.

# make_venv FOLDER MODULE PACKAGE...: the packages, of which MODULE can be imported then, in a virtual environment; nothing
# if it is complete.
make_venv() {
  local folder=$1 module=$2 python=/usr/bin/python3
  shift 2
  local packages=("$@")

  is_complete() {
    [[ -x $folder/bin/python3 ]] && "$folder/bin/python3" -I - "$module" "${packages[@]}" <<'TEXT' >/dev/null 2>&1
import importlib
import importlib.metadata
import sys

for package in sys.argv[2:]:
    name, _, version = package.partition("==")
    found = importlib.metadata.version(name)
    if version and found != version:
        sys.exit(1)
importlib.import_module(sys.argv[1])
TEXT
  }

  if is_complete; then
    echo "The virtual environment $folder is complete."
    return 0
  fi
  if ! "$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "$python must be Python 3.11 or later with the module venv (Debian's python3-venv)." >&2
    return 1
  fi
  echo "Making the virtual environment $folder with $("$python" --version)"
  # A folder that is something else is left alone.
  if [[ -e $folder && ! -e $folder/pyvenv.cfg && -n $(ls -A "$folder") ]]; then
    echo "$folder is there and is no virtual environment." >&2
    return 1
  fi
  "$python" -m venv "$folder"
  echo "Installing ${packages[*]}"
  "$folder/bin/python3" -m pip install --quiet --disable-pip-version-check "${packages[@]}"
  if ! is_complete; then
    echo "The packages are installed but $module cannot be imported:" >&2
    "$folder/bin/python3" -I -c "import $module" >&2 || true
    return 1
  fi
  echo "Done: $(du -sh "$folder" | cut -f1) in $folder"
}
