"""Threads in numbers and on small stacks, and programs that are linked in other ways.

Every test runs a program without and with us and compares output, exit status and, where they do not
depend on time, the bytes that its server got (less our lines). Pitfalls of
shared/spec/preload-pitfalls.md:

   1, 38  another malloc        test_mallocs
   2      before main           test_before_main_and_after
   6, 12  ways of linking       test_linking, test_own_definitions
   13, 14 dlopen                test_dlopen
   21     forks                 test_fork_storm_of_many
   28     numbers come again    test_turns
   30, 39 small stacks          test_turns[small], test_destructors
   34     the end               test_exit_in_the_midst
   35     unloading             test_dlopen (the library that used sockets goes, ours stays)
   40     threads that end      test_destructors
   49     limits                test_threads_at_once (more conversations than are followed)
   60     the locale            test_locales

SW_LONG=1: as many as the issue says.
"""

import os
import re
import signal
import subprocess

import pytest

import reader
from conftest import HERE, LIB
from test_limits import DEBUG, LONG, compared, counters, operations, some, split


class Answers:
    """programs/answers.c: the origin in C, which counts. Never under the agent."""

    def __init__(self, path, port):
        self.port = port
        self.process = subprocess.Popen([path, str(port)], stdout=subprocess.PIPE, text=True)

    def counted(self):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        return dict(zip(("requests", "connections", "carried", "strange"), map(int, re.findall(r"\d+", out))))


@pytest.fixture
def answers(compiled, ports):
    started = []

    def start():
        from conftest import listening
        import time
        server = Answers(compiled("answers"), ports())
        started.append(server)
        while not listening(server.port):
            time.sleep(0.01)
        return server

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


def storm(bench, answers, compiled, what, count, agent, env=None, timeout=100):
    server = answers()
    result = bench.run([compiled("storm"), server.port, what, count], agent=agent, timeout=timeout, env=env)
    return result, server.counted()


def both(bench, answers, compiled, what, count, env=None, timeout=100):
    """Without and with; the numbers of requests and connections too. Returns (with us, what the server
    counted, what we did)."""
    without, seen_without = storm(bench, answers, compiled, what, count, False, timeout=timeout)
    with_us, seen = storm(bench, answers, compiled, what, count, True, DEBUG | (env or {}), timeout)
    with_us.err, ours = split(with_us.err)
    with_us.same(without)
    assert (with_us.rc, with_us.err) == (0, b"")
    assert (seen["requests"], seen["connections"]) == (seen_without["requests"], seen_without["connections"])
    assert seen["strange"] == seen_without["strange"] == 0 == seen_without["carried"]
    print(f"{what} {count}: {without.seconds:.2f} s without us, {with_us.seconds:.2f} s with")
    return with_us, seen, counters(ours)


# ---- many ----

@pytest.mark.slow
def test_fork_storm_of_many(bench, answers, compiled):
    """Children of a process whose threads make requests: each ends as it should, none hangs, each of their
    requests and of its is reported once (21)."""
    count = 10000 if LONG else 2000
    without, seen_without = storm(bench, answers, compiled, "forks", count, False, timeout=300)
    assert (without.rc, without.err) == (0, b"")
    result, seen = storm(bench, answers, compiled, "forks", count, True, timeout=300)
    assert (result.rc, result.err) == (0, b""), result
    assert seen["strange"] == 0 and seen["carried"] == seen["requests"]
    segments = bench.segments()  # the reader finds ids that came twice
    found = [s.spans[0].operationName for s in segments]
    assert found.count("/child") == count // 10 - count // 100
    assert found.count("/grandchild") == count // 100
    assert len(found) == seen["requests"]
    assert len({s.serviceInstance for s in segments}) == 1 + count // 10


def test_first_connections(bench, origin, compiled):
    """Two threads connect for the first time while the program forks, so that the one that starts us waits
    for memory: both are followed."""
    runs = 40
    for _ in range(runs):
        result = bench.run([compiled("early"), origin.port, 50])
        assert (result.rc, result.out, result.err) == (0, b"", b""), result
    assert operations(bench, 2 * runs) == ["/first"] * runs + ["/second"] * runs


@pytest.mark.slow
def test_threads_at_once(bench, answers, compiled):
    """2000 threads, each with a request on a connection of its own, all open at once."""
    count = 2000
    result, seen, counted = both(bench, answers, compiled, "threads", count)
    assert f"{count} requests, 0 failures".encode() in result.out
    assert len(bench.segments(count)) == counted["segment_sent"] == count == seen["carried"]


def test_more_than_are_followed(bench, answers, compiled):
    """The same with room for 100 conversations and 50 spans: what is not followed is counted (49)."""
    env = {"SW_AGENT_CONNECTION_MAX": 100, "SW_AGENT_SPANS_OPEN_MAX": 50}
    result, seen, counted = both(bench, answers, compiled, "threads", 300, env)
    found = len(bench.segments())
    assert counted["connection_pool"] == 200
    assert found == counted["segment_sent"] and found + counted.get("span_pool", 0) == 100


