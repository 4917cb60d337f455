"""Profiles of whole processes: the swagent command, the control socket, and by key."""

import collections
import contextlib
import os
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import BUILD, CLEAN, HERE, PATIENT, SYSTEM_PYTHON
from test_frames import interpreters
from test_profiles import profiled, task  # noqa: F401

PROGRAM = HERE / "programs" / "whole.py"
COMMAND = BUILD / "swagent"
TRUTH = re.compile(r"swagent: \S+: ([\d.]+) s of (\S+) at (\d+) Hz: (\d+) of (\d+) stacks due taken "
                   r"\([\d.]+ %\), (\d+) missed, (\d+) lost")


class Profile:
    """What the command left: its status, what it and the program said, and the stacks."""

    def __init__(self, rc, out, err, path):
        self.rc, self.out, self.err = rc, out, err.decode()
        self.stacks = read(path) if path != "-" and path.exists() else None
        found = TRUTH.search(self.err)
        if found:
            self.seconds = float(found[1])
            self.taken, self.due, self.missed, self.lost = (int(found[i]) for i in range(4, 8))

    def __repr__(self):
        return f"<rc {self.rc} out {self.out[-300:]!r} err {self.err[-1000:]!r} {self.stacks}>"

    def total(self):
        return sum(self.stacks.values())

    def of(self, name):
        """Microseconds of stacks in which this stands."""
        return sum(us for stack, us in self.stacks.items() if any(name in frame for frame in stack))


def read(path):
    stacks = collections.Counter()
    for line in path.read_text().splitlines():
        stack, _, us = line.rpartition(" ")
        stacks[tuple(stack.split(";"))] += int(us)
    return stacks


def burnt(stacks):
    """Microseconds in which burn was the innermost function of Python's."""
    def innermost(stack):
        return next((frame for frame in reversed(stack) if ".py:" in frame), "")
    return sum(us for stack, us in stacks.items() if innermost(stack).startswith("burn "))


class Whole:
    def __init__(self, bench):
        self.bench, self.count, self.commands = bench, 0, []

    def path(self):
        self.count += 1
        return self.bench.tmp / f"whole-{self.count}.folded"

    def begin(self, *arguments, path=None, **options):
        path = path or self.path()
        command = subprocess.Popen([COMMAND, "profile", "-o", path, *map(str, arguments)],
                                   env=CLEAN | {k: str(v) for k, v in PATIENT.items()},
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   cwd=self.bench.tmp, **options)
        command.path = path
        self.commands.append(command)
        return command

    def end(self, command, input=b"", timeout=40):
        out, err = command.communicate(input, timeout)
        assert b"Sanitizer" not in err and b"runtime error" not in err, err
        return Profile(command.returncode, out, err, command.path)

    def profile(self, *arguments, input=b"", **options):
        return self.end(self.begin(*arguments, **options), input)

    def serve(self, kind="serve", seconds=60, python=SYSTEM_PYTHON, **env):
        """A program that has our thread from its start, and listens when this returns."""
        program = self.bench.start([python, PROGRAM, kind, seconds], env={"SW_AGENT_CONTROL": "start"} | env)
        until(lambda: listens(program.pid) and self.bench.output(program).startswith(b"ready"))
        return program

    def close(self):
        for command in self.commands:
            if command.poll() is None:
                command.kill()
                command.communicate()


@pytest.fixture
def whole(bench):
    made = Whole(bench)
    yield made
    made.close()


def until(done, timeout=60):
    end = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < end, "in vain"
        time.sleep(0.01)


def listens(pid):
    return any(line.endswith(f"@swagent/{pid}\n") for line in open("/proc/net/unix"))


def honest(profile):
    assert profile.due == profile.taken + profile.missed + profile.lost, profile


# ---- what is weighed ----

@pytest.mark.parametrize("python", interpreters(), ids=lambda p: p.parent.parent.name)
def test_burning(whole, python):
    p = whole.profile("-F", 200, "--", python, PROGRAM, "burn", 1.5)
    assert (p.rc, p.out) == (7, b"burnt\n"), p
    honest(p)
    burning = burnt(p.stacks)
    assert burning >= 0.9 * p.total() and burning >= 0.3e6, p
    assert p.total() <= 1.8e6, p  # no more than it used


