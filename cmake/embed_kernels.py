#!/usr/bin/env python3
"""Makes include/maa/backend/cuda/kernels_text.hpp: kernels.cuh and the files it includes, as text for NVRTC.

Usage: embed_kernels.py [--check]. With --check nothing is written; the exit code is 1 if the file is not up to date.
"""
import pathlib
import re
import sys

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "include/maa/backend/cuda"
SOURCE = FOLDER / "kernels.cuh"
RESULT = FOLDER / "kernels_text.hpp"
PIECE = 50_000  # compilers need not accept literals of more than 65,536 characters
DELIMITER = "maa"
WIDTH = 100


def lines_of(path):
    """The file's lines with its own includes in place; without comments, blanks and what is for other compilers."""
    for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        if '"' not in line:
            line = re.sub(r"\s*//.*", "", line)
        elif re.match(r"\s*//", line):
            continue
        line = line.strip()
        included = re.fullmatch(r'#include "(.*)"', line)
        if included:
            yield from lines_of(path.parent / included[1])
        elif f"){DELIMITER}\"" in line:
            sys.exit(f"{path}:{number}: ends a raw string")
        elif line and line != "#pragma once":
            yield line


def packed(lines):
    """The same text in fewer, longer lines; a directive keeps its line and those that it goes on in."""
    text, goes_on = "", False
    for line in lines:
        if goes_on or line.startswith("#"):
            yield from filter(None, [text, line])
            text, goes_on = "", line.endswith("\\")
        elif text and len(text) + len(line) >= WIDTH:
            yield text
            text = line
        else:
            text = f"{text} {line}".strip()
    yield from filter(None, [text])


def main():
    pieces = [""]
    for line in packed(lines_of(SOURCE)):
        if len(pieces[-1]) + len(line) > PIECE:
            pieces.append("")
        pieces[-1] += line + "\n"
    literals = ",\n".join(f'R"{DELIMITER}({piece}){DELIMITER}"' for piece in pieces)
    text = f"""\
// Made by cmake/embed_kernels.py from kernels.cuh; not to be edited.
#pragma once

#include <maa/core/config.hpp>

#include <string_view>

// clang-format off
MAA_NAMESPACE_BEGIN
namespace cuda {{

// One after the other they are the text.
inline constexpr std::string_view kernels_text_pieces[] = {{
{literals}}};

}}  // namespace cuda
MAA_NAMESPACE_END
"""
    if sys.argv[1:] == ["--check"]:
        if not RESULT.exists() or RESULT.read_text(encoding="ascii") != text:
            sys.exit(f"{RESULT.name} is not up to date: run python3 cmake/embed_kernels.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        RESULT.write_text(text, encoding="ascii")


main()
