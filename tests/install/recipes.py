"""Checks what packages and citations say beside CMake: versions and dependencies as there. With Conan installed its recipe
is read by it. Usage: recipes.py VERSION, in the checkout."""
import json
import pathlib
import re
import shutil
import subprocess
import sys

version = sys.argv[1]
packaging = pathlib.Path("cmake/packaging")
NAMES = {"TBB": ("tbb", "onetbb"), "Eigen3": ("eigen3", "eigen"), "MaaXtensor": ("xtensor",) * 2,
         "MaaRapidJSON": ("rapidjson",) * 2, "MaaLibzip": ("libzip",) * 2}


def expect(found, expected, what):
    if found != expected:
        sys.exit(f"{what}: expected {expected}, found {found}")


needed = re.findall(r"set\(maa_(?:config|module)_packages ([^)]*)\)", pathlib.Path("cmake/maa-dependencies.cmake").read_text())
needed = set(" ".join(needed).split())
expect(needed, set(NAMES), "maa-dependencies.cmake")

citation = pathlib.Path("CITATION.cff").read_text()
expect(re.findall(r"^version: (.*)$", citation, re.M), [version], "CITATION.cff, version")
for key in ("cff-version: 1.2.0", "message: ", "title: ", "authors:\n  - "):
    expect(f"\n{key}" in f"\n{citation}", True, f"CITATION.cff, {key}")
try:
    import yaml
except ImportError:
    pass
else:
    expect(yaml.safe_load(citation)["references"][0]["year"], 2024, "CITATION.cff, year of the paper")

port = json.loads((packaging / "vcpkg/maa/vcpkg.json").read_text())
expect(port["version"], version, "vcpkg.json, version")
names = [entry if isinstance(entry, str) else entry["name"] for entry in port["dependencies"]]
expect({name for name in names if not name.startswith("vcpkg-")}, {NAMES[name][0] for name in needed}, "vcpkg.json")
expect(names, sorted(names), "vcpkg.json, order")

recipe = packaging / "conan/conanfile.py"
text = recipe.read_text()
compile(text, str(recipe), "exec")
expect(set(re.findall(r'"(\w+)/(?:\[|cci)', text)), {NAMES[name][1] for name in needed}, str(recipe))
options = pathlib.Path("CMakeLists.txt").read_text() + " MAA_COMPILED_LIBRARY"
for name in re.findall(r"-D(MAA_\w+)=", (packaging / "vcpkg/maa/portfile.cmake").read_text()):
    expect(f"option({name} " in options or f"set({name} " in options, True, f"portfile.cmake, {name}")
if shutil.which("conan"):
    found = subprocess.run(["conan", "inspect", str(recipe.parent), "--format=json"], capture_output=True, text=True)
    expect(json.loads(found.stdout)["version"] if found.returncode == 0 else found.stderr, version, "conan inspect")
