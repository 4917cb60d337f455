"""gRPC C core as the engine of the grpc protocol: what only such a library could do to a program.

What both engines promise is in test_grpc.py, test_tls.py and test_collectors.py, run for each.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

import sink
import tasklist
from conftest import LIB, SYSTEM_PYTHON
from sink import Sink
from test_grpc import EXIT_FLUSH_S, Web, curl, over_grpc, ours
from test_process import pythons
from test_python import every
from test_tls import authority  # noqa: F401 (a fixture)

PLUGIN = pathlib.Path(LIB.split(":")[-1]).parent / "libswagent-grpc.so"
pytestmark = pytest.mark.skipif(not PLUGIN.exists(), reason="the plug-in grpc is not built")

FORKED = b"gRPC C core begins only once"


def over_core(address, **more):
    return over_grpc(address, SW_AGENT_GRPC_ENGINE="core", **more)


@pytest.fixture
def collector(ports):
    with Sink(ports()) as collector:
        yield collector


@pytest.fixture
def web(bench, ports, program):
    def start(address, name="web", **env):
        return Web(bench, ports(), program, over_core(address, **env), name)
    return start


def core_alone(bench, argv, env, **options):
    """As without us, but for what is said of forks. Returns the result with us."""
    without = bench.run(argv, agent=False, **options)
    result = bench.run(argv, env=env, **options)
    lines = ours(result.err)
    assert [line for line in lines if FORKED not in line] == [] and len(lines) <= 1, result
    result.err = b"".join(line for line in result.err.splitlines(True) if b"swagent" not in line)
    result.same(without)
    result.said = len(lines)
    return result


# ---- it is the engine ----


def test_threads_and_descriptors(web, collector):
    """Its threads have our table of descriptors, block all signals, and are known by their names."""
    server = web(collector.port).ask(3)
    collector.segments(3)
    pid = server.process.pid
    names = tasklist.names(pid)
    assert {"swagent", "swagent-grpc", "swagent-pump"} <= set(names), names
    program = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert not any("event" in name for name in program), program
    own = 0
    for status, descriptors in tasklist.each(pid, tasklist.status_and_descriptors):
        if status["Pid"] == str(pid) or descriptors == len(program):
            continue
        own += 1
        assert tasklist.blocks_all(status), status
    assert own >= 5, names
    server.stop()


def test_the_same_messages_by_both_engines(bench, origin, ports):
    found = []
    for engine in "native", "core":
        with Sink(ports()) as collector:
            bench.both(curl(origin, "a"), env=over_grpc(collector.port, SW_AGENT_GRPC_ENGINE=engine,
                                                        SW_AGENT_AUTHENTICATION="token"))
            [segment] = collector.segments(1)
            found.append((segment.spans[0].operationName, [c.path for c in collector.calls],
                          [c.header("authentication") for c in collector.calls]))
    assert found[0] == found[1]


def test_own_traffic_is_not_traced(web, collector):
    server = web(collector.port).ask(5)
    collector.segments(5)
    time.sleep(1.5)
    assert len(collector.segments(5)) == 5
    server.stop()


def test_environment(web, collector):
    """What the program sets for its own gRPC is not ours to follow, and nothing is printed."""
    server = web(collector.port, GRPC_VERBOSITY="DEBUG", GRPC_TRACE="all", GRPC_POLL_STRATEGY="nonsense",
                 GRPC_ENABLE_FORK_SUPPORT="1", http_proxy="http://127.0.0.1:1", https_proxy="http://127.0.0.1:1",
                 grpc_proxy="http://127.0.0.1:1", GRPC_DNS_RESOLVER="native").ask(3)
    collector.segments(3)
    assert server.stop() == b""


# ---- where it cannot be ----


@pytest.mark.parametrize("how", ["missing", "not ours"])
def test_without_the_plug_in(bench, origin, collector, tmp_path, how):
    """Said once, and our own engine goes on."""
    alone = shutil.copy(LIB.split(":")[-1], tmp_path / "libswagent.so")
    if how == "not ours":
        (tmp_path / "libswagent-grpc.so").write_bytes(b"\x7fELF?")
    without = bench.run(curl(origin), agent=False)
    result = bench.run(curl(origin), env=over_core(collector.port, LD_PRELOAD=alone))
    assert (result.rc, result.out) == (without.rc, without.out)
    [line] = ours(result.err)
    assert b"libswagent-grpc.so" in line and line.endswith(b"our own gRPC is used")
    collector.segments(1)


@pytest.mark.parametrize("what", ["u", "uf", "c", "cf"])
def test_tables_of_descriptors(bench, origin, compiled, collector, what):
    """Where ours cannot have one of its own, C core's numbers would be in the program's way."""
    argv = [compiled("older"), what, *curl(origin)]
    without = bench.run(argv, agent=False)
    result = bench.run(argv, env=over_core(collector.port))
    assert (result.rc, result.out) == (without.rc, without.out)
    collector.segments(1)
    assert len(ours(result.err)) == ("f" in what), result


REFUSED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
static int on(const char *thread) { char name[16] = ""; prctl(PR_GET_NAME, name); return !strcmp(name, thread); }
#ifdef MEMORY
void *__libc_calloc(size_t count, size_t size);
void *calloc(size_t count, size_t size) { return on("swagent-grpc") ? NULL : __libc_calloc(count, size); }
#else
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	if (!real) real = dlsym(RTLD_NEXT, "pthread_create");
	return on(WHERE) ? EAGAIN : real(thread, attr, start, arg);
}
#endif
"""


