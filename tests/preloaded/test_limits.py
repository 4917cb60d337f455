"""What a process may lack: descriptors, threads, memory, room on a disk, a /proc, its rights.

Every test runs a program without and with us and compares output, exit status and the bytes that its
server got (less our lines). Pitfalls of shared/spec/preload-pitfalls.md:

  23  identity changes      drops, test_a_user_namespace, test_entering_namespaces, test_daemon
  25  nothing of root's     drops
  27  the program closes    closings, test_standard_descriptors_closed, older kernels (ours share its table)
  28  numbers come again    closings, test_stdio_closes
  42  limits                nofile, test_no_threads, address_space, test_file_size, full_disk, read_only
  43  chroot, namespaces    test_chroot*, test_without
  55  high numbers          nofile
  56  10^9 descriptors      nofile (as far as this kernel and user allow)
  65  closed unseen         test_stdio_closes, test_answers_and_ends_that_nobody_saw

Those that mount need root and are skipped without.
"""

import os
import re
import resource
import shutil
import socket
import subprocess

import pytest

import reader
from conftest import LIB
from origin import without_lines

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode,
    reason="needs root and a mount namespace")
LONG = bool(os.environ.get("SW_LONG"))  # all that there is; by default a part of it, within a minute
DEBUG = {"SW_AGENT_LOGGING_LEVEL": "debug"}


def some(all_of_it, *by_default):
    """Parameters: by default these, with SW_LONG=1 all."""
    return list(all_of_it) if LONG else [one for one in all_of_it if one in by_default]


def split(err):
    """What the program said, and what we did."""
    lines = err.splitlines(keepends=True)
    ours = [line for line in lines if line.startswith(b"swagent[")]
    return b"".join(line for line in lines if line not in ours), b"".join(ours)


def counters(ours):
    return {name.decode(): int(n) for name, n in re.findall(rb"debug: (\w+) (\d+)$", ours, re.M)}


def wire(origin, connections):
    return sorted(without_lines(data)[0] for data in origin.taken(connections))


def compared(bench, origin, argv, connections, said=None, **options):
    """Runs it without and with us; the same, and the same bytes. said: what we may say on stderr, a
    pattern. Returns the result with us, its `ours` being what we said."""
    without = bench.run(argv, agent=False, **options)
    bytes_without = wire(origin, connections)
    with_us = bench.run(argv, **options)
    bytes_with = wire(origin, connections)
    with_us.err, with_us.ours = split(with_us.err)
    with_us.same(without)
    assert bytes_with == bytes_without
    if said is None:
        assert with_us.ours == b"", with_us.ours
    elif said:
        assert re.fullmatch(said, with_us.ours), with_us.ours
    return with_us


def operations(bench, count):
    return sorted(s.spans[0].operationName for s in bench.segments(count))


# ---- descriptors ----

def test_stdio_closes(bench, origin, compiled):
    """fclose of a conversation, whose number comes again as another, and as a file (65, 28). Of what
    stdio sent nothing is said, and nothing is guessed."""
    result = compared(bench, origin, [compiled("limits"), origin.port, "stream"], 8, said="", env=DEBUG)
    assert b"by stdio: 1\n" in result.out
    assert operations(bench, 7) == ["/last"] + ["/stream"] * 6


