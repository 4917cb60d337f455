"""Chains of awaits read while tasks come and go: hooks/python/awaits.h on every interpreter."""

import pytest

import greenlets
from conftest import BUILD, HERE
from test_frames import interpreters

PROGRAM = HERE / "programs" / "awaits_storm.py"
PYTHONS = [p for p in interpreters() if "3.6" not in str(p)]


@pytest.mark.parametrize("python", PYTHONS, ids=lambda p: p.parent.parent.name)
def test_storm(bench, python):
    result = bench.run([python, PROGRAM, BUILD / "tests" / "libawaits_probe.so", "storm"], agent=False)
    assert result.rc == 0 and result.out.splitlines()[-1].startswith(b"ok "), result


@pytest.mark.parametrize("python", greenlets.found("greenlet"), ids=lambda p: p.parent.parent.name)
def test_greenlets(bench, python):
    result = bench.run([python, PROGRAM, BUILD / "tests" / "libawaits_probe.so", "greenlets"], agent=False)
    assert result.rc == 0 and result.out.splitlines()[-1].startswith(b"ok "), result


@pytest.mark.parametrize("python", PYTHONS, ids=lambda p: p.parent.parent.name)
def test_end(bench, python):
    for _ in range(3):
        result = bench.run([python, PROGRAM, BUILD / "tests" / "libawaits_probe.so", "ends"], agent=False)
        assert result.rc == 0 and result.out == b"ok 1\n", result
