"""What a process becomes: sealed, copied behind libc's back, another program."""

import re

import pytest

from conftest import IN_HASTE

CURL = "/usr/bin/curl"


def operations(segments):
    return sorted(span.operationName for segment in segments for span in segment.spans)


@pytest.mark.parametrize("how", ["prctl", "seccomp", "strict"])
def test_a_program_that_seals_itself(bench, origin, compiled, how):
    """Not killed for a call of ours; what was before is reported, what comes after is not looked at."""
    result = bench.both([compiled("sealed"), origin.port, how])
    assert (result.rc, result.out, result.err) == (0, b"done\n", b"")
    assert operations(bench.segments(2)) == ["/before", "/between"]
    assert b"sw8" not in origin.requests[-1].head.lower()


@pytest.mark.parametrize("how", ["clone", "syscall", "clone3", "vm"])
def test_children_past_fork(bench, origin, compiled, how):
    result = bench.both([compiled("clones"), origin.port, how])
    assert (result.rc, result.out, result.err) == (0, b"done\n", b"")
    segments = bench.segments(2 if how == "vm" else 3)
    assert operations(segments) == sorted(["/first", "/last"] + ["/child"] * (how != "vm"))
    instances = {s.spans[0].operationName: s.serviceInstance for s in segments}
    assert instances["/first"] == instances["/last"]
    assert how == "vm" or re.fullmatch(r"[0-9a-f]{32}-child\(\d+\)", instances["/child"])


def run_script(bench, script, **options):
    return bench.run(["/usr/bin/python3", "-c", script], **options)


STARTS = {
    "subprocess": "subprocess.run([CURL, '-sS', '-o', '/dev/null', URL + 'called'], check=True)",
    "shell": "subprocess.run(f'{CURL} -sS -o /dev/null {URL}called; true', shell=True, check=True)",
    "spawn": "p = os.posix_spawn(CURL, [CURL, '-sS', '-o', '/dev/null', URL + 'called'], os.environ); "
             "os.waitpid(p, 0)",
    "fork": "p = os.fork()\nif p == 0: os.execv(CURL, [CURL, '-sS', '-o', '/dev/null', URL + 'called'])\n"
            "os.waitpid(p, 0)",
    "execlp": "p = os.fork()\nif p == 0: os.execlp('curl', 'curl', '-sS', '-o', '/dev/null', URL + 'called')\n"
              "os.waitpid(p, 0)",
    "env": "subprocess.run(['env', 'X=1', CURL, '-sS', '-o', '/dev/null', URL + 'called'], check=True)",
}


def script_of(origin, start, first=True):
    return (f"import os, subprocess, urllib.request as u\nURL = 'http://127.0.0.1:{origin.port}/'\n"
            f"CURL = '{CURL}'\n" + ("u.urlopen(URL + 'first').read()\n" if first else "") + start + "\n")


@pytest.mark.parametrize("start", STARTS)
def test_programs_that_a_service_starts(bench, origin, start):
    """They are no services of their own, and not an instance each."""
    result = run_script(bench, script_of(origin, STARTS[start] + "\n" + STARTS[start]), name="UNSET")
    assert (result.rc, result.err) == (0, b"")
    found = {}
    for segment in bench.segments(3):
        found.setdefault(segment.spans[0].operationName, set()).add(
            (segment.service, segment.serviceInstance))
    [(service, instance)] = found["/first"]
    assert found["/called"] == {(service, f"{instance}-exec(curl)")}


def test_what_they_find_in_their_environment(bench, origin):
    """The same as without us, but for LD_PRELOAD and our own keys, which the caller has set."""
    script = script_of(origin, "import sys; sys.stdout.flush()\nsubprocess.run(['env'], check=True)")
    seen = [sorted(line for line in run_script(bench, script, agent=agent, env=IN_HASTE).out.splitlines()
                   if not line.startswith((b"LD_PRELOAD=", b"SW_AGENT_FILE_PATH=", b"SW_AGENT_PROTOCOL=")))
            for agent in (False, True)]
    assert seen[0] == seen[1]


def test_a_clean_environment_stays_clean(bench, origin):
    script = script_of(origin, "subprocess.run(['env'], env={'A': '1'}, check=True)")
    assert run_script(bench, script).out == b"A=1\n"


