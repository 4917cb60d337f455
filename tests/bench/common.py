"""What the benchmarks share: processes that never outlive us, statistics, the agent's switches."""

import atexit
import ctypes
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
BENCH = Path(__file__).resolve().parent

_libc = ctypes.CDLL(None)
_started = []


class Failed(Exception):
    """The benchmark could not be carried out, or found the agent at fault."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


# ---- processes ----


def start(command, cpu=None, **options):
    """A process that ends with us, pinned to a core when one is given."""
    def prepare():
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: also when we are killed
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    options.setdefault("stdin", subprocess.DEVNULL)
    process = subprocess.Popen([str(part) for part in command], preexec_fn=prepare, **options)
    _started.append(process)
    return process


def output_of(command, timeout=600, **options):
    """The standard output of a command that must succeed."""
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} ran longer than {timeout} s") from None
    finally:
        ended(process)
    if process.returncode:
        raise Failed(f"{' '.join(map(str, command))}: exit {process.returncode}\n{out}{err}")
    return out


def ended(process):
    """Makes sure that it has."""
    if process.poll() is None:
        process.kill()
    process.wait()
    if process in _started:
        _started.remove(process)


def _end_all():
    for process in list(_started):
        ended(process)


def stop_everything_on_exit():
    atexit.register(_end_all)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda n, _: sys.exit(128 + n))


# ---- what is measured, and with what ----


def scratch():
    """A folder that goes away with its user: `with scratch() as folder`."""
    return tempfile.TemporaryDirectory(prefix="swagent-bench-")


def compiled(name, folder, *libraries):
    """The program of tests/bench/NAME.c; made once per folder."""
    program = Path(folder) / name
    if not program.exists():
        output_of(["cc", "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-o", program,
                   BENCH / f"{name}.c", *libraries])
    return program


def ninja(target):
    """Builds a target of build/, which is configured first if need be. Returns its path."""
    if not (BUILD / "build.ninja").exists():
        output_of(["meson", "setup", BUILD, ROOT])
    output_of(["ninja", "-C", BUILD, target])
    return BUILD / target


def free_port():
    """One below the range that the kernel hands out by itself."""
    for _ in range(200):
        port = random.randrange(20000, 32768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failed("no free port between 20000 and 32767")


def wait_for_port(process, port, seconds=30):
    """Until somebody listens there. False: the process has ended, or takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False


def cpu_ns(pid):
    """User and system time of all threads of a process, also of those that ended; utime + stime of
    /proc/PID/stat, but in nanoseconds."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def plain_env():
    """Our environment without anything of the agent."""
    return {name: value for name, value in os.environ.items()
            if name != "LD_PRELOAD" and not name.startswith(("SW_AGENT_", "SW_PLUGIN_", "SW_SAMPLE"))}


def agent_env(lib, file):
    return plain_env() | {"LD_PRELOAD": str(lib), "SW_AGENT_PROTOCOL": "file",
                          "SW_AGENT_NAME": "bench", "SW_AGENT_FILE_PATH": str(file)}


def collector_env(lib, port, protocol):
    return plain_env() | {"LD_PRELOAD": str(lib), "SW_AGENT_NAME": "bench", "SW_AGENT_PROTOCOL": protocol,
                          "SW_AGENT_COLLECTOR_BACKEND_SERVICES": f"127.0.0.1:{port}"}


def grpc_env(lib, port):
    return collector_env(lib, port, "grpc")


def core_env(lib, port):
    """By gRPC C core."""
    return grpc_env(lib, port) | {"SW_AGENT_GRPC_ENGINE": "core"}


def http_env(lib, port):
    return collector_env(lib, port, "http")


def kafka_env(lib, port):
    return plain_env() | {"LD_PRELOAD": str(lib), "SW_AGENT_NAME": "bench", "SW_AGENT_PROTOCOL": "kafka",
                          "SW_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"}


def count_segments(file):
    """(segments, of them in error) in what the agent wrote. Each line must be whole."""
    segments = errors = 0
    if not Path(file).exists():
        return 0, 0
    with open(file, "rb") as lines:
        for line in lines:
            if not line.endswith(b"}\n"):
                raise Failed(f"a torn line in {file}: {line[:100]!r}")
            if line.startswith(b'{"kind":"segment"') or json.loads(line)["kind"] == "segment":
                segments += 1
                errors += b'"isError":true' in line
    return segments, errors


# ---- statistics ----


def interval(values, of=statistics.median, resamples=2000):
    """95 % bootstrap interval of a statistic. The seed is fixed: the same data, the same answer."""
    if len(values) < 2:
        return [values[0], values[0]]
    dice = random.Random(1)
    found = sorted(of(dice.choices(values, k=len(values))) for _ in range(resamples))
    return [found[int(resamples * 0.025)], found[int(resamples * 0.975)]]


def compared(plain, agent):
    """Medians of two interleaved series, and of the differences of neighbours with its interval."""
    differences = [b - a for a, b in zip(plain, agent)]
    return {"plain": statistics.median(plain), "agent": statistics.median(agent),
            "more": statistics.median(differences), "more_95": interval(differences)}


def table(head, rows):
    """Text columns: the first to the left, the rest to the right."""
    rows = [head] + rows
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                       for i, (cell, w) in enumerate(zip(row, widths))) for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)
