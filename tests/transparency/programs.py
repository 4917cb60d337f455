"""Everyday programs: what they print, how they end and what they leave behind, without and with us.

One row per scenario, in rows_*.py; what a row may say is in row.py.
"""

import fnmatch
import hashlib
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import rows_data
import rows_servers
import rows_system
import rows_tools
from common import HERE, Case, matches, say, table

NAME = "programs"
ROWS = rows_tools.ROWS + rows_system.ROWS + rows_data.ROWS + rows_servers.ROWS


# ---- what is there ----


def installed():
    got = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n"],
                         capture_output=True, text=True)
    return {line.split()[1] for line in got.stdout.splitlines() if line.startswith("installed ")}


def chosen(options):
    """([row], [what cannot run and why])."""
    there, rows, missing = installed(), [], []
    for row in ROWS:
        if not matches(options.only, row.name) or (options.quick and not row.quick):
            continue
        lacking = [package for package in row.packages.split() if package not in there]
        if lacking:
            missing.append(f"{row.name}: {', '.join(lacking)} not installed "
                           "(.ci/prepare transparency)")
        else:
            rows.append(row)
    return rows, missing


def names(options):
    rows, missing = chosen(options)
    return [row.name for row in rows], missing


# ---- what a run left ----


def any_match(patterns, path):
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def about(path, row, relative):
    """One line about a file: kind, mode, owner, and its contents unless the row says not to."""
    status = os.lstat(path)
    line = f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"
    if os.path.islink(path):
        return f"{line} -> {os.readlink(path)}"
    if os.path.isfile(path) and not any_match(row.loose, relative):
        content = normal(open(path, "rb").read(), row.rules)
        return f"{line} {len(content)} bytes {hashlib.sha256(content).hexdigest()[:16]}"
    return line


def left_behind(folder, row):
    found = {}
    for top in "work", "home", "tmp":
        for where, folders, files in os.walk(folder / top):
            for name in folders + files:
                path = os.path.join(where, name)
                relative = os.path.relpath(path, folder)
                if not any_match(row.forget, relative):
                    found[relative] = about(path, row, relative)
    return found


def normal(text, rules):
    for pattern, replacement in rules:
        text = re.sub(pattern.encode(), replacement.encode(), text, flags=re.MULTILINE)
    return text


class Seen:
    """What is compared of one run."""

    def __init__(self, row, outcome):
        self.parts = {"exit": "hung" if outcome.timed_out else str(outcome.rc),
                      "stdout": normal(outcome.out, row.rules),
                      "stderr": normal(outcome.err, row.rules)}
        self.parts |= {f"file {name}": what for name, what in
                       left_behind(outcome.folder, row).items()}

    def key(self):
        return hashlib.sha256(repr(sorted(self.parts.items())).encode()).hexdigest()[:6]


def differences(without, with_us):
    """The parts that differ, both sides, for a reader."""
    lines = []
    for part in sorted(without.parts.keys() | with_us.parts.keys()):
        a, b = without.parts.get(part, "not there"), with_us.parts.get(part, "not there")
        if a != b:
            lines += [f"{part}:"] + contrast(shown(a), shown(b))
    return "\n".join(lines)


def shown(value):
    return (value.decode(errors="replace") if isinstance(value, bytes) else value).splitlines()


def contrast(a, b):
    only_a = [line for line in a if line not in b][:12] or ["(all of it is there too)"]
    only_b = [line for line in b if line not in a][:12] or ["(all of it is there too)"]
    return [f"  without: {line[:300]}" for line in only_a] + \
           [f"  with:    {line[:300]}" for line in only_b]


def transcript(row, seen):
    """All of a run: does the row do what it is meant to?"""
    yield f"==== {row.name}: exit {seen.parts['exit']}"
    for part, value in seen.parts.items():
        if part in ("stdout", "stderr"):
            yield from (f"{part}: {line}" for line in shown(value))
        elif part.startswith("file"):
            yield f"{part} {value}"


# ---- compared ----


def script_of(row):
    return (HERE / "helpers.sh").read_text() + row.script


def once(row, stage, agent):
    run = stage.run(["/bin/bash", "-c", script_of(row), row.name.replace(" ", "-")], agent,
                    timeout=row.timeout)
    seen = Seen(row, run)
    seen.seconds = run.seconds
    stage.drop(run)
    return seen


def compare(row, stage, options):
    without, with_us = [once(row, stage, False)], [once(row, stage, True)]
    note = differences(without[0], with_us[0])
    for _ in range(options.repeats):
        if {seen.key() for seen in without} & {seen.key() for seen in with_us}:
            break
        without.append(once(row, stage, False))
        with_us.append(once(row, stage, True))
    keys = [[seen.key() for seen in side] for side in (without, with_us)]
    case = Case(NAME, row.name, *keys, note)
    case.exits = with_us[0].parts["exit"]
    case.stable = len(set(keys[0])) == 1
    case.seconds = [without[0].seconds, with_us[0].seconds]
    say(f"{row.name}: {case.verdict}")
    if options.verbose:
        print("\n".join(transcript(row, with_us[-1])))
    return case


def run(stage, options):
    """([Case], [what was skipped and why])."""
    if not stage.jailed:
        return [], ["all: they need namespaces of their own (root)"]
    rows, missing = chosen(options)
    with ThreadPoolExecutor(options.jobs) as pool:
        cases = list(pool.map(lambda row: compare(row, stage, options), rows))
    print(show(cases))
    return cases, missing


def show(cases):
    return table(["programs", "without", "with", "exit", "verdict"],
                 [[case.name, f"{case.seconds[0]:.1f} s", f"{case.seconds[1]:.1f} s", case.exits,
                   case.verdict] for case in cases])
