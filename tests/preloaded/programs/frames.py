"""What frames_probe.c says of this interpreter's frames, against what the interpreter says itself.

usage: frames.py PROBE KIND

Runs on 3.6 to 3.13, without anything of ours preloaded. Prints "ok" and what was looked at."""

import asyncio
import contextlib
import ctypes
import gc
import os
import sys
import threading
import time

from graph import Frame, GRAPH, STORM, Running, impossible, impossible_in_storm

probe = ctypes.CDLL(sys.argv[1])
probe.probe_local.restype = ctypes.c_void_p
probe.probe_kept.restype = probe.probe_why_not.restype = ctypes.c_char_p
ROOM = 1 << 17
CUT = 1 << 16


def parse(got, buffer):
    assert got >= 0, got
    found = [Frame(line) for line in buffer.value.decode().splitlines()]
    assert len(found) == got & 0xffff
    return found


def mine():
    buffer = ctypes.create_string_buffer(ROOM)
    return parse(probe.probe_mine(buffer, ROOM), buffer)


def name_of(code):
    return getattr(code, "co_qualname", code.co_name)


def said(frame):
    """The same by the interpreter itself, innermost first."""
    while frame:
        yield id(frame.f_code), name_of(frame.f_code), frame.f_lineno or 0, frame.f_code.co_filename
        frame = frame.f_back


def same(found, frame, but=0):
    """The innermost `but` frames stand on other lines: they are ours, asking."""
    want = list(said(frame))
    assert len(found) == len(want), (found, want)
    for i, (have, (code, name, line, file)) in enumerate(zip(found, want)):
        assert (have.code, have.name, have.file) == (code, name, file[-255:]), (have, name, file)
        assert have.line == line or i < but, (have, line)
    return len(want)


def here():
    found = mine()
    return same(found[1:], sys._getframe(), 1)


# ---- shapes of stacks ----

class Shape:
    def __enter__(self):
        self.count = here()
        return self

    def __exit__(self, *_):
        here()

    def __lt__(self, other):
        here()
        return False

    @property
    def seen(self):
        return here()

    @staticmethod
    def inner():
        return (lambda: here())()


def generator(n):
    if n:
        for x in generator(n - 1):
            yield x
    yield here()


def deep(n):
    return here() if n == 0 else deep(n - 1)


def long_lines():
    return [
        1,
        here(),

        (lambda:

            here())(),
    ]


# Far more than 127 lines, so that steps between lines take more than one byte.
exec(compile("def far():\n x = 1\n" + "\n" * 700 + " x = here(); y = [\n" + "\n" * 300 + "here()]\n return x",
             "<far away>", "exec"))


async def awaits(n):
    if n:
        return await awaits(n - 1)
    await asyncio.sleep(0)
    async with Later():
        return here()


class Later:
    async def __aenter__(self):
        here()

    async def __aexit__(self, *_):
        here()


def shapes():
    total = here()
    with Shape() as shape:
        total += shape.seen + Shape.inner()
    sorted([Shape(), Shape(), Shape()])
    total += max(generator(5)) + deep(60) + len(long_lines()) + sum(here() for _ in range(3))
    total += len([here() for _ in range(2)]) + len(list(map(lambda _: here(), range(2))))
    total += far()
    try:
        raise ValueError
    except ValueError:
        total += here()
    finally:
        total += here()
    loop = asyncio.new_event_loop()
    total += loop.run_until_complete(awaits(5))
    loop.close()
    with contextlib.ExitStack() as stack:
        stack.callback(here)
    eval("here()")
    thread = threading.Thread(target=here)
    thread.start()
    thread.join()
    return total


def names():
    """Names that are no ASCII, and longer than we keep."""
    space = {"here": here}
    exec("def gr\u00fc\u00dfe(): return here()\ndef \u4f60\u597d(): return here()\n"
         "def \U0001d4b3(): return here()\n", space)
    for name, function in list(space.items()):
        if callable(function) and name not in ("here",):
            function()
    exec(compile("def %s(): return mine()" % ("n" * 300), "/x" * 300 + "/end.py", "exec"), globals())
    found = globals()["n" * 300]()
    assert found[1].name == "n" * 127 and found[1].file.endswith("/end.py") and len(found[1].file) == 255, found[1]
    return 5


# ---- other threads ----

def blocked_in(what):
    what()


def others():
    """Threads that are blocked: at once and whole."""
    lock, pipe = threading.Lock(), os.pipe()
    lock.acquire()
    told, tids = threading.Event(), {}

    def nest(n, what):
        if n:
            return nest(n - 1, what)
        tids[threading.get_ident()] = probe.probe_tid()
        return blocked_in(what)

    kinds = [lock.acquire, lambda: os.read(pipe[0], 1), told.wait, lambda: told.wait(60)]
    threads = [threading.Thread(target=nest, args=(3 + i, kinds[i % 4])) for i in range(8)]
    for thread in threads:
        thread.start()
    while len(tids) < 8:
        time.sleep(0.01)
    time.sleep(0.2)
    frames, count = sys._current_frames(), 0
    buffer = ctypes.create_string_buffer(ROOM)
    for ident, tid in tids.items():
        got = probe.probe_of(tid, buffer, ROOM)
        count += same(parse(got, buffer), frames[ident])
        assert not got & CUT
    assert probe.probe_of(1, buffer, ROOM) == -1
    told.set()
    os.write(pipe[1], b"xx")
    for _ in range(2):  # each who waits takes it, and keeps it
        while not lock.locked():
            time.sleep(0.01)
        lock.release()
    for thread in threads:
        thread.join()
    return count


