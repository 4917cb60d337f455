"""Meters of the process: what is sent each period is true, nothing is sent that is not known, and a
program notices none of it.
"""

import collections
import json
import os
import pathlib
import subprocess
import time

import pytest

import reader
import tasklist
from conftest import BUILD, SYSTEM_PYTHON
from http_sink import HttpSink
from origin import get
from test_grpc import Web, ours

PVM = "instance_pvm_"
PYENV = pathlib.Path.home() / ".pyenv" / "versions"
VERSIONS = sorted(PYENV.glob("3.*/bin/python")) or [pathlib.Path(SYSTEM_PYTHON)]


def readings(bench, pid=None):
    """{name: values of all periods} of meters without labels, of the process when one is said."""
    found = collections.defaultdict(list)
    for path, kind, message in reader.records(bench.records):
        if kind == "meter" and (pid is None or path.name.endswith(f"-{pid}.jsonl")):
            assert message.service and message.serviceInstance and message.timestamp > 1600000000000
            value = message.singleValue
            if not value.labels:
                found[value.name].append(value.value)
    return found


def measured(bench, program, seconds, *args, python=SYSTEM_PYTHON, period=1, **env):
    result = bench.run(program("measured.py", seconds, *args, python=str(python)), name="measured",
                       env={"SW_AGENT_METER_REPORTER_PERIOD": period, **env})
    assert result.rc == 0 and not ours(result.err), result
    return [json.loads(line) for line in result.out.splitlines()]


def check_collector(found, said):
    for i in range(3):
        counts = found[f"{PVM}gc_g{i}"]
        # the interpreter's end collects, too
        assert counts == sorted(counts) and 0 <= counts[-1] <= said["runs"][i] + 3
        # what happened after the last period is not more than in three
        assert said["runs"][i] - counts[-1] <= max(3, said["runs"][i] * 0.75)
    assert found[PVM + "gc_g0"][-1] > 0
    pauses = found[PVM + "gc_time"]
    assert pauses == sorted(pauses) and 0 < pauses[-1] < said["lived"] * 1000


@pytest.mark.parametrize("python", VERSIONS, ids=lambda path: path.parts[-3])
def test_python(bench, program, python):
    [said] = measured(bench, program, 3.6, python=python)
    found = readings(bench)
    # 3.8 is left alone: it crashes when it is asked while its atexit handlers run
    collected = {"gc_g0", "gc_g1", "gc_g2", "gc_time"} if "3.8" not in python.parts[-3] else set()
    assert {name[len(PVM):] for name in found if name.startswith(PVM)} == {
        "process_cpu_utilization", "total_cpu_utilization", "process_mem_utilization",
        "total_mem_utilization", "thread_active_count"} | collected
    assert said["callbacks"] == bool(collected)
    if collected:
        check_collector(found, said)
    assert set(found[PVM + "thread_active_count"]) == {said["threads"]}, "ours is not counted"
    assert all(0 < share < 110 for share in found[PVM + "process_cpu_utilization"])
    assert all(0 <= share <= 100 for share in found[PVM + "total_cpu_utilization"])
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    for share in found[PVM + "process_mem_utilization"]:  # what is not ballast comes and goes by 20 MB
        assert 0.7 < share / (100 * said["rss"] / total) < 1.4
    assert all(0 < share <= 100 for share in found[PVM + "total_mem_utilization"])


def test_first_period(bench, program):
    """Before its end nothing is sent and the collector is left alone."""
    [said] = measured(bench, program, 0.5, period=60)
    assert said["callbacks"] == 0 and not readings(bench)


@pytest.mark.parametrize("key, left", [("SW_AGENT_METER_REPORTER_ACTIVE", False),
                                       ("SW_AGENT_PVM_METER_REPORTER_ACTIVE", True)])
def test_switched_off(bench, program, key, left):
    [said] = measured(bench, program, 1.5, **{key: "false"})
    found = readings(bench)
    assert said["callbacks"] == 0
    assert not [name for name in found if name.startswith(PVM)] and bool(found) == left


@pytest.mark.skipif(not (BUILD / "libswagent-http.so").exists(), reason="the plug-in http is not built")
@pytest.mark.parametrize("asked", [False, True])
def test_protocol_without_meters(bench, ports, program, asked):
    """None are made. Who has asked for them is told, once; a default is no reason to say anything."""
    env = {"SW_AGENT_METER_REPORTER_ACTIVE": "true"} if asked else {}
    with HttpSink(ports()) as sink:
        result = bench.run(program("measured.py", 2.2), name="measured", env={
            **env, "SW_AGENT_METER_REPORTER_PERIOD": 1, "SW_AGENT_PROTOCOL": "http",
            "SW_AGENT_COLLECTOR_BACKEND_SERVICES": f"127.0.0.1:{sink.port}"})
        sink.segments(2)
    assert json.loads(result.out)["callbacks"] == 0
    assert len([line for line in ours(result.err) if b"takes no meters" in line]) == asked == len(ours(result.err))


LABELS = {"records", "segment_produced"}


def counts(bench):
    return [m.singleValue for _, kind, m in reader.records(bench.records)
            if kind == "meter" and m.singleValue.name == "swagent_count"]


def labels(bench):
    return {label.value for one in counts(bench) for label in one.labels}


