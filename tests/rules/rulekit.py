"""What the rule scripts share: walking the tree, reading tables, complaining."""

import re
import sys
from pathlib import Path

# The folders whose content becomes the library.
PRODUCT = ("preload", "hooks", "proto", "reporter", "sampler")


def files(root, folders, suffixes):
    """Paths relative to root, sorted, of files with one of the suffixes."""
    found = []
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and path.suffix in suffixes:
                found.append(path.relative_to(root))
    return found


def finish(complaints, checked):
    """Prints the list and ends the process. A rule that looked at nothing has failed too."""
    if not checked:
        complaints = ["nothing was found to check"]
    for complaint in complaints:
        print(complaint)
    print(f"{checked} checked, {len(complaints)} complaints")
    sys.exit(1 if complaints else 0)


def without_comments(text):
    """The text with /* */ comments blanked, lines kept."""
    return re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def split_columns(inner):
    """Splits 'a, (b, c), "d, e"' at the commas that are neither in brackets nor in a string."""
    columns, depth, quoted, start, i = [], 0, False, 0, 0
    while i < len(inner):
        c = inner[i]
        if quoted:
            if c == "\\":
                i += 1
            elif c == '"':
                quoted = False
        elif c == '"':
            quoted = True
        elif c == "(":
            depth += 1
        elif c == ")":
            depth -= 1
            if depth < 0:
                return None
        elif c == "," and depth == 0:
            columns.append(inner[start:i].strip())
            start = i + 1
        i += 1
    if depth or quoted:
        return None
    columns.append(inner[start:].strip())
    return columns


class Row:
    def __init__(self, line, macro, columns):
        self.line, self.macro, self.columns = line, macro, columns


def read_table(path, complaints=None):
    """The rows of a .def file. What is neither row, comment nor blank becomes a complaint."""
    rows = []
    complaints = [] if complaints is None else complaints
    text = without_comments(path.read_text())
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip()
        if not line.strip():
            continue
        match = re.fullmatch(r"(SW_[A-Z_]+)\((.*)\)", line)
        columns = split_columns(match.group(2)) if match else None
        if not columns:
            complaints.append(f"{path}:{number}: not one macro call on one line: {line.strip()[:60]}")
            continue
        rows.append(Row(number, match.group(1), columns))
    return rows


def is_string(column):
    return len(column) >= 2 and column[0] == '"' and column[-1] == '"'


def unquote(column):
    return column[1:-1] if is_string(column) else column


def root_argument():
    return Path(sys.argv[1]).resolve()
