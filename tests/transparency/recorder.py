"""Runs inside the interpreter under test: recorder.py OUT list MODULE | run MODULE [TEST...]

Appends one JSON line per test to OUT. Needs CPython 3.8 to 3.13 and nothing else. Opens OUT for
each line, because tests count descriptors and close what they do not know.
"""

import json
import os
import re
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
PID = os.getpid()

# What a test may use: regrtest calls this -u. "network" asks only whether one is there (there is none
# but loopback, which test_socketserver too calls so). No huge files, nothing that burns CPU.
RESOURCES = ["subprocess", "walltime", "network"]

# These wait for ever, without us too, when luck is against them; and why.
HANGS = {r"\.ThreadedVSOCKSocketStreamTest\.": "VSOCK is one for the whole machine; nobody answers",
         r"\.WithThreadsTestPool\.test_terminate$":
             "threads cannot be terminated, and its tasks sleep for minutes (CPython made it short)"}

# These look for just what we are there to do.
SEE_US = {r"\.test__pywsgi\.TestInvalidEnviron\.":
              "lists all headers that may arrive, and sw8 is not among them"}


def left_out(test):
    """Why a test is not run on either side, or None."""
    reasons = {**HANGS, **SEE_US}
    return next((why for pattern, why in reasons.items() if re.search(pattern, test.id())), None)


class Result(unittest.TestResult):
    """One outcome per test method; subtests that fail make their test fail."""

    def __init__(self, out):
        super().__init__()
        self.out, self.outcome, self.detail = out, None, ""

    def write(self, **what):
        if os.getpid() == PID:  # a test forked and its child came back here
            with open(self.out, "a") as file:
                file.write(json.dumps(what) + "\n")

    def note(self, outcome, detail=""):
        if self.outcome in (None, "ok"):
            self.outcome, self.detail = outcome, detail[-4000:]

    def startTest(self, test):
        super().startTest(test)
        self.outcome, self.detail = None, ""
        self.write(test=test.id(), outcome="started")

    def stopTest(self, test):
        super().stopTest(test)
        self.write(test=test.id(), outcome=self.outcome or "ok", detail=self.detail)

    def without_test(self, test, outcome, detail):
        """A class or module whose preparation failed or was skipped has no startTest."""
        if isinstance(test, unittest.TestCase):
            self.note(outcome, detail)
        else:
            self.write(test=test.id(), outcome=outcome, detail=detail[-4000:])

    def addSuccess(self, test):
        self.note("ok")

    def addError(self, test, err):
        super().addError(test, err)
        self.without_test(test, "error", self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note("fail", self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            kind = "fail" if issubclass(err[0], test.failureException) else "error"
            self.note(kind, f"{subtest}\n{self._exc_info_to_string(err, test)}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.without_test(test, "skip", reason)

    def addExpectedFailure(self, test, err):
        self.note("expected")

    def addUnexpectedSuccess(self, test):
        self.note("unexpected")


def every_test(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from every_test(test)
        else:
            yield test


def chosen(suite, names, result):
    tests = [test for test in every_test(suite) if not names or test.id() in names]
    for test in tests:
        if left_out(test):
            result.write(test=test.id(), outcome="skip", detail=left_out(test))
    return unittest.TestSuite(test for test in tests if not left_out(test))


# ---- which modules there are ----


def full_name(module):
    """Where a module of tests is: in CPython, else in our own stand-ins, else None."""
    import importlib.util
    for name in "test." + module, module:
        try:
            if importlib.util.find_spec(name):
                return name
        except ImportError:
            pass
    return None


def submodules(module):
    """Packages of tests are run module by module, as regrtest does from 3.12 on."""
    import importlib.util
    name = full_name(module)
    if name is None:
        return []
    folders = importlib.util.find_spec(name).submodule_search_locations
    if not folders:
        return [module]
    return [module + "." + file[:-3] for file in sorted(os.listdir(list(folders)[0]))
            if file.startswith("test_") and file.endswith(".py")]


def of_test_main(name):
    """What 3.8 would run: a module with test_main has base classes that are no tests."""
    from test import support
    import importlib
    module = importlib.import_module(name)
    if sys.version_info >= (3, 9) or not hasattr(module, "test_main"):
        return None
    given, real = [], support.run_unittest
    support.run_unittest = lambda *tests: given.extend(tests)
    try:
        module.test_main()
    finally:
        support.run_unittest = real
    if not given or not all(isinstance(test, type) for test in given):
        return None
    return unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, given))


def load(module, result):
    name = full_name(module)
    try:
        return of_test_main(name) or unittest.defaultTestLoader.loadTestsFromName(name)
    except unittest.SkipTest as skip:
        result.write(test=name, outcome="skip", detail=str(skip))
    return unittest.TestSuite()


def environment_of(module):
    """regrtest's own check of what a test leaves behind: threads, children, cwd, warnings ..."""
    from test.libregrtest.save_env import saved_test_environment
    if sys.version_info >= (3, 9):
        return saved_test_environment(module, False, False, pgo=False)
    return saved_test_environment(module, 0, False, pgo=False)


def run(out, module, names):
    from test import support
    support.use_resources = RESOURCES
    support.verbose = False
    result = Result(out)
    with environment_of(module) as environment:
        chosen(load(module, result), names, result).run(result)
    changed = getattr(environment, "changed", False) or \
        getattr(support, "environment_altered", False)
    result.write(test=f"[{module} left its environment]",
                 outcome="changed" if changed else "unchanged")


def main():
    out, what, module, names = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    sys.argv[1:] = []  # tests read it
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != HERE]
    sys.path.append(os.path.join(HERE, "standins"))
    if what == "list":
        from test import support  # the least that all of them need
        print(*submodules(module), sep="\n")
    else:
        run(out, module, set(names))


if __name__ == "__main__":
    main()