def test_modes(whole):
    program = whole.serve()
    cpu, wall, off = (whole.profile(mode, "-d", 1, program.pid) for mode in ("--cpu", "--wall", "--off-cpu"))
    for p in cpu, wall, off:
        assert p.rc == 0 and 0.9 <= p.seconds <= 8, p
        honest(p)
    assert cpu.of("burn ") and not cpu.of("nap "), cpu
    for p in wall, off:
        assert 0.7e6 <= p.of("nap ") <= p.seconds * 1.05e6, p
    assert wall.of("burn ") and not off.of("burn "), (wall, off)
    waits = {stack[-1] for stack in off.stacks if any("nap " in frame for frame in stack)}
    assert waits <= {"[clock_nanosleep]", "[pselect6]", "[select]"} and waits, off


def test_program_without_python(whole):
    p = whole.profile("--wall", "--", "/bin/sleep", 0.6)
    assert p.rc == 0 and 0.2e6 <= p.of("nanosleep (") <= max(0.7e6, p.seconds * 1.05e6), p


def test_names_of_cpp(whole, compiled):
    """Namespaces, templates and operators, as people write them."""
    wanted = ("main (mangled.cpp", "shop::Basket<double, 1000000>::operator+=(double const&) (mangled.cpp",
              "shop::Basket<double, 1000000>::operator()(double) const (mangled.cpp", "shop::(anonymous namespace)::spin(")
    whole_ones = []
    for _ in range(10):  # on a machine with more to do, threads that run often do not answer in time
        p = whole.profile("--cpu", "-F", 200, "--", compiled("mangled", language="cpp"), 1.5)
        assert p.rc == 0, p
        whole_ones = [stack for stack in p.stacks if any(frame.startswith(wanted[-1]) for frame in stack)]
        if whole_ones:
            break
    assert whole_ones, p
    for stack in whole_ones:
        places = [next(i for i, frame in enumerate(stack) if frame.startswith(name)) for name in wanted]
        assert places == sorted(places), stack
    assert not p.of("_Z"), p


def test_many_threads(whole):
    program = whole.serve("many", 30)
    p = whole.profile("--wall", "-d", 1.5, "-F", 100, program.pid)
    assert p.rc == 0 and p.taken >= 500 * 3, p
    honest(p)
    threads = p.of("wait_long ") / 1e6 / p.seconds
    assert 350 * p.taken / p.due <= threads <= 505, (threads, p.err)


def test_threads_that_come_and_go(whole):
    p = whole.profile("-F", 500, "--", SYSTEM_PYTHON, PROGRAM, "churn", 1.5)
    assert p.rc == 0 and p.of("burn "), p
    honest(p)


def test_threads_that_nobody_saw(whole):
    """What was used of a processor is in a stack, or said to be missed."""
    p = whole.profile("-F", 100, "--", SYSTEM_PYTHON, PROGRAM, "brief", 1.2)
    honest(p)
    assert p.rc == 0 and p.total() / 1e6 + p.missed / 100 >= 0.7 * float(p.out), p
    assert p.total() / 1e6 <= float(p.out) * 1.05, p


@pytest.mark.parametrize("hertz, how", [(100, "timer"), (1000, "timer"), (1000, "direct")])
def test_bursts(whole, monkeypatch, hertz, how):
    """Of a program that mostly waits, all that it used of a processor was put down to where it waits. And what is done
    late in a burst comes long after the last stack, but does not stand for more."""
    monkeypatch.setenv("SW_AGENT_PROFILE_SIGNAL", how)
    p = whole.profile("-F", hertz, "--", SYSTEM_PYTHON, PROGRAM, "bursts", 5)
    used = float(p.out)
    honest(p)
    assert 0.7 * used <= p.total() / 1e6 <= 1.05 * used, p
    assert p.of("nap ") <= 0.2 * p.total(), p
    assert all(p.of(name) >= 0.25 * p.total() for name in ("early ", "late ")), p


@pytest.mark.parametrize("python", [p for p in interpreters() if b"True" in subprocess.run(
    [p, "-c", "import sys; print((3, 8) <= sys.version_info < (3, 13))"], stdout=subprocess.PIPE).stdout],
    ids=lambda p: p.parent.parent.name)
def test_interpreters(whole, python):
    """Of a thread of several interpreters the frames of one would stand for what another does."""
    p = whole.profile("-F", 200, "--", python, PROGRAM, "inner", 1)
    assert p.rc == 0 and burnt(p.stacks) and "several interpreters" in p.err, p
    assert p.total() >= 0.9e6 and p.of("outer ") <= 0.25e6, p


