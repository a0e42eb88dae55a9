"""Checks a page of documentation: its C++ blocks are the given source files word for word, in order, and its relative
links lead to files and headings that exist. With --python its Python blocks are written to FOLDER/snippet_1.py, ..., to be run.
Blocks in `c++` and `cpp` of docs/cookbook.md are a program of their own (cookbook.py).
Usage: check.py [--python FOLDER] PAGE SOURCE..."""
import pathlib
import re
import sys

arguments = sys.argv[1:]
snippet = None
if arguments[0] == "--python":
    snippet, arguments = pathlib.Path(arguments[1]), arguments[2:]
page, sources = pathlib.Path(arguments[0]), [pathlib.Path(path) for path in arguments[1:]]


def text_of(path):
    """Without code blocks, in which a # begins no heading."""
    return re.sub(r"```.*?```", "", path.read_text(), flags=re.S)


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", text_of(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


blocks = re.findall(r"```([\w+]+)\n(.*?)```", page.read_text(), re.S)
programs = [text for language, text in blocks if language == "cpp" and page.name != "cookbook.md"]
if len(programs) != len(sources):
    sys.exit(f"{page}: expected {len(sources)} cpp blocks, found {len(programs)}")
for program, source in zip(programs, sources):
    if program != source.read_text():
        sys.exit(f"{page}: expected a cpp block equal to {source}, found another text")
if snippet:
    for i, (_, text) in enumerate((block for block in blocks if block[0] == "python"), 1):
        (snippet / f"snippet_{i}.py").write_text(text)
for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    if "://" in link:
        continue
    if not target.exists():
        sys.exit(f"{page}: expected links to what exists, found {link}")
    if anchor and anchor not in anchors(target):
        sys.exit(f"{page}: expected a heading for {link} in {target}, found {sorted(anchors(target))}")