@pytest.mark.parametrize("what", ["-DMEMORY", "-DWHERE=\"swagent-grpc\"", "-DWHERE=\"swagent\""],
                         ids=["memory", "threads", "any-thread"])
def test_it_gives_up(web, collector, tmp_path, what):
    """Without memory C core calls abort, without a thread it waits for ever. That is not the
    program's end, and all arrives."""
    (tmp_path / "refuse.c").write_text(REFUSED)
    subprocess.run(["gcc", what, "-shared", "-fPIC", "-w", "-o", tmp_path / "refuse.so", tmp_path / "refuse.c"], check=True)
    server = web(collector.port, LD_PRELOAD=f"{LIB} {tmp_path / 'refuse.so'}").ask(5)
    collector.segments(5)
    server.ask(5)
    collector.segments(10)
    assert b"C core has given up" in server.stop(warnings=1)


# ---- forks ----


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_forks_under_load(bench, origin, compiled, ports, authority, secure):
    """Nothing is lost, neither of the parent that reports while it forks nor of its children."""
    tls = authority.issue("server").credentials() if secure else None
    with Sink(ports(), tls=tls) as collector:
        more = {"SW_AGENT_EXIT_FLUSH_TIMEOUT": 20000}  # a busy machine's handshakes
        more |= {"SW_AGENT_SSL_TRUSTED_CA_PATH": authority.path} if secure else {}
        result = bench.run([compiled("forks"), origin.port, 200], name="forks",
                           env=over_core(collector.port, **more), timeout=100)
        assert result.rc == 0, result
        [line] = ours(result.err)
        assert FORKED in line
        collector.segments(len(origin.requests))
        assert sum("-child(" in s for s in {s.serviceInstance for s in collector.different()}) == 20


def test_children_use_our_own(bench, origin, collector):
    url = f"http://127.0.0.1:{origin.port}"
    script = (tasklist.HERE + "import urllib.request as u\n"
              f"def ask(p): u.urlopen('{url}/' + p).read()\n"
              "ask('before')\n"
              "print(tasklist.has('swagent-grpc'))\n"
              "for i in range(3):\n"
              "    if os.fork() == 0:\n"
              "        ask(f'child{i}'); print(tasklist.has('swagent'), end=' '); time.sleep(0.5)\n"
              "        print('swagent-grpc' in tasklist.names(), flush=True); os._exit(0)\n"
              "    os.wait()\n"
              "ask('after')\n"
              "print(tasklist.has('swagent-grpc'))\n")
    result = bench.run([SYSTEM_PYTHON, "-c", script], env=over_core(collector.port))
    assert result.out == b"True\n" + b"True False\n" * 3 + b"True\n", result
    [line] = ours(result.err)
    assert FORKED in line, "once for all"
    segments = collector.segments(5)
    assert len({s.serviceInstance for s in segments}) == 4


def test_a_parent_that_never_used_it(bench, origin, collector):
    """A server that makes its workers first: each has C core, and nothing is to be said."""
    script = (tasklist.HERE + "import urllib.request as u\n"
              "for i in range(3):\n"
              "    if os.fork() == 0:\n"
              f"        u.urlopen('http://127.0.0.1:{origin.port}/').read()\n"
              "        print(tasklist.has('swagent-grpc'), flush=True)\n"
              "        os._exit(0)\n"
              "    os.wait()\n")
    result = bench.run([SYSTEM_PYTHON, "-c", script], env=over_core(collector.port))
    assert (result.out, result.err) == (b"True\n" * 3, b""), result
    collector.segments(3)