@pytest.mark.skipif(not os.access("/proc/sys/kernel/ns_last_pid", os.W_OK), reason="numbers cannot be chosen")
def test_number_of_another(whole):
    """A thread that has the number of one that has gone since the last look."""
    for _ in range(3):
        p = whole.profile("-F", 20, "--", SYSTEM_PYTHON, PROGRAM, "same-number")
        assert p.rc == 0 and 0 < p.total() / 1e6 <= float(p.out) * 1.05, p


def test_what_is_waited_for(whole, origin):
    """A call of a server: the socket's other end is said."""
    plain = origin.answer
    origin.answer = lambda request: time.sleep(0.4) or plain(request)
    p = whole.profile("--off-cpu", "--", SYSTEM_PYTHON, PROGRAM, "fetch", origin.port)
    assert p.rc == 0 and p.of("fetch ") >= 0.8e6, p
    assert p.of(f"[recvfrom 127.0.0.1:{origin.port}]") >= 0.7 * p.of("fetch "), p


def test_requests(profiled):
    """Samples of a thread that works for a request bear its segment, and those of others do not; a task of
    SkyWalking's for the same program is carried out at the same time."""
    p = profiled("threads")
    p.give(task("/a/700"))
    s = connect(p.program.pid)
    s.send(ask(mode=1))
    assert answer(s) == 0
    p.ask("/a/700", "/b/500")
    s.send(ask(want=2))
    got = b""
    while more := s.recv(65536):
        got += more
    s.close()
    (snapshots,) = p.stacks("/a/700").values()
    assert p.sink.until(lambda: p.segments("/b/500"))
    seen = samples(got[16:])  # behind the rest of the answer
    segment = {path: p.segments(path) for path in ("/a/700", "/b/500")}
    for path, name, other in (("/a/700", "burn_a", "burn_b"), ("/b/500", "burn_b", "burn_a")):
        mine = [names for id, names in seen if id in segment[path]]
        assert any(name in names for names in mine) and not any(other in names for names in mine), (path, mine, segment, seen)
    assert any(id is None for id, _ in seen)
    assert snapshots
    p.close()


def samples(data):
    """[(segment or None, functions)] of what went through the socket."""
    frames, seen, at = {}, [], 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from("<II", data, at)
        if at + size > len(data):
            break
        if kind == 1:
            number, _, _, function, _ = struct.unpack_from("<IIIHH", data, at + 8)
            frames[number] = data[at + 32:at + 32 + function].decode()
        if kind == 3:
            high, low = struct.unpack_from("<QQ", data, at + 16)
            count, = struct.unpack_from("<I", data, at + 52)
            ids = struct.unpack_from(f"<{count}I", data, at + 56)
            seen.append((f"{high:016x}{low:016x}" if high or low else None, {frames[i].split(".")[-1] for i in ids}))
        at += size
    return seen


# ---- the program does not notice ----

def test_same_program(whole):
    p = whole.profile("--", SYSTEM_PYTHON, PROGRAM, "copy", input=b"to stdout")
    assert (p.rc, p.out) == (0, b"to stdout") and p.err.startswith("to stderr\n"), p


def test_some_seconds_of_a_program_that_goes_on(whole):
    """The file is there when the time is over, which a server's end is not waited for."""
    command = whole.begin("--wall", "-d", 1, "--", SYSTEM_PYTHON, PROGRAM, "nap", 60)
    until(command.path.exists)
    assert command.poll() is None and any("nap " in frame for stack in read(command.path) for frame in stack)
    os.kill(children(command.pid)[0], signal.SIGTERM)
    p = whole.end(command)
    assert p.rc == -signal.SIGTERM and 0.9 <= p.seconds < 30, p


def test_some_seconds_on_the_output_of_a_program(whole):
    """Stdout is the program's until its end."""
    p = whole.profile("-d", 0.5, "--", "/bin/sh", "-c", "printf one; sleep 2; echo two", path="-")
    assert p.rc == 0 and p.out.startswith(b"onetwo\n"), p


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_ended_by_signal(whole, how):
    """The command ends as the program did, and writes what there is."""
    command = whole.begin("--wall", "--", SYSTEM_PYTHON, PROGRAM, "nap", 30)
    until(lambda: children(command.pid) and listens(children(command.pid)[0]))
    time.sleep(1.5)
    os.kill(children(command.pid)[0], how)
    p = whole.end(command)
    assert p.rc == -how and p.of("nap "), p


def test_signal_is_passed_on(whole):
    command = whole.begin("--", SYSTEM_PYTHON, PROGRAM, "nap", 30)
    until(lambda: children(command.pid) and listens(children(command.pid)[0]))
    command.send_signal(signal.SIGTERM)
    assert whole.end(command).rc == -signal.SIGTERM