def watched(text, may_not, times, apart_us, lasting=False):
    """A thread that runs: it may not be read, but nothing is said of it that is no call of the graph."""
    buffer = ctypes.create_string_buffer(1 << 25)
    with Running(probe.probe_tid, text) as thread:
        apart(thread.tid)
        failed = probe.probe_watch(thread.tid, times, apart_us, buffer, 1 << 25, lasting)
    stacks = [[Frame(line) for line in stack.splitlines()] for stack in buffer.value.decode().split("\n\n") if stack]
    for found in stacks:
        assert may_not(found) is None and found[-1].name.endswith("_bootstrap"), (may_not(found), found)
    print("read", len(stacks), "not", failed)
    assert failed >= 0, "no such thread"
    assert len(stacks) + failed == times
    return stacks


def apart(tid):
    """On processors of their own, so that neither stands still while the other goes on."""
    if len(os.sched_getaffinity(0)) > 1:
        reads, runs = sorted(os.sched_getaffinity(0))[:2]
        os.sched_setaffinity(tid, {runs})
        os.sched_setaffinity(probe.probe_tid(), {reads})


def running(times=2500):
    stacks = watched(GRAPH, impossible, times, 300)
    # There may be none: it never stands still where it has a processor.
    assert sum(any(f.name == "a" for f in found) for found in stacks) >= len(stacks) / 2
    return times


def storm(times=10000):
    """Short rounds, with which readings come to be in step."""
    watched(STORM, impossible_in_storm, times, 10)
    return times


def frozen(times=3000):
    """Its clock says that it stands still, which it does not."""
    if probe.probe_freeze():
        return "not"  # no seccomp here
    watched(GRAPH, impossible, times, 100)
    return times


def lasting(times=5000):
    """Of those that cannot be read, the outermost frames."""
    watched(GRAPH, impossible, times, 10, True)
    assert watched(STORM, impossible_in_storm, times, 10, True), "some, and mostly one in ten"
    return times


# ---- what was there and is not ----

def gone():
    """A code object that was freed, and others made where it was, are never taken for it."""
    space = {"probe": probe}
    for i in range(300):
        exec(compile("def f%d():\n" % i + " x = %d\n" % i * (i % 7) + " return probe.probe_keep()",
                     "<gone>", "exec"), space)
        assert space["f%d" % i]() >= 2
        kept = probe.probe_kept(0)
        assert kept == b"f%d" % i, kept
        del space["f%d" % i]
        gc.collect(0)
        now = probe.probe_kept(0)
        assert now in (b"gone", b"f%d" % i), now
        exec(compile("def g%d(): pass" % i, "<gone>", "exec"), space)
        assert probe.probe_kept(0) in (b"gone", b"f%d" % i)
    return 300


def local(first, record, *rest, key=None):
    shared = key
    later = object()

    def inner():
        return shared

    def get(name):
        return probe.probe_local(b"local", name)

    assert get(b"record") == id(record) and get(b"first") == id(first)
    assert get(b"key") == id(key) and get(b"later") == id(later) and get(b"nothing") is None
    assert get(b"shared") == (id(shared) if sys.version_info >= (3, 11) else None), get(b"shared")
    inner()
    return 1


def limits():
    """Deeper than we keep: the innermost."""
    def go(n):
        return mine() if n == 0 else go(n - 1)
    found = go(400)
    assert len(found) == 256 and found[5].name.endswith("go"), len(found)
    return 256


def forked():
    here()
    pid = os.fork()
    if pid == 0:
        here()
        buffer = ctypes.create_string_buffer(ROOM)
        thread = threading.Thread(target=here)
        thread.start()
        thread.join()
        os._exit(0 if probe.probe_of(probe.probe_tid(), buffer, ROOM) >= 0 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    return 1


def ends():
    """Somebody reads while the interpreter ends, and threads begin and end."""
    space = {"stop": [], "rounds": [0]}
    exec(compile(GRAPH, "<graph>", "exec"), space)
    tids = []

    def work():
        tids.append(probe.probe_tid())
        space["run"]()

    def watch():
        buffer = ctypes.create_string_buffer(ROOM)
        while True:
            for tid in tids[-4:]:
                probe.probe_of(tid, buffer, ROOM)
            probe.probe_mine(buffer, ROOM)

    def churn():
        while True:
            thread = threading.Thread(target=lambda: tids.append(probe.probe_tid()))
            thread.start()
            thread.join()

    for what in (work, watch, churn, watch):
        threading.Thread(target=what, daemon=True).start()
    time.sleep(0.15)
    return 1


def cost():
    def go(n):
        return probe.probe_cost(2000) if n == 0 else go(n - 1)
    print(go(27), "ns")
    return 1


assert probe.probe_ready() == 1, (probe.probe_ready(), probe.probe_why_not())
print("ok", {f.__name__: f for f in (shapes, names, others, running, storm, frozen, lasting, gone, limits,
                                         forked, ends, cost)}[sys.argv[2]]()
      if sys.argv[2] != "local" else local(1, object(), key=object()))