def test_a_caller_that_reports_nothing_has_no_heirs(bench, origin):
    run_script(bench, script_of(origin, STARTS["subprocess"], first=False), name="UNSET")
    [segment] = bench.segments(1)
    assert segment.service == "curl" and re.fullmatch("[0-9a-f]{32}", segment.serviceInstance)


def test_a_server_that_a_service_starts_is_one_itself(bench, origin, ports, program):
    port = ports()
    server = " ".join(map(str, program("web.py", port, 0)))
    script = script_of(origin, f"os.execvp('/bin/sh', ['sh', '-c', 'exec {server}'])")
    process = bench.start(["/usr/bin/python3", "-c", script], port)
    from origin import get
    get(port, "/hello")
    bench.stop(process)
    first, served = sorted(bench.segments(2), key=lambda s: s.spans[0].operationName)
    assert (first.spans[0].operationName, served.spans[0].operationName) == ("/first", "/hello")
    assert first.serviceInstance != served.serviceInstance
    assert "-exec" not in served.serviceInstance


@pytest.mark.parametrize("key", ["SW_AGENT_NAME", "SW_AGENT_INSTANCE_NAME"])
def test_a_program_with_a_name_of_its_own(bench, origin, key):
    """A supervisor says what each of its programs is called, and they are; one that finds its name is its own."""
    start = STARTS["subprocess"].replace("check", f"env=dict(os.environ, {key}='worker'), check").replace("called", "named")
    result = run_script(bench, script_of(origin, STARTS["subprocess"] + "\n" + start), name="boss",
                        env={"SW_AGENT_INSTANCE_NAME": "boss-1"})
    assert (result.rc, result.err) == (0, b"")
    names = {s.spans[0].operationName: (s.service, s.serviceInstance) for s in bench.segments(3)}
    assert names == {"/first": ("boss", "boss-1"), "/called": ("boss", "boss-1-exec(curl)"),
                     "/named": ("worker", "boss-1") if key == "SW_AGENT_NAME" else ("boss", "worker")}


def test_long_names_give_way(bench, origin):
    name = "é" * 60
    result = run_script(bench, script_of(origin, STARTS["subprocess"]),
                        env={"SW_AGENT_INSTANCE_NAME": name, "SW_AGENT_NAME": name})
    assert (result.rc, result.err) == (0, b"")
    for segment in bench.segments(2):
        assert len(segment.serviceInstance.encode()) <= 70 and segment.service == "é" * 35
    names = {s.spans[0].operationName: s.serviceInstance for s in bench.segments(2)}
    assert names["/called"].endswith("-exec(curl)") and names["/called"].startswith("é" * 25)


def test_more_entries_than_we_tell(bench, origin):
    env = {f"V{i}": "x" for i in range(1500)}
    result = run_script(bench, script_of(origin, STARTS["subprocess"]), env=env)
    assert (result.rc, result.err) == (0, b"")
    assert len({s.serviceInstance for s in bench.segments(2)}) == 2


@pytest.mark.parametrize("number", [60, 231], ids=["exit", "exit_group"])
def test_an_end_by_number(bench, origin, number):
    """The process ends although our thread is there, and what it had to say is said."""
    script = script_of(origin, f"import ctypes\nctypes.CDLL(None).syscall({number}, 7)")
    result = bench.both(["/usr/bin/python3", "-c", script])
    assert result.rc == 7
    assert operations(bench.segments(1)) == ["/first"]


@pytest.mark.parametrize("whom", ["0", "-os.getpgrp()"])
def test_an_end_by_a_signal_to_all(bench, origin, whom):
    script = "import os\nos.setpgid(0, 0)\n" + script_of(origin, f"os.kill({whom}, 15)")
    result = bench.both(["/usr/bin/python3", "-c", script])
    assert result.rc == -15
    assert operations(bench.segments(1)) == ["/first"]


def test_pointers_that_the_kernel_refuses(bench, origin, compiled):
    """EFAULT as without us, not a SIGSEGV because we look before the kernel does."""
    bench.both([compiled("wild"), origin.port])
    assert operations(bench.segments(1)) == ["/whole"]
