"""Ordinary programs under LD_PRELOAD, with and without us.

What the agent writes is read with the classes of the Python agent (apache-skywalking 1.2.0), a
reader that shares nothing with us. Every file a test causes is read at the end of that test and
checked for what must always hold, whether the test looks at it or not.

Environment: SW_LIB, what goes into LD_PRELOAD (default build/libswagent.so). SW_LOOP and SW_ENGINE, the
loop and the engine of gRPC of all programs for which a test does not say one (default: the library's).
"""

import collections
import ctypes
import fcntl
import itertools
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
# For env=: how long the end of a program waits for its collector. The other one is the library's default.
PATIENT, IN_HASTE = {"SW_AGENT_EXIT_FLUSH_TIMEOUT": 10000}, {"SW_AGENT_EXIT_FLUSH_TIMEOUT": "UNSET"}
CLEAN |= {k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS")}


def pytest_configure(config):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup's disposition would be our programs', too
    config.addinivalue_line("markers", "slow: takes more than some seconds")
    config.addinivalue_line("markers", "native: of our own engine of gRPC only")
    for lib in re.split("[: ]", LIB):
        if not os.path.isabs(lib) or not os.path.exists(lib):
            raise pytest.UsageError(f"{lib}: build it first (tests/run), or set SW_LIB")


def pytest_collection_modifyitems(items):
    """Of tests that run with each engine of gRPC: which of them not, and over which loop once."""
    def wanted(item):
        params = getattr(item, "callspec", None) and item.callspec.params or {}
        return params.get("any_engine") != "core" or not (
            item.get_closest_marker("native") or params.get("any_loop") == "io_uring")
    items[:] = [item for item in items if wanted(item)]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """What one process of pytest-xdist does in one go: some tests of a function, so that few take a port or a user
    of the same number at once; but all cells of the contract, which run at once."""
    from xdist.scheduler import LoadScopeScheduling

    class Pieces(LoadScopeScheduling):
        pieces, met = {}, collections.Counter()

        def _split_scope(self, nodeid):
            function = nodeid.partition("[")[0]
            if nodeid not in self.pieces and "test_contract" not in function:
                self.met[function] += 1
            return self.pieces.setdefault(nodeid, f"{function} {self.met[function] // 6}")
    return Pieces(config, log)


def pressed():
    """Seconds in which somebody on this machine had to wait for a processor or a disk, since its start."""
    found = 0
    for what in "cpu", "io":
        try:
            said = pathlib.Path("/proc/pressure", what).read_text()
        except OSError:  # a kernel that does not tell
            continue
        found += int(re.search(r"^some .*total=(\d+)", said, re.M)[1]) / 1e6
    return found


class Watch:
    """How long something takes, for tests that say how long it may at most. On a busy machine everything takes
    longer, so the time in which anybody had to wait for a processor is left out: what remains is what was
    waited for otherwise, or less. `seconds` is by the clock on the wall."""

    def __init__(self):
        self.begin, self.pressed = time.monotonic(), pressed()

    @property
    def seconds(self):
        return time.monotonic() - self.begin

    @property
    def waited(self):
        return max(0, self.seconds - (pressed() - self.pressed))


class Result:
    """What a program left: exit status as the shell's parent sees it, output, error output; and how long it
    took. Compare `waited` of a program with us with `seconds` of one without: see Watch."""

    def __init__(self, rc, out, err, pid, watch):
        self.rc, self.out, self.err, self.pid = rc, out, err, pid
        self.seconds, self.waited = watch.seconds, watch.waited

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
        self.engine = os.environ.get("SW_ENGINE", "UNSET")
        self.running = []

    def env(self, agent=True, name=None, env=None):
        result = dict(CLEAN)
        if agent:
            result |= {"LD_PRELOAD": LIB, "SW_AGENT_PROTOCOL": "file", "SW_AGENT_LOOP": self.loop,
                       "SW_AGENT_GRPC_ENGINE": self.engine,
                       "SW_AGENT_FILE_PATH": str(self.records / f"{name or 'x'}-%p.jsonl")}
            if name:
                result["SW_AGENT_NAME"] = name
        result |= {k: str(v) for k, v in (env or {}).items()}
        return {k: v for k, v in result.items() if v != "UNSET"}

    def run(self, argv, agent=True, name=None, env=None, input=b"", cwd=None, timeout=60):
        """A program from its start to its end. Its end has patience with a collector that is slow to answer,
        as it is on a busy machine; tests of the default say so: env=IN_HASTE."""
        env, watch = (PATIENT if agent else {}) | (env or {}), Watch()
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
        return Result(program.returncode, out, err, program.pid, watch)

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
        deadline = time.monotonic() + 60
        while port and not listening(port):
            if program.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{argv} did not start: {self.output(program)[-3000:].decode()}")
            time.sleep(0.02)
        return program

    def output(self, program):
        program.log.flush()
        return pathlib.Path(program.log.name).read_bytes()

    def stop(self, program, how=signal.SIGTERM, timeout=40):
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

    def segments(self, count=None, timeout=30):
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


@pytest.fixture(params=["native", "core"])
def any_engine(request, bench):
    """For usefixtures: the test runs with each engine of gRPC. `native` marks what does not."""
    if request.param == "core" and not (pathlib.Path(LIB.split(":")[-1]).parent / "libswagent-grpc.so").exists():
        pytest.skip("the plug-in grpc is not built")
    bench.engine = request.param


@pytest.fixture
def port():
    return free_port()


def numbers():
    """Below 32768, where no outgoing connection takes a port before its server does. Each process of pytest-xdist
    has some of its own and gives none twice soon: between the look whether one is free and the start of its
    server another test's would come, and be taken for it."""
    ours, all_of_us = os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:], os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)
    count = 17000 // int(all_of_us)
    begin = random.randrange(count)
    return itertools.cycle([15000 + count * int(ours) + (begin + i) % count for i in range(count)])


