"""Threads that run write down themselves what they do: hooks/shot.h and sampler/signal.h, by a probe of its own."""

import pytest

from conftest import BUILD, HERE
from test_frames import interpreters

PROGRAM = HERE / "programs" / "shots.py"
PROBE = BUILD / "tests" / "libshots_probe.so"


def shots(bench, python, kind, how, *more, rc=0):
    result = bench.run([python, PROGRAM, PROBE, kind, how, *more], agent=False, env={"LD_PRELOAD": PROBE})
    assert result.rc == rc and result.out.splitlines()[-1].startswith(b"ok "), result


@pytest.mark.parametrize("python", interpreters(), ids=lambda p: p.parent.parent.name)
@pytest.mark.parametrize("how", ["timer", "direct"])
def test_running(bench, python, how):
    """0 stacks that cannot be, of a thread that calls and returns all the time."""
    shots(bench, python, "running", how, 1000, 1000)


@pytest.mark.parametrize("kind", ["stacks", "calls", "waits", "blocks", "narrow", "taken", "owned", "forks", "churns",
                                  "closes", "ends", "timers", "execs"])
def test_unseen(bench, kind):
    """What a program could notice of the signal."""
    shots(bench, interpreters()[0], kind, "timer")


@pytest.mark.parametrize("kind", ["forks", "churns", "ends"])
@pytest.mark.parametrize("python", interpreters()[1:], ids=lambda p: p.parent.parent.name)
def test_everywhere(bench, python, kind):
    shots(bench, python, kind, "timer")


@pytest.mark.parametrize("kind", ["stacks", "calls", "waits", "blocks", "churns", "closes", "ends", "timers"])
def test_direct(bench, kind):
    """At once, by tgkill: the same; calls after long computing may end early."""
    shots(bench, interpreters()[0], kind, "direct")


def test_ignored(bench):
    shots(bench, interpreters()[0], "owned", "timer", 301, 1000)


def test_killed(bench):
    """By the same signal from outside, as without us."""
    shots(bench, interpreters()[0], "killed", "timer", rc=-16)
