"""What must hold of Python programs whose types we patch and whose contexts we read: never a wrong
parent, and nothing that the program could see, but for the variable that its contexts hold while
it serves requests."""

import pathlib
import re
import socket
import subprocess
import sys

import pytest

from conftest import HERE, SYSTEM_PYTHON
from test_examples import CALLS, CLIENTS, NONE, REQUESTS, RIGHT, Example, check_answers, interleaved, slowly

PROGRAMS = HERE / "programs"
PYENV = pathlib.Path.home() / ".pyenv" / "versions"


def others():
    """Other interpreters, where they are installed: the newest of each of 3.7 to 3.13."""
    found = {path.name.rpartition(".")[0]: path / "bin" / "python" for path in sorted(PYENV.glob("3.*"))}
    return [found[v] for v in ("3.7", "3.8", "3.9", "3.10", "3.12", "3.13") if v in found]


def version_of(python):
    said = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"],
                          capture_output=True, text=True).stdout
    return tuple(map(int, said.split()))


PYTHONS = [pathlib.Path(SYSTEM_PYTHON), *others()]
every = pytest.mark.parametrize("python", PYTHONS, ids=lambda p: p.parent.parent.name)


class Served(Example):
    """A program that is asked by several clients at once."""

    def __init__(self, bench, port, origin, argv, **options):
        self.bench, self.port, self.origin, self.name = bench, port, origin, "served"
        origin.answer = slowly
        self.program = bench.start([*argv, port, f"http://127.0.0.1:{origin.port}"], port,
                                   name="served", **options)

    def parents(self):
        """{verdict: how many}; all answers were what they are without us."""
        check_answers(self.name, interleaved(self.port))
        verdicts = [what for what, _, _ in self.verdicts(CLIENTS * REQUESTS * CALLS).values()]
        assert self.bench.stop(self.program) in (0, 128 + 15)
        assert self.bench.output(self.program) == b""
        return {what: verdicts.count(what) for what in verdicts}


@pytest.fixture
def parents(bench, port, origin):
    def found(name, kind, python=SYSTEM_PYTHON, options=(), **more):
        return Served(bench, port, origin, [python, *options, PROGRAMS / name, kind], **more).parents()

    return found


# ---- pools that a request starts: never another request's ----

POOLS = ["queue", "lifo", "priority", "simple", "listed", "crowded", "counted", "raw", "polled", "keyword", "popped"]


@pytest.mark.parametrize("kind", POOLS)
def test_pool(parents, kind):
    found = parents("pools.py", kind)
    assert set(found) <= {RIGHT, NONE}, found


GREEN = ["queue", "simple", "listed", "counted", "popped", "Queue", "JoinableQueue", "SimpleQueue"]


@pytest.mark.parametrize("kind", GREEN)
def test_green_pool(parents, kind):
    found = parents("pools.py", f"green:{kind}", sys.executable)
    assert set(found) <= {RIGHT, NONE}, found


# ---- threads that a request makes for itself ----


@every
@pytest.mark.parametrize("kind", ["plain", "imports", "keeps", "reuses"])
def test_fan(parents, kind, python):
    assert set(parents("fans.py", kind, python)) == {RIGHT}


@pytest.mark.parametrize("kind", ["session", "green:plain", "green:keeps", "green:reuses", "green:session"])
def test_fan_with_libraries(parents, kind):
    assert set(parents("fans.py", kind, sys.executable)) == {RIGHT}


# ---- event loops ----

LOOPS = ["gathers", "derived", "plain", "runs", "resets", "thread"]
SINCE = {"copies": (3, 11), "empties": (3, 11), "shared": (3, 11), "roots": (3, 11), "groups": (3, 11),
         "eager": (3, 12)}
LOOSE = {"empties", "shared", "roots"}  # an empty context is what the program asks for


@every
@pytest.mark.parametrize("kind", LOOPS + list(SINCE))
def test_loop(parents, kind, python):
    if version_of(python) < SINCE.get(kind, (3, 7)):
        pytest.skip("not in this version")
    found = parents("awaits.py", kind, python)
    assert set(found) <= ({RIGHT, NONE} if kind in LOOSE else {RIGHT}), found


def test_loop_with_greenlets(parents):
    """Greenlets inside tasks that share the tasks' contexts."""
    assert set(parents("awaits.py", "greenlets", sys.executable)) == {RIGHT}


# ---- threads of C ----

@pytest.mark.parametrize("kind, allowed", [("pool", {RIGHT, NONE}), ("sem", {RIGHT, NONE}), ("own", {RIGHT})])
def test_c_threads(bench, port, origin, compiled, kind, allowed):
    """Workers that a request starts may have another's job before they ever wait."""
    served = Served(bench, port, origin, [compiled("cpool"), kind])
    check_answers("cpool", interleaved(port))
    verdicts = {what for what, _, _ in served.verdicts(CLIENTS * REQUESTS * CALLS).values()}
    assert verdicts <= allowed, verdicts


