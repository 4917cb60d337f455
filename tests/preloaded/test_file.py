"""The file protocol and the keys: where records go, and that nothing about it disturbs a program."""

import os
import shutil
import stat
import subprocess
import time

import pytest

import reader
from conftest import IN_HASTE, LIB
from origin import get
from test_grpc import counters

WARNING = b"swagent"  # every line of ours on stderr begins so


def curl(origin, *paths):
    return ["curl", "-sS", "--max-time", "10",
            *[f"http://127.0.0.1:{origin.port}/{p}" for p in paths or ["x"]]]


def warned(with_us, without, count=1):
    """As without us, and so many lines of ours on stderr."""
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    ours = [line for line in with_us.err.splitlines() if WARNING in line]
    assert b"".join(line + b"\n" for line in with_us.err.splitlines() if WARNING not in line) \
        == without.err
    assert len(ours) == count, with_us.err
    return b"\n".join(ours)


def test_a_line_of_ours_is_one_line(bench, origin):
    """Whatever stands in a value: no lines that look like another's, no orders to a terminal."""
    without = bench.run(curl(origin), agent=False)
    with_us = bench.run(curl(origin), env={"SW_AGENT_QUEUE_TIMEOUT": "5\ngone \x1b[2J\x7f\u00e9"})
    line = warned(with_us, without)
    assert "=5?gone ?[2J?\u00e9 is not a whole number".encode() in line


@pytest.mark.parametrize("protocol", ["http", "kafka"])
def test_without_the_plug_in(bench, origin, tmp_path, protocol):
    """The library was copied alone: said once, and what is recorded is counted as lost."""
    shutil.copy(LIB, tmp_path / "libswagent.so")
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env={"SW_AGENT_PROTOCOL": protocol, "SW_AGENT_LOGGING_LEVEL": "debug",
                                                     "LD_PRELOAD": tmp_path / "libswagent.so"})
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert with_us.err.count(b"warning") == 1 and b"the plug-in `%s` cannot be used" % protocol.encode() in with_us.err
    counted = counters(with_us.err)
    assert (counted["segment_produced"], counted["segment_lost"]) == (2, 2), with_us.err


def test_path_and_mode(bench, origin, tmp_path):
    result = bench.run(curl(origin), env={"SW_AGENT_FILE_PATH": tmp_path / "r" / "a-%p-%p.jsonl"})
    assert b"swagent" in result.err
    (tmp_path / "r").mkdir()
    old = os.umask(0)
    try:
        result = bench.run(curl(origin), env={"SW_AGENT_FILE_PATH": tmp_path / "r" / "a-%p-%p.jsonl"})
    finally:
        os.umask(old)
    [file] = (tmp_path / "r").iterdir()
    assert file.name == f"a-{result.pid}-{result.pid}.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(reader.read(tmp_path / "r")) == 1


def test_default_path(bench, origin, tmp_path):
    folder = tmp_path / "cwd"
    folder.mkdir()
    result = bench.run(curl(origin), env={"SW_AGENT_FILE_PATH": "UNSET"}, cwd=folder)
    assert [f.name for f in folder.iterdir()] == [f"swagent-{result.pid}.jsonl"]
    assert len(reader.read(folder)) == 1


def test_path_stays_where_the_program_began(bench, ports, program, tmp_path):
    """A program that changes its working directory: the file is beside where it was started, or
    where it went, but there is one."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    port = ports()
    bench.start(program("web.py", port), port, env={"SW_AGENT_FILE_PATH": "UNSET"}, cwd=folder)
    get(port, "/hello")
    bench.stop_all()
    assert len(reader.read(folder)) == 1


def test_appends(bench, origin):
    path = bench.records / "one.jsonl"
    for _ in range(3):
        bench.run(curl(origin), env={"SW_AGENT_FILE_PATH": path})
    assert len(reader.read(bench.records)) == 3


def test_link_is_refused(bench, origin, tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"precious\n")
    link.symlink_to(target)
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env={"SW_AGENT_FILE_PATH": link})
    warned(with_us, without)
    assert target.read_bytes() == b"precious\n"
    link.unlink()
    link.symlink_to(tmp_path / "new")
    warned(bench.run(curl(origin, "a", "b"), env={"SW_AGENT_FILE_PATH": link}), without)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", ["/nonexistent/folder/x", "/proc/self/nothing", "/", "/dev/full",
                                  "x" * 300])
def test_no_place_to_write(bench, origin, path):
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env={"SW_AGENT_FILE_PATH": path})
    warned(with_us, without)
    assert with_us.waited < without.seconds + 1.5


def test_pipe_without_reader(bench, origin, tmp_path):
    """Opening it must not wait."""
    os.mkfifo(tmp_path / "pipe")
    without = bench.run(curl(origin), agent=False)
    with_us = bench.run(curl(origin), env={"SW_AGENT_FILE_PATH": tmp_path / "pipe"} | IN_HASTE)
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert with_us.waited < without.seconds + 1.5


def test_folder_without_permission(bench, origin, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    os.chmod(tmp_path, 0o755)
    argv = curl(origin)
    if os.geteuid() == 0:
        argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *argv]
    without = bench.run(argv, agent=False, cwd="/")
    with_us = bench.run(argv, env={"SW_AGENT_FILE_PATH": folder / "x"}, cwd="/")
    if os.geteuid() == 0 and b"LD_PRELOAD" in with_us.err:
        pytest.skip("the library is in a folder that others cannot read")
    warned(with_us, without)


def test_full_disk(bench, ports, program, tmp_path):
    """Records are lost, said once; the server serves on, and what was written can be read."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(disk)],
                             capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    try:
        port = ports()
        server = bench.start(program("web.py", port), port, name="web",
                             env={"SW_AGENT_FILE_PATH": disk / "x-%p.jsonl"})
        for i in range(100):
            assert get(port, f"/hello?{i}")[0] == 200
        import time
        time.sleep(1.5)
        assert get(port, "/hello")[0] == 200
        bench.stop(server)
        assert bench.output(server).count(WARNING) == 1, bench.output(server)
        [file] = disk.iterdir()
        data = file.read_bytes()
        assert data.endswith(b"}\n") and data.startswith(b'{"kind"'), "whole lines only"
        reader.read(disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# ---- keys ----

BAD = {"SW_SAMPLE_N_PER_3_SECS": "many", "SW_AGENT_RING_BYTES": "12", "SW_AGENT_SPAN_LIMIT": "-1",
       "SW_AGENT_EXIT_FLUSH_TIMEOUT": "99999999999999999999", "SW_AGENT_FORCE_TLS": "perhaps",
       "SW_AGENT_NAME": "n" * 200}


@pytest.mark.parametrize("key", BAD)
def test_bad_value_warns_once(bench, origin, key):
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env={key: BAD[key]})
    line = warned(with_us, without)
    assert key.encode() in line or b"SW_AGENT_SPAN_LIMIT" in line
    bench.segments(2)