@pytest.mark.parametrize("python", pythons())
def test_forks_without_a_second_thread(bench, origin, python, collector):
    """CPython warns of threads that it finds when it forks: all of C core's are gone by then."""
    script = ("import os, time, urllib.request as u\n"
              f"def ask(p): u.urlopen('http://127.0.0.1:{origin.port}/' + p).read()\n"
              "for i in range(5):\n"
              "    ask(f'before{i}')\n"
              "    time.sleep(0.2 * i)\n"
              "    if os.fork() == 0: os._exit(0)\n"
              "    os.wait()\n"
              "ask('after')\n")
    core_alone(bench, [python, "-W", "always", "-c", script], over_core(collector.port))
    collector.segments(6)


def test_unshare(bench, origin, collector):
    """Fails in a process of several threads: ours and C core's must be gone."""
    script = ("import ctypes, os, urllib.request as u\n"
              f"u.urlopen('http://127.0.0.1:{origin.port}/a').read()\n"
              "import time; time.sleep(0.5)\n"
              "print(ctypes.CDLL(None, use_errno=True).unshare(0x10000000), ctypes.get_errno())\n")
    core_alone(bench, [SYSTEM_PYTHON, "-c", script], over_core(collector.port))
    collector.segments(1)


@pytest.mark.parametrize("how", ["clone", "syscall", "clone3", "vm"])
def test_children_past_fork(bench, origin, compiled, collector, how):
    core_alone(bench, [compiled("clones"), origin.port, how], over_core(collector.port))
    collector.segments(2 if how == "vm" else 3)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_setuid(bench, origin, collector):
    """libc makes all threads of the process take the step, by a signal: C core's, too."""
    script = (tasklist.HERE + "import urllib.request as u\n"
              f"u.urlopen('http://127.0.0.1:{origin.port}/a').read(); time.sleep(0.5)\n"
              "os.setgid(65534); os.setuid(65534)\n"
              "print({thread['Uid'].split()[0] for thread in tasklist.statuses()})\n")
    result = bench.both([SYSTEM_PYTHON, "-c", script], env=over_core(collector.port))
    assert result.out == b"{'65534'}\n"
    collector.segments(1)


# ---- ends ----


def test_main_thread_leaves(bench, origin, compiled, collector):
    """The process ends with its last thread, though C core has some."""
    result = core_alone(bench, [compiled("leave_main"), origin.port], over_core(collector.port), timeout=20)
    assert result.rc == 0 and result.waited < 5
    collector.segments(2)


@pytest.mark.parametrize("how", ["prctl", "seccomp", "strict"])
def test_a_program_that_seals_itself(bench, origin, compiled, collector, how):
    """Not killed for a call of ours or of C core's; what was before is reported."""
    result = core_alone(bench, [compiled("sealed"), origin.port, how], over_core(collector.port))
    assert (result.rc, result.out) == (0, b"done\n")
    collector.segments(2)


@every
@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "os._exit(4)", "os.abort()", "1/0",
                                 "os.execv('/bin/true', ['x'])", "import time; time.sleep(0.7)"])
def test_ends(bench, origin, ports, authority, python, end):
    """With C core and OpenSSL inside us, and the program's own OpenSSL: the same end, on every
    interpreter, and everything arrives."""
    script = f"import os, ssl, sys, urllib.request as u; u.urlopen('http://127.0.0.1:{origin.port}/').read(); {end}"
    with Sink(ports(), tls=authority.issue("server").credentials()) as collector:
        result = bench.both([python, "-c", script], env=over_core(collector.port, **{"SW_AGENT_SSL_TRUSTED_CA_PATH": authority.path}))
        collector.segments(1)
    assert result.waited < EXIT_FLUSH_S + 3


# ---- a program with gRPC of its own ----


OWN = """
import os, sys, threading, time; sys.path.insert(0, {here!r})
import grpc, urllib.request as u
from skywalking.protocol.management import Management_pb2 as m, Management_pb2_grpc as g
def ping(name):
    with grpc.insecure_channel('127.0.0.1:{port}') as c:
        g.ManagementServiceStub(c).keepAlive(m.InstancePingPkg(service=name))
first = {first}
if first: ping('theirs')
u.urlopen('http://127.0.0.1:{origin}/').read()
ours = tasklist.has('swagent-grpc')
ping('theirs')
print('done', ours)
"""


@pytest.mark.parametrize("first", [True, False], ids=["theirs-first", "ours-first"])
def test_program_with_its_own_grpc(bench, origin, collector, first):
    """grpcio's wheel has a C core of its own, another version: both work, and both end well."""
    script = tasklist.HERE + OWN.format(here=os.path.dirname(sink.__file__), port=collector.port, origin=origin.port, first=first)
    result = bench.run([sys.executable, "-c", script], env=over_core(collector.port))
    assert (result.rc, result.out, result.err) == (0, b"done True\n", b""), result
    assert sum(p.service == "theirs" for p in collector.pings) == 1 + first
    assert any("/" == s.spans[0].operationName for s in collector.segments(1))