def test_ignored_child(whole):
    """Who starts us has ignored SIGCHLD: we end all the same, as the program does, and it finds that as we did."""
    def ignore():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    p = whole.profile("--", "/bin/grep", "SigIgn", "/proc/self/status", preexec_fn=ignore)
    assert p.rc == 0 and int(p.out.split()[1], 16) >> (signal.SIGCHLD - 1) & 1, p
    for _ in range(6):
        assert whole.profile("--", "/bin/false", preexec_fn=ignore).rc == 1


@pytest.mark.parametrize("call, how", [(call, "timer") for call in (
    "sigwait", "sigwaitinfo", "sigtimedwait", "sigsuspend", "ppoll", "pselect", "epoll_pwait")] + [("sigtimedwait", "direct")])
def test_mask_of_a_wait(whole, compiled, monkeypatch, call, how):
    """A thread that blocks all signals but where it waits: one in ten of its sigwaits gave 16, and one in three of its
    ppolls ended with EINTR for no handler of its own."""
    monkeypatch.setenv("SW_AGENT_PROFILE_SIGNAL", how)
    p = whole.profile("--cpu", "--", compiled("masks"), 2, call)
    wrong, _, times = p.out.split()
    assert p.rc == 0 and int(wrong) == 0 and int(times) >= 10, p