def test_waiting(bench, compiled):
    """Conditions and semaphores: answers, errno, cancellation, and between processes."""
    result = bench.both([compiled("waits")])
    assert b"cancelled 1 cleaned 1\n" in result.out and result.rc == 0


# ---- what the program sees ----

HOST = PROGRAMS / "hosts.py"
CALLS_OF_ALL_KINDS = ["errors", "contexts", "queues", "reloads", "many", "held", "signals"]
WHATS = {"calls": CALLS_OF_ALL_KINDS, "forks": ["forks", "processes"], "interpreters": ["interpreters"],
         "ends": ["daemons", "loops"]}


def told(result):
    """What may not depend on us: less addresses, process ids, and the one thing that we say."""
    return (result.rc, *(re.sub(rb"0x[0-9a-f]+|pid=\d+|(?m:^swagent.*contexts cannot be followed.*\n)", b"", text) for text in (result.out, result.err)))


def same(bench, argv, **options):
    with_us = bench.run(argv, name="host", **options)
    assert told(with_us) == told(bench.run(argv, agent=False, **options))
    assert with_us.rc == 0, with_us
    return with_us


@every
@pytest.mark.parametrize("what", WHATS)
def test_same(bench, what, python):
    same(bench, [python, HOST, *WHATS[what]])


MODES = {"-W error": ["-W", "error", "-W", "ignore::DeprecationWarning"], "-X dev": ["-X", "dev"], "-I -S": ["-I", "-S"],
         "faulthandler": ["-X", "faulthandler"], "-OO": ["-OO"], "tracemalloc": ["-X", "tracemalloc=10"],
         "malloc": [], "asyncio": []}
ENVIRONMENTS = {"malloc": {"PYTHONMALLOC": "debug"}, "asyncio": {"PYTHONASYNCIODEBUG": "1"}}


@pytest.mark.parametrize("python", PYTHONS[:2] + PYTHONS[-1:], ids=lambda p: p.parent.parent.name)
@pytest.mark.parametrize("mode", MODES)
def test_modes(bench, mode, python):
    same(bench, [python, *MODES[mode], HOST, *CALLS_OF_ALL_KINDS, "daemons"], env=ENVIRONMENTS.get(mode))


@every
def test_no_leaks(bench, python):
    """References, blocks and objects after 50,000 rounds of everything that is patched."""
    assert same(bench, [python, HOST, "leaks"]).out.endswith(b"0 True True\n")


@pytest.mark.parametrize("python", [SYSTEM_PYTHON, sys.executable], ids=["system", "venv"])
def test_late_imports(bench, python):
    """greenlet, uvloop and gevent are imported while a request is served."""
    if python == SYSTEM_PYTHON and subprocess.run([python, "-c", "import greenlet"], capture_output=True).returncode:
        pytest.skip("no greenlet")
    same(bench, [python, HOST, "late"])


@every
def test_ends(bench, python):
    """The interpreter ends while threads of its own are in calls, and takes its time."""
    slow = ("import sys, threading, socket\n"
            "class Slow:\n"
            "    def __del__(self, sum=sum, range=range): sum(range(300000))\n"
            "kept = [Slow() for _ in range(8)]\n"
            "kept.append(kept)\n"
            f"sys.argv = ['', 'daemons', 'loops']\nexec(open({str(HOST)!r}).read())\n")
    for _ in range(3):
        same(bench, [python, "-c", slow])


def test_is_off(bench):
    """With a second interpreter no contexts are used, and that is said once."""
    result = bench.run([SYSTEM_PYTHON, HOST, "interpreters", "interpreters"],
                       env={"SW_AGENT_LOGGING_LEVEL": "debug"})
    assert result.rc == 0 and re.search(rb"python_off 1\b", result.err), result.err
    assert result.err.count(b"several interpreters") == 1


def memory(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def ask_often(port, count):
    with socket.create_connection(("127.0.0.1", port)) as s:
        left = b""
        for _ in range(count // 50):
            s.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
            wanted, left = 50, b""
            while left.count(b"\r\n\r\n") < wanted:
                left += s.recv(65536)


def test_memory(bench, port):
    """20,000 requests, each with a task and a context of its own."""
    program = bench.start([SYSTEM_PYTHON, PROGRAMS / "awaits.py", "idle", port, "http://127.0.0.1:1"], port,
                          env={"SW_AGENT_PROTOCOL": "file", "SW_AGENT_FILE_PATH": "/dev/null"})
    ask_often(port, 5000)
    before = memory(program.pid)
    ask_often(port, 20000)
    assert memory(program.pid) - before < 3000
