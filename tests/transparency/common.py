"""What the suites share: a place to run a program in, and the table at the end."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SYSTEM_PYTHON = "/usr/bin/python3"

# Inside its namespaces every run sees the same folder and the same free ports, on both sides.
WORK = "/tmp/swagent-transparency"
PORTS = (21001, 21002, 21003)

_running = set()


def say(text):
    print(f"transparency: {text}", file=sys.stderr, flush=True)


def namespaces_allowed():
    ask = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x6c020000) != 0)"
    return subprocess.run([SYSTEM_PYTHON, "-c", ask]).returncode == 0


# ---- one run of one program ----


class Outcome:
    """What one run left behind: exit status, output, and the folder it worked in."""

    def __init__(self, rc, out, err, folder, seconds, timed_out):
        self.rc, self.out, self.err = rc, out, err
        self.folder, self.seconds, self.timed_out = folder, seconds, timed_out


class Stage:
    """Where programs run, without and with us. Everything goes away with it."""

    def __init__(self, lib, protocol="file"):
        self._scratch = tempfile.TemporaryDirectory(prefix="swagent-stage-", dir="/var/tmp",
                                                    ignore_cleanup_errors=True)
        self.scratch = Path(self._scratch.name)
        self.scratch.chmod(0o755)  # programs may give up root, and still need the library
        self.lib = self.scratch / "libswagent.so"
        shutil.copy(lib, self.lib)  # others may build while we run
        self.lib.chmod(0o755)
        self.protocol = protocol
        self.jailed = namespaces_allowed()
        self.records = self.scratch / "records"
        self.records.mkdir()
        self.records.chmod(0o1777)
        self._number = 0
        self._lock = threading.Lock()

    def environment(self, base, number):
        """The same on both sides; what differs is LD_PRELOAD alone."""
        own = {"SW_AGENT_PROTOCOL": self.protocol, "SW_AGENT_NAME": "transparency",
               "SW_AGENT_FILE_PATH": f"{self.records}/{number}-%p.jsonl"}
        if self.protocol == "grpc":  # nobody listens in there: refused, retried, given up at the end
            own["SW_AGENT_LOGGING_LEVEL"] = "off"
        return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8", "HOME": f"{WORK}/home", "TMPDIR": f"{WORK}/tmp",
                "TERM": "dumb", "TZ": "UTC", "USER": "root", "LOGNAME": "root",
                **{f"PORT{i or ''}": str(port) for i, port in enumerate(PORTS)},
                "SYSTEM_PYTHON": SYSTEM_PYTHON, **own, **base}

    def folder(self):
        with self._lock:
            self._number += 1
            folder = self.scratch / f"run-{self._number}"
        for name in "home", "tmp", "work":
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)
        return folder

    def run(self, argv, agent, env=None, timeout=60, stdin=b""):
        """argv in a folder, a process tree and a network of its own. Nothing outlives it."""
        folder = self.folder()
        (folder / "stdin").write_bytes(stdin)
        command = [SYSTEM_PYTHON, "-IS", HERE / "jail.py", folder, WORK,
                   self.lib if agent else "-", *argv]
        begin = time.monotonic()
        # Files and not pipes: a daemon that keeps them open does not keep us waiting.
        with open(folder / "stdin") as given, open(folder / "out", "wb") as out, \
                open(folder / "err", "wb") as err:
            process = subprocess.Popen([str(part) for part in command], stdin=given, stdout=out,
                                       stderr=err, env=self.environment(env or {}, folder.name), cwd="/",
                                       start_new_session=True)
            timed_out = wait(process, timeout)
        return Outcome(process.returncode, (folder / "out").read_bytes(),
                       (folder / "err").read_bytes(), folder, time.monotonic() - begin, timed_out)

    def drop(self, outcome):
        shutil.rmtree(outcome.folder, ignore_errors=True)

    def segments(self, run="*"):
        """How many segments the agent wrote so far, or in one run: proof of its presence."""
        files = list(self.records.glob(f"{run}-*"))
        return sum(file.read_bytes().count(b'{"kind":"segment"') for file in files), len(files)

    def close(self):
        self._scratch.cleanup()


def wait(process, timeout):
    """True: it ran too long. The jail's first process takes all others with it."""
    _running.add(process)
    try:
        process.wait(timeout)
        return False
    except subprocess.TimeoutExpired:
        return True
    finally:
        end(process)
        _running.discard(process)


def end(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def clean_up_on_signals(stage):
    """The jobs are threads that would go on to what is next, so we end without them."""
    def end_everything(number, _frame):
        for process in list(_running):
            end(process)
        stage.close()
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end_everything)


# ---- what comes out ----


class Case:
    """One thing compared: what each run without and each with us gave, in order."""

    def __init__(self, suite, name, without, with_us, note=""):
        self.suite, self.name, self.note = suite, name, note
        self.without, self.with_us = without, with_us

    @property
    def verdict(self):
        """Flaky is what gave the same on both sides at least once; its counts are listed."""
        if len(self.without) == 1 and self.without == self.with_us:
            return "same"
        return "flaky" if set(self.without) & set(self.with_us) else "differs"

    def counts(self):
        def count(values):
            return " ".join(f"{values.count(v)}x{v}" for v in sorted(set(values), key=str))
        return f"without: {count(self.without)}; with: {count(self.with_us)}"

    def as_json(self):
        return {"suite": self.suite, "name": self.name, "verdict": self.verdict,
                "without": self.without, "with": self.with_us, "note": self.note}


def matches(patterns, name):
    return not patterns or any(re.search(pattern, name) for pattern in patterns)


def table(head, rows):
    """Text columns: the first to the left, the rest to the right."""
    rows = [[str(cell) for cell in row] for row in [head] + rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                       for i, (cell, w) in enumerate(zip(row, widths))) for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)
