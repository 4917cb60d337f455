#!/usr/bin/env python3
"""How long functions and files are.

usage: functions.py ROOT

A function is what stands between a brace alone at the start of a line and the brace that closes it
there; its length is the lines in between and both braces. More than 70 is a failure, more than 40
a note. A file has at most 800 lines. "long on purpose: REASON" in a comment inside lets a function
pass.
"""

import re

from rulekit import PRODUCT, files, finish, root_argument

FUNCTION_MAX = 70
FUNCTION_NOTE = 40
FILE_MAX = 800
FOLDERS = PRODUCT + ("docs", "tests", "examples")


def name_before(lines, brace):
    """The name of the function whose body opens at lines[brace]."""
    for i in range(brace - 1, max(brace - 8, -1), -1):
        match = re.match(r"[A-Za-z_].*?(\w+)\s*\(|(\w+)\s*\(", lines[i])
        if match and not lines[i].startswith("#"):
            return match.group(1) or match.group(2)
    return "?"


def functions(lines):
    """(name, first line number, length, excuse) of each body."""
    start = None
    for i, line in enumerate(lines):
        if line == "{" and start is None:
            start = i
        elif line.startswith("}") and start is not None:
            body = "\n".join(lines[start:i + 1])
            yield name_before(lines, start), start + 1, i - start + 1, "long on purpose:" in body
            start = None


def main():
    root = root_argument()
    complaints, notes, count = [], [], 0
    for source in files(root, FOLDERS, {".c", ".h", ".S"}):
        lines = (root / source).read_text().rstrip("\n").split("\n")
        if len(lines) > FILE_MAX:
            complaints.append(f"{source}: {len(lines)} lines, more than {FILE_MAX}")
        for name, number, length, excused in functions(lines):
            count += 1
            if length > FUNCTION_MAX and not excused:
                complaints.append(f"{source}:{number}: {name}: {length} lines, more than {FUNCTION_MAX}")
            elif length > FUNCTION_NOTE:
                notes.append(f"note: {source}:{number}: {name}: {length} lines")
    for note in notes:
        print(note)
    finish(complaints, count)


main()