def children(pid):
    return [int(word) for word in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def test_descriptors(whole):
    plain = whole.bench.run([SYSTEM_PYTHON, PROGRAM, "descriptors"], agent=False)
    p = whole.profile("--wall", "-F", 1000, "--", SYSTEM_PYTHON, PROGRAM, "descriptors")
    assert p.rc == 0 and p.of("nap "), p
    assert p.out.split(b"]")[0] == plain.out.split(b"]")[0], (p, plain)


@pytest.mark.parametrize("python", interpreters()[:1] + interpreters()[-2:], ids=lambda p: p.parent.parent.name)
def test_forks(whole, python):
    """Children are none of it. From 3.12 on CPython counts threads when it forks, and must not find ours: then
    there is nobody to look until it gives up its GIL next."""
    p = whole.profile("-F", 500, "--", python, "-W", "error", PROGRAM, "forks", 1.2)
    assert p.rc == 0 and "Warning" not in p.err, p
    assert p.of("forks ") or python.parent.parent.name[:4] in ("3.12", "3.13") and "nobody could look" in p.err, p
    honest(p)


def test_forks_at_once(whole):
    """A shell: our thread, which has just begun, leaves for the fork, and nothing calls it back."""
    burn = "(exit 0); i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done"
    for _ in range(6):
        p = whole.profile("--", "/bin/dash", "-c", burn)
        assert p.rc == 0 and p.total() > 0.05e6, p


def test_exec(whole):
    """A wrapper that becomes the program."""
    p = whole.profile("--", "/bin/sh", "-c", f"sleep 0.1; exec {SYSTEM_PYTHON} {PROGRAM} burn 1")
    assert p.rc == 7 and p.of("burn ") >= 0.3e6, p


# ---- who asks ----

def test_one_after_the_other(whole):
    program = whole.serve()
    for _ in range(3):
        p = whole.profile("-d", 0.4, program.pid)
        assert p.rc == 0 and p.of("burn "), p
    assert whole.bench.stop(program) == -signal.SIGTERM


def test_idle(whole):
    """Our thread sleeps, and does not look by itself before its heartbeat: it is woken."""
    if "\nSeccomp:\t0\n" not in open("/proc/self/status").read():
        pytest.skip("under a filter of system calls there is no bell")
    env = {"SW_AGENT_CONTROL": "start", "SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD": "1000",
           "SW_AGENT_METER_REPORTER_ACTIVE": "false"}
    program = whole.bench.start([SYSTEM_PYTHON, PROGRAM, "nap", 100], env=env)
    until(lambda: listens(program.pid))
    time.sleep(3)  # it looks all the time when it is young
    for _ in range(3):
        p = whole.profile("--wall", "-d", 0.3, program.pid)
        assert p.rc == 0 and p.of("nap "), p


def test_second_client(whole):
    program = whole.serve()
    both = [whole.begin("-d", 6, program.pid) for _ in range(2)]
    taken, refused = sorted((whole.end(command) for command in both), key=lambda p: p.rc)
    assert taken.rc == 0 and taken.of("burn "), taken
    assert refused.rc and "is being profiled already" in refused.err, refused


def test_ctrl_c(whole):
    program = whole.serve()
    command = whole.begin(program.pid)
    time.sleep(2)
    command.send_signal(signal.SIGINT)
    p = whole.end(command)
    assert p.rc == 0 and p.of("burn "), p
    honest(p)


def test_killed_client(whole):
    program = whole.serve()
    for _ in range(3):
        command = whole.begin("-F", 1000, program.pid)
        time.sleep(0.8)
        command.kill()
        whole.end(command)
    until(lambda: whole.profile("-d", 0.3, program.pid).rc == 0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_program(whole, how):
    """What had come is written, and said."""
    program = whole.serve()
    command = whole.begin(program.pid)
    time.sleep(2)
    whole.bench.stop(program, how)
    p = whole.end(command)
    assert p.rc == 0 and p.of("burn ") and TRUTH.search(p.err), p


def test_nobody_there(whole):
    plain = whole.bench.start([SYSTEM_PYTHON, PROGRAM, "nap", 30], agent=False)
    mute = whole.bench.start([SYSTEM_PYTHON, PROGRAM, "nap", 30], env={"SW_AGENT_CONTROL": "off"})
    time.sleep(0.3)
    for pid, said in ((2 ** 22 - 3, "there is no process"), (plain.pid, "does not run under the agent"),
                      (mute.pid, "nobody listens in it")):
        p = whole.profile("-d", 0.2, pid)
        assert p.rc == 1 and said in p.err and p.stacks is None, p


@pytest.mark.parametrize("arguments", [(), ("x",), ("1", "2"), ("-F", "0", "1"), ("-F", "1001", "1"),
                                       ("-d", "-1", "1"), ("--what", "1"), ("-o", "x.txt", "1")])
def test_wrong_arguments(whole, arguments):
    p = whole.profile(*arguments)
    assert p.rc == 2 and p.err and not p.out, p


def test_cannot_write(whole):
    program = whole.serve()
    p = whole.profile("-d", 0.2, program.pid, path=whole.bench.tmp / "no" / "such.folded")
    assert p.rc == 1 and "cannot write" in p.err, p


def test_due_when_killed(whole):
    """What was due then, and came to nothing, was neither taken nor missed."""
    p = whole.profile("-F", 500, "--", SYSTEM_PYTHON, PROGRAM, "killed")
    assert p.rc == -9 and p.due, p
    honest(p)


def test_no_time_to_look(whole):
    """It was said of it that it does not load the agent."""
    p = whole.profile("--", "/bin/true")
    assert p.rc == 0 and (p.stacks is not None or "/bin/true ended before it could be looked at" in p.err), p


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may chroot")
def test_no_proc(whole, compiled):
    """Nothing was said of why a profile of a program in a chroot has no stacks: 0 of 0, 100 %."""
    for _ in range(5):  # it may be looked at before it is there
        p = whole.profile("--wall", "--", compiled("chrooted"), whole.bench.tmp)
        if not p.due:
            break
    assert p.rc == 0 and "no thread was seen" in p.err and p.due == 0, p


def test_status_where_nothing_can_be_written(whole):
    """A limit on files, or nobody who reads: the signal was the command's end, and the program's status lost."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    p = whole.profile("--", SYSTEM_PYTHON, PROGRAM, "burn", 0.3, preexec_fn=limit)
    assert p.rc == 7 and "cannot write" in p.err and not list(whole.bench.tmp.glob("*.part")), p
    command = whole.begin("--wall", "--", "/bin/sh", "-c", "sleep 0.5; exit 7", path="-")
    command.stdout.close()
    err = command.stderr.read()
    assert command.wait(40) == 7 and b"cannot write -: Broken pipe" in err, err


# ---- the socket ----

ASK = struct.Struct("<IIIIQQ")
MAGIC = 0x67617773


def ask(want=1, mode=0, period=10_000_000, magic=MAGIC, version=2):
    return ASK.pack(magic, version, want, mode, period, 0)


def connect(pid):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(10)
    end = time.monotonic() + 20
    while True:
        try:
            s.connect(f"\0swagent/{pid}")
            return s
        except BlockingIOError:  # many stand in line
            assert time.monotonic() < end
            time.sleep(0.05)


def answer(s):
    """The status, or None where the connection ended without one."""
    got = b""
    while len(got) < 16:
        more = s.recv(16 - len(got))
        if not more:
            return None
        got += more
    return struct.unpack("<IIII", got)[2]


def told_to(user, pid):
    """The answer to somebody else."""
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setuid(user)
            os._exit(answer(connect(pid)))
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_another_user(whole):
    program = whole.serve()
    assert told_to(65534, program.pid) == 2
    assert whole.profile("-d", 0.2, program.pid).rc == 0


@pytest.mark.skipif(subprocess.run(["unshare", "-U", "true"]).returncode, reason="no user namespaces here")
def test_nobody_in_particular(whole, bench):
    """In a user namespace that knows neither, all users are the same one."""
    program = bench.start(["unshare", "-U", SYSTEM_PYTHON, PROGRAM, "serve", 60], env={"SW_AGENT_CONTROL": "start"})
    until(lambda: listens(program.pid) and bench.output(program).startswith(b"ready"))
    assert told_to(1234, program.pid) == 2


def test_hostile_bytes(whole):
    """Messages cut at every byte, nonsense of all kinds; then it still does what it should."""
    program = whole.serve()
    noise = random.Random(9)
    for n in range(ASK.size):  # each of them is gone before it has said all
        with contextlib.suppress(OSError), connect(program.pid) as s:  # where there are too many it is closed at once
            s.send(ask()[:n])
    for bad in (ask(want=0), ask(want=2), ask(mode=3), ask(mode=2 ** 32 - 1), ask(period=0), ask(period=2 ** 63),
                ask(magic=1), ask(version=1)):
        def refused():
            got = None
            with contextlib.suppress(OSError), connect(program.pid) as s:
                s.send(bad)
                got = answer(s)
            assert got in (1, 3, None), got
            return got == 3
        until(refused)
    for _ in range(20):
        with contextlib.suppress(OSError), connect(program.pid) as s:
            s.send(noise.randbytes(noise.randrange(200)))
    until(lambda: whole.profile("-d", 0.3, program.pid).rc == 0)
    def ended():  # by nonsense in the midst of a profile. Nobody rings the bell: we may not be heard for a while
        with contextlib.suppress(OSError), connect(program.pid) as s:
            s.send(ask() + noise.randbytes(ASK.size))
            while s.recv(65536):
                pass
            return True
    until(ended)
    until(lambda: whole.profile("-d", 0.3, program.pid).rc == 0)


def test_silent_client(whole):
    program = whole.serve()
    with connect(program.pid):
        until(lambda: whole.profile("-d", 0.2, program.pid).rc == 0)


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read())[1])


def test_slow_client(whole):
    """It takes nothing: what finds no room is lost, nothing grows, and its end frees the place."""
    program = whole.serve("many", 50)
    s = connect(program.pid)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.send(ask(mode=1, period=1_000_000))
    time.sleep(2)
    before = resident(program.pid)
    time.sleep(3)
    assert resident(program.pid) - before < 4096, (before, resident(program.pid))
    s.close()
    until(lambda: whole.profile("-d", 0.3, program.pid).rc == 0)


@pytest.mark.slow
def test_stuck_client(whole):
    """One that takes nothing for 10 s is given up: it would keep others out for ever."""
    program = whole.serve("many", 50)
    with connect(program.pid) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.send(ask(mode=1, period=1_000_000))
        until(lambda: whole.profile("-d", 0.3, program.pid).rc == 0, 60)


# ---- who answers ----

@pytest.fixture
def impostor():
    """We are a process that listens as the agent does, and says what a test wants."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0swagent/{os.getpid()}")
    listener.listen(4)
    listener.settimeout(20)
    yield listener
    listener.close()


YES = struct.pack("<IIIIqQ", 32, 256, 0, 1, 0, 0)
FRAME = struct.pack("<IIIIIHHQ", 40, 1, 1, 0, 7, 4, 0, 0) + b"main\0\0\0\0"
SAMPLE = struct.pack("<IIiiQQQQII", 64, 3, 5, 0, 0, 0, 0, 5_000_000, 1, 1) + struct.pack("<II", 1, 0)
COUNTS = struct.pack("<II8Q", 72, 257, 10 ** 9, 1, 1, 0, 0, 0, 0, 0)
END = struct.pack("<IIII", 16, 258, 0, 0)


def told(whole, impostor, said):
    """What becomes of a command whose process says this, and again nothing each time that it is asked later."""
    command = whole.begin("-d", 0.3, os.getpid())
    with impostor.accept()[0] as s:
        s.settimeout(10)
        assert len(s.recv(ASK.size)) == ASK.size
        s.sendall(said)
        s.shutdown(socket.SHUT_WR)
        impostor.setblocking(False)
        while command.poll() is None:  # it tries again, in vain
            try:
                impostor.accept()[0].close()
            except BlockingIOError:
                time.sleep(0.01)
        impostor.settimeout(20)
    return whole.end(command)


def test_answer(whole, impostor):
    p = told(whole, impostor, YES + FRAME + SAMPLE + COUNTS + END)
    assert p.rc == 0 and p.total() == 5000 and p.taken == 1, p


def test_hostile_answers(whole, impostor):
    """It says so or takes what made sense; it never crashes, never waits for ever."""
    noise = random.Random(9)
    good = YES + FRAME + SAMPLE + COUNTS + END
    for said in (b"", b"\xff" * 64, b"\0" * 64, FRAME, YES + b"\0" * 8, YES + b"\xff" * 100,
                 YES + FRAME + SAMPLE[:20], YES + struct.pack("<II", 8, 1), YES + struct.pack("<II", 8, 3),
                 YES + struct.pack("<IIII", 16, 258, 1, 2 ** 31), struct.pack("<IIIIqQ", 32, 256, 77, 1, 0, 0)):
        p = told(whole, impostor, said)
        assert p.rc in (0, 1) and p.err, (said, p)
    for _ in range(20):
        broken = bytearray(good)
        for _ in range(3):
            broken[noise.randrange(len(good))] = noise.randrange(256)
        assert told(whole, impostor, bytes(broken)).rc in (0, 1)


# ---- by key ----

@pytest.mark.parametrize("how, rc", [("exit", 0), ("_exit", 3), ("signal", -15), ("exec", 0), ("again", 0), ("fork", 0), ("spawn", 0)])
def test_by_key(whole, bench, how, rc):
    result = bench.run([SYSTEM_PYTHON, PROGRAM, "ends", how],
                       env={"SW_AGENT_PROFILE_OUTPUT": bench.tmp / "key-%p.folded", "SW_AGENT_PROFILE_FREQUENCY": 200})
    assert (result.rc, result.out, result.err) == (rc, b"", b""), result
    files = sorted(bench.tmp.glob("key-*"))
    assert bench.tmp / f"key-{result.pid}.folded" in files and len(files) == (2 if how in ("fork", "again") else 1), files
    assert how != "again" or bench.tmp / f"key-{result.pid}-2.folded" in files, files
    for path in files:
        stacks = read(path)
        burning = burnt(stacks)
        assert burning >= 0.1e6 and burning >= 0.6 * sum(stacks.values()), stacks


@pytest.mark.parametrize("python", interpreters(), ids=lambda p: p.parent.parent.name)
def test_forked_behind_its_back(bench, python):
    """By a fork that CPython is not told of, as uWSGI's, its states keep the numbers of the threads that were: from 3.11
    on there were no frames of Python's in the child, for ever."""
    result = bench.run([python, PROGRAM, "plain-fork"],
                       env={"SW_AGENT_PROFILE_OUTPUT": bench.tmp / "key-%p.folded", "SW_AGENT_PROFILE_FREQUENCY": 200})
    assert result.rc == 0, result
    stacks = read(bench.tmp / f"key-{int(result.out)}.folded")
    assert burnt(stacks) >= 0.6 * sum(stacks.values()) > 0.3e6, stacks


@pytest.mark.parametrize("link", ["ln", "ln -s"])
def test_somebody_was_there_before(whole, bench, link):
    """In a folder that is everybody's the name that is written to may lead to a file of ours."""
    precious = bench.tmp / "precious"
    precious.write_text("mine")
    subprocess.run(f"{link} {precious} {bench.tmp}/there.folded.part", shell=True, check=True)
    p = whole.profile("--", SYSTEM_PYTHON, PROGRAM, "burn", 0.3, path=bench.tmp / "there.folded")
    assert p.of("burn ") and precious.read_text() == "mine", p
    result = bench.run(["/bin/sh", "-c", f"{link} {precious} key-$$.folded.part; exec {SYSTEM_PYTHON} {PROGRAM} ends exit"],
                       env={"SW_AGENT_PROFILE_OUTPUT": "key-%p.folded"})
    assert result.rc == 0 and precious.read_text() == "mine", result
    assert any(burnt(read(path)) for path in bench.tmp.glob(f"key-{result.pid}*.folded")), result  # sh may have one


def test_by_key_without_number(bench):
    """Children must not write over their parent's."""
    result = bench.run([SYSTEM_PYTHON, PROGRAM, "ends", "fork"], env={"SW_AGENT_PROFILE_OUTPUT": "here.folded"})
    assert result.rc == 0 and len(list(bench.tmp.glob("here-*.folded"))) == 2
    assert (bench.tmp / f"here-{result.pid}.folded").exists()


def test_by_key_where_a_folder_is(bench):
    """Of its name: said, and nothing is left beside it."""
    script = ("import os, time\nos.mkdir('key-%d.folded' % os.getpid())\nend = time.monotonic() + 0.3\n"
              "while time.monotonic() < end: sum(range(1000))")
    result = bench.run([SYSTEM_PYTHON, "-c", script], env={"SW_AGENT_PROFILE_OUTPUT": "key-%p.folded"})
    assert result.rc == 0 and b"Is a directory" in result.err, result
    assert not list(bench.tmp.glob("*.part"))


def test_by_key_of_shell(bench):
    """A child that forks as soon as it is there: the parent's profile may be in mid-change. What it printed went astray
    where it died."""
    script = "for i in $(seq 40); do x=$(echo $i | cat); echo $x; done"
    result = bench.run(["/bin/dash", "-c", f"({script}) | cat"],
                       env={"SW_AGENT_PROFILE_OUTPUT": bench.tmp / "key-%p.folded", "SW_AGENT_PROFILE_FREQUENCY": 1000},
                       timeout=100)
    assert (result.rc, result.err) == (0, b""), result
    assert result.out == b"".join(b"%d\n" % n for n in range(1, 41)), result


def test_by_key_of_no_format(bench):
    result = bench.run([SYSTEM_PYTHON, PROGRAM, "ends", "exit"], env={"SW_AGENT_PROFILE_OUTPUT": "here.txt"})
    assert result.rc == 0 and b"nothing is profiled" in result.err, result


def test_profiled_by_key_already(whole, bench):
    program = whole.serve(SW_AGENT_PROFILE_OUTPUT=bench.tmp / "key-%p.folded")
    p = whole.profile("-d", 0.2, program.pid)
    assert p.rc == 1 and "already" in p.err, p


@pytest.mark.parametrize("key, value, said", [("SW_AGENT_ENABLE", "false", "ended before it could be looked at, or"),
                                              ("SW_AGENT_PROFILE_OUTPUT", "x.html", "is being profiled already")])
def test_why_there_is_no_profile_of_a_program(whole, monkeypatch, key, value, said):
    """All were said not to have loaded the agent, also those that ended at once."""
    monkeypatch.setitem(CLEAN, key, value)
    p = whole.profile("--", SYSTEM_PYTHON, PROGRAM, "burn", 0.5)
    assert p.stacks is None and p.err.count("\n") == 1 and said in p.err, p


# ---- somebody traces it ----

def watch_by_gdb(pid, seconds):
    """When gdb stopped it for a signal that it does not know, since it was told to go on for the first time."""
    gdb = subprocess.Popen([shutil.which("gdb"), "-q", "-nx", "-batch", "-p", str(pid), *["-ex", "continue"] * 100],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           env=CLEAN | {"DEBUGINFOD_URLS": ""})
    until(lambda: traced(pid) or gdb.poll() is not None)
    begun, stops = time.monotonic(), []
    killer = threading.Timer(seconds, gdb.kill)
    killer.start()
    for line in gdb.stdout:
        if b"Unknown signal" in line:
            stops.append(time.monotonic() - begun)
    gdb.wait()
    killer.cancel()
    return stops


def traced(pid):
    return "TracerPid:\t0\n" not in open(f"/proc/{pid}/status").read()


@pytest.mark.skipif(not shutil.which("gdb"), reason="no gdb")
@pytest.mark.parametrize("how", ["timer", "direct"])
def test_traced(bench, how):
    """gdb stops at each signal and keeps those that it does not know, as ours: none is sent while somebody traces the
    process; and what was kept is asked for again when he has gone."""
    program = bench.start([SYSTEM_PYTHON, PROGRAM, "burn", 8], env={
        "SW_AGENT_PROFILE_OUTPUT": bench.tmp / "%p.folded", "SW_AGENT_PROFILE_FREQUENCY": 200,
        "SW_AGENT_PROFILE_SIGNAL": how})
    time.sleep(1)
    stops = watch_by_gdb(program.pid, 3)
    assert len(stops) <= 10 and all(since < 2 for since in stops), stops
    program.wait(60)
    assert sum(read(bench.tmp / f"{program.pid}.folded").values()) >= 0.4 * 8e6
