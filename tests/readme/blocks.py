"""Checks that every code block of the pages, fenced or indented, is one that tests run or check, and checks here what needs
no compiler: scripts and options of shell lines, folders of the layer map. Writes blocks for CMake to OUT_FOLDER/N, each
with a program, to be configured against an installed copy. Usage: blocks.py OUT_FOLDER PAGE..."""
import pathlib
import re
import shutil
import sys

out, pages = pathlib.Path(sys.argv[1]), [pathlib.Path(page) for page in sys.argv[2:]]
ROOT = pathlib.Path.cwd()
# By page and language: the test that runs it.
FENCED = {
    ("README.md", "cpp"): "readme.text",
    ("docs/cuda.md", "cpp"): "docs.cuda",
    ("docs/formats.md", "python"): "docs.python",
    ("examples/python/README.md", "python"): "test_page.py",
    **{("docs/cookbook.md", language): "docs.cookbook" for language in ("c++", "cpp", "c", "sh")},
    ("docs/cookbook.md", "python"): "test_page.py",
}
SOURCES = [path for folder in ("examples", "tests", "benchmarks", "cmake") for path in (ROOT / folder).rglob("*")
           if path.suffix in (".sh", ".cpp", ".hpp", ".py", ".txt", ".toml")]
KNOWN = " ".join(path.read_text(errors="ignore") for path in SOURCES)
PROGRAMS = {"cmake", "ctest", "pip", "python3"}


def blocks(text):
    """(line number, language or none, code)"""
    lines, at = text.split("\n"), 0
    while at < len(lines):
        if lines[at].startswith("```"):
            end = next(i for i in range(at + 1, len(lines)) if lines[i].startswith("```"))
            yield at + 1, lines[at][3:], "\n".join(lines[at + 1:end]) + "\n"
            at = end
        elif lines[at].startswith("    ") and lines[at].strip() and (not lines[at - 1].strip() or lines[at - 1][0] == "#"):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield at + 1, None, "\n".join(line[4:] for line in lines[at:end]).rstrip() + "\n"
            at = end - 1
        at += 1


def is_cmake(code):
    return all(re.match(r"(find_package|target_link_libraries)\(", line) for line in code.splitlines())


def is_shell(code):
    return all(re.match(r"(bash |cmake |ctest |pip |python3 |build/|\s)", line) for line in code.splitlines()) \
        and not code[0].isspace()


def check_shell(code, where):
    for line in re.sub(r"\\\n\s*", "", code).splitlines():
        for command in re.sub(r"\s#.*", "", line).split(" && "):
            words = command.split()
            script = words[1] if words[0] in ("bash", "python3") else words[0]
            if script.startswith("build/"):  # BUILD/examples/NAME/NAME, BUILD/tests/NAME_test
                name = script.rsplit("/", 1)[1]
                found = (ROOT / "examples" / name / "main.cpp").exists() or (ROOT / "tests" / f"{name}.cpp").exists()
            else:
                found = script in PROGRAMS or (ROOT / script).exists()
            if not found:
                sys.exit(f"{where}: expected a program or a script, found {script}")
            for option in (word for word in words if word.startswith("--")):
                if words[0] not in PROGRAMS - {"python3"} and f'{option}"' not in KNOWN and f"{option})" not in KNOWN \
                        and not re.search(rf"{option}[ =,)\"']", KNOWN):
                    sys.exit(f"{where}: expected an option of {script}, found {option}")
            for value in re.findall(r"cmake\.define\.(\w+)", command):
                if value not in KNOWN:
                    sys.exit(f"{where}: expected a define of the package, found {value}")


def check_layers(code, where):
    for line in code.splitlines():
        for name in re.findall(r"([\w/]+(?:\.hpp|/))(?= |$)", re.split(r"  +", line)[0] + " "):
            if not (ROOT / "include/maa" / name).exists():
                sys.exit(f"{where}: expected a folder or header of include/maa, found {name}")


def write_cmake(code, number):
    folder = out / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.cpp").write_text("#include <maa/policy.hpp>\nint main() { return maa::MetaWorldPolicy::action_size == 4 ? 0 : 1; }\n")
    (folder / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.21)\nproject(user LANGUAGES CXX)\n"
                                           f"add_executable(yours main.cpp)\n{code}")


shutil.rmtree(out, ignore_errors=True)
counts, number = {}, 0
for page in pages:
    for line, language, code in blocks(page.read_text()):
        where = f"{page}:{line}"
        if language is not None:
            claim = FENCED.get((str(page), language))
        elif is_cmake(code):
            claim, number = "docs.cmake", number + 1
            write_cmake(code, f"cuda_{number}" if "cuda" in code else number)
        elif is_shell(code):
            check_shell(code, where)
            claim = "names of scripts and options"
        elif page.name == "README.md" and code.startswith("dataset.interface."):
            claim = "docs.cookbook"
        elif page.name == "HACKING.md" and "generator.hpp" in code:
            check_layers(code, where)
            claim = "names of headers"
        elif page.name in ("method.md", "kernels.md") and re.search("=|->", code) and not re.search(r"[;{}]$|::|#", code, re.M):
            claim = "formula"
        else:
            claim = None
        if claim is None:
            sys.exit(f"{where}: expected a block that a test runs (tests/readme/blocks.py), found:\n{code}")
        counts[claim] = counts.get(claim, 0) + 1
print(", ".join(f"{claim}: {count}" for claim, count in sorted(counts.items())))
