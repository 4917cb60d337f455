#!/usr/bin/env python3
"""What the built library shows and needs.

usage: exports.py LIBRARY ROOT

Exported names are those of hooks/hooks.def and swagent_version, no more, no less. It needs libc
alone, by public symbols. It cannot be unloaded, is bound at load, and has no executable stack.
Not meant for sanitizer builds, which need their own runtime.
"""

import re
import subprocess
import sys
from pathlib import Path

from rulekit import finish, read_table

LIBC = re.compile(r"libc\.so\.6|ld-linux-[a-z0-9_-]+\.so\.[12]")

# Weak names that the compiler's start files ask for; absent is fine.
START_FILES = {"_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__gmon_start__"}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check_exports(library, root):
    rows = read_table(root / "hooks" / "hooks.def")
    wanted = {row.columns[2] for row in rows if row.macro.startswith("SW_HOOK")} | {"swagent_version"}
    have = set()
    for line in output("nm", "-D", "--defined-only", library).splitlines():
        name = line.split()[-1]
        if line.split()[1] != "A":  # a version's own name
            have.add(name.split("@")[0])
    return [f"{name}: a row of hooks.def, not exported" for name in sorted(wanted - have)] + \
        [f"{name}: exported, but no row of hooks.def" for name in sorted(have - wanted)], len(wanted)


def check_undefined(library, root):
    """CPython's are weak: empty where the program is none."""
    python = {row.columns[1] for table in sorted((root / "hooks" / "python").glob("*.def"))
              for row in read_table(table) if row.macro == "SW_PY"}
    complaints = []
    for line in output("nm", "-D", "--undefined-only", library).splitlines():
        kind, name = line.split()
        plain, _, version = name.partition("@")
        if version.startswith("GLIBC_PRIVATE"):
            complaints.append(f"{plain}: a private symbol of libc")
        elif kind == "w" and plain in python:
            continue
        elif not version.startswith("GLIBC_") and plain not in START_FILES:
            complaints.append(f"{plain}: undefined, and not libc's (nm says {kind})")
    return complaints


def check_dynamic(library):
    text = output("readelf", "-dW", library)
    complaints = []
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", text):
        if not LIBC.fullmatch(name):
            complaints.append(f"needs {name}; only libc is allowed")
    flags = " ".join(re.findall(r"\((?:FLAGS|FLAGS_1|BIND_NOW)\)(.*)", text))
    if "NOW" not in flags and "(BIND_NOW)" not in text:
        complaints.append("not linked with -z now")
    if "NODELETE" not in flags:
        complaints.append("not linked with -z nodelete")
    if "(TEXTREL)" in text:
        complaints.append("has text relocations")
    if re.search(r"\((RPATH|RUNPATH)\)", text):
        complaints.append("has a run path")
    return complaints


def check_segments(library):
    stacks = [line for line in output("readelf", "-lW", library).splitlines() if "GNU_STACK" in line]
    if not stacks:
        return ["says nothing of its stack: it would be executable"]
    return ["has an executable stack" for line in stacks if "E" in line.split()[-2]]


def main():
    library, root = sys.argv[1], Path(sys.argv[2])
    complaints, checked = check_exports(library, root)
    complaints += check_undefined(library, root) + check_dynamic(library) + check_segments(library)
    finish(complaints, checked)


main()
