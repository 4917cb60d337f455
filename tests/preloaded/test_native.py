"""Native and Python frames in their true order, in running interpreters: sampler/native/native.h and sampler/merge.h."""

import sys

import pytest

from conftest import BUILD, HERE
from test_frames import interpreters

PROGRAM = HERE / "programs" / "merged.py"


@pytest.mark.parametrize("python", interpreters(), ids=lambda p: p.parent.parent.name)
@pytest.mark.parametrize("kind", ["whole", "deep"])
def test_merged(bench, python, kind):
    result = bench.run([python, PROGRAM, BUILD / "tests" / "libnative_probe.so", kind], agent=False)
    assert result.rc == 0 and result.out.startswith(b"ok "), result


def test_greenlets(bench):
    """A greenlet's native stack is its own down to where it was started, whoever goes on with it."""
    pytest.importorskip("greenlet")
    result = bench.run([sys.executable, PROGRAM, BUILD / "tests" / "libnative_probe.so", "greenlets"], agent=False)
    assert result.rc == 0 and result.out.startswith(b"ok "), result