@pytest.mark.slow
@pytest.mark.parametrize("what", ["turns", "small"])
def test_turns(bench, answers, compiled, what):
    """A thread for each request; with stacks of 16 KiB (39), where every frame of ours must fit."""
    count = (100000 if what == "turns" else 20000) if LONG else 2000
    result, seen, counted = both(bench, answers, compiled, what, count, timeout=600)
    assert f"{count} requests, 0 failures".encode() in result.out
    assert seen["carried"] == count
    assert counted["segment_sent"] + counted.get("ring_full", 0) + counted.get("segment_dropped", 0) == count
    assert len(bench.segments()) == counted["segment_sent"]


def test_destructors(bench, answers, compiled):
    """Destructors of thread-local data, two rounds of them, that make requests (39, 40)."""
    result, seen, counted = both(bench, answers, compiled, "late", 100)
    assert b"300 requests, 0 failures" in result.out
    assert sorted(operations(bench, 300)) == ["/body"] * 100 + ["/destructor"] * 100 + ["/destructor-again"] * 100


def test_exit_in_the_midst(bench, answers, compiled):
    """exit by a thread while 20 others are in calls: at once, with its status (34)."""
    for agent in (False, True):
        for _ in range(5):
            result, seen = storm(bench, answers, compiled, "leave", 20, agent)
            assert (result.rc, result.out, result.err) == (7, b"", b"") and result.waited < 3
    assert reader.read(bench.records)


# ---- ways of linking ----

