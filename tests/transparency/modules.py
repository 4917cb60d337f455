"""What the suites of test modules share: every test of a module, without us and with us.

A module runs once on each side, in a process of its own that writes one JSON line per test; again
where the sides differ, so that flaky tests are told apart. How the process ends and what it says
on stderr are compared as well.
"""

import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from common import WORK, Case, say, table

# Where a recorder writes, as it sees it.
OUTCOMES = f"{WORK}/outcomes"

# Lines of stderr that change from run to run though nothing happened.
STDERR_NOISE = re.compile(r"^\s*(File |at |0x|\^)|^\s*$")

# What is compared besides its tests.
OF_THE_MODULE = re.compile(r" \[\S+ (ends|says|left its environment)\]")


# ---- one module, once ----


def recorded(run):
    """{test: (outcome, detail)}; what began and did not end hung or died."""
    found = {}
    file = run.folder / "outcomes"
    for line in file.read_text().splitlines() if file.exists() else []:
        what = json.loads(line)
        found[what["test"]] = (what["outcome"], what.get("detail", ""))
    for test, (outcome, _) in found.items():
        if outcome == "started":
            found[test] = ("hung" if run.timed_out else "died", "")
    return found


def last_words(run, module):
    """The same for what it said on stderr and how it ended."""
    end = "hung" if run.timed_out else f"exit {run.rc}"
    error = run.err.decode(errors="replace")
    found = {f"[{module} ends]": (end, error[-2000:])}
    for line in sorted(set(map(normal, error.splitlines()))):
        if line:
            found[f"[{module} says] {line}"] = ("said", "")
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
    """One module of one title (an interpreter, a library), and what runs it."""

    def __init__(self, suite, title, module, argv, env=None):
        self.suite, self.title, self.module = suite, title, module
        self.argv, self.env = argv, env
        self.cases, self.segments = [], 0

    def __str__(self):
        return f"{self.title} {self.module}"

    def once(self, stage, agent, options):
        run = stage.run(self.argv, agent, env=self.env, timeout=options.timeout)
        found = recorded(run) | last_words(run, self.module)
        if OUTCOMES not in self.argv:  # a script is one test: it fails or not
            found[self.module] = ("ok" if run.rc == 0 else "fail", run.err.decode(errors="replace"))
        self.segments += stage.segments(run.folder.name)[0]
        stage.drop(run)
        return found

    def both(self, stage, options):
        return self.once(stage, False, options), self.once(stage, True, options)

    def compare(self, stage, options):
        rounds = [self.both(stage, options)]
        for _ in range(options.repeats):
            if not self.different(rounds):
                break
            rounds.append(self.both(stage, options))
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
        return Case(self.suite, f"{self.title} {test}", without, with_us, note)

    def summary(self):
        counts = Counter(case.verdict for case in self.cases)
        return ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))


def compared(units, stage, options, limit=float("inf")):
    """[what was not run and why]. No unit begins when so many seconds are over."""
    deadline = time.monotonic() + limit

    def compare(unit):
        if time.monotonic() > deadline:
            return f"{unit}: not begun within {limit} s"
        unit.compare(stage, options)
        return None if any(map(is_test, unit.cases)) else f"{unit}: no test in it"

    with ThreadPoolExecutor(options.jobs) as pool:
        return [reason for reason in pool.map(compare, units) if reason]


# ---- the table at the end ----


def is_test(case):
    return not OF_THE_MODULE.search(case.name)


def show(heading, done, row):
    """One row for all units of which row(unit) says the same."""
    rows = []
    for name in dict.fromkeys(map(row, done)):
        units = [unit for unit in done if row(unit) == name]
        cases = [case for unit in units for case in unit.cases]
        if cases:
            rows.append([name] + counts_of(cases) + [sum(unit.segments for unit in units)])
    return table([heading, "tests", "ok", "skipped", "fail anyway", "flaky", "differ", "segments"],
                 rows)


def counts_of(cases):
    tests = [case for case in cases if is_test(case)]
    plain = Counter(case.without[0] for case in tests if case.verdict == "same")
    verdicts = Counter(case.verdict for case in cases)
    ok = plain["ok"] + plain["expected"]
    anyway = sum(plain.values()) - ok - plain["skip"]
    return [len(tests), ok, plain["skip"], anyway, verdicts["flaky"], verdicts["differs"]]
