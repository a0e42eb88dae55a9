"""Checks the README's snippets: the C++ one is the file examples/ten_lines/main.cpp word for word; the Python one is
printed to a file to be run. Usage: check.py README SOURCE [SNIPPET_OUT]"""
import pathlib
import re
import sys

readme = pathlib.Path(sys.argv[1]).read_text()
blocks = dict.fromkeys(("cpp", "python"))
for language, text in re.findall(r"```(\w+)\n(.*?)```", readme, re.S):
    if language in blocks and blocks[language] is None:
        blocks[language] = text
source = pathlib.Path(sys.argv[2]).read_text()
if blocks["cpp"] != source:
    sys.exit(f"{sys.argv[1]}: expected its first cpp block to be {sys.argv[2]}, found another text")
if len(sys.argv) > 3:
    if blocks["python"] is None:
        sys.exit(f"{sys.argv[1]}: expected a python block, found none")
    pathlib.Path(sys.argv[3]).write_text(blocks["python"])
