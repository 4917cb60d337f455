"""CPython's own regression tests: every test method, without us and with us.

They look closely: for threads, descriptors and children left over, signals, errno, exit codes,
what a forked child sees. What differs is repeated, so that flaky tests are told apart.
"""

import glob
import os
import shutil
import subprocess

import modules
from common import HERE, matches

NAME = "cpython"
VERSIONS = ["3.8", "3.11", "3.12", "3.13"]
MODULES = ["test_asyncio", "test_concurrent_futures", "test_context", "test_eintr",
           "test_faulthandler", "test_fcntl", "test_httplib", "test_httpservers", "test_io",
           "test_multiprocessing_fork", "test_multiprocessing_forkserver",
           "test_multiprocessing_spawn", "test_os", "test_posix", "test_select", "test_selectors",
           "test_signal", "test_socket", "test_socketserver", "test_ssl", "test_subprocess",
           "test_threading"]
QUICK_MODULES = ["test_httpservers", "test_select", "test_socketserver"]
RECORDER = HERE / "recorder.py"


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


# ---- compared ----


def units(options):
    """([modules.Unit], [what is missing])."""
    found, missing = interpreters(options)
    if options.quick:
        found = found[:1]
    all_units = [modules.Unit(NAME, one.title, module,
                              [one.path, RECORDER, modules.OUTCOMES, "run", module])
                 for one in found for parts in one.modules.values() for module in parts]
    return [unit for unit in all_units if matches(options.only, str(unit))], missing


def names(options):
    found, missing = units(options)
    return [str(unit) for unit in found], missing


def run(stage, options):
    """([Case], [what was skipped and why])."""
    found, missing = units(options)
    if options.quick and not found:
        return [], missing
    idle = modules.compared(found, stage, options)
    print(modules.show("CPython's tests", found,
                       lambda unit: f"{unit.title} {unit.module.split('.')[0]}"))
    return [case for unit in found for case in unit.cases], missing + idle
