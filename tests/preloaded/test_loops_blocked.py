"""Event loops that one callback holds: reported once, in time, with the right request and, for Python,
the frame that held it; and whatever is no loop, or was not held, is never reported."""

import shutil
import signal
import socket
import sys
import threading
import time

import pytest

import reader
import tasklist
from conftest import HERE, SYSTEM_PYTHON, Watch
from test_python import PYTHONS

LIMIT_S = 1.0  # from the end of the block, or from its 600th millisecond, to its record
# Most holds of these tests are of 500 ms: our thread, which looks each 50 ms, may be late on a busy machine. Any
# turn may last longer there than it has to do, the first ones above all: short ones are not spoken of.
LONG = {"SW_AGENT_LOOP_BLOCKED": 200}


class Loop:
    """A program whose loop can be held, and what is reported of it."""

    def __init__(self, bench, argv, port, env=None):
        self.bench, self.port = bench, port
        self.program = bench.start([*argv, port], port, name="loop", env=LONG | (env or {}))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 40)

    def ask(self, path, connection=None):
        """On a connection of its own, or one that stays."""
        talk = connection or self.connect()
        talk.sendall(f"GET /{path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        answer = talk.recv(4096)
        while b"200 OK" in answer and not answer.endswith(b"done"):
            more = talk.recv(4096)
            assert more, answer
            answer += more
        if not connection:
            talk.close()
        assert b"200 OK" in answer and answer.endswith(b"done")

    def accepted(self, count):
        """So many connections, each of which the program knows: what comes by one is all that its loop finds."""
        talks = [self.connect() for _ in range(count + 1)]
        self.ask("hello", talks[-1])
        return talks

    def reported(self, count=1, timeout=LIMIT_S):
        """[(log, event)], in time; exactly so many, also a moment later."""
        watch = Watch()
        while len(self.logs()) < count and watch.waited < timeout and watch.seconds < 40:
            time.sleep(0.02)
        time.sleep(0.4)
        logs, events = self.logs(), self.events()
        assert len(logs) == len(events) == count, (logs, events)
        for log, event in zip(logs, events):
            assert log.body.text.text.startswith(event.message)
            assert (event.name, event.type) == ("LoopBlocked", 1)
        return list(zip(logs, events))

    def logs(self):
        return [log for log in self.of_kind("log") if logger(log) == "swagent.loop"]

    def events(self):
        return self.of_kind("event")

    def of_kind(self, kind):
        return [record for _, what, record in reader.records(self.bench.records) if what == kind]

    def segment(self, path):
        found = [s for s in self.bench.segments() if s.spans[-1].operationName == f"/{path}"]
        assert len(found) == 1, path
        return found[0]


def logger(log):
    return {pair.key: pair.value for pair in log.tags.data}.get("logger")


def milliseconds(event):
    return int(event.parameters["ms"])


def is_of(log, event, segment):
    assert log.traceContext.traceId == event.parameters["trace"] == segment.traceId
    assert log.traceContext.traceSegmentId == event.parameters["segment"] == segment.traceSegmentId
    assert log.endpoint == segment.spans[-1].operationName
    return True


def is_nobodys(log, event):
    return not log.traceContext.traceId and "trace" not in event.parameters


KINDS = {"asyncio": [], "uvloop": ["uvloop"]}


@pytest.fixture(params=KINDS)
def python(request, bench, port, program):
    python = SYSTEM_PYTHON
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        python = sys.executable
    return Loop(bench, program("blocks.py", *KINDS[request.param], python=python), port)


@pytest.fixture(params=["epoll", "select"])
def in_c(request, bench, port, compiled):
    return Loop(bench, [compiled("blocks"), request.param], port)


@pytest.mark.parametrize("how, frame", [("sleep", "hold_by_sleep"), ("burn", "hold_by_work")])
def test_a_held_python_loop_is_reported_with_its_request_and_frame(python, how, frame):
    python.ask("hello")
    begin = time.monotonic()
    python.ask(f"{how}/500")
    (log, event), = python.reported()
    assert 490 <= milliseconds(event) <= (time.monotonic() - begin) * 1000
    assert event.endTime - event.startTime == milliseconds(event)
    assert is_of(log, event, python.segment(f"{how}/500"))
    assert f" in {frame} (" in event.message and "blocks.py:" in event.message
    assert "answer" in log.body.text.text, "and who called it"
    assert f"{frame} (" in event.parameters["stack"]


def places(stack, *names):
    """The lines, in their order, that begin so."""
    lines = stack.split("\n")
    return [next((i for i, line in enumerate(lines) if name in line.split(" (")[0]), None) for name in names]


def test_native_frames_stand_between_those_of_python(python):
    """Of a loop that stands in a call of the kernel: innermost libc's, then the interpreter's, then who called."""
    python.ask("sleep/900")
    (log, event), = python.reported()
    stack = log.body.text.text.partition("\n")[2]
    found = places(stack, "nanosleep", "time_sleep", "hold_by_sleep", "answer", "main")
    if "time_sleep" not in stack:  # a python3 without symbols
        found[1] = found[0]
    assert None not in found and found == sorted(found), stack
    assert " in hold_by_sleep (" in event.message
    assert "EvalFrameDefault" not in stack, "it stands for Python's frames"


def test_without_native_frames_python_s_are_alone(bench, port, program):
    loop = Loop(bench, program("blocks.py"), port, env={"SW_AGENT_PROFILE_NATIVE": "false"})
    loop.ask("sleep/300")
    (log, event), = loop.reported()
    assert event.parameters["stack"].startswith("hold_by_sleep (")
    assert all(".py" in line or "<" in line for line in log.body.text.text.split("\n")), log.body.text.text


def test_one_that_computes_is_not_asked_by_signal(bench, port, program):
    """As in a profile: nothing of it is interrupted, and no handler of ours is there."""
    loop = Loop(bench, program("blocks.py"), port)
    loop.ask("burn/300")
    loop.reported()
    caught = next(line for line in open(f"/proc/{loop.program.pid}/status") if line.startswith("SigCgt"))
    assert not int(caught.split()[1], 16) >> (signal.SIGSTKFLT - 1) & 1


def test_a_profile_may_be_taken_meanwhile(bench, port, program):
    """Then what unwinds is the sampler's, and Python's frames are told alone."""
    loop = Loop(bench, program("blocks.py"), port, env={"SW_AGENT_PROFILE_OUTPUT": "profile.folded"})
    loop.ask("sleep/300")
    (_, event), = loop.reported()
    assert event.parameters["stack"].startswith("hold_by_sleep (")


def test_the_first_request_of_all_is_seen_too(python):
    python.ask("sleep/500")
    (log, event), = python.reported()
    assert is_of(log, event, python.segment("sleep/500"))


def test_the_limit_is_100_ms_by_default(bench, port, program):
    loop = Loop(bench, program("blocks.py"), port, env={"SW_AGENT_LOOP_BLOCKED": "UNSET"})
    loop.ask("sleep/120")
    deadline = time.monotonic() + 40
    while not any(event.parameters.get("endpoint") == "/sleep/120" for event in loop.events()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_that_goes_on_is_reported_before_it_ends(python):
    asker = threading.Thread(target=python.ask, args=["sleep/2500"])
    python.ask("hello")
    asker.start()
    (_, event), = python.reported(timeout=1.3)
    assert asker.is_alive()
    assert " ms so far" in event.message and event.endTime == 0
    asker.join()
    python.reported()  # its end is no second report


def test_of_many_requests_the_one_that_holds_the_loop_is_named(python):
    """Others wait at the same loop meanwhile, and each has a context of its own."""
    python.ask("hello")
    askers = [threading.Thread(target=python.ask, args=[f"wait/{n}"]) for n in range(8)]
    askers.insert(4, threading.Thread(target=python.ask, args=["sleep/500"]))
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    (log, event), = python.reported()
    assert is_of(log, event, python.segment("sleep/500"))


def test_what_a_request_has_left_behind_is_still_its_own(python):
    python.ask("later/500")
    python.ask("hello")
    (log, event), = python.reported(timeout=2)
    assert is_of(log, event, python.segment("later/500"))


def test_a_held_loop_in_c_is_reported_with_its_request(in_c):
    first, second, _ = in_c.accepted(2)
    in_c.ask("sleep/500", first)
    in_c.ask("burn/500", second)
    reports = in_c.reported(2)
    assert is_of(*reports[0], in_c.segment("sleep/500"))
    assert is_of(*reports[1], in_c.segment("burn/500"))
    assert places(reports[0][1].parameters["stack"], "nanosleep", "answer", "main") == \
        sorted(places(reports[0][1].parameters["stack"], "nanosleep", "answer", "main"))
    assert "stack" not in reports[1][1].parameters, "it computes, and has no Python"


def test_a_turn_in_c_with_several_causes_is_nobodys(in_c):
    """While the loop is held two more requests come, and are found together."""
    talk, *talks, _ = in_c.accepted(3)
    asker = threading.Thread(target=in_c.ask, args=["sleep/500", talk])
    asker.start()
    time.sleep(0.2)
    more = [threading.Thread(target=in_c.ask, args=["sleep/200", talk]) for talk in talks]
    for one in more:
        one.start()
    for one in [asker, *more]:
        one.join()
    reports = in_c.reported(2)
    assert is_of(*reports[0], in_c.segment("sleep/500"))
    assert is_nobodys(*reports[1]) and milliseconds(reports[1][1]) >= 400


def test_a_callback_that_polls_keeps_its_loop_waiting(bench, port, compiled):
    loop = Loop(bench, [compiled("blocks"), "epoll"], port)
    talk, _ = loop.accepted(1)
    loop.ask("poll/500", talk)
    (log, event), = loop.reported()
    assert is_of(log, event, loop.segment("poll/500"))


def test_short_turns_and_long_waits_are_not_reported(python):
    for _ in range(7):
        python.ask("sleep/40")
        time.sleep(0.3)
    python.reported(0, timeout=0)


def test_the_limit_is_a_key(bench, port, program):
    loop = Loop(bench, program("blocks.py"), port, env={"SW_AGENT_LOOP_BLOCKED": 400})
    loop.ask("sleep/250")
    loop.ask("sleep/600")
    (_, event), = loop.reported()
    assert milliseconds(event) >= 590


def test_0_is_never(bench, port, program):
    loop = Loop(bench, program("blocks.py"), port, env={"SW_AGENT_LOOP_BLOCKED": 0})
    loop.ask("sleep/500")
    loop.reported(0, timeout=0)


def test_a_stopped_process_holds_no_loop(python):
    """As a debugger or a suspended machine would do it, in mid-turn. What is held for 60 ms, and
    stopped for 1.5 s meanwhile, was held for 60 ms."""
    python.ask("hello")
    python.bench.segments(1)
    before = tasklist.wakes(python.program.pid)
    asker = threading.Thread(target=python.ask, args=["sleep/60"])
    asker.start()
    while asker.is_alive() and tasklist.wakes(python.program.pid) == before:
        time.sleep(0.002)  # of a turn that nobody has looked at such time counts
    python.program.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    python.program.send_signal(signal.SIGCONT)
    asker.join()
    python.reported(0, timeout=0)


class Served(Loop):
    """A server that is told its port in its own way."""

    def __init__(self, bench, argv, port):
        self.bench, self.port = bench, port
        self.program = bench.start(argv, port, name="loop", cwd=HERE / "programs", env=LONG)


def uvicorn(loop):
    return lambda port: [sys.executable, "-m", "uvicorn", "--port", port, "--loop", loop, "--log-level", "error",
                         "blocking:app"]


def gunicorn(*options):
    return lambda port: [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--log-level", "error",
                         *options]


LOOPS = {
    "uvicorn": (uvicorn("asyncio"), "sleep/500", True),
    "uvicorn-uvloop": (uvicorn("uvloop"), "sleep/500", True),
    "gunicorn-uvicorn": (gunicorn("-k", "uvicorn.workers.UvicornWorker", "blocking:app"), "sleep/500", True),
    "gevent": (lambda port: [sys.executable, "blocking.py", port], "sleep/500", True),
    "node": (lambda port: ["node", "blocks.js", port], "burn/500", False),
}


@pytest.mark.parametrize("server", LOOPS)
def test_the_loops_of_real_servers(bench, port, server):
    argv, path, is_python = LOOPS[server]
    served = Served(bench, argv(port), port)
    for what in ("hello", "hello", "hello", path):
        served.ask(what)
    (log, event), = served.reported()
    assert is_of(log, event, served.segment(path))
    assert ("in hold_by_sleep (" in event.message) == is_python


def test_a_greenlet_that_holds_its_loop_is_seen_from_the_second_request_on(bench, port):
    """The first is read in the turn that accepts the first connection, when nobody looks yet."""
    served = Served(bench, LOOPS["gevent"][0](port), port)
    served.ask("hello")
    bench.segments(1)  # now our thread is there
    served.ask("sleep/300")
    (log, event), = served.reported()
    assert is_of(log, event, served.segment("sleep/300"))
    assert "in hold_by_sleep (" in event.message


SERIALS = {
    "gunicorn-sync": gunicorn("blocking:wsgi"),
    "gunicorn-threads": gunicorn("--threads", "4", "blocking:wsgi"),
    "uwsgi": lambda port: ["uwsgi", "--http-socket", f"127.0.0.1:{port}", "--plugin", "python3", "--module",
                           "blocking:wsgi", "--disable-logging", "--master"],
}


@pytest.mark.parametrize("server", SERIALS)
def test_workers_of_real_servers_are_no_loops(bench, port, server):
    if server == "uwsgi" and not shutil.which("uwsgi"):
        pytest.skip("uwsgi is not installed")
    served = Served(bench, SERIALS[server](port), port)
    for _ in range(3):
        served.ask("sleep/500")
    served.reported(0, timeout=0)


@pytest.mark.parametrize("python", PYTHONS, ids=lambda p: p.parent.parent.name)
def test_every_version_of_cpython(bench, port, program, python):
    loop = Loop(bench, program("blocks.py", python=python), port)
    loop.ask("sleep/500")
    (log, event), = loop.reported()
    assert is_of(log, event, loop.segment("sleep/500"))
    assert " in hold_by_sleep (" in event.message


CRAWLER = """
import asyncio, sys, time

def hold_by_sleep(ms):
    time.sleep(ms / 1000)

async def main():
    loop = asyncio.get_running_loop()
    for n in range(3):
        reader, writer = await asyncio.open_connection("localhost", int(sys.argv[1]))
        writer.write(b"GET /x HTTP/1.1\\r\\nHost: origin\\r\\nConnection: close\\r\\n\\r\\n")
        await reader.read()
        writer.close()
    hold_by_sleep(500)
    await asyncio.sleep(0.5)

asyncio.run(main())
"""


def test_a_loop_that_only_makes_calls(bench, origin):
    """Its names are looked up by a thread of an executor, so its Python is known."""
    loop = Loop.__new__(Loop)
    loop.bench = bench
    assert bench.run([SYSTEM_PYTHON, "-c", CRAWLER, origin.port], name="crawler", env=LONG).rc == 0
    (log, event), = loop.reported()
    assert is_nobodys(log, event) and milliseconds(event) >= 490


SERIAL = """
import socketserver, sys, select, socket, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
spare, _ = socket.socketpair()
while True:                        # as a synchronous worker of gunicorn does
    select.select([server, spare], [], [], 1)
    talk, _ = server.accept()
    talk.setblocking(True)
    talk.recv(4096)
    time.sleep(0.3)
    talk.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\ndone")
    talk.close()
"""


def test_a_worker_that_serves_one_by_one_is_no_loop(bench, port):
    loop = Loop(bench, [SYSTEM_PYTHON, "-c", SERIAL], port)
    for _ in range(4):
        loop.ask("hello")
    loop.reported(0, timeout=0)


FORKS = """
import os, sys, time
exec(open({blocks!r}).read().replace("asyncio.run(main())", ""))

async def forks(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    child = os.fork()
    if not child:
        time.sleep(0.5)            # a child of a loop is no loop
        os._exit(0)
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\ndone")

serve = forks
asyncio.run(main())
"""


def test_a_child_of_a_loop_is_no_loop(bench, port, program):
    blocks = program("blocks.py")[1]
    loop = Loop(bench, [SYSTEM_PYTHON, "-c", FORKS.format(blocks=blocks)], port)
    loop.ask("fork")
    time.sleep(0.8)
    loop.reported(0, timeout=0)


ENDS = """
exec(open({blocks!r}).read().replace("asyncio.run(main())", ""))

class Late:
    def __del__(self, sleep=time.sleep):
        sleep(1.2)

late = Late()                      # goes with its module, when the interpreter is taken down

async def for_a_while():
    await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[-1]))
    await asyncio.sleep(1)         # while it is looked at

asyncio.run(for_a_while())
"""


def test_an_interpreter_that_is_taken_down_holds_no_loop(bench, port, program):
    """A service that ends: modules and what they hold go after its loop, which takes 0.1 s and more."""
    loop = Loop(bench, [SYSTEM_PYTHON, "-c", ENDS.format(blocks=program("blocks.py")[1])], port)
    loop.ask("hello")
    assert loop.program.wait(40) == 0
    loop.reported(0, timeout=0)


def test_the_end_of_the_process_in_mid_turn_is_survived(bench, port, compiled):
    loop = Loop(bench, [compiled("blocks"), "epoll"], port)
    loop.ask("hello")
    loop.ask("exit/0")
    assert loop.program.wait(40) == 0
    loop.reported(0, timeout=0)


def test_an_idle_server_is_not_looked_at(python):
    """Our thread sleeps as long as it does without loops."""
    python.ask("hello")
    time.sleep(3.5)  # by now nobody looks any more
    before = tasklist.wakes(python.program.pid)
    time.sleep(2)
    assert tasklist.wakes(python.program.pid) - before <= 1


def test_threads_that_wait_oddly_are_none_the_worse(bench, port, compiled):
    def run(agent):
        program = bench.start([compiled("odd_loops"), port], port, agent=agent, name="odd")
        with socket.create_connection(("127.0.0.1", port), 10) as talk:
            for _ in range(2):
                talk.sendall(b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\n")
                assert talk.recv(4096).endswith(b"done")
        return program.wait(30), bench.output(program)

    assert run(True) == run(False)
    assert run(True)[1].startswith(b"jumped\npolled\ncame and went\nvfork 7\nfork 8\n")
    # Its main thread is a loop that makes threads for a while: that is all that there is to tell.
    told = [record.parameters["thread"] for _, kind, record in reader.records(bench.records) if kind == "event"]
    assert set(told) <= {"odd_loops/0"}
