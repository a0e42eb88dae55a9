"""Checks the README's snippets: its C++ blocks are the given source files word for word, in order; its first Python
block is written to a file, to be run. Usage: check.py README SNIPPET_OUT SOURCE..."""
import pathlib
import re
import sys

readme = pathlib.Path(sys.argv[1]).read_text()
blocks = re.findall(r"```(\w+)\n(.*?)```", readme, re.S)
programs = [text for language, text in blocks if language == "cpp"]
sources = [pathlib.Path(path) for path in sys.argv[3:]]
if len(programs) != len(sources):
    sys.exit(f"{sys.argv[1]}: expected {len(sources)} cpp blocks, found {len(programs)}")
for program, source in zip(programs, sources):
    if program != source.read_text():
        sys.exit(f"{sys.argv[1]}: expected a cpp block equal to {source}, found another text")
snippets = [text for language, text in blocks if language == "python"]
if not snippets:
    sys.exit(f"{sys.argv[1]}: expected a python block, found none")
pathlib.Path(sys.argv[2]).write_text(snippets[0])
