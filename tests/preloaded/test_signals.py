"""Signals in the midst of calls, and programs that use signals for themselves.

Every test runs a program without and with us and compares output, exit status and the bytes that its
server got (less our lines) where their number does not depend on time. Pitfalls of
shared/spec/preload-pitfalls.md:

  31  handlers           test_handlers_*, test_ends_in_a_handler, test_blocked, test_the_programs_sigurg, test_faults
  32  errno              test_handlers_*, test_interrupted_*, test_gone_peers
  33  cancellation       test_cancellation
  39  other stacks       test_handlers_nested, test_jumps[alternate]
  40  jumps              test_jumps, test_cancellation, test_exceptions, test_faults
  58  SIGPIPE, flags     test_gone_peers
  62  SA_RESTART, EINTR  test_interrupted_*
"""

import signal
import subprocess

import pytest

import reader
from conftest import HERE
from test_limits import DEBUG, compared, counters, operations, some, split

LEFT = ("span_unseen", "span_orphan", "connection_blind", "connection_lost", "ring_full", "head_pool")


def run(bench, origin, compiled, connections, *args, **options):
    return compared(bench, origin, [compiled("alarms"), origin.port, *args], connections, **options)


# ---- handlers that call ----

@pytest.mark.parametrize("what", ["calls", "opens", "forks"])
def test_handlers(bench, origin, compiled, what):
    """A handler that sends and receives, that opens, duplicates and closes, that forks: up to 5000
    times a second, into 400 requests."""
    argv = [compiled("alarms"), origin.port, "storm", what]
    if what == "opens":  # so many connections as there were signals
        result = bench.both(argv)
    else:
        result = compared(bench, origin, argv, 1)
    assert b"0 requests failed, 0; handlers met 0\noften: 1\n" in result.out
    assert len(bench.segments(400)) == 400


def test_handlers_nested(bench, origin, compiled):
    """timer_create, two real-time signals, on an alternate stack, one handler inside the other."""
    result = bench.both([compiled("alarms"), origin.port, "nested"])
    assert b"0 requests failed, 0; handlers met 0\noften: 1\n" in result.out
    bench.segments(400)


ENDS = {"_exit": 8, "exit": 9, "kill": -signal.SIGTERM, "abort": -signal.SIGABRT}


@pytest.mark.parametrize("how", ENDS)
def test_ends_in_a_handler(bench, origin, compiled, how):
    """_exit, exit, a fatal signal and abort in a handler that interrupted calls: at once, and what was
    complete is there, as far as the time allows."""
    result = bench.both([compiled("alarms"), origin.port, "end", how])
    assert result.rc == ENDS[how] and result.waited < 5
    assert len(reader.read(bench.records)) > 0


# ---- calls that are left ----

@pytest.mark.parametrize("stack", ["main", "alternate"])
def test_jumps(bench, origin, compiled, stack):
    """siglongjmp out of calls, running and blocked: what follows is seen, what was cut is not invented."""
    without = bench.run([compiled("alarms"), origin.port, "jumps", stack], agent=False)
    origin.taken(len(origin.connections))
    result = bench.run([compiled("alarms"), origin.port, "jumps", stack], env=DEBUG)
    result.err, ours = split(result.err)
    result.same(without)
    assert b"jumped 200\n0 requests failed, 0" in result.out
    found = [s.spans[0].operationName for s in bench.segments()]
    assert found.count("/after") == 1 and found.count("/stormy") == 10
    made = len(origin.requests)  # as far as they came
    assert len(found) <= made + 200
    assert found.count("/jump") > 0 and len(found) == counters(ours)["segment_sent"]


def test_a_jump_out_of_the_first_request(bench, origin, compiled):
    """At every moment of it, our start and that of our thread included: the thread can be cancelled, its
    signals are as they were, the process ends, and all requests that follow are seen (33, 40)."""
    result = bench.both([compiled("leap"), origin.port, 180], timeout=100)
    assert result.out.startswith(b"well 180,")
    found = [s.spans[0].operationName for s in bench.segments()]
    assert found.count("/landed") == 540


@pytest.mark.parametrize("how", ["deferred", "async"])
def test_cancellation(bench, origin, compiled, how):
    """Threads cancelled in requests, deferred and (which these functions do not promise to survive, but
    libc's do) asynchronously."""
    result = bench.both([compiled("alarms"), origin.port, "cancels", how])
    assert b"cancelled 60\n0 requests failed, 0" in result.out
    found = [s.spans[0].operationName for s in bench.segments()]
    assert found.count("/after") == 1 and found.count("/stormy") == 10