def test_bad_values_are_not_said_where_nothing_is_traced(bench):
    bench.both(["ls", "/"], env=BAD)
    bench.both(["bash", "-c", "echo a | cat; (exit 3)"], env=BAD)


def test_bad_values_of_a_server_are_said_once(bench, ports, program):
    port = ports()
    server = bench.start(program("web.py", port), port, env={"SW_AGENT_QUEUE_TIMEOUT": "0"})
    for _ in range(5):
        get(port, "/hello")
    bench.stop(server)
    assert bench.output(server).count(b"SW_AGENT_QUEUE_TIMEOUT") == 1
    bench.segments(5)


def test_no_word_of_unknown_names_where_only_errors_are_wanted(bench, origin):
    bench.both(curl(origin), env={
        "SW_AGENT_NONSENSE": "x", "SW_PLUGIN_SQL_PARAMETERS_MAX_LENGTH": "512", "SW_": "", "SW": "1",
        "SW_AGENT_LOG_REPORTER_LEVEL": "INFO", "SW_KAFKA_TOPIC_LOG": "x",
        "SW_AGENT_EXPERIMENTAL_FORK_SUPPORT": "True", "SW_AGENT_LOGGING_LEVEL": "ERROR"})
    bench.segments(1)


@pytest.mark.parametrize("level, count", [("warning", 1), ("INFO", 1), ("error", 0), ("off", 0)])
def test_logging_level(bench, origin, level, count):
    without = bench.run(curl(origin), agent=False)
    with_us = bench.run(curl(origin), env={"SW_AGENT_LOGGING_LEVEL": level,
                                           "SW_AGENT_QUEUE_TIMEOUT": "0"})
    warned(with_us, without, count)


@pytest.mark.parametrize("value", ["false", "False", "FALSE"])
def test_kill_switch(bench, ports, program, origin, value):
    off = {"SW_AGENT_ENABLE": value, "SW_AGENT_QUEUE_TIMEOUT": "bad"}
    bench.both(curl(origin), env=off)
    first, second = origin.taken(2)
    assert first == second, "no lines of ours"
    threads = {}
    for name, agent, env in ("without", False, {}), ("off", True, off), ("on", True, {}):
        port = ports()
        server = bench.start(program("web.py", port), port, agent=agent, env=env)
        get(port, "/hello")
        # the thread of the request before may not have ended yet: the least of several looks
        looks = []
        for _ in range(5):
            time.sleep(0.05)
            looks.append(int(get(port, "/threads")[2]))
        threads[name] = min(looks)
        bench.stop(server)
        if name == "off":
            assert bench.files() == []
            assert bench.output(server) == b""
    assert threads["off"] == threads["without"] and threads["on"] == threads["without"] + 1
    bench.segments(6)


def test_no_thread_before_the_first_connection(bench, ports, program):
    port = ports()
    server = bench.start(program("web.py", port), port)
    assert len(os.listdir(f"/proc/{server.pid}/task")) == 1
    assert bench.files() == []
    get(port, "/hello")
    bench.stop(server)
    bench.segments(1)


def test_default_protocol_leaves_programs_alone(bench, origin):
    """Without configuration records would go to a collector; none is there. One warning at most."""
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env={"SW_AGENT_PROTOCOL": "UNSET"}, cwd=bench.tmp)
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert with_us.err.count(b"\n") <= 1
    assert with_us.waited < without.seconds + 1.5
    assert bench.files() == []
    bench.both(["ls", "/"], env={"SW_AGENT_PROTOCOL": "UNSET"})
