"""Runs one server under test, with or without the agent, and its cells one after another."""

import itertools
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path

import judge
import probe
from load import Load
from matrix import LIMITS, MIXED, RIGHT, SLOW
from venvs import HERE

APPS = HERE / "apps"
CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent",
         "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
         "PYTHONPATH": str(APPS)}
PATIENCE = 15  # seconds for calls and segments that come after the answers
START = 60


@dataclass
class Cell:
    interpreter: str
    server: str
    client: str
    expected: str
    counts: dict = field(default_factory=dict)
    calls: int = 0
    errors: list = field(default_factory=list)
    examples: dict = field(default_factory=dict)
    seconds: float = 0
    without: bool = False

    @property
    def name(self):
        return f"{self.interpreter}/{self.server}/{self.client}"

    @property
    def verdict(self):
        """ok, or the first thing that must not be."""
        if self.errors:
            return "ERROR"
        if self.without:
            return "ok"
        for what in ("wrong", "lost", "bare", "none"):
            if self.counts.get(what) and not (what == "none" and self.expected != RIGHT):
                return what.upper()
        return "ok" if self.calls else "ERROR"

    def json(self):
        return {**asdict(self), "verdict": self.verdict}


def free_port():
    """Below 32768, where no outgoing connection takes it before its server does."""
    while True:
        number = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", number))
                return number
            except OSError:
                pass


def listening(port):
    """Looking is better than connecting: it leaves the server alone."""
    for line in open("/proc/net/tcp"):
        words = line.split()
        if words[3] == "0A" and words[1].endswith(f":{port:04X}"):
            return True
    return False


