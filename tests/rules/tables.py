#!/usr/bin/env python3
"""The shape of the tables, and the files that their rows promise.

usage: tables.py ROOT

A row is one macro call on one line; all rows of one macro have as many columns; the last one is a
sentence. Rows are sorted where the table's own comment says "sorted by ...". Nothing appears twice.
"""

import re

from rulekit import is_string, files, finish, read_table, root_argument, unquote

TABLES = (
    "preload/config.def",
    "preload/counters.def",
    "preload/modules.def",
    "preload/tags.def",
    "preload/tallies.def",
    "hooks/hooks.def",
    "hooks/parsers.def",
    "hooks/python/api.def",
    "hooks/python/awaits.def",
    "hooks/python/collector.def",
    "hooks/python/frames.def",
    "hooks/python/frames_api.def",
    "hooks/python/patches.def",
    "reporter/formats.def",
    "reporter/kinds.def",
    "reporter/logs/layouts.def",
    "reporter/loops.def",
    "reporter/meter_sources.def",
    "reporter/meters.def",
    "reporter/others.def",
    "reporter/plugins.def",
    "reporter/transports.def",
)

# Rows that are no line of a manual of their own.
WITHOUT_SENTENCE = {"SW_ALIAS", "SW_PY", "SW_FRAMES", "SW_AWAITS"}

# What identifies a row: its column, by macro; the first one where nothing is said.
KEY_COLUMN = {"SW_KEY": 2, "SW_HOOK": 2, "SW_HOOK_FD": 2, "SW_HOOK_PLAIN": 2, "SW_HOOK_MANUAL": 2, "SW_HOOK_FOREIGN": 2,
              "SW_PY": 1}

# "Sorted by X": which column of a row X is.
SORT_COLUMN = {"environment name": {"SW_KEY": 2}, "identifier": {}, "name": {}}

# Sources of preload/ and proto/ that have no unit test of their own, and why.
UNTESTED = {
    "preload/agent.c": "load, fork and exit exist only in a loaded library: tests/preloaded",
    "preload/exports.c": "symbols exist only in a loaded library: tests/preloaded, exports.py",
    "preload/exports_manual.c": "symbols exist only in a loaded library: tests/preloaded",
    "preload/exports_variadic.c": "symbols exist only in a loaded library: tests/preloaded",
    "preload/real.c": "what it finds depends on being preloaded: tests/preloaded",
}


def check_rows(table, rows):
    complaints, width, seen = [], {}, {}
    for row in rows:
        where = f"{table}:{row.line}"
        if width.setdefault(row.macro, len(row.columns)) != len(row.columns):
            complaints.append(f"{where}: {len(row.columns)} columns where other rows of {row.macro} "
                              f"have {width[row.macro]}")
        last = row.columns[-1]
        if row.macro not in WITHOUT_SENTENCE and not (is_string(last) and last.endswith('."')):
            complaints.append(f"{where}: the last column is no sentence ending with a full stop")
        key = unquote(row.columns[KEY_COLUMN.get(row.macro, 0)])
        if key in seen:
            complaints.append(f"{where}: {key} appears already in line {seen[key]}")
        seen[key] = row.line
    return complaints


def check_sorted(table, path, rows):
    said = re.search(r"sorted\s+by\s+([a-z ]+?)\s*\.", path.read_text(), re.I)
    if not said:
        return []
    columns = SORT_COLUMN.get(said.group(1).lower())
    if columns is None:
        return [f"{table}: sorted by {said.group(1)}? tests/rules/tables.py does not know what that is"]
    rows = [row for row in rows if not columns or row.macro in columns]
    complaints = []
    for before, after in zip(rows, rows[1:]):
        a, b = (unquote(r.columns[columns.get(r.macro, 0)]) for r in (before, after))
        if b < a:
            complaints.append(f"{table}:{after.line}: not sorted: {b} comes after {a}")
    return complaints


def check_config(table, rows):
    """An alias stands for a key; a default lies within its range."""
    complaints = []
    names = {unquote(row.columns[2]) for row in rows if row.macro == "SW_KEY"}
    for row in rows:
        where = f"{table}:{row.line}"
        if row.macro == "SW_ALIAS" and unquote(row.columns[1]) not in names:
            complaints.append(f"{where}: {row.columns[0]} stands for no key")
        if row.macro == "SW_ALIAS" and unquote(row.columns[0]) in names:
            complaints.append(f"{where}: {row.columns[0]} is a key itself")
        if row.macro != "SW_KEY" or len(row.columns) != 7:
            continue
        kind, value, least, most = row.columns[0], *row.columns[3:6]
        if kind == "number" and not int(least) <= int(value) <= int(most):
            complaints.append(f"{where}: the default {value} is not within {least}..{most}")
        if kind == "text" and len(unquote(value).encode()) > int(most):
            complaints.append(f"{where}: the default is longer than {most} bytes")
    return complaints


def check_promises(root, tables):
    complaints = []

    def want(row, path):
        if not (root / path).exists():
            complaints.append(f"row {row.columns[0]}: {path} is missing")

    for row in tables.get("hooks/parsers.def", []):
        want(row, f"hooks/parsers/{row.columns[0]}.c")
        want(row, f"tests/parsers/{row.columns[0]}")
    for row in tables.get("reporter/transports.def", []):
        want(row, f"reporter/transport_{row.columns[0]}.c")
    for row in tables.get("reporter/formats.def", []):
        want(row, f"reporter/encode_{row.columns[0]}.c")
    for row in tables.get("reporter/loops.def", []):
        want(row, f"reporter/loop_{row.columns[0]}.c")
    for row in tables.get("reporter/meter_sources.def", []):
        want(row, f"reporter/meters_{row.columns[0]}.c")
    for row in tables.get("reporter/plugins.def", []):
        want(row, f"reporter/plugins/{row.columns[0]}/meson.build")
    for row in tables.get("hooks/hooks.def", []):
        if row.macro not in ("SW_HOOK_MANUAL", "SW_HOOK_FOREIGN"):
            want(row, f"hooks/{row.columns[0]}.c")
    return complaints


def check_tests(root):
    complaints = []
    for source in files(root, ("preload", "proto"), {".c"}):
        test = root / "tests" / source.parent / f"test_{source.name}"
        excused = str(source) in UNTESTED
        if not test.exists() and not excused:
            complaints.append(f"{source}: {test.relative_to(root)} is missing")
        if test.exists() and excused:
            complaints.append(f"{source}: has a test now; take it off the list in tests/rules/tables.py")
    return complaints


def main():
    root = root_argument()
    complaints, tables, count = [], {}, 0
    for table in TABLES:
        path = root / table
        if not path.exists():
            complaints.append(f"{table} is missing")
            continue
        rows = tables[table] = read_table(path, complaints)
        count += len(rows)
        complaints += check_rows(table, rows) + check_sorted(table, path, rows)
    complaints += check_config("preload/config.def", tables.get("preload/config.def", []))
    known = {str(p) for p in files(root, ("preload", "hooks", "proto", "reporter"), {".def"})}
    complaints += [f"{t}: a table that tests/rules/tables.py does not know" for t in sorted(known - set(TABLES))]
    complaints += check_promises(root, tables) + check_tests(root)
    finish(complaints, count)


main()