NUMBERS = numbers()


def free_port():
    while True:
        number = next(NUMBERS)
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
    """compiled("x"): the program made from programs/x.c, or of programs/x.cpp by language="cpp", once for all
    processes of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "programs"
    folder.mkdir(exist_ok=True)

    def build(name, *options, language="c"):
        path = folder / name
        with open(folder / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                compiler = {"c": "gcc", "cpp": "g++"}[language]
                subprocess.run([compiler, "-O1", "-g", "-pthread", "-w", *options, "-o", f"{path}.new",
                                str(HERE / "programs" / f"{name}.{language}")], check=True)
                os.rename(f"{path}.new", path)
        return path

    return build


@pytest.fixture
def program():
    """program("x.py"): argv of programs/x.py with Debian's Python, or with the tests' own."""

    def argv(name, *args, python=SYSTEM_PYTHON):
        return [python, str(HERE / "programs" / name), *map(str, args)]

    return argv


@pytest.fixture
def workers(bench, ports):
    """workers(env): gunicorn with three workers that answer /back/N. Returns (its process, its port)."""

    def start(env):
        port = ports()
        argv = [sys.executable, "-m", "gunicorn", "--worker-tmp-dir", "/tmp", "--no-control-socket",
                "--graceful-timeout", "5", "--log-level", "critical", "-w", "3", "-b", f"127.0.0.1:{port}",
                "--chdir", HERE / "programs", "flaskapp:back"]
        server = bench.start(argv, port, name="shop", env=env)
        time.sleep(1)
        return server, port

    return start


@pytest.fixture(params=["127.0.0.2", "::1"])
def two_addresses(request, compiled):
    """(an address, for env=): the name `collectors` has this one and after it 127.0.0.1."""
    try:
        socket.create_server((request.param, 0), family=socket.AF_INET6 if ":" in request.param else socket.AF_INET).close()
    except OSError:
        pytest.skip(f"no {request.param} here")
    resolver = compiled("names", "-shared", "-fPIC")
    return request.param, {"LD_PRELOAD": f"{LIB} {resolver}", "FIRST_ADDRESS": request.param}


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
