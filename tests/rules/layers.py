#!/usr/bin/env python3
"""Who may include what, and how includes are written.

usage: layers.py ROOT

hooks -> preload <- proto <- reporter; reporter may use preload too; hooks and reporter never meet.
The sampler, a thread of ours, looks at the program as hooks do.
Tables (.def) are the only thing that points up. A parser is a pure function and sees only its
contract and pure codecs. Own header first, then <system>, then ours, each group sorted.
"""

import re

from rulekit import PRODUCT, files, finish, root_argument

MAY = {
    "preload": {"preload"},
    "hooks": {"hooks", "preload"},
    "proto": {"proto", "preload"},
    "reporter": {"reporter", "preload", "proto"},
    "sampler": {"sampler", "hooks", "preload"},
}

# What a parser may see, besides headers of its own name (http1.c: http1_head.h).
PARSER_MAY = {"hooks/parser.h", "preload/bytes.h", "proto/h2.h", "proto/hpack.h"}

# preload/ turns rows of these tables into symbols; it includes no header of hooks/.
POINTS_UP = {"hooks/hooks.def"}

INCLUDE = re.compile(r'\s*#\s*include\s+(?:<([^>]+)>|"([^"]+)")')


def includes(path):
    """(line number, name, is system) of each include."""
    found = []
    for number, line in enumerate(path.read_text().split("\n"), 1):
        match = INCLUDE.match(line)
        if match:
            found.append((number, match.group(1) or match.group(2), match.group(1) is not None))
    return found


def parser_of(source):
    """'http1' for hooks/parsers/http1.c and hooks/parsers/http1_head.c, else None."""
    if source.parts[:2] != ("hooks", "parsers"):
        return None
    return source.stem.split("_")[0]


def check_arrow(root, source, name):
    folder = name.split("/")[0]
    if "/" not in name or folder not in MAY:
        return "not written from the root of the tree"
    if name.endswith(".pb-c.h"):
        return None if source.parts[0] == "proto" and source.suffix == ".c" else \
            "generated messages stay inside proto/*.c"
    if not (root / name).is_file():
        return "there is no such file"
    parser = parser_of(source)
    if parser:
        own = re.fullmatch(rf"hooks/parsers/{re.escape(parser)}(_\w+)?\.h", name)
        return None if own or name in PARSER_MAY else "a parser may see only its contract and pure codecs"
    if folder in MAY[source.parts[0]] or name in POINTS_UP:
        return None
    return f"{source.parts[0]}/ may not include {folder}/"


def check_order(source, found):
    """Own header, <system>, ours; each group sorted. Tables stand where they are expanded."""
    complaints = []
    headers = [entry for entry in found if not entry[1].endswith(".def")]
    own = str(source.with_suffix(".h"))
    if source.suffix == ".c" and any(name == own for _, name, _ in headers):
        if headers[0][1] != own:
            complaints.append((headers[0][0], f"own header {own} does not come first"))
        headers = [entry for entry in headers if entry[1] != own]
    seen_ours = False
    for number, name, system in headers:
        if system and seen_ours:
            complaints.append((number, f"<{name}> comes after headers of ours"))
        seen_ours |= not system
    for wanted in (True, False):
        group = [entry for entry in headers if entry[2] == wanted]
        for before, after in zip(group, group[1:]):
            if after[1] < before[1]:
                complaints.append((after[0], f"{after[1]} is not sorted: it comes after {before[1]}"))
    return complaints


def main():
    root = root_argument()
    complaints = []
    sources = files(root, PRODUCT, {".c", ".h", ".S"})
    for source in sources:
        found = includes(root / source)
        for number, name, system in found:
            if system:
                continue
            why = check_arrow(root, source, name)
            if why:
                complaints.append(f'{source}:{number}: "{name}": {why}')
        complaints += [f"{source}:{number}: {why}" for number, why in check_order(source, found)]
    finish(complaints, len(sources))


main()
