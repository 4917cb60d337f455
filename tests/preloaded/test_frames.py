"""What is read of Python's frames, against what each interpreter says itself: hooks/python/frames.h and code.h."""

import pathlib

import pytest

from conftest import BUILD, HERE, SYSTEM_PYTHON
from test_python import PYENV

PROGRAM = HERE / "programs" / "frames.py"


def interpreters():
    """Debian's, and the newest of each of 3.6 to 3.13 that is installed."""
    found = {path.name.rpartition(".")[0]: path / "bin" / "python" for path in sorted(PYENV.glob("3.*"))}
    return [pathlib.Path(SYSTEM_PYTHON), *(found[v] for v in (f"3.{n}" for n in range(6, 14)) if v in found)]


@pytest.mark.parametrize("python", interpreters(), ids=lambda p: p.parent.parent.name)
@pytest.mark.parametrize("kind", ["shapes", "names", "others", "running", "storm", "frozen", "lasting", "gone",
                                  "local", "limits", "forked"])
def test_frames(bench, python, kind):
    result = bench.run([python, PROGRAM, BUILD / "tests" / "libframes_probe.so", kind], agent=False)
    assert result.rc == 0 and result.out.splitlines()[-1].startswith(b"ok "), result


@pytest.mark.parametrize("python", interpreters(), ids=lambda p: p.parent.parent.name)
def test_end(bench, python):
    """Threads read each other's frames while threads end, and the interpreter does."""
    for _ in range(5):
        result = bench.run([python, PROGRAM, BUILD / "tests" / "libframes_probe.so", "ends"], agent=False)
        assert result.rc == 0 and result.out == b"ok 1\n", result