@pytest.mark.parametrize("way", ["stdio", "flushed", "kernel"])
def test_answers_and_ends_that_nobody_saw(bench, ports, compiled, way):
    """A server that answers and closes past us: the next connection has the same number. A request whose end
    was not seen is not called an error, nor is it said to have lasted until then (65)."""
    port = ports()
    server = bench.start([compiled("unseen_ends"), port, way, "5"], port, env=DEBUG)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as talk:
            talk.sendall(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
            assert b"".join(iter(lambda: talk.recv(99), b"")).endswith(b"\r\n\r\nok")
    assert server.wait(30) == 0
    assert counters(bench.output(server))["span_unseen"] == (4 if way == "kernel" else 5)
    assert bench.segments() == []


@pytest.mark.parametrize("protocol", ["file", "grpc"])
def test_closings(bench, origin, compiled, ports, protocol):
    """Everything above stderr closed, in seven ways, each after requests (27)."""
    env = {"SW_AGENT_PROTOCOL": protocol, "SW_AGENT_COLLECTOR_BACKEND_SERVICES": f"127.0.0.1:{ports()}"}
    result = compared(bench, origin, [compiled("limits"), origin.port, "close_all"], 8, env=env,
                      said="(.*no collector at.*\n)?".encode())
    assert (result.rc, result.err) == (0, b"")
    if protocol == "file":
        assert operations(bench, 8) == ["/close"] * 7 + ["/last"]


def test_standard_descriptors_closed(bench, origin, compiled):
    """Connections get the numbers 0, 1 and 2: what we have to say does not go there (27)."""
    env = DEBUG | {"SW_AGENT_FILE_PATH": "/dev/null/x"}
    argv = [compiled("limits"), origin.port, "close_standard"]
    result = compared(bench, origin, argv, 4, said=".*cannot write /dev/null/x.*\n.*".encode(), env=env)
    assert b"again: 0\n" in result.out


# ---- kernels that have less ----

LESS = {"u": "no CLOSE_RANGE_UNSHARE", "c": "no close_range", "cp": "no pidfd_getfd either", "r": "no getrandom",
        "t": "no TCP_INFO, no SO_COOKIE", "3": "no clone3", "w": "no MADV_WIPEONFORK: we stand down"}


@pytest.mark.parametrize("what", some(LESS, "u", "cp", "w"))
@pytest.mark.parametrize("part", some(["close_all", "stream", "daemon"], "close_all", "daemon"))
def test_older_kernels(bench, origin, compiled, what, part):
    """As before Linux 5.9 and older: ours share the program's table (27, 41)."""
    # without close_range, closefrom of libc takes ours too: said once, and then nothing is recorded
    lost = "c" in what and part == "close_all"
    if part == "daemon":
        argv = [compiled("older"), what, compiled("limits"), origin.port, part, "late"]
        compared(bench, origin, argv, 3, said="")
        return
    argv = [compiled("older"), what, compiled("limits"), origin.port, part]
    compared(bench, origin, argv, 8, said="(.*cannot write to the file.*\n)?".encode() if lost else None)
    if not lost:
        assert len(bench.segments(0 if what == "w" else 8 if part == "close_all" else 7)) >= 0


MANNERS = ["errors", "descriptors", "descriptors_at_once", "children", "jumps", "cancellation"]


@pytest.mark.parametrize("what", some(["u", "cp"], "cp"))
@pytest.mark.parametrize("part", some(MANNERS, "errors", "descriptors", "descriptors_at_once"))
def test_manners_on_older_kernels(bench, origin, compiled, part, what):
    """tests/preloaded/test_process.py's, where ours share the program's table (27)."""
    argv = [compiled("older"), what, compiled("manners"), origin.port, part]
    without = bench.run(argv, agent=False)
    with_us = bench.run(argv)
    with_us.err, ours = split(with_us.err)
    with_us.same(without)
    assert without.rc == 0 and (not ours or b"cannot write to the file" in ours)


# ---- limits ----

@pytest.mark.parametrize("count", [16, 64, 10 ** 9])
def test_nofile(bench, origin, compiled, count):
    """All numbers are the program's, the highest too, and one that leads to a conversation (42, 55,
    56). 10^9: the highest hard limit that there is."""
    result = compared(bench, origin, [compiled("limits"), origin.port, "nofile", count], 3)
    assert b"on the highest: 0\n" in result.out and b"errno 9\n" in result.out
    assert operations(bench, 4) == ["/high", "/low", "/one", "/two"]


def test_beyond_the_table(bench, origin, compiled):
    """A number from 2^20 on, which we do not follow (56)."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] <= 1 << 20:
        pytest.skip("the hard limit is not above 2^20")
    compared(bench, origin, [compiled("limits"), origin.port, "nofile", 10 ** 9], 3)


@needs_root
def test_no_threads(bench, origin, compiled):
    """RLIMIT_NPROC 0, not root: no thread of ours, no word, and requests go on (42)."""
    result = compared(bench, origin, [compiled("limits"), origin.port, "no_threads"], 203)
    assert b"fork() = -1, errno 11" in result.out and b"last: ok" in result.out
    assert bench.files() == []


# What we map, less what is shared; with less than that we stand down.
@pytest.mark.parametrize("mebibytes", [1, 4, 8, 16, 32, 64, 100, 200, 500])
def test_address_space(bench, origin, compiled, mebibytes):
    """RLIMIT_AS that much above what is mapped at the start: half of it is still the program's (42)."""
    result = compared(bench, origin, [compiled("limits"), origin.port, "address_space", mebibytes], 3)
    assert result.rc == 0


@pytest.mark.parametrize("limit", [0, 700])
def test_file_size(bench, origin, compiled, limit):
    """RLIMIT_FSIZE: no SIGXFSZ for what we write, EFBIG or death for what the program writes (42)."""
    said = b".*cannot write to the file: File too large; records are dropped\n(.*debug.*\n)*"
    result = compared(bench, origin, [compiled("limits"), origin.port, "file_size", limit], 3, said=said, env=DEBUG)
    assert b"= -1, errno 27" in result.out and b"three: ok" in result.out
    counted = counters(result.ours)
    found = reader.read(bench.records)  # whole lines only
    assert counted["segment_lost"] + len(found) == counted["segment_produced"] == 3
    assert counted.get("segment_sent", 0) == len(found)


# ---- file systems ----

def in_mounts(script, argv):
    """argv, after a script in a mount namespace of its own."""
    return ["unshare", "-m", "--propagation", "private", "bash", "-c", script + '; exec "$@"', "x", *argv]


@needs_root
@pytest.mark.parametrize("size", ["0", "1500"], ids=["full", "almost-full"])
def test_full_disk(bench, origin, compiled, tmp_path, size):
    """No room for the records: said once, counted; no half lines (42)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (f"mount -t tmpfs -o size=64k none {disk}; cat /dev/zero >{disk}/big 2>/dev/null; "
              f"truncate -s -{'0' if size == '0' else 4096} {disk}/big")
    inner = [compiled("limits"), origin.port, "file_size", 1 << 30] if size == "0" else \
            [compiled("storm"), origin.port, "many", 60]
    argv = in_mounts(script, ["bash", "-c", f'"$@"; echo rc $?; cat {disk}/*.jsonl >&2 2>/dev/null; true', "y", *inner])
    env = DEBUG | {"SW_AGENT_FILE_PATH": f"{disk}/x-%p.jsonl"}
    connections = 3 if size == "0" else 1
    without = bench.run(argv, agent=False, env=env)
    bytes_without = wire(origin, connections)
    with_us = bench.run(argv, env=env)
    assert wire(origin, connections) == bytes_without
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    said = [line for line in with_us.err.splitlines() if line.startswith(b"swagent[")]
    assert sum(b"cannot write to the file: No space left" in line for line in said) == 1, with_us
    counted = counters(b"\n".join(said))
    rest = [line for line in with_us.err.splitlines() if line not in said]
    assert all(line.startswith(b'{"kind":"') and line.endswith(b"}}") for line in rest), rest
    segments = sum(line.startswith(b'{"kind":"segment"') for line in rest)
    assert counted.get("segment_sent", 0) == segments
    assert segments + counted["segment_lost"] == counted["segment_produced"] == (3 if size == "0" else 60)


@needs_root
def test_read_only(bench, origin, compiled, tmp_path):
    """The file cannot be made: said once, counted (42)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    argv = in_mounts(f"mount -t tmpfs -o ro none {disk}", [compiled("limits"), origin.port, "just"])
    said = b".*cannot write .*Read-only file system; nothing is recorded\n(.*debug.*\n)*"
    result = compared(bench, origin, argv, 2, said=said, env=DEBUG | {"SW_AGENT_FILE_PATH": f"{disk}/x-%p"})
    assert counters(result.ours)["segment_lost"] == 2


WITHOUT = {"proc": "mount -t tmpfs none /proc", "proc-unmounted": "umount -l /proc", "dev": "mount -t tmpfs none /dev",
           "shm": "umount -l /dev/shm; mount -t tmpfs -o ro none /dev/shm", "tmp": "mount -t tmpfs -o ro none /run",
           "sys": "umount -l /sys", "etc": "mount -t tmpfs none /etc", "all": "umount -l /proc /sys; mount -t tmpfs none /dev"}


@needs_root
@pytest.mark.parametrize("what", some(WITHOUT, "proc", "dev", "all"))
def test_without(bench, origin, compiled, what):
    """No /proc, no /dev, no /dev/shm, no /etc (43)."""
    argv = in_mounts(WITHOUT[what] + " 2>/dev/null", [compiled("limits"), origin.port, "just"])
    result = compared(bench, origin, argv, 2)
    assert result.rc == 0
    assert operations(bench, 2) == ["/one", "/two"]
    if LONG:
        argv[-1] = "daemon"
        compared(bench, origin, argv + ["late"], 3, said="")


def room(tmp_path, program):
    """A folder with that program, what it is linked with, us, and nothing else."""
    root = tmp_path / "root"
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    for path in [str(program), LIB, *re.findall(r"(/\S+) \(0x", listed)]:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return root


@needs_root
@pytest.mark.skipif(":" in LIB or " " in LIB, reason="more than one library is preloaded")
@pytest.mark.parametrize("protocol", ["file", "grpc"])
def test_chroot(bench, origin, compiled, tmp_path, ports, protocol):
    """A program in a folder with nothing but what it is linked with (43)."""
    root = room(tmp_path, compiled("limits"))
    env = {"SW_AGENT_FILE_PATH": "/x-%p.jsonl", "SW_AGENT_PROTOCOL": protocol,
           "SW_AGENT_COLLECTOR_BACKEND_SERVICES": f"127.0.0.1:{ports()}"}
    argv = ["/usr/sbin/chroot", root, compiled("limits"), origin.port, "just"]
    compared(bench, origin, argv, 2, env=env)
    if protocol == "file":
        [file] = root.glob("x-*.jsonl")
        shutil.move(file, bench.records)
        assert operations(bench, 2) == ["/one", "/two"]


@needs_root
def test_chroot_later(bench, origin, compiled, tmp_path):
    """A program that locks itself in, after its first requests: the file stays open (43)."""
    root = tmp_path / "root"
    root.mkdir()
    compared(bench, origin, [compiled("limits"), origin.port, "into", f"-{root}"], 3)
    assert operations(bench, 3) == ["/before", "/one", "/two"]


@needs_root
def test_chroot_first(bench, origin, compiled, tmp_path):
    """The same before its first request: there is no such path inside, which is said once (43)."""
    root = tmp_path / "root"
    root.mkdir()
    said = b".*cannot write .*No such file.*\n(.*debug.*\n)*"
    compared(bench, origin, [compiled("limits"), origin.port, "into", root], 2, said=said + b"|", env=DEBUG)


# ---- identity ----

@needs_root
@pytest.mark.parametrize("when", ["early", "late"])
def test_dropped_rights(bench, origin, compiled, when):
    """setresuid and its kin, before there is a thread of ours and with one there: libc asks all
    threads (23)."""
    bench.records.chmod(0o777)
    for folder in bench.records.parents:  # nobody must get there
        if folder.stat().st_mode & 1:
            break
        folder.chmod(folder.stat().st_mode | 0o111)
    result = compared(bench, origin, [compiled("limits"), origin.port, "drop", when], 2 + (when == "late"))
    assert b"geteuid() = 65534" in result.out and b"seteuid(0) = -1, errno 1\n" in result.out
    assert operations(bench, 2 + (when == "late")) == ["/before"] * (when == "late") + ["/one", "/two"]


def test_a_user_namespace(bench, origin, compiled):
    """unshare(CLONE_NEWUSER) fails in a process of two threads: ours is not one (23, 61)."""
    compared(bench, origin, [compiled("limits"), origin.port, "user_namespace"], 4)
    assert operations(bench, 4) == ["/before", "/last", "/one", "/two"]


def test_alone_under_load(bench, origin, compiled):
    """A thread that has been joined may still be counted, and a busy machine is no excuse (61)."""
    result = compared(bench, origin, [compiled("limits"), origin.port, "alone"], 60)
    assert b"failed = 0," in result.out
    assert operations(bench, 60) == ["/turn"] * 60


def test_entering_namespaces(bench, origin, compiled):
    """setns into a user and a mount namespace (23, 61)."""
    compared(bench, origin, [compiled("limits"), origin.port, "enter"], 4)
    assert operations(bench, 4) == ["/before", "/last", "/one", "/two"]


@pytest.mark.parametrize("when", ["at-once", "late"])
def test_daemon(bench, origin, compiled, when):
    """libc forks and leaves inside (21, 23)."""
    compared(bench, origin, [compiled("limits"), origin.port, "daemon", when], 3, name="d")
    assert operations(bench, 4) == ["/before", "/kept", "/one", "/two"]
    names = {s.spans[0].operationName: s.serviceInstance for s in bench.segments()}
    assert "-child(" in names["/one"] and "-child(" not in names["/before"]
