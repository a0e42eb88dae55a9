"""Doxygen's INPUT_FILTER: the comments of the headers as it reads them. Before a declaration, or behind it on its line, a
comment is its documentation, and that of what follows without an empty line; before an empty line it is none's, but for a
file's first. A field that the comment of its type names is documented there. Usage: doxygen_filter.py HEADER"""
import re
import sys

# The same everywhere.
KNOWN = (
    (re.compile(r"\bdescribe(_structure)?\(Visitor& visit"), "Shows `visit` every field by name (core/options.hpp)."),
    (re.compile(r"\boperator==\("), "Whether all members are equal."),
    (re.compile(r"\bnames_of\("), "The names of the enumeration's values, in order."),
)
FIELD = re.compile(r"^\s+(?!using|return|friend)[\w:<>*&., ()]+?[ &*](\w+)(?:\{.*\};| = .*[;{]|;)$|^\s+using (\w+) = .*;$")
SEVERAL = re.compile(r"^(\s+[\w:<>]+) (\w+), (\w+);\s*(?:// (.*))?$")
TRAILING = re.compile(r"^(?!\s*#)(\s*[^\s\"]+[^\"]*[;,{}]\s*)//(?!/) ")


def indent(line):
    return len(line) - len(line.lstrip())


def is_comment(line):
    return line.lstrip().startswith("//")


def paragraph_end(lines, at):
    """The line behind the declarations that begin at `at`: an empty line, but in a body, or a comment, a preprocessor line
    or an access specifier of their indentation, or the brace that closes what they are in."""
    own = indent(lines[at])
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            following = next((later for later in lines[at:] if later.strip()), "")
            if indent(following) <= own:
                return at
        elif indent(line) < own or indent(line) == own and (is_comment(line) or line.lstrip().startswith("#")):
            return at
        at += 1
    return at


def declarations(lines, begin, end):
    """How many declarations of the paragraph's own indentation there are."""
    count, before = 0, ";"
    for line in lines[begin:end]:
        code = re.sub(r"\s*//.*", "", line)
        if indent(line) == indent(lines[begin]) and before.endswith((";", "}")) and not code.lstrip().startswith("}"):
            count += 1
        before = code.rstrip() or before
    return count


def without_comment(line, named, documented):
    """A line that no comment is before."""
    several = SEVERAL.match(line)
    if several:
        kind, first, second, text = several.groups()
        text = text or (f"As described at {named[0]}." if named and first in named[1] else None)
        return f"{kind} {first}; /**< {text} */ {kind.strip()} {second}; /**< {text} */" if text else line
    if TRAILING.match(line):
        return TRAILING.sub(r"\1///< ", line)
    for pattern, text in KNOWN:
        if pattern.search(line):
            return f"/** {text} */ {line}"
    field = FIELD.match(line)
    if field and named and not documented and (field.group(1) or field.group(2)) in named[1]:
        return f"/** As described at {named[0]}. */ {line}"
    return line


def converted(lines, named=None, documented=False):
    """`named`: the type around the lines and the words of its comment. `documented`: a comment is before them."""
    result, at, first, body = [], 0, named is None, None
    own = indent(lines[0]) if lines else 0
    while at < len(lines):
        line = lines[at]
        if not is_comment(line):
            opens = re.match(r"(?:struct|class) (\w+)", line.lstrip())
            if opens and line.rstrip().endswith("{"):
                end = next(i for i in range(at + 1, len(lines)) if indent(lines[i]) == indent(line) and lines[i].strip())
                words = set(re.findall(r"\w+", " ".join(body or [])))
                inside = lines[at + 1:end]
                result.extend([line, *converted(inside, (opens.group(1), words))])
                at, body = end, None
                continue
            result.append(without_comment(line, named, documented))
            at += 1
            continue
        end = at
        while end < len(lines) and is_comment(lines[end]) and indent(lines[end]) == indent(line):
            end += 1
        block = [text.replace("//", "///", 1) for text in lines[at:end]]
        behind = lines[end] if end < len(lines) else ""
        if first and behind.startswith("#pragma once"):
            result.extend(["/// \\file", *block])
        elif not behind.strip() or behind.lstrip().startswith(("#", "}", "MAA_NAMESPACE")):
            result.extend(lines[at:end])
        else:
            stop = paragraph_end(lines, end)
            head = re.match(r"(template <.*>)?$", behind.strip()) and end + 1 < len(lines) and lines[end + 1] or behind
            if re.match(r"\s*(struct|class) ", head):
                result.extend([*block, *lines[end:lines.index(head, end)]])
                body, at, first = block, lines.index(head, end), False
                continue
            if declarations(lines, end, stop) > 1:
                result.extend([*block, "/// @{", *converted(lines[end:stop], named or ("", set()), True), "/// @}"])
            else:
                result.extend([*block, *converted(lines[end:stop], named or ("", set()), True)])
            end = stop
        first = False
        at = end
    return result


print("\n".join(converted(open(sys.argv[1], encoding="utf-8").read().split("\n"))))
