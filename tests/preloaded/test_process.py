"""The life of a process: forks, new images, ends of every kind, and what a guest must not touch."""

import glob
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

import reader
from conftest import Watch
from origin import get, without_lines

ENDS = {"return": 0, "exit": 4, "_exit": 3, "quick_exit": 5, "_Exit": 6, "libc-exit": 7, "exec": 8,
        "execl": 9, "failed-exec": 0, "caught": 0, "thread-exit": 10, "sigterm": -signal.SIGTERM,
        "kill": -signal.SIGHUP, "pthread_kill": -signal.SIGUSR1, "abort": -signal.SIGABRT}


@pytest.mark.parametrize("how", ENDS)
def test_the_record_is_there_at_the_end(bench, origin, program, how):
    argv = program("client.py", "http.client", how, f"http://127.0.0.1:{origin.port}/x")
    result = bench.both(argv, name="client")
    assert result.rc == ENDS[how], result
    found = reader.read(bench.records)  # at once: nothing may come later
    assert [s.spans[0].operationName for s in found] == ["/x"]
    assert result.waited < 2


def test_death_from_outside_loses_a_second_at_most(bench, ports, program):
    """SIGKILL, or a SIGTERM that nobody handles: what is older has been written."""
    for how in signal.SIGKILL, signal.SIGTERM:
        port = ports()
        server = bench.start(program("web.py", port), port, name="web", env={"DIE": 1})
        get(port, "/hello")
        watch, before = Watch(), len(reader.read(bench.records))
        while len(reader.read(bench.records)) == before and watch.seconds < 40:
            time.sleep(0.02)
        assert watch.waited < 1.3
        assert bench.stop(server, how) == -how
    bench.segments(2)


def test_exit_is_not_delayed(bench, origin, program):
    """Nothing to flush: no wait. Something to flush: far less than its bound."""
    argv = program("client.py", "http.client", "_exit", f"http://127.0.0.1:{origin.port}/x")
    without = min(bench.run(argv, agent=False).seconds for _ in range(5))
    with_us = min(bench.run(argv).waited for _ in range(5))
    assert with_us < without + 0.1


def test_no_flush_wanted(bench, origin, program):
    argv = program("client.py", "http.client", "_exit", f"http://127.0.0.1:{origin.port}/x")
    result = bench.both(argv, env={"SW_AGENT_EXIT_FLUSH_TIMEOUT": 0})
    assert result.rc == 3


def test_record_before_a_new_image_and_after(bench, origin):
    """A process that makes a request, becomes another program, and that makes one."""
    url = f"http://127.0.0.1:{origin.port}"
    script = (f"import os, urllib.request; print(urllib.request.urlopen('{url}/first').read(), flush=True); "
              f"os.execvp('curl', ['curl', '-sS', '{url}/second'])")
    result = bench.both(["/usr/bin/python3", "-c", script])
    assert b"/first" in result.out and b"/second" in result.out
    segments = bench.segments(2)
    assert sorted(s.spans[0].operationName for s in segments) == ["/first", "/second"]
    assert len({s.traceSegmentId for s in segments}) == 2


# ---- children ----


@pytest.mark.slow
def test_fork_storm(bench, origin, compiled):
    argv = [compiled("forks"), origin.port, 500]
    without = bench.run(argv, agent=False)
    assert (without.rc, without.err) == (0, b""), without
    origin.taken(2 + 45 + 5)
    with_us = bench.run(argv, name="forks")
    assert (with_us.rc, with_us.err) == (0, b""), with_us
    made = len(origin.requests)
    wire = origin.taken(2 + 45 + 5)
    bare = [head for data in wire for head in data.split(b"\r\n\r\n")[:-1] if b"sw8: " not in head]
    assert bare == [] and sum(len(without_lines(data)[1]) for data in wire) == made
    segments = bench.segments(made)
    # 50 children made requests: as instances of their own
    names = {s.serviceInstance for s in segments}
    assert sum("-child(" in name for name in names) == 50
    assert sum(s.spans[0].operationName == "/grandchild" for s in segments) == 5
    main = int(with_us.out)
    assert sum("-child(" not in s.serviceInstance for s in segments) == main == made - 50


