"""CPython's own regression tests: every test method, without us and with us.

They look closely: for threads, descriptors and children left over, signals, errno, exit codes,
what a forked child sees. What differs is repeated, so that flaky tests are told apart.
"""

import glob
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from common import HERE, WORK, Case, matches, say, table

NAME = "cpython"
VERSIONS = ["3.8", "3.11", "3.12", "3.13"]
MODULES = ["test_asyncio", "test_concurrent_futures", "test_eintr", "test_faulthandler",
           "test_fcntl", "test_httplib", "test_httpservers", "test_io",
           "test_multiprocessing_fork", "test_multiprocessing_forkserver",
           "test_multiprocessing_spawn", "test_os", "test_posix", "test_select", "test_selectors",
           "test_signal", "test_socket", "test_socketserver", "test_ssl", "test_subprocess",
           "test_threading"]
QUICK_MODULES = ["test_httpservers", "test_select", "test_socketserver"]
RECORDER = HERE / "recorder.py"
REPEATS = 3

# Lines of stderr that change from run to run though nothing happened.
STDERR_NOISE = re.compile(r"^\s*(File |at |0x|\^)|^\s*$")


# ---- interpreters ----


def asked(python, *arguments):
    """What the recorder says inside an interpreter. RuntimeError: it cannot be asked."""
    try:
        got = subprocess.run([python, RECORDER, "-", *arguments], capture_output=True, text=True,
                             timeout=60, cwd="/")
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(str(error)) from None
    if got.returncode:
        raise RuntimeError((got.stderr.strip().split("\n") or ["?"])[-1])
    return got.stdout.split()


