#!/usr/bin/env python3
"""The generated pages are those that the tables give now.

usage: docs_fresh.py TABLES ROOT

TABLES is the built docs/tables.c. The cure is: TABLES ROOT/docs/reference
"""

import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

from rulekit import finish


def pages(folder):
    return {path.name: path.read_text() for path in sorted(Path(folder).glob("*.md"))}


def main():
    program, root = str(Path(sys.argv[1]).resolve()), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, folder], check=True)
        fresh = pages(folder)
    committed = pages(root / "docs" / "reference")
    complaints = []
    for name in sorted(fresh.keys() | committed.keys()):
        if name not in committed:
            complaints.append(f"docs/reference/{name}: missing")
        elif name not in fresh:
            complaints.append(f"docs/reference/{name}: no table gives this page")
        elif fresh[name] != committed[name]:
            diff = difflib.unified_diff(committed[name].splitlines(), fresh[name].splitlines(),
                                        "committed", "fresh", lineterm="", n=0)
            complaints.append(f"docs/reference/{name}: stale\n  " + "\n  ".join(list(diff)[:20]))
    finish(complaints, len(fresh))


main()