def test_other_programs(bench, ports, origin):
    """No collector of garbage: its names are not sent. The agent's accounts are."""
    port = ports()
    conf = bench.tmp / "nginx.conf"
    conf.write_text(f"daemon off; master_process off; pid {bench.tmp}/pid; error_log stderr crit; events {{}}"
                    f" http {{ access_log off; server {{ listen 127.0.0.1:{port};"
                    f" location / {{ proxy_pass http://127.0.0.1:{origin.port}; }} }} }}")
    if not pathlib.Path("/usr/sbin/nginx").exists():
        pytest.skip("no nginx here")
    server = bench.start(["/usr/sbin/nginx", "-c", conf], port, name="web",
                         env={"SW_AGENT_METER_REPORTER_PERIOD": 1})
    get(port, "/x")
    wanted = {PVM + "thread_active_count", PVM + "process_mem_utilization", "swagent_cpu_time"}
    deadline = time.monotonic() + 40
    while (not wanted <= set(readings(bench)) or not labels(bench) >= LABELS) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert bench.stop(server) == 0
    found = readings(bench)
    assert wanted <= set(found)
    assert not [name for name in found if "gc" in name]
    assert labels(bench) >= LABELS and all(one.value > 0 for one in counts(bench))


def test_forked_child(bench, program):
    """It reports its own: not its parent's processor time, nor less than nothing."""
    child, parent = sorted(measured(bench, program, 2.4, "fork"), key=lambda said: -said["pid"])
    for said in child, parent:
        found = readings(bench, said["pid"])
        assert all(0 <= share < 110 for share in found[PVM + "process_cpu_utilization"]), found
        assert len(found[PVM + "process_cpu_utilization"]) >= 2
        for name in "gc_g0", "gc_time":
            assert found[PVM + name] == sorted(found[PVM + name])
        assert found[PVM + "gc_g0"][-1] <= said["runs"][0] + 3 and said["callbacks"] == 1


def in_namespace(script):
    """argv that runs a program after `script` has changed the mounts it sees."""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script + '; exec "$@"', "sh"]
    if subprocess.run([*argv, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    return argv


def test_without_proc(bench, program):
    """Only what needs no file is sent; nothing is said, and nothing is invented."""
    argv = in_namespace("mount -t tmpfs none /proc")
    result = bench.run([*argv, *program("measured.py", 2.5)], name="measured",
                       env={"SW_AGENT_METER_REPORTER_PERIOD": 1})
    assert result.rc == 0 and not ours(result.err), result
    assert {name for name in readings(bench) if name.startswith(PVM)} == {
        PVM + name for name in ("process_cpu_utilization", "gc_g0", "gc_g1", "gc_g2", "gc_time")}


@pytest.mark.parametrize("files", [("memory.max", "memory.current", "inactive_file 100000000"),
                                   ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes",
                                    "total_inactive_file 100000000")], ids=["v2", "v1"])
def test_control_group(bench, program, files):
    """Memory is compared with what the group may have, without what can be had back."""
    limit, usage, cache = files
    folder = "/sys/fs/cgroup"
    stat = f"{folder}/{os.path.dirname(limit)}/memory.stat"
    argv = in_namespace(
        f"mount -t tmpfs none {folder}; mkdir -p {folder}/memory; echo 500000000 > {folder}/{limit};"
        f" echo 200000000 > {folder}/{usage}; printf 'anon 1\\n{cache}\\n' > {stat};"
        f" printf '0::/\\n9:cpu,memory:/\\n4:memory:/\\n' > {folder}/own; "
        f"mount --bind {folder}/own /proc/$$/cgroup")
    [said] = [json.loads(line) for line in bench.run(
        [*argv, *program("measured.py", 2.4)], name="measured",
        env={"SW_AGENT_METER_REPORTER_PERIOD": 1}).out.splitlines()]
    found = readings(bench)
    assert set(found[PVM + "total_mem_utilization"]) == {20}
    assert abs(found[PVM + "process_mem_utilization"][-1] - 100 * said["rss"] / 5e8) < 2


def test_idle_process_sleeps(bench, ports, program):
    """With nothing to do our thread wakes once a period."""
    web = Web(bench, ports(), program, {"SW_AGENT_METER_REPORTER_PERIOD": 2,
                                        "SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD": 3600}).ask(3)
    time.sleep(3)
    before, begin = tasklist.wakes(web.process.pid), time.monotonic()
    time.sleep(6.5)
    periods = (time.monotonic() - begin) / 2 + 1
    assert 1 <= tasklist.wakes(web.process.pid) - before <= periods * 2, "the wake, and the write of its file perhaps"
    web.stop()


def test_callback_that_is_taken_away(bench, program, tmp_path):
    """A program that clears the list, or fills it with its own, is left alone."""
    script = tmp_path / "clears.py"
    script.write_text((pathlib.Path(program("measured.py")[1])).read_text().replace(
        "\nserve_one()\n", "\nserve_one()\nspend(1.5)\nassert len(gc.callbacks) == 1\ngc.callbacks.clear()\n"
        "seen = []\ngc.callbacks.append(lambda phase, info: seen.append(phase))\n", 1))
    result = bench.run([SYSTEM_PYTHON, script, 1.5], env={"SW_AGENT_METER_REPORTER_PERIOD": 1})
    assert result.rc == 0, result
    assert json.loads(result.out)["callbacks"] == 1