@pytest.mark.slow
def test_subprocess_storm(bench, ports, program):
    """200 programs started by a service: the same results, and no record from them."""
    bodies = []
    for agent in (False, True):
        port = ports()
        server = bench.start(program("web.py", port), port, agent=agent, name="web")
        bodies.append([get(port, "/spawn/100", timeout=60)[2] for _ in range(2)])
        bodies[-1].append(bench.stop(server))
        assert bench.output(server) == b""
    assert bodies[0] == bodies[1]
    assert len(bodies[0][0]) > 100
    bench.segments(2)
    assert len(bench.files()) == 1


def test_children_that_make_requests(bench, origin):
    """A program started by another that traces is an instance of its own."""
    url = f"http://127.0.0.1:{origin.port}"
    result = bench.both(["bash", "-c", f"curl -sS {url}/1; curl -sS {url}/2 | cat; "
                                       f"(curl -sS {url}/3); xargs -n1 curl -sS <<<'{url}/4'"])
    assert result.err == b""
    segments = bench.segments(4)
    assert {s.spans[0].operationName for s in segments} == {"/1", "/2", "/3", "/4"}
    assert len({s.serviceInstance for s in segments}) == 4


@pytest.mark.parametrize("value", ["False", "false"])
def test_propagation_switched_off(bench, origin, value):
    url = f"http://127.0.0.1:{origin.port}"
    script = f"import subprocess; subprocess.run(['curl', '-sS', '{url}/child'])"
    bench.both(["/usr/bin/python3", "-c", script],
               env={"SW_AGENT_SW_PYTHON_BOOTSTRAP_PROPAGATE": value})
    assert bench.segments() == []


def test_environment_is_left_alone(bench):
    """LD_PRELOAD and the rest stay as they are, and are not put back where they were removed."""
    result = bench.run(["bash", "-c", "env -u LD_PRELOAD bash -c 'env; (env)' | grep -c LD_PRELOAD; "
                                      "env -i /usr/bin/env | wc -l; env | grep -c ^LD_PRELOAD="])
    assert result.out.split() == [b"0", b"0", b"1"] and result.err == b""


# ---- manners ----


@pytest.mark.parametrize("part", ["errors", "bad_pointers", "descriptors",
                                  "descriptors_at_once", "jumps", "cancellation", "small_stacks", "children",
                                  "broken_pipe", "masks", "limits"])
def test_manners(bench, origin, compiled, part):
    """errno, descriptors, jumps, cancellation, small stacks, vfork, limits: as without us."""
    argv = [compiled("manners"), origin.port, part]
    rounds = 10 if part == "descriptors_at_once" else 1  # a matter of luck
    without = bench.run(argv, agent=False)
    expected = len(origin.requests)
    for _ in range(rounds):
        with_us = bench.run(argv, name="manners")
        assert with_us.err == without.err == b""
        assert with_us.rc == without.rc == 0
        assert with_us.out.decode().splitlines() == without.out.decode().splitlines()
    assert len(origin.requests) == (1 + rounds) * expected
    if part not in ("limits", "descriptors_at_once"):  # a file that was closed under us is not written
        bench.segments(expected)


def test_library_twice(bench, origin, tmp_path):
    """A second copy by another path goes inert."""

    from conftest import LIB
    if ":" in LIB or " " in LIB:
        pytest.skip("more than one library is preloaded")
    copy = tmp_path / "copy.so"
    shutil.copy(LIB, copy)
    argv = ["curl", "-sS", f"http://127.0.0.1:{origin.port}/x"]
    bench.both(argv, env={})
    bench.run(argv, env={"LD_PRELOAD": f"{LIB}:{copy}"})
    assert len(without_lines(origin.taken(3)[2])[1]) == 1
    bench.segments(2)


