"""What the sampler sees of threads that run (shots_probe.c), and what they see of it.

usage: shots.py PROBE KIND timer|direct|off [TIMES PERIOD_US]

Runs on 3.6 to 3.13, without anything of ours preloaded. Prints "ok" and what was looked at."""

import ctypes
import errno
import json
import os
import signal
import socket
import sys
import threading
import time

import graph

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import tasklist  # noqa: E402

probe = ctypes.CDLL(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
HOW = ["timer", "direct", "off"].index(sys.argv[3])
OFF = 2
TIMES, PERIOD_US = (int(a) for a in (sys.argv[4:6] or (300, 1000)))
SIGNAL = 16


class Watch:
    """Of the thread `tid`, while the block runs, or until it ends."""

    def __init__(self, tid, room=1 << 26, times=TIMES):
        self.buffer = ctypes.create_string_buffer(room) if room else None
        self.args = HOW, tid, times, PERIOD_US, self.buffer, ctypes.c_size_t(room)

    def __enter__(self):
        assert probe.probe_start(*self.args) == 0
        return self

    def __exit__(self, kind, *_):
        if self.args[2] > TIMES or kind:
            probe.probe_leave()
        found = [ctypes.c_int() for _ in range(5)]
        probe.probe_join(*(ctypes.byref(n) for n in found))
        self.due, self.shots, self.told, self.cpu_us, self.us = (n.value for n in found)
        self.stacks = [[graph.Frame(line) for line in stack.splitlines()]
                       for stack in self.buffer.value.decode().split("\n\n") if stack] if self.buffer else []

    def __repr__(self):
        return "due %d told %d by itself %d cpu_us %d of %d" % (self.due, self.told, self.shots, self.cpu_us, self.us)


FOR_EVER = 1 << 30


def running():
    """A thread that calls and returns all the time: nothing is said of it that is no call of the graph."""
    with graph.Running(probe.probe_tid) as thread:
        with Watch(thread.tid) as watch:
            pass
    inside = 0
    for found in watch.stacks:
        assert graph.impossible(found) is None, (graph.impossible(found), found)
        assert found[-1].name.endswith("_bootstrap"), found
        inside += any(f.name == "a" for f in found)
    print(watch, "stacks", len(watch.stacks), "inside", inside)
    assert len(watch.stacks) == watch.told and inside > len(watch.stacks) / 2
    assert HOW == OFF or watch.shots
    return len(watch.stacks)


def cost():
    """Figures, as JSON: of a thread that calls and returns all the time, with and without looks at it in turn."""
    with graph.Running(probe.probe_tid) as thread:
        def pace(watch):
            clock = -thread.tid << 3 | 6 if not hasattr(time, "pthread_getcpuclockid") \
                else time.pthread_getcpuclockid(thread.thread.ident)
            begin, used = thread.rounds[0], time.clock_gettime(clock)
            if watch:
                with watch:
                    pass
            else:
                time.sleep(TIMES * PERIOD_US / 1e6)
            return (thread.rounds[0] - begin) / (time.clock_gettime(clock) - used)

        kept, spent, watches = [], [], []
        for _ in range(4):
            watches.append(Watch(thread.tid, 0))
            alone, watched = pace(None), pace(watches[-1])
            kept.append(watched / alone)
            spent.append(probe.probe_spent_ns() / 1000)
    total = {name: sum(getattr(watch, name) for watch in watches) for name in ("due", "told", "shots", "cpu_us", "us")}
    print(json.dumps(dict(total, looks=4 * TIMES, kept=sorted(kept)[1:3], handler_us=spent,
                          depth=probe.probe_depth())))
    return total["told"]


def mapped(address):
    """What the kernel says is there."""
    for line in open("/proc/self/maps"):
        first, last = (int(n, 16) for n in line.split()[0].split("-"))
        if first <= address < last:
            return line.split()[1], last
    return None


def stacks():
    """Registers and stack, of a thread that runs and of one that waits."""
    values = (ctypes.c_uint64 * 4)()
    probe.probe_want_stack(1 << 16)

    def check(tid, least):
        for _ in range(10):  # a busy machine may let it run at no look at all
            with Watch(tid, 0):
                pass
            if probe.probe_stack(values) >= least:
                break
        assert probe.probe_stack(values) >= least, (probe.probe_stack(values), least)
        pc, sp, size, _ = values
        assert "x" in mapped(pc)[0] and mapped(sp)[0] == "rw-p", (hex(pc), hex(sp))
        assert min(1 << 16, mapped(sp)[1] - sp) <= size <= 1 << 16, (size, mapped(sp)[1] - sp)

    with graph.Running(probe.probe_tid) as runs:
        check(runs.tid, 1)
    tids, pipe = [], os.pipe()
    thread = threading.Thread(target=lambda: (tids.append(probe.probe_tid()), os.read(pipe[0], 1)))
    thread.start()
    while not tids:
        time.sleep(0.001)
    time.sleep(0.1)
    check(tids[0], TIMES / 10)
    os.write(pipe[1], b"x")
    thread.join()
    return 2


# ---- calls that a signal would end early ----

class Timespec(ctypes.Structure):
    _fields_ = ("s", ctypes.c_long), ("ns", ctypes.c_long)


def usleep():
    return libc.usleep(1000) == 0, 0.001


def nanosleep():
    return libc.nanosleep(ctypes.byref(Timespec(0, 2000000)), None) == 0, 0.002


def poll():
    return libc.poll(None, 0, 1) == 0, 0.001


def semaphore():
    end = Timespec()
    libc.clock_gettime(0, ctypes.byref(end))
    end.ns += 1000000
    if end.ns >= 10 ** 9:
        end.s, end.ns = end.s + 1, end.ns - 10 ** 9
    return libc.sem_timedwait(never, ctypes.byref(end)) == -1 and ctypes.get_errno() == errno.ETIMEDOUT, 0


def receive():
    return libc.recv(quiet[0].fileno(), ctypes.create_string_buffer(1), 1, 0) == -1 \
        and ctypes.get_errno() == errno.EAGAIN, 0.003  # 4 ms, in ticks of the kernel's


def events():
    return libc.epoll_wait(epoll, ctypes.create_string_buffer(64), 1, 1) == 0, 0.001


never = ctypes.create_string_buffer(64)
quiet = socket.socketpair()
epoll = libc.epoll_create1(0)


def calls():
    """Short sleeps of all kinds, with something to compute between them, under looks without pause."""
    libc.sem_init(never, 0, 0)
    quiet[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\0" * 8 + (4000).to_bytes(8, "little"))
    kinds, end, made, tids = [usleep, nanosleep, poll, semaphore, receive, events], time.time() + TIMES / 100, {}, []

    def work(kind):
        tids.append(probe.probe_tid())
        made[kind.__name__] = 0
        while time.time() < end:
            sum(range(200))
            begin = time.perf_counter()
            whole, least = kind()
            if not whole or time.perf_counter() - begin < least:
                made[kind.__name__] = -1
                break
            made[kind.__name__] += 1

    threads = [threading.Thread(target=work, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    while not tids:
        time.sleep(0.001)
    with Watch(tids[0], 0, FOR_EVER) as watch:
        for thread in threads:
            thread.join()
    print(made, watch)
    assert all(n > 0 for n in made.values()), made
    return sum(made.values())


# ---- the program's own use of signals ----

def waits():
    """Threads that block all signals, or wait for any, are let be: they would be told of one that is not theirs."""
    got, stop = [], []

    def wait():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.Signals)
        while not stop:
            got.append(signal.sigtimedwait(range(1, signal.NSIG), 0.001))
            sum(range(2000))
            assert not signal.sigpending()

    thread = threading.Thread(target=wait)
    thread.start()
    with graph.Running(probe.probe_tid) as runs:
        time.sleep(0.01)
        with Watch(runs.tid, 0) as watch:
            pass
    stop.append(1)
    thread.join()
    assert HOW == OFF or watch.shots, watch
    assert not any(got) and len(got) > 10, got
    return len(got)


def blocks():
    """A thread that blocks all signals now and then, in the midst of being asked, finds none there that is not its."""
    got, end = [], time.time() + TIMES / 100
    ways = [lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.Signals), lambda: libc.sigblock(-1),
            lambda: libc.sighold(SIGNAL), lambda: libc.sigsetmask(-1)]

    def work():
        n = 0
        while time.time() < end:
            for _ in range(n % 40):
                sum(range(2000))
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            ways[n % len(ways)]()
            for _ in range(n * 7 % 40):
                sum(range(2000))
            got.extend(signal.sigpending())
            got.extend(filter(None, [signal.sigtimedwait(range(1, signal.NSIG), 0)]))
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            n += 1

    thread = threading.Thread(target=work)
    thread.start()
    with graph.Running(probe.probe_tid) as runs:
        with Watch(runs.tid, 0, FOR_EVER):
            thread.join()
    assert not got, got
    return "unseen"


def taken():
    """The program sets a handler of its own, in the midst: it gets its own signals and no others."""
    got = []
    with graph.Running(probe.probe_tid) as runs:
        with Watch(runs.tid, 0, FOR_EVER) as watch:
            while HOW != OFF and probe.probe_handler() != 1:
                time.sleep(0.001)
            time.sleep(0.05)
            signal.signal(SIGNAL, lambda *args: got.append(args))
            assert probe.probe_handler() == 2
            time.sleep(0.1)
            assert not got, got
            os.kill(os.getpid(), SIGNAL)
            while not got:
                time.sleep(0.001)
    assert len(got) == 1 and probe.probe_handler() == 2
    return 1


class Stack(ctypes.Structure):
    _fields_ = [("at", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def narrow():
    """A thread has a stack for handlers of its own in which nothing of ours has room: the kernel would end the program,
    or the handler write below it."""
    size = 2048 if os.uname().machine == "x86_64" else 5120
    room = ctypes.create_string_buffer(b"\x5a" * (1 << 16))
    at = ctypes.addressof(room) + (1 << 16) - size
    assert libc.sigaltstack(ctypes.byref(Stack(at, 0, size)), None) == 0
    end = time.time() + TIMES / 300
    with Watch(probe.probe_tid(), 0, FOR_EVER) as watch:
        while time.time() < end:
            sum(range(1000))
    assert libc.sigaltstack(ctypes.byref(Stack(None, 2, 0)), None) == 0
    assert room.raw[:1 << 16] == b"\x5a" * (1 << 16)
    assert not watch.shots and watch.due, watch
    return watch


def owned():
    """The program has a handler already, or ignores the signal."""
    signal.signal(SIGNAL, signal.SIG_IGN if TIMES % 2 else lambda *_: None)
    before = probe.probe_handler()
    with graph.Running(probe.probe_tid) as runs:
        with Watch(runs.tid, 0) as watch:
            pass
    assert watch.shots == 0 and probe.probe_handler() == before != 1
    return 1


def killed():
    """The signal from somebody else ends the program, as without us; also after the sampler has left, and in a child."""
    with graph.Running(probe.probe_tid) as runs:
        with Watch(runs.tid, 0):
            pass
    assert HOW == OFF or probe.probe_handler() == 1
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), SIGNAL)
        time.sleep(5)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == SIGNAL
    print("ok", 1)
    sys.stdout.flush()
    os.kill(os.getpid(), SIGNAL)
    time.sleep(5)


def execs():
    """Another image in the midst of it is not killed by a signal that was for this one."""
    done = []
    for i in range(30):
        pid = os.fork()
        if pid == 0:
            with graph.Running(probe.probe_tid) as runs:
                probe.probe_start(HOW, runs.tid, FOR_EVER, 300, None, ctypes.c_size_t(0))
                begin = time.perf_counter()
                while time.perf_counter() - begin < 0.02 + i / 1000:
                    sum(range(100))
                os.execv("/bin/true", ["true"])
        done.append(os.waitpid(pid, 0)[1])
    assert not any(done), done
    return len(done)


def forks():
    """Children in the midst of it: they go on, and are not signalled."""
    with graph.Running(probe.probe_tid) as runs:
        with Watch(runs.tid, 0, FOR_EVER):
            for _ in range(30):
                pid = os.fork()
                if pid == 0:
                    sum(range(20000))
                    os._exit(7)
                assert os.waitpid(pid, 0)[1] == 7 << 8
    return 30


def files():
    """Of the thread that has most: the sampler's are its own."""
    return max(tasklist.each("self", lambda folder: len(os.listdir(folder + "/fd"))))


def churns():
    """Threads that begin and end, also on small stacks."""
    threading.stack_size(32768)
    with graph.Running(probe.probe_tid) as runs:
        with Watch(runs.tid, 0, FOR_EVER) as watch:
            for _ in range(TIMES // 3):
                threads = [threading.Thread(target=lambda: sum(range(20000))) for _ in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
    assert watch.told
    return TIMES // 3


def closes():
    """Of threads that are gone no file is kept open; they live long enough to be looked at."""
    probe.probe_want_stack(4096)
    most = 0
    with Watch(0, 0, FOR_EVER):
        for _ in range(20):
            threads = [threading.Thread(target=lambda: (sum(range(200000)), time.sleep(0.15))) for _ in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            most = max(most, files())
    assert 3 < most < 150, most  # 300 to 640 where they were kept
    return most


def ends():
    """The interpreter ends in the midst of it; threads go on until the very end."""
    for _ in range(3):
        graph.Running(probe.probe_tid).__enter__()
    probe.probe_start(HOW, 0, FOR_EVER, PERIOD_US, None, ctypes.c_size_t(0))
    time.sleep(0.1)
    return 1


def timers():
    """A program with an interval timer, and handlers on a stack of their own, is undisturbed."""
    ticks = []
    signal.signal(signal.SIGPROF, lambda *_: ticks.append(1))
    signal.setitimer(signal.ITIMER_PROF, 0.005, 0.005)
    import faulthandler
    faulthandler.enable()
    begin, used = time.perf_counter(), time.process_time()
    with Watch(probe.probe_tid(), 0, FOR_EVER):
        while time.perf_counter() - begin < TIMES / 300:
            sum(range(100))
    used = time.process_time() - used
    signal.setitimer(signal.ITIMER_PROF, 0)
    assert used / 0.005 / 10 < len(ticks) < used / 0.005 * 1.5 + 5, (len(ticks), used)
    return len(ticks)


assert probe.probe_ready() == 1
print("ok", globals()[sys.argv[2]]())
