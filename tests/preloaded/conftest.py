"""Ordinary programs under LD_PRELOAD, with and without us.

What the agent writes is read with the classes of the Python agent (apache-skywalking 1.2.0), a
reader that shares nothing with us. Every file a test causes is read at the end of that test and
checked for what must always hold, whether the test looks at it or not.

Environment: SW_LIB, what goes into LD_PRELOAD (default build/libswagent.so). SW_LOOP, the loop of all
programs for which a test does not say one (default: the library's).
"""

import ctypes
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import reader  # noqa: E402
from origin import Origin  # noqa: E402

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
BUILD = pathlib.Path(os.environ.get("SW_BUILD", ROOT / "build"))
LIB = os.environ.get("SW_LIB", str(BUILD / "libswagent.so"))
SYSTEM_PYTHON = "/usr/bin/python3"

# Programs see this and nothing of ours: no SW_*, no LD_PRELOAD, no proxies.
CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent",
         "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
CLEAN |= {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than some seconds")
    for lib in re.split("[: ]", LIB):
        if not os.path.isabs(lib) or not os.path.exists(lib):
            raise pytest.UsageError(f"{lib}: build it first (tests/run), or set SW_LIB")


class Result:
    """What a program left: exit status as the shell's parent sees it, output, error output."""

    def __init__(self, rc, out, err, pid, seconds):
        self.rc, self.out, self.err, self.pid, self.seconds = rc, out, err, pid, seconds

    def same(self, other):
        assert (self.rc, self.out, self.err) == (other.rc, other.out, other.err)

    def __repr__(self):
        return f"<rc {self.rc} out {self.out[-400:]!r} err {self.err[-2000:]!r}>"


class Bench:
    """One test's programs, and the folder where their records go."""

    def __init__(self, tmp):
        self.tmp = tmp
        self.records = tmp / "records"
        self.records.mkdir()
        self.loop = os.environ.get("SW_LOOP", "UNSET")
        self.running = []

    def env(self, agent=True, name=None, env=None):
        result = dict(CLEAN)
        if agent:
            result |= {"LD_PRELOAD": LIB, "SW_AGENT_PROTOCOL": "file", "SW_AGENT_LOOP": self.loop,
                       "SW_AGENT_FILE_PATH": str(self.records / f"{name or 'x'}-%p.jsonl")}
            if name:
                result["SW_AGENT_NAME"] = name
        result |= {k: str(v) for k, v in (env or {}).items()}
        return {k: v for k, v in result.items() if v != "UNSET"}

    def run(self, argv, agent=True, name=None, env=None, input=b"", cwd=None, timeout=60):
        begin = time.monotonic()
        with tempfile.TemporaryFile() as given:  # a pipe would be read in pieces of any size
            given.write(input)
            given.seek(0)
            program = subprocess.Popen([str(a) for a in argv], env=self.env(agent, name, env),
                                       cwd=cwd or self.tmp, stdin=given,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = program.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            stacks = hung(program.pid)
            program.kill()
            out, err = program.communicate()
            pytest.fail(f"{argv} hung; {out[-500:]!r} {err[-500:]!r}\n{stacks}")
        return Result(program.returncode, out, err, program.pid, time.monotonic() - begin)

    def both(self, argv, **options):
        """Runs it without and with us and compares. Returns the result with us."""
        without = self.run(argv, agent=False, **options)
        with_us = self.run(argv, agent=True, **options)
        with_us.same(without)
        return with_us

    def start(self, argv, port=None, agent=True, name=None, env=None, cwd=None):
        """A server, ready when somebody listens on `port` (a number, or the path of a socket)."""
        log = open(self.tmp / f"server-{len(self.running)}.log", "w+b")
        program = subprocess.Popen([str(a) for a in argv], env=self.env(agent, name, env),
                                   cwd=cwd or self.tmp, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        program.log = log
        self.running.append(program)
        deadline = time.monotonic() + 20
        while port and not listening(port):
            if program.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{argv} did not start: {self.output(program)[-3000:].decode()}")
            time.sleep(0.02)
        return program

    def output(self, program):
        program.log.flush()
        return pathlib.Path(program.log.name).read_bytes()

    def stop(self, program, how=signal.SIGTERM, timeout=15):
        """Ends a server as an administrator would. Returns its exit status."""
        if program.poll() is None:
            program.send_signal(how)
        try:
            return program.wait(timeout)
        except subprocess.TimeoutExpired:
            stacks = hung(program.pid)
            self.kill(program)
            pytest.fail(f"{program.args} did not end\n{stacks}")

    def kill(self, program):
        try:
            os.killpg(program.pid, signal.SIGKILL)  # its own session: its workers too
        except ProcessLookupError:
            pass
        program.wait()

    def stop_all(self):
        for program in reversed(self.running):
            self.stop(program)

    def close(self):
        for program in self.running:
            self.kill(program)
            program.log.close()

    def files(self):
        return sorted(self.records.iterdir())

    def segments(self, count=None, timeout=5):
        """All segments, by the independent reader. With count: waits until there are so many."""
        deadline = time.monotonic() + timeout
        while True:
            found = reader.read(self.records)
            if count is None or len(found) >= count or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        if count is not None:
            assert len(found) == count, [reader.brief(s) for s in found]
        return found


def hung(pid):
    """Where every thread of a program stands, for the message of a failed test."""
    got = subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all bt 12"],
                         capture_output=True, text=True, timeout=30)
    return got.stdout[-6000:]


def listening(port):
    if isinstance(port, (str, pathlib.Path)):
        return any(line.split()[-1:] == [str(port)] and line.split()[5] == "01"
                   for line in open("/proc/net/unix"))
    # Looking is better than connecting: it leaves the server alone.
    for table in "/proc/net/tcp", "/proc/net/tcp6":
        for line in open(table):
            words = line.split()
            if words[3] == "0A" and words[1].endswith(f":{port:04X}"):
                return True
    return False


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()
    reader.read(bench.records)


def has_io_uring():
    """Linux 6.0, and nothing that forbids it."""
    parameters = (ctypes.c_uint32 * 30)(0, 0, 1 << 12)  # SINGLE_ISSUER
    fd = ctypes.CDLL(None).syscall(425, 1, parameters)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


@pytest.fixture(params=["epoll", "io_uring"])
def any_loop(request, bench):
    """For usefixtures: the test runs over each loop."""
    if request.param == "io_uring" and not has_io_uring():
        pytest.skip("no io_uring here")
    bench.loop = request.param


@pytest.fixture
def port():
    return free_port()


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


@pytest.fixture
def ports():
    return free_port


@pytest.fixture
def origin():
    """A server of the test's own, which notes every byte that arrives."""
    with Origin(free_port()) as origin:
        yield origin


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """compiled("x"): the program made from programs/x.c"""
    folder = tmp_path_factory.mktemp("programs")

    def build(name):
        path = folder / name
        if not path.exists():
            subprocess.run(["gcc", "-O1", "-g", "-pthread", "-w",
                            "-o", str(path), str(HERE / "programs" / f"{name}.c")], check=True)
        return path

    return build


@pytest.fixture
def program():
    """program("x.py"): argv of programs/x.py with Debian's Python, or with the tests' own."""

    def argv(name, *args, python=SYSTEM_PYTHON):
        return [python, str(HERE / "programs" / name), *map(str, args)]

    return argv


@pytest.fixture
def black_hole(ports):
    """A port where connecting takes for ever: the backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports()))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        assert listening(port)
        yield port
        for one in waiting:
            one.close()