def fetch(port, path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read()


class Program:
    """A process in a session of its own, which ends with all that it started."""

    guard = None  # the run's

    def __init__(self, argv, port, env, log):
        self.port, self.log = port, log
        with open(log, "wb") as out:
            self.process = subprocess.Popen(argv, env=env, cwd=APPS, stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=out, start_new_session=True)
        self.guard.say("+", self.process.pid)

    def wait(self):
        deadline = time.monotonic() + START
        while not listening(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("did not start")
            time.sleep(0.05)

    def said(self):
        return self.log.read_text(errors="replace").strip()[-3000:]

    def stop(self):
        """As an administrator would. Returns its exit status, or None if it had to be killed."""
        try:
            self.process.terminate()
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.guard.say("-", self.process.pid)


class Downstream:
    """One for all cells."""

    def __init__(self, folder):
        self.port = free_port()
        self.program = Program([sys.executable, str(HERE / "downstream.py"), str(self.port)],
                               self.port, CLEAN, folder / "downstream.log")
        self.program.wait()

    def take(self, prefix):
        return json.loads(fetch(self.port, f"/take/{prefix}"))


class Stage:
    """One server with one interpreter."""

    numbers = itertools.count(1)

    def __init__(self, server, interpreter, run, folder, options):
        self.server, self.interpreter, self.downstream = server, interpreter, run.downstream
        self.stores = run.stores.ports() if server.stores else {}
        self.options, self.id = options, next(Stage.numbers)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.id}-", dir=folder))
        self.segments = judge.Segments(self.folder)
        self.probe = probe.Probe(self.folder / "probe")
        self.port, self.side = free_port(), free_port()
        self.programs = []

    def start(self, python):
        words = {"python": python, "venv": python.parent.parent, "apps": APPS, "port": self.port,
                 "side": self.side}
        for argv, agent in self.server.beside:
            self.programs.append(self.launch(argv, words, agent, None))
        self.program = self.launch(self.server.argv, words, True, self.port)
        self.programs.append(self.program)

    def launch(self, argv, words, agent, port):
        env = {**CLEAN, "CTX_DOWN": str(self.downstream.port), "CTX_SIDE": str(self.side),
               **self.server.env}
        env["PATH"] = f"{words['python'].parent}:{env['PATH']}"
        env.update({f"CTX_{name.upper()}": str(there) for name, there in self.stores.items()})
        if agent and not self.options.without:
            env.update(self.agent())
        log = self.folder / f"program-{len(self.programs)}.log"
        return Program([word.format(**words) for word in shlex.split(argv)], port, env, log)

    def agent(self):
        env = {"LD_PRELOAD": self.options.lib, "SW_AGENT_PROTOCOL": "file", "SW_AGENT_NAME": "ctx",
               "SW_AGENT_FILE_PATH": str(self.folder / "%p.jsonl")}
        if self.stores:
            env.update({"LD_PRELOAD": self.options.probe, "SW_PROBE_FILE": str(self.probe.file),
                        "SW_PROBE_PORTS": ",".join(map(str, self.stores.values())),
                        "SW_PROBE_OWN": str(self.port)})
        return env

    def run(self, clients):
        """A generator of cells."""
        python = self.interpreter.venv(self.server.groups, self.server.extra) / "bin" / "python"
        self.start(python)
        try:
            self.program.wait()
            fetch(self.port, "/ping")
        except (OSError, RuntimeError) as error:
            for program in self.programs:
                program.kill()
            yield self.failed(clients[0], f"{error}: {self.program.said()}")
            return
        pending = []
        try:
            for turn, client in enumerate(clients):
                pending.append(self.load(turn, client))
                if self.program.process.poll() is not None:
                    pending[-1][0].errors.append(f"server ended: {self.program.said()}")
                    break
        finally:
            status = self.stop()
        if status:
            pending[-1][0].errors.append(status)
        for cell, notes, expected in pending:
            if self.stores:
                self.judge_commands(cell, notes, expected)
            else:
                self.judge(cell, notes, expected)
            yield cell

    def cell(self, client):
        expected = {**LIMITS, **self.server.clients}.get(client, RIGHT)
        return Cell(self.interpreter.name, self.server.name, client, expected,
                    without=self.options.without)

    def failed(self, client, why):
        cell = self.cell(client)
        cell.errors.append(why)
        return cell

    def load(self, turn, client):
        begin = time.monotonic()
        cell, prefix = self.cell(client), f"s{self.id}t{turn}c"
        clients = self.server.strict(self.interpreter) if client == MIXED else [client]
        requests = self.options.requests // (3 if client in SLOW else 1) or 1
        load = Load(self.port, clients, prefix,
                    min(self.options.connections, self.server.connections), requests)
        load.run()
        cell.errors += load.errors
        notes = prefix if self.stores else self.notes(prefix, load.expected)
        cell.seconds = round(time.monotonic() - begin, 2)
        return cell, notes, load.expected

    def notes(self, prefix, expected):
        """Waits for the calls that come after the answers."""
        notes, deadline = [], time.monotonic() + PATIENCE
        while True:
            notes += self.downstream.take(prefix)
            if len(notes) >= len(expected) or time.monotonic() > deadline:
                return notes
            time.sleep(0.05)

    def stop(self):
        """Lets the agent write first; a program may end by a signal that it does not handle."""
        if not self.options.without:
            self.settle()
        return "; ".join(filter(None, (self.end(program) for program in reversed(self.programs))))

    @staticmethod
    def end(program):
        status = program.stop()
        if status is None:
            return f"did not end by SIGTERM: {program.said()}"
        if status not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            return f"ended with {status}: {program.said()}"
        return ""

    def settle(self):
        """Until no more is written for longer than the agent holds a batch."""
        before, since = None, time.monotonic()
        deadline = since + PATIENCE
        while time.monotonic() < min(deadline, since + 1.6):
            now = sum(file.stat().st_size for file in self.folder.glob("*.jsonl"))
            if now != before:
                before, since = now, time.monotonic()
            time.sleep(0.1)

    def judge(self, cell, notes, expected):
        if not self.segments.segments and not self.options.without:
            self.segments.read()
        counts, examples, errors = judge.judge(notes, expected, self.segments)
        self.enter(cell, len(notes), counts, examples, errors)

    def judge_commands(self, cell, prefix, expected):
        """What they ask notes nothing; without the probe only the answers tell, and they did."""
        if self.options.without:
            cell.calls = len(expected)
            return
        if not self.probe.commands:
            self.probe.read()
        counts, examples, errors = self.probe.judge(prefix, expected)
        self.enter(cell, sum(counts.values()), counts, examples, errors)

    def enter(self, cell, calls, counts, examples, errors):
        cell.calls = calls
        cell.errors += errors
        if not self.options.without:
            cell.counts = {name: counts[name] for name in judge.COUNTS}
            cell.examples = {name: examples[name][:5] for name in judge.COUNTS
                             if examples[name] and name != "right"}