def build(path, source, *flags, language="gcc"):
    made = subprocess.run([language, "-O1", "-g", "-w", "-pthread", "-o", str(path), str(HERE / "programs" / source), *flags],
                          capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return path


LINKED = {"now": ["-Wl,-z,now"], "lazy": ["-Wl,-z,lazy"], "no-plt": ["-fno-plt", "-Wl,-z,now"], "no-pie": ["-no-pie"],
          "relro": ["-Wl,-z,relro,-z,now", "-pie", "-fPIE"], "symbolic": ["-Wl,-Bsymbolic", "-rdynamic"],
          "sysv-hash": ["-Wl,--hash-style=sysv"], "gnu-hash": ["-Wl,--hash-style=gnu"],
          "fortified": ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3", "-O2"], "execstack": ["-Wl,-z,execstack"],
          "lto": ["-flto", "-O3"], "profiled": ["-pg"]}


@pytest.mark.parametrize("how", some(LINKED, "now", "no-plt", "symbolic", "fortified"))
def test_linking(bench, origin, tmp_path, how):
    """However it is linked, as long as it is linked with libc at run time (12, 9)."""
    path = build(tmp_path / "limits", "limits.c", *LINKED[how])
    compared(bench, origin, [path, origin.port, "just"], 2)
    compared(bench, origin, [path, origin.port, "just"], 2, env={"LD_BIND_NOW": 1})
    assert operations(bench, 4) == ["/one", "/one", "/two", "/two"]


@pytest.mark.parametrize("how", [["-static"], ["-static-pie"]])
def test_static(bench, origin, tmp_path, how):
    """Left alone."""
    path = build(tmp_path / "limits", "limits.c", *how)
    compared(bench, origin, [path, origin.port, "just"], 2)
    assert bench.files() == []


@pytest.mark.parametrize("which", ["SEND", "RECV", "CONNECT", "CLOSE", "READ", "EXIT"])
def test_own_definitions(bench, origin, tmp_path, which):
    """A program with a function of its own by a name that we interpose: its own is called, ours is not,
    and what it does is not seen or is given up (12)."""
    path = build(tmp_path / "own", "own.c", f"-DOWN_{which}")
    result = compared(bench, origin, [path, origin.port], 2)
    assert b"one: ok\ntwo: ok\n" in result.out and b"own calls: 1\n" in result.out
    reader.read(bench.records)


LIBRARIES = {"plain": [], "symbolic": ["-Wl,-Bsymbolic"], "no-plt": ["-fno-plt"], "now": ["-Wl,-z,now"],
             "own-close": ["-DOWN_CLOSE", "-Wl,-Bsymbolic"]}


@pytest.mark.parametrize("how", some(LIBRARIES, "plain", "own-close"))
@pytest.mark.parametrize("flag", some(["lazy", "now", "deepbind", "global", "namespace"], "lazy", "deepbind", "namespace"))
def test_dlopen(bench, origin, tmp_path, compiled, how, flag):
    """A library that uses sockets, opened, used, closed, and opened again. With RTLD_DEEPBIND and in a
    namespace of its own it does not see us, and its requests go as they are (13, 14, 35)."""
    library = build(tmp_path / "plugin.so", "own.c", "-shared", "-fPIC", "-DPLUGIN", *LIBRARIES[how])
    path = build(tmp_path / "opens", "own.c", "-DOPENS", "-ldl")
    result = compared(bench, origin, [path, origin.port, library, flag], 7)
    assert result.out.count(b"plugin: ok\n") == 6 and b"last: ok\n" in result.out
    found = [s.spans[0].operationName for s in bench.segments()]
    assert found.count("/last") == 1
    if flag not in ("deepbind", "namespace") and how != "own-close":
        assert found.count("/plugin") == 6


def test_before_main_and_after(bench, origin, tmp_path):
    """Requests in a constructor, before ours (of a library that is preloaded too), in main, in atexit
    handlers and in a destructor: all as without us. What comes after our own destructor is not reported
    (2, 34, 66)."""
    library = build(tmp_path / "early.so", "own.c", "-shared", "-fPIC", "-DEARLY")
    path = build(tmp_path / "opens", "limits.c")
    env = {"EARLY_PORT": origin.port}
    argv = [path, origin.port, "just"]
    without = bench.run(argv, agent=False, env=env | {"LD_PRELOAD": library})
    assert without.out.count(b": ok\n") == 5, without
    for order in f"{library}:{LIB}", f"{LIB}:{library}":
        result = bench.run(argv, env=env | {"LD_PRELOAD": order})
        result.same(without)
    found = [s.spans[0].operationName for s in bench.segments()]
    assert found.count("/one") == found.count("/two") == 2


def test_refused_thread(bench, answers, compiled, tmp_path):
    """pthread_create fails for a second, as in a full pids cgroup: we try again some seconds later, and
    what the rings could not hold meanwhile is counted (42)."""
    library = build(tmp_path / "refuses.so", "own.c", "-shared", "-fPIC", "-DREFUSES")
    server = answers()
    env = {"LD_PRELOAD": f"{LIB}:{library}", "REFUSES_MS": 1000, "SW_AGENT_LOGGING_LEVEL": "debug"}
    result = bench.run([compiled("limits"), server.port, "slowly"], env=env)
    assert result.rc == 0 and result.out.count(b"now: ok") == 8, result
    found = [s.spans[0].operationName for s in bench.segments()]
    assert found == ["/now"] * 8


# ---- libraries beside us ----

MALLOCS = {"jemalloc": "/usr/lib/x86_64-linux-gnu/libjemalloc.so.2",
           "tcmalloc": "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4", "simple": None}


@pytest.mark.parametrize("name", MALLOCS)
@pytest.mark.parametrize("ours_first", [True, False])
def test_mallocs(bench, answers, compiled, tmp_path, name, ours_first):
    """Another malloc; `simple` has no locks and counts who else comes: in a program of one thread nobody
    may but our own thread, whose calls it hands to a heap of that thread (1, 38)."""
    library = MALLOCS[name] or build(tmp_path / "simple.so", "own.c", "-shared", "-fPIC", "-DMALLOC")
    if not os.path.exists(library):
        pytest.skip("not installed")
    preload = f"{LIB}:{library}" if ours_first else f"{library}:{LIB}"
    outcome = []
    for env in {"LD_PRELOAD": library, "SW_AGENT_PROTOCOL": "UNSET"}, {"LD_PRELOAD": preload}:
        for what, count in ("many", 30), ("forks" if name != "simple" else "many", 50):
            server = answers()
            result = bench.run([compiled("storm"), server.port, what, count], env=env)
            seen = server.counted()
            assert (result.rc, result.err) == (0, b""), result
            if what == "many":
                outcome.append((env is not None and what, result.out, seen["requests"]))
    assert outcome[:len(outcome) // 2] == outcome[len(outcome) // 2:]
    assert [s.spans[0].operationName for s in bench.segments()].count("/many") >= 30


@pytest.mark.parametrize("locale", some(["de_DE.UTF-8", "tr_TR.UTF-8", "ja_JP.EUC-JP", "C"], "tr_TR.UTF-8"))
def test_locales(bench, origin, tmp_path, locale):
    """A program whose locale writes 0,5, another charset, and that switches it between requests: our
    file and our lines are as ever (60)."""
    folder = tmp_path / "locales"
    folder.mkdir()
    name, _, charset = locale.partition(".")
    if charset:
        subprocess.run(["localedef", "-i", name, "-f", charset, str(folder / locale)], capture_output=True)
        if not (folder / locale).exists():
            pytest.skip("no localedef or its sources")
    path = build(tmp_path / "own", "own.c", "-DLOCALE")
    env = {"LC_ALL": locale, "LOCPATH": folder, "SW_AGENT_NAME": "laden-İıß"}
    result = compared(bench, origin, [path, origin.port], 6, env=env)
    assert (b"0,5" if locale.startswith(("de", "tr")) else b"0.5") in result.out
    assert len(bench.segments(6)) == 6


# ---- memory that the program changes ----

def test_memory_of_the_program(bench, origin, tmp_path):
    """Maps, unmaps, protects, advises and seals memory beside ours, also everything of its own at once."""
    path = build(tmp_path / "own", "own.c", "-DMEMORY")
    compared(bench, origin, [path, origin.port], 6)
    bench.segments(6)