def test_static_programs(bench, tmp_path):
    source = tmp_path / "s.c"
    source.write_text('#include <stdio.h>\nint main(void) { return puts("static") < 0; }\n')
    subprocess.run(["gcc", "-static", "-o", tmp_path / "s", source], check=True)
    bench.both([tmp_path / "s"])
    assert bench.files() == []


def pythons():
    """CPython from 3.12 on looks how many threads there are when it forks."""
    places = [*glob.glob(f"{pathlib.Path.home()}/.pyenv/versions/3.*/bin"), os.environ.get("PATH", "")]
    found = [shutil.which(f"python3.{minor}", path=":".join(places)) for minor in range(12, 16)]
    found = [p for p in found if p and subprocess.run([p, "-c", ""], capture_output=True).returncode == 0]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason="no CPython from 3.12 on"))]


@pytest.mark.parametrize("python", pythons())
def test_forks_without_a_second_thread(bench, origin, python):
    """No warning of a thread that the program has not made; and what the fork found waiting leaves."""
    script = ("import os, urllib.request as u\n"
              f"def ask(p): u.urlopen('http://127.0.0.1:{origin.port}/' + p).read()\n"
              "for i in range(5):\n"
              "    ask(f'before{i}')\n"
              "    if os.fork() == 0:\n"
              "        ask(f'child{i}')\n"
              "        if os.fork() == 0: os._exit(0)\n"
              "        os.wait()\n"
              "        os._exit(0)\n"
              "    os.wait()\n"
              "os._exit(0)\n")
    result = bench.both([python, "-W", "error", "-c", script])
    assert (result.rc, result.err) == (0, b"")
    bench.segments(10)


def stderr_lines(bench, tmp_path, origin, mode):
    """What a program and we wrote to a stderr that is a file, opened in that mode."""
    script = ("import os, time, urllib.request as u\n"
              "os.write(2, b'first\\n')\n"
              f"u.urlopen('http://127.0.0.1:{origin.port}/x').read()\n"
              "time.sleep(1)\nos.write(2, b'second\\n')\n")
    path = tmp_path / "stderr"
    with open(path, mode) as file:
        subprocess.run(["/usr/bin/python3", "-c", script], stderr=file, check=True, timeout=60,
                       env=bench.env(env={"SW_AGENT_FILE_PATH": "/dev/null/x"}))
    return path.read_bytes().splitlines()


@pytest.mark.parametrize("mode", ["wb", "ab"])
def test_our_line_between_those_of_the_program(bench, tmp_path, origin, mode):
    """A file that is not opened for appending has one offset, and the program's next line follows ours."""
    first, ours, second = stderr_lines(bench, tmp_path, origin, mode)
    assert (first, second) == (b"first", b"second")
    assert ours.startswith(b"swagent[") and b"cannot write" in ours


@pytest.mark.parametrize("end", ["", "os._exit(0)", "sys.exit(0)"])
@pytest.mark.parametrize("protocol", ["file", "grpc"])
def test_counters_at_the_end(bench, origin, ports, protocol, end):
    """Each once; what was made was sent, lost or left."""
    script = (f"import os, sys, urllib.request as u\nu.urlopen('http://127.0.0.1:{origin.port}/x').read()\n"
              f"import time; time.sleep(0.5)\n{end}\n")
    result = bench.run(["/usr/bin/python3", "-c", script], env={
        "SW_AGENT_LOGGING_LEVEL": "debug", "SW_AGENT_PROTOCOL": protocol,
        "SW_AGENT_COLLECTOR_BACKEND_SERVICES": f"127.0.0.1:{ports()}"})
    said = re.findall(rb"debug: (\w+) (\d+)$", result.err, re.M)
    counted = {name.decode(): int(n) for name, n in said}
    assert len(said) == len(counted), result.err
    assert counted["segment_produced"] == 1
    assert counted.get("segment_sent" if protocol == "file" else "segment_left") == 1
