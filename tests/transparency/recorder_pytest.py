"""Runs one file of pytest tests inside the interpreter under test: recorder_pytest.py OUT FILE

Appends one JSON line per test to OUT, as recorder.py does. The file's library says in its
pytest.ini how its tests want to run; what is for its developers is left out: coverage, reports.
"""

import json
import os
import sys

import pytest

OWN = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "--strict-markers",
       "-m", "not dev_mode and not autobahn and not internal"]


class Recorder:
    """One outcome per test, the worst of its preparation, itself, and its tidying up."""

    def __init__(self, out):
        self.out, self.pid = out, os.getpid()
        self.outcome, self.detail = "ok", ""

    def write(self, **what):
        if os.getpid() == self.pid:
            with open(self.out, "a") as file:
                file.write(json.dumps(what) + "\n")

    def pytest_runtest_logstart(self, nodeid):
        self.outcome, self.detail = "ok", ""
        self.write(test=nodeid, outcome="started")

    def pytest_runtest_logreport(self, report):
        if self.outcome == "ok" and outcome_of(report) != "ok":
            self.outcome, self.detail = outcome_of(report), str(report.longrepr)[-4000:]

    def pytest_runtest_logfinish(self, nodeid):
        self.write(test=nodeid, outcome=self.outcome, detail=self.detail)

    def pytest_collectreport(self, report):
        if report.outcome != "passed":  # a whole file that cannot be imported
            self.write(test=f"{report.nodeid} (as a whole)",
                       outcome="skip" if report.skipped else "error",
                       detail=str(report.longrepr)[-4000:])


def outcome_of(report):
    if hasattr(report, "wasxfail"):
        return "expected" if report.skipped else "unexpected"
    if report.failed:
        return "fail" if report.when == "call" else "error"
    return "skip" if report.skipped else "ok"


if __name__ == "__main__":
    OUT, FILE = sys.argv[1:]
    # A short folder: its tests bind sockets to paths in there.
    folder = f"--basetemp={os.path.dirname(OUT)}/t"
    sys.exit(pytest.main([*OWN, folder, FILE], plugins=[Recorder(OUT)]))
