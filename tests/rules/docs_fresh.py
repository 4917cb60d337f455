#!/usr/bin/env python3
"""The generated pages are those that the tables give now, and so is what an OAP needs for our meters.

usage: docs_fresh.py TABLES ROOT

TABLES is the built docs/tables.c. The cure is: TABLES ROOT/docs/reference; TABLES oap ROOT/examples/oap
"""

import difflib
import subprocess
import sys
import tempfile
from pathlib import Path

from rulekit import finish


def pages(folder, pattern="*.md"):
    return {path.name: path.read_text() for path in sorted(Path(folder).glob(pattern))}


def compare(program, root, where, arguments, pattern):
    """(complaints, number of files): those that the program writes, and those in `where`."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, *arguments, folder], check=True)
        fresh = pages(folder, pattern)
    committed = pages(root / where, pattern)
    complaints = []
    for name in sorted(fresh.keys() | committed.keys()):
        if name not in committed:
            complaints.append(f"{where}/{name}: missing")
        elif name not in fresh:
            complaints.append(f"{where}/{name}: no table gives it")
        elif fresh[name] != committed[name]:
            diff = difflib.unified_diff(committed[name].splitlines(), fresh[name].splitlines(),
                                        "committed", "fresh", lineterm="", n=0)
            complaints.append(f"{where}/{name}: stale\n  " + "\n  ".join(list(diff)[:20]))
    return complaints, len(fresh)


def main():
    program, root = str(Path(sys.argv[1]).resolve()), Path(sys.argv[2])
    pages_found = compare(program, root, "docs/reference", [], "*.md")
    oap_found = compare(program, root, "examples/oap", ["oap"], "swagent*")
    finish(pages_found[0] + oap_found[0], pages_found[1] + oap_found[1])


main()
