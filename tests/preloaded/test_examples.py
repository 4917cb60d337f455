"""The programs of examples/, one for each way of doing many things at once: what they answer, and
that each call has the parent that the example's text promises. Several clients at once, each with
a connection that it keeps.
"""

import contextlib
import http.client
import os
import random
import re
import subprocess
import sys
import threading
import time

import pytest

import reader
from conftest import ROOT
from origin import plain_answer
from skywalking.protocol.language_agent.Tracing_pb2 import Entry
from websockets.sync.client import connect

VENV = sys.executable
EXAMPLES = ROOT / "examples"
CLIENTS, REQUESTS, CALLS = 6, 4, 3

RIGHT, NONE = "right", "none"

# What the calls of each example may have as their parent. A wrong one never.
PARENTS = {
    "background": {RIGHT},
    "blocking": {RIGHT},
    "fetch_asyncio": {RIGHT},
    "fetch_fork": {NONE},  # a forked worker of a pool looks the same
    "fetch_gevent": {RIGHT},
    "fetch_native": {RIGHT},
    "fetch_processes": {NONE},  # they are forked amid the first request, and serve the others too
    "fetch_threads": {RIGHT},
    "queue_workers": {NONE},
}

SOON_OVER = {"background"}  # it answers before it calls


class Example:
    """A running example, the clients that ask it, and what the agent said of it all."""

    def __init__(self, bench, port, origin, name, agent=True):
        self.bench, self.port, self.origin, self.name = bench, port, origin, name
        origin.answer = slowly
        argv = [VENV, EXAMPLES / f"{name}.py", port, f"http://127.0.0.1:{origin.port}"]
        self.program = bench.start(argv, port, agent=agent, name=name,
                                   env={"PYTHONPATH": bench.tmp})

    def stop(self):
        assert self.bench.stop(self.program) in (0, 128 + 15)
        said = self.bench.output(self.program)
        assert said == b"http://127.0.0.1:%d\n" % self.port, said.decode()

    def called(self, count):
        """What arrived at the origin, once it is all there."""
        wait_until(lambda: len(self.origin.requests) >= count)
        assert len(self.origin.requests) == count
        return list(self.origin.requests)

    def verdicts(self, count):
        """{path of a call: (verdict, its Exit, that one's segment)}; all of them are written."""
        calls = self.called(count)
        carriers = {call.path.decode(): reader.parse_carrier(*text(call.sw8)) for call in calls}
        assert len(carriers) == count
        exits = {}

        def all_written():
            exits.update(exits_of(self.bench.segments()))
            return all((c.segment, c.span) in exits for c in carriers.values())

        wait_until(all_written)
        found = self.bench.segments()
        return {path: (verdict(path, carrier, found), *exits[carrier.segment, carrier.span])
                for path, carrier in carriers.items()}


def slowly(request):
    time.sleep(random.uniform(0, 0.03))
    return plain_answer(request)


def text(values):
    return [value.decode() for value in values]


def wait_until(ready, timeout=40):
    deadline = time.monotonic() + timeout
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.05)


def exits_of(segments):
    """{(segment id, span id): (span, segment)} of all Exits."""
    return {(segment.traceSegmentId, span.spanId): (span, segment)
            for segment in segments for span in reader.exits(segment)}


def has_entry(segment):
    return segment.spans[-1].spanType == Entry


def verdict(path, carrier, segments):
    """Right: below the Entry of its own request, directly or over segments that continue it."""
    by_id = {segment.traceSegmentId: segment for segment in segments}
    above = by_id[carrier.segment]
    while not has_entry(above) and above.spans[-1].refs:
        above = by_id.get(above.spans[-1].refs[0].parentTraceSegmentId)
        if above is None:
            return "wrong: below what nobody wrote"
    if not has_entry(above):
        return NONE
    operation = reader.entry(above).operationName
    same = path.split("?")[0] == operation and above.traceId == carrier.trace
    return RIGHT if same else f"wrong: {path} below {operation}"


def answer_for(name, path):
    if name in SOON_OVER:
        return b"it will be done\n"
    calls = (f"answer to GET {path}?part={n} of 0 bytes\n" for n in range(1, CALLS + 1))
    return "".join(calls).encode()


