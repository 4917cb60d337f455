"""A broken internal check: from then on everything is passed through, counted, said once, and the
program goes on as if we were not there (check.h).

The damage is done by the program, which writes nonsense into a record that waits in a ring. Answers pitfalls 31 and
49 of shared/spec/preload-pitfalls.md in so far as a fault of ours must not become the program's.
"""

import re

import pytest

import reader
from origin import plain_answer, without_lines
from test_limits import DEBUG, counters, split


def run(bench, origin, argv, **options):
    result = bench.run(argv, **options)
    return result, origin.taken(13)


@pytest.mark.parametrize("how, end", [("size", "file"), ("zero", "grpc"), ("short", "file")])
def test_a_broken_check(bench, origin, compiled, ports, how, end):
    """Output, exit status and bytes as without us; the requests after it carry nothing; one line, one
    counter. Told by both protocols."""
    argv = ["bash", "-c", 'exec 9>broken; exec "$@"', "x", compiled("breaks"), origin.port, how]
    without, wire_without = run(bench, origin, argv, agent=False)
    assert without.rc == 3 and (bench.tmp / "broken").read_text() == "0\n"
    env = DEBUG | ({"SW_AGENT_PROTOCOL": "grpc", "SW_AGENT_COLLECTOR_BACKEND_SERVICES": f"127.0.0.1:{ports()}"}
                   if end == "grpc" else {})
    with_us, wire = run(bench, origin, argv, env=env)
    with_us.err, ours = split(with_us.err)
    with_us.same(without)
    assert int((bench.tmp / "broken").read_text()) > 0
    assert [without_lines(data)[0] for data in wire] == wire_without
    assert b"sw8: " in wire[0] and b"sw8" not in wire[-1] and b"sw8" not in wire[-2]
    said = re.findall(rb"warning: an internal check failed \((.*)\); nothing more is observed\n", ours)
    assert len(said) == 1 and re.match(rb"(ring|work)\.c: ", said[0]), ours
    assert counters(ours)["disarmed"] >= 1
    if end != "grpc":  # what was whole before it is there
        found = [s.spans[0].operationName for s in reader.read(bench.records)]
        assert "/before" in found and not any(name.startswith("/after") for name in found)
        assert counters(ours)["segment_sent"] == len(found)


def test_nothing_broken(bench, origin, compiled):
    """The same program when it breaks nothing."""
    argv = ["bash", "-c", 'exec 9>broken; exec "$@"', "x", compiled("breaks"), origin.port, "none"]
    without, wire_without = run(bench, origin, argv, agent=False)
    with_us, wire = run(bench, origin, argv)
    with_us.same(without)
    assert all(data.count(b"sw8: ") == 1 for data in wire) and wire_without == [without_lines(d)[0] for d in wire]
    bench.segments(13)


def test_a_disarmed_server(bench, ports, program, compiled, origin):
    """Threads, forks and descriptors after it: nothing hangs, and each ends as it should."""
    script = (
        "import os, subprocess, threading, urllib.request as u\n"
        f"def ask(p): return u.urlopen('http://127.0.0.1:{origin.port}/' + p).read()\n"
        "ask('first')\n"
        "import ctypes, re, time\n"
        "def damage(what):\n"
        "    n = 0\n"
        "    for line in open('/proc/self/maps'):\n"
        "        m = re.match(r'([0-9a-f]+)-([0-9a-f]+) rw-p \\S+ 00:00 0 +$', line.rstrip('\\n') + ' ')\n"
        "        if not m: continue\n"
        "        begin, end = int(m[1], 16), int(m[2], 16)\n"
        "        with open('/proc/self/mem', 'r+b', 0) as mem:\n"
        "            at = begin\n"
        "            while at < end:\n"
        "                mem.seek(at); part = mem.read(min(end - at, 1 << 20))\n"
        "                if not part: break\n"
        "                for hit in re.finditer(re.escape(what), part):\n"
        "                    for i in range(hit.start() & ~7, max(hit.start() - 256, -1), -8):\n"
        "                        size, kind = int.from_bytes(part[i:i+4], 'little'), int.from_bytes(part[i+4:i+8], 'little')\n"
        "                        if kind == 1 and 64 < size <= 4096 and size % 8 == 0 and i + size > hit.start():\n"
        "                            mem.seek(at + i); mem.write(bytes(4)); n += 1; break\n"
        "                at += len(part)\n"
        "    return n\n"
        "if 'LD_PRELOAD' in os.environ:\n"
        "    for i in range(1000):\n"  # our thread may have read the record already
        "        time.sleep(0.03)\n"
        "        if b'1' in ask(f'broken{i}'): damage(b'/broken%d' % i)\n"
        "        else: break\n"
        "ts = [threading.Thread(target=ask, args=('thread',)) for i in range(8)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
        "for i in range(5):\n"
        "    p = os.fork()\n"
        "    if p == 0: ask('child'); os._exit(4)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) == 4\n"
        f"print(subprocess.run(['curl', '-sS', 'http://127.0.0.1:{origin.port}/curl'], stdout=-1).stdout)\n"
        "os.closerange(3, 1000)\n"
        "print(ask('last'))\n")
    origin.answer = lambda r: (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % len(r.sw8)
                               if r.path.startswith(b"/broken") else plain_answer(r))
    without = bench.run(["/usr/bin/python3", "-c", script], agent=False)
    with_us = bench.run(["/usr/bin/python3", "-c", script])
    with_us.err, ours = split(with_us.err)
    with_us.same(without)
    assert without.rc == 0 and ours.count(b"\n") == 1 and b"an internal check failed" in ours
    for request in origin.requests[-16:]:
        assert not request.sw8 or request.path == b"/curl", request.path  # a process of its own
