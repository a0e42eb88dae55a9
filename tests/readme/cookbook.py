"""Makes docs/cookbook.md a program: its `c++` blocks are declarations, each heading's `cpp` blocks a function, called in
their order; training is short. So is the README's indented block on interfaces, whose `...` stand for numbers.
Usage: cookbook.py PAGE README OUT_FOLDER, which gets cookbook.cpp and cookbook.c."""
import pathlib
import re
import sys

page, readme, folder = map(pathlib.Path, sys.argv[1:])
PROTOZERO = "__has_include(<protozero/pbf_builder.hpp>)"
includes, declarations, functions, c_parts = [], [], [], []
for section in re.split(r"^## ", page.read_text(), flags=re.M)[1:]:
    title = section.partition("\n")[0]
    statements, guarded = [], False
    for language, code in re.findall(r"^```(\S+)\n(.*?)^```", section, re.S | re.M):
        if language == "c++":
            guarded = guarded or "onnx" in code
            for line in code.splitlines(True):
                (includes if line.startswith("#include") else declarations).append(
                    f"#if {PROTOZERO}\n{line}#endif\n" if "onnx" in line else line)
        elif language == "cpp":
            statements.append(code.replace("maa::BehaviorRecipe recipe;\n", "maa::BehaviorRecipe recipe;\nshorten(recipe);\n"))
        elif language == "c":
            c_parts.append(code)
    if statements:
        functions.append((title, "".join(statements), guarded))

interface = "".join(re.findall(r"^    (dataset\.interface.*\n)", readme.read_text(), re.M)).replace("...", "{}")
functions.append(("README: interface", "maa::Dataset dataset;\n" + interface, False))

text = "// Made of docs/cookbook.md by tests/readme/cookbook.py.\n" + "".join(includes)
text += """#include <maa/io/c_header.hpp>

#include <filesystem>
#include <iostream>

namespace {

[[maybe_unused]] void shorten(maa::BehaviorRecipe& recipe) {
  for (auto* train : {&recipe.embedder.train, &recipe.behavior.train}) {
    train->steps = 5;
    train->batch = 4;
  }
}

""" + "".join(declarations)
for i, (title, code, guarded) in enumerate(functions):
    condition = f"#if {PROTOZERO}\n" if guarded else ""
    text += f"\n// {title}\nvoid recipe_{i}() {{\n{condition}{code}{condition and '#endif' + chr(10)}}}\n"
text += "\n}  // namespace\n\nint main() {\n" + "".join(
    f'  std::cout << "== {title}\\n";\n  recipe_{i}();\n' for i, (title, _, _) in enumerate(functions)) + "}\n"


def write(name, content):
    """Leaves an equal file as it is: nothing is compiled again."""
    path = folder / name
    if not path.exists() or path.read_text() != content:
        path.write_text(content)


write("cookbook.cpp", text)
write("cookbook.c", "".join(c_parts))