def one_client(port, number, answers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for turn in range(REQUESTS):
        path = f"/r{number}-{turn}"
        connection.request("GET", path)
        response = connection.getresponse()
        answers[path] = (response.status, response.read())
    connection.close()


def interleaved(port):
    """{path: (status, body)} of all clients, who come at the same time."""
    answers = {}
    clients = [threading.Thread(target=one_client, args=(port, number, answers))
               for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return answers


@pytest.fixture
def example(bench, port, origin):
    def start(name, **options):
        if name == "fetch_native":
            built = subprocess.run([EXAMPLES / "native.sh", bench.tmp, VENV], capture_output=True)
            assert (built.returncode, built.stderr) == (0, b""), built
        return Example(bench, port, origin, name, **options)

    return start


def check_answers(name, answers):
    assert len(answers) == CLIENTS * REQUESTS
    for path, answer in answers.items():
        assert answer == (200, answer_for(name, path)), path


@pytest.mark.parametrize("name", sorted(PARENTS))
def test_parents(example, bench, name):
    running = example(name)
    check_answers(name, interleaved(running.port))
    verdicts = running.verdicts(CLIENTS * REQUESTS * CALLS)
    running.stop()
    entries = [span.operationName for span in reader.entries(bench.segments())]
    assert sorted(entries) == sorted({path.split("?")[0] for path in verdicts})
    found = {path: what for path, (what, _, _) in verdicts.items() if what not in PARENTS[name]}
    assert not found, f"{len(found)} of {len(verdicts)}: {list(found.items())[:5]}"
    for what, span, _ in verdicts.values():
        assert (reader.tags(span).get("sw.parent") == "none") == (what == NONE), span


@pytest.mark.parametrize("name", sorted(PARENTS))
def test_answers_without(example, name):
    """The examples themselves: what they do when nobody watches."""
    running = example(name, agent=False)
    check_answers(name, interleaved(running.port))
    running.called(CLIENTS * REQUESTS * CALLS)
    running.stop()


# ---- what is not the same for all ----

def say_and_hear(paths, sockets, turn):
    for path, socket in zip(paths, sockets):
        socket.send(f"{path}?part={turn}")
    for path, socket in zip(paths, sockets):
        assert socket.recv() == f"answer to GET {path}?part={turn} of 0 bytes\n"


def test_websocket(example, bench):
    """The opening request is an Entry of its own; calls for messages are never another one's."""
    running = example("websocket")
    paths = [f"/open{n}" for n in range(CLIENTS)]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(f"ws://127.0.0.1:{running.port}{path}"))
                   for path in paths]
        for turn in range(REQUESTS):
            say_and_hear(paths, sockets, turn)
        verdicts = running.verdicts(CLIENTS * REQUESTS)
    running.stop()
    entries = reader.entries(bench.segments())
    assert sorted((e.operationName, reader.tags(e)["http.status_code"]) for e in entries) == \
        [(path, "101") for path in paths]
    assert {what for what, _, _ in verdicts.values()} <= {RIGHT, NONE}, verdicts


def test_blocked_loop_shows(example, bench):
    """While one request blocks the loop no other is served: there is one call at a time."""
    running = example("blocking")
    interleaved(running.port)
    running.stop()
    exits = [span for span, _ in exits_of(bench.segments()).values()]
    times = sorted((span.startTime, span.endTime) for span in exits)
    assert len(times) == CLIENTS * REQUESTS * CALLS
    for (_, end), (begin, _) in zip(times, times[1:]):
        assert begin >= end, times


def test_any_free_port(example, bench, origin):
    """Port 0: the kernel chooses, and the program says what."""
    argv = [VENV, EXAMPLES / "fetch_threads.py", 0, f"http://127.0.0.1:{origin.port}"]
    program = bench.start(argv)
    wait_until(lambda: b"\n" in bench.output(program))
    port = int(re.fullmatch(rb"http://127\.0\.0\.1:(\d+)\n", bench.output(program))[1])
    assert port and port in listening_of(program.pid)
    assert bench.stop(program) == 0


def listening_of(pid):
    """The TCP ports on which this process listens."""
    inodes = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    rows = [line.split() for line in open("/proc/net/tcp")][1:]
    return {int(row[1].split(":")[1], 16) for row in rows
            if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


def test_each_is_in_the_table():
    table = (EXAMPLES / "README.md").read_text()
    ours = {path.stem for path in EXAMPLES.glob("*.py") if "DOWNSTREAM" in path.read_text()}
    assert ours == set(PARENTS) | {"websocket"}
    assert not [name for name in ours if f"[{name}.py]({name}.py)" not in table]