def candidates(version):
    found = sorted(glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python3")))
    found = found[-1:] + [f"/usr/bin/python{version}", shutil.which(f"python{version}")]
    return [path for path in dict.fromkeys(found) if path and os.path.exists(path)]


class Interpreter:
    """One CPython, with those of the wanted test modules that it brings."""

    def __init__(self, title, path, wanted):
        self.title, self.path = title, path
        self.modules = {module: asked(path, "list", module) for module in wanted}

    def lacks(self):
        return [module for module, found in self.modules.items() if not found]


def best(title, paths, wanted):
    """(the interpreter with most of the tests, or None; what is missing and why)."""
    found, reasons = [], []
    for path in paths:
        try:
            found.append(Interpreter(title, path, wanted))
        except RuntimeError as error:
            reasons.append(f"{path}: {error}")
    if not found:
        return None, [f"{title}: " + ("; ".join(reasons) or "no such interpreter")]
    chosen = min(found, key=lambda one: len(one.lacks()))
    return chosen, [f"{title}: {chosen.path} lacks {module}" for module in chosen.lacks()]


def interpreters(options):
    """([Interpreter], [what is missing and why])."""
    wanted = QUICK_MODULES if options.quick else MODULES
    if options.interpreter:
        paths = {path: [shutil.which(path) or path] for path in options.interpreter}
    else:
        paths = {version: candidates(version) for version in VERSIONS}
    pairs = [best(title, paths[title], wanted) for title in paths]
    return [one for one, _ in pairs if one], [reason for _, more in pairs for reason in more]


# ---- one module, once ----


def last_words(python, module, names, stage, agent, timeout):
    """{test: (outcome, detail)} of one run, with what it said on stderr and how it ended."""
    run = stage.run([python, RECORDER, f"{WORK}/outcomes", "run", module, *names], agent,
                    timeout=timeout)
    found = {}
    file = run.folder / "outcomes"
    for line in file.read_text().splitlines() if file.exists() else []:
        what = json.loads(line)
        found[what["test"]] = (what["outcome"], what.get("detail", ""))
    for test, (outcome, _) in found.items():
        if outcome == "started":  # and not ended
            found[test] = ("hung" if run.timed_out else "died", "")
    end = "hung" if run.timed_out else f"exit {run.rc}"
    error = run.err.decode(errors="replace")
    found[f"[{module} ends]"] = (end, error[-2000:])
    for line in sorted(set(map(normal, error.splitlines()))):
        if line:
            found[f"[{module} says] {line}"] = ("said", "")
    stage.drop(run)
    return found


def normal(line):
    """A line of stderr without what changes by itself. Empty: not worth comparing."""
    if STDERR_NOISE.search(line):
        return ""
    line = re.sub(r"0x[0-9a-f]+|/psm_[0-9a-f]+", "..", line)
    return re.sub(r"\d+", "#", line)[:200]


def outcome_of(found, test):
    return found.get(test, ("silent" if "says]" in test else "absent", ""))


# ---- compared ----


class Unit:
    """One module of one interpreter: run on both sides, again where they differ."""

    def __init__(self, title, python, module):
        self.title, self.python, self.module = title, python, module
        self.cases, self.seconds = [], 0

    def __str__(self):
        return f"{self.title} {self.module}"

    def once(self, stage, agent, options):
        return last_words(self.python, self.module, [], stage, agent, options.timeout)

    def compare(self, stage, options):
        rounds = [(self.once(stage, False, options), self.once(stage, True, options))]
        for _ in range(options.repeats):
            if not self.different(rounds):
                break
            rounds.append((self.once(stage, False, options), self.once(stage, True, options)))
        self.cases = [self.case(test, rounds) for test in self.tests(rounds)]
        say(f"{self}: {self.summary()}")
        return self

    def tests(self, rounds):
        return sorted({test for pair in rounds for side in pair for test in side})

    def different(self, rounds):
        """Tests that never yet were the same on both sides."""
        return [test for test in self.tests(rounds)
                if self.case(test, rounds).verdict == "differs"]

    def case(self, test, rounds):
        without = [outcome_of(pair[0], test)[0] for pair in rounds]
        with_us = [outcome_of(pair[1], test)[0] for pair in rounds]
        if set(without) == set(with_us) and len(set(without)) == 1:
            without, with_us = without[:1], with_us[:1]
        note = next((outcome_of(side, test)[1] for pair in rounds for side in reversed(pair)
                     if outcome_of(side, test)[0] not in ("ok", "skip")), "")
        return Case(NAME, f"{self.title} {test}", without, with_us, note)

    def summary(self):
        counts = Counter(case.verdict for case in self.cases)
        return ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))


def units(options):
    """([Unit], [what is missing])."""
    found, missing = interpreters(options)
    if options.quick:
        found = found[:1]
    all_units = [Unit(one.title, one.path, module) for one in found
                 for modules in one.modules.values() for module in modules]
    return [unit for unit in all_units if matches(options.only, str(unit))], missing


def names(options):
    found, missing = units(options)
    return [str(unit) for unit in found], missing


def run(stage, options):
    """([Case], [what was skipped and why])."""
    found, missing = units(options)
    if options.quick and not found:
        return [], missing
    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(lambda unit: unit.compare(stage, options), found))
    print(show(done))
    return [case for unit in done for case in unit.cases], missing


def show(done):
    rows = []
    for title in dict.fromkeys(unit.title for unit in done):
        for module in dict.fromkeys(unit.module.split(".")[0] for unit in done):
            cases = [case for unit in done for case in unit.cases
                     if unit.title == title and unit.module.split(".")[0] == module]
            if cases:
                rows.append([f"{title} {module}"] + row_of(cases))
    return table(["CPython's tests", "tests", "ok", "skipped", "fail anyway", "flaky", "differ"],
                 rows)


def row_of(cases):
    tests = [case for case in cases if "[" not in case.name]
    plain = Counter(case.without[0] for case in tests if case.verdict == "same")
    verdicts = Counter(case.verdict for case in cases)
    ok = plain["ok"] + plain["expected"]
    anyway = sum(plain.values()) - ok - plain["skip"]
    return [len(tests), ok, plain["skip"], anyway, verdicts["flaky"], verdicts["differs"]]
