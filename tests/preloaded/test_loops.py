"""The loops where they are refused, and beside programs that fork: tests/reporter/test_loop.c has their contract,
test_grpc.py runs over both."""

import os
import sys
import time

import pytest

import tasklist
from conftest import has_io_uring
from origin import get
from sink import Sink
from test_grpc import curl, ours, over_grpc

DEBUG = {"SW_AGENT_LOGGING_LEVEL": "debug"}
REFUSALS = {"e": b"Operation not permitted", "i": b"Function not implemented", "m": b"Invalid argument",
            "cs": b"Operation not supported"}

needs_io_uring = pytest.mark.skipif(not has_io_uring(), reason="no io_uring here")


@pytest.fixture
def collector(ports):
    with Sink(ports()) as collector:
        yield collector


def chosen(text):
    return [line.rsplit(b" ", 1)[1] for line in ours(text) if b"the loop is" in line]


@needs_io_uring
def test_the_one_that_is_named(bench, origin, collector):
    for loop in "epoll", "io_uring":
        env = over_grpc(collector.port, SW_AGENT_LOOP=loop, **DEBUG)
        assert chosen(bench.run(curl(origin), env=env).err) == [loop.encode()]
    collector.segments(2)


def forking(origin, children, first=""):
    """A program that asks, does `first`, and has children that ask, one after the other."""
    return [sys.executable, "-c",
            "import ctypes, os, sys, time, urllib.request\n"
            f"def ask(what): urllib.request.urlopen('http://127.0.0.1:{origin.port}/' + what).read()\n"
            "def ring():\n"
            "    fd = ctypes.CDLL(None).syscall(425, 8, (ctypes.c_uint32 * 30)())\n"
            "    assert fd >= 0\n"
            "    return fd\n"
            "ask('parent')\n"
            f"{first}\n"
            f"for i in range({children}):\n"
            "    child = os.fork()\n"
            "    if child == 0:\n"
            f"        {first}; ask(f'child{{i}}'); os._exit(0)\n"
            "    if i % 8 == 0: ask(f'more{i}')\n"
            "    assert os.waitpid(child, 0)[1] == 0\n"]


def arrived(collector, count):
    """So many, none lost and none twice."""
    segments = collector.segments(count)
    assert len({s.spans[0].operationName for s in segments}) == count


@pytest.mark.parametrize("how", REFUSALS)
def test_refused(bench, origin, compiled, collector, how):
    """Said once, for all children too, and epoll does the work."""
    if how in ("cs", "m") and not has_io_uring():
        pytest.skip("no io_uring here: another reason comes first")
    argv = [compiled("older"), how, *forking(origin, 5, first="time.sleep(0.3)")]
    result = bench.run(argv, name="forks", env=over_grpc(collector.port, SW_AGENT_LOOP="io_uring"))
    assert (result.rc, result.out) == (0, b"")
    [line] = result.err.splitlines()
    assert b"SW_AGENT_LOOP=io_uring" in line and b"epoll" in line and REFUSALS[how] in line
    arrived(collector, 7)


def test_nobody_is_asked_to_choose_it(bench, origin, compiled, collector):
    """In a sandbox that kills for it: never tried but by its name."""
    for loop in "auto", "epoll", "UNSET":
        result = bench.run([compiled("older"), "k", *curl(origin)], env=over_grpc(collector.port, SW_AGENT_LOOP=loop))
        assert (result.rc, result.err) == (0, b"")
    collector.segments(3)
    result = bench.run([compiled("older"), "k", *curl(origin)], env=over_grpc(collector.port, SW_AGENT_LOOP="io_uring"))
    assert result.rc == -31, "the filter works"


@needs_io_uring
def test_no_memory_may_be_locked(bench, origin, compiled, collector):
    """Kernels differ in what they count: it works, or is said."""
    bench.tmp.chmod(0o777)
    for parent in list(bench.tmp.parents)[:2]:
        parent.chmod(0o755)
    env = over_grpc(collector.port, SW_AGENT_LOOP="io_uring")
    result = bench.run([compiled("older"), "l", *curl(origin)], env=env, cwd="/")
    assert result.rc == 0 and len(ours(result.err)) <= 1
    collector.segments(1)


@needs_io_uring
def test_the_program_has_no_thread_more(bench, ports, program, collector):
    """Polls need no workers of the kernel's."""
    port = ports()
    env = over_grpc(collector.port, SW_AGENT_LOOP="io_uring")
    server = bench.start(program("web.py", port, 0), port, name="web", env=env)
    get(port, "/hello")
    collector.segments(1)
    names = tasklist.names(server.pid)
    assert names.count("swagent") == 1 and not [name for name in names if name.startswith("iou-")], names
    assert not [fd for fd in os.listdir(f"/proc/{server.pid}/fd")
                if "io_uring" in os.readlink(f"/proc/{server.pid}/fd/{fd}")]
    assert bench.stop(server) == 0


@needs_io_uring
def test_a_collector_learns_of_the_end(bench, ports, program):
    """The ring ends later than its process; the connection does not."""
    port, at = ports(), ports()
    with Sink(at) as collector:
        env = over_grpc(at, SW_AGENT_LOOP="io_uring")
        server = bench.start(program("web.py", port, 0), port, name="web", env=env)
        get(port, "/hello")
        collector.segments(1)
        server.kill()
        server.wait()
        deadline = time.monotonic() + 40
        while established(at) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not established(at)


def established(port):
    """Connections to it, seen from the side that connected."""
    lines = [line.split() for line in open("/proc/net/tcp")]
    return [line for line in lines if line[2].endswith(f":{port:04X}") and line[3] == "01"]


@needs_io_uring
def test_a_storm_of_forks_of_a_program_with_rings_of_its_own(bench, origin, collector):
    """It and its children see no difference, and everything arrives."""
    env = over_grpc(collector.port, SW_AGENT_LOOP="io_uring")
    result = bench.both(forking(origin, 60, first="print(ring())"), name="storm", env=env)
    assert result.rc == 0 and result.err == b""
    arrived(collector, 69)