def test_exceptions(bench, origin, tmp_path):
    """C++: exceptions thrown through our frames by a handler of a synchronous signal, cancellation as an
    unwinding, destructors that make requests."""
    path = tmp_path / "thrown"
    made = subprocess.run(["g++", "-O1", "-g", "-w", "-pthread", "-fnon-call-exceptions", "-fpermissive", "-o", path,
                           HERE / "programs" / "thrown.cc"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    result = bench.both([path, origin.port])
    assert b"caught 20\nunwound 20\n" in result.out
    found = operations(bench, 41)
    assert found == ["/in-destructor"] * 40 + ["/last"]


def test_faults(bench, origin, compiled):
    """A handler of SIGSEGV that recovers by a jump; a buffer that may not be read is EFAULT (31)."""
    result = bench.both([compiled("alarms"), origin.port, "faults", "d"])
    assert result.rc == 0 and b"faults 40\n" in result.out



# ---- interruptions ----

def test_interrupted_waiting(bench, origin, compiled):
    """14 kinds of waiting, interrupted three times each, with and without SA_RESTART: as often EINTR, as
    many calls, the same end."""
    result = run(bench, origin, compiled, 3, "eintr")
    lines = result.out.splitlines()
    assert sum(b"calls 4" in line for line in lines) >= 14
    bench.segments(3)


def test_interrupted_leaving(bench, origin, compiled):
    """A connect that waits, and a send that does, interrupted."""
    run(bench, origin, compiled, 2, "eintr_out")
    assert operations(bench, 4)[:2] == ["/after", "/before"]


# ---- other uses ----

def test_blocked(bench, origin, compiled):
    """All signals blocked in all threads: a sigwait loop and a signalfd get each of theirs."""
    result = run(bench, origin, compiled, 21, "blocked")
    for line in b"sigwait: 100", b"signalfd: 100", b"blocked: 60", b"pending: 0":
        assert line in result.out.splitlines()
    bench.segments(21)


@pytest.mark.parametrize("how", some(["blocked", "signalfd", "handler", "queue", "oob", "oob-blocked"], "signalfd", "handler",
                                      "queue", "oob-blocked"))
def test_the_programs_sigurg(bench, origin, compiled, how):
    """Ours wakes our thread by SIGURG. The program gets each of its own, and none of ours (31)."""
    argv = [compiled("urgent"), origin.port, how]
    without = bench.run(argv, agent=False)
    assert b"first: ok" in without.out and (b"300" in without.out)
    bench.run(argv).same(without)


def test_no_sigurg_of_ours(bench, origin, compiled):
    """A handler that counts SIGURG, and many records: it counts none."""
    script = ("import signal, urllib.request as u\ncame = []\n"
              "signal.signal(signal.SIGURG, lambda *a: came.append(a))\n"
              f"for i in range(30): u.urlopen('http://127.0.0.1:{origin.port}/x').read(); signal.sigtimedwait([34], 0.02)\n"
              "print(len(came))\n")
    result = bench.both(["/usr/bin/python3", "-c", script])
    assert result.out == b"0\n"
    bench.segments(30)


@pytest.mark.parametrize("way", ["default", "ignored", "handled"])
def test_gone_peers(bench, origin, compiled, way):
    """send, write and writev to a peer that is gone, with MSG_NOSIGNAL and without: the same death, the same
    EPIPE and ECONNRESET, as many signals (58)."""
    result = run(bench, origin, compiled, 1 if way == "default" else 2, "pipes", way)
    assert result.rc == (-signal.SIGPIPE if way == "default" else 0)
    if way != "default":
        assert operations(bench, 2) == ["/after", "/before"]


DEATHS = ["11kill", "6raise", "15thread", "9kill", "10queue", "3raise", "31kill", "0null", "0ill", "14alarm", "17raise",
          "23kill", "64kill"]


@pytest.mark.parametrize("how", some(DEATHS, "11kill", "6raise", "15thread", "10queue", "0null", "0ill", "17raise"))
def test_deaths(bench, origin, compiled, how):
    """The same death, or none. What it had to say is said, unless it was killed unforeseen."""
    run(bench, origin, compiled, 1, "death", how)
    if not any(word in how for word in ("queue", "null", "ill", "9kill")):
        assert operations(bench, 1) == ["/last-words"]
