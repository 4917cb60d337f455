"""What the library costs a web application under full load.

FastAPI on uvicorn with uvloop and httptools, one worker on core 0, wrk with 50 connections on core 1.
For every pair of rounds a server without and a server with the agent are started, warmed up and
loaded by turns, in changing order, so a slow drift of the machine hits both alike. They are fresh
each time because two processes of one and the same program were seen to differ by 5 % and more in
CPU per request as long as they lived; that would otherwise be taken for the agent's cost.
"""

import math
import mmap
import random
import re
import signal
import socket
import statistics
import time
from pathlib import Path

from common import (BENCH, BUILD, ROOT, Failed, agent_env, count_segments, ended, interval,
                    output_of, plain_env, say, scratch, start, table)

CONNECTIONS = 50
WAITED_MAX = 8.0  # % of a round; a server whose reporter shares its core waits 2 % for that
SETTLE_S = 1.3  # the reporter's last batch of a round is at most a second old
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


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


class Server:
    """The application, with or without the agent, and what the system says about it."""

    def __init__(self, python, folder, kind, lib=None):
        self.segments = Path(folder) / f"{kind}.jsonl"
        env = agent_env(lib, self.segments) if lib else plain_env()
        counter = Path(folder) / f"{kind}.counter"
        counter.write_bytes(bytes(8))
        with open(counter, "r+b") as file:
            self.counter = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
        self.kind, self.port = kind, free_port()
        self.log = open(Path(folder) / f"{kind}.log", "w+b")
        self.process = start(
            [python, "-m", "uvicorn", "hello_app:app", "--app-dir", BENCH, "--port", self.port,
             "--loop", "uvloop", "--http", "httptools", "--workers", 1, "--no-access-log",
             "--log-level", "warning"],
            cpu=0, cwd=folder, stdout=self.log, stderr=self.log,
            env=env | {"BENCH_COUNTER": str(counter)})
        self.wait_until_ready()

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace").strip()

    def wait_until_ready(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise Failed(f"the server {self.kind} does not come up: {self.said()}")

    def cpu_ns(self):
        """User and system time of all its threads, also of those that ended; utime + stime of
        /proc/PID/stat, but in nanoseconds."""
        return time.clock_gettime_ns((~self.process.pid << 3) | 2)

    def first_thread_ns(self):
        """(time on the core, time ready but waiting for the core) of the program's own thread."""
        pid = self.process.pid
        ran, waited, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
        return int(ran), int(waited)

    def status(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return {key: int(re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1))
                for key, name in (("rss_kb", "VmRSS"), ("peak_kb", "VmHWM"), ("threads", "Threads"))}

    def load(self, seconds):
        """One round: what wrk saw, and what it cost us."""
        cpu, served, (ran, waited) = self.cpu_ns(), self.counter[0], self.first_thread_ns()
        seen = wrk(self.port, seconds)
        time.sleep(SETTLE_S)
        served = self.counter[0] - served
        if not served:
            raise Failed(f"the server {self.kind} served nothing: {self.said()}")
        cpu, (ran_to, waited_to) = self.cpu_ns() - cpu, self.first_thread_ns()
        return seen | {"round_served": served, "cpu_us": cpu / 1e3 / served,
                       "first_thread_us": (ran_to - ran) / 1e3 / served,
                       "waited_percent": (waited_to - waited) / 1e7 / seconds}

    def stop(self):
        """As systemd would. Returns how it ended and what it left."""
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.process.poll() is None:
            raise Failed(f"the server {self.kind} does not stop on SIGTERM")
        ended(self.process)
        written, in_error = count_segments(self.segments)
        return {"exit": self.process.returncode, "stderr": self.said(), "served": self.counter[0],
                "segments": written, "segments_in_error": in_error,
                "bytes": self.segments.stat().st_size if self.segments.exists() else 0}


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * UNITS[unit]


def wrk(port, seconds):
    out = output_of(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency",
                     f"http://127.0.0.1:{port}/hello"], env=plain_env(), cpu=1)
    if "Non-2xx" in out or "Socket errors" in out:
        raise Failed(f"wrk was not served well:\n{out}")
    percentiles = dict(re.findall(r"^\s+(50|99)%\s+(\S+)", out, re.M))
    return {"qps": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            "p50_ms": milliseconds(percentiles["50"]), "p99_ms": milliseconds(percentiles["99"])}


def python_with_packages():
    folder = BUILD / "venv-bench"
    output_of([ROOT / ".ci/venv", folder, BENCH / "requirements.txt"])
    return folder / "bin/python"


def one_pair(python, lib, seconds, agent_first):
    """A fresh server of each kind, loaded once after a warm-up: {kind: results}."""
    results = {}
    with scratch() as folder:
        servers = [Server(python, folder, "plain"), Server(python, folder, "agent", lib)]
        if agent_first:
            servers.reverse()
        for server in servers:
            wrk(server.port, 1)
        time.sleep(SETTLE_S)
        for server in servers:
            results[server.kind] = server.load(seconds) | server.status()
        for server in servers:
            results[server.kind] |= server.stop()
    waited = max(results[kind]["waited_percent"] for kind in results)
    return results | {"disturbed": waited > WAITED_MAX}


def run_pairs(lib, options):
    """Pairs in which somebody else wanted core 0 are kept but repeated, twice as many at most."""
    python = python_with_packages()
    seconds = 1 if options.quick else options.seconds
    wanted = 3 if options.quick else options.rounds
    pairs = []
    while sum(not pair["disturbed"] for pair in pairs) < wanted and len(pairs) < 2 * wanted:
        pairs.append(one_pair(python, lib, seconds, len(pairs) % 2))
        plain, agent = pairs[-1]["plain"], pairs[-1]["agent"]
        say(f"pair {len(pairs)}: {plain['qps']:.0f} and {agent['qps']:.0f} a second, "
            f"{plain['cpu_us']:.2f} and {agent['cpu_us']:.2f} CPU us a request, "
            f"{plain['waited_percent']:.0f} and {agent['waited_percent']:.0f} % kept waiting"
            + (", disturbed" if pairs[-1]["disturbed"] else ""))
    return pairs


def t_interval(values):
    """95 % interval of the mean; Student's t from 20 values on is 2.09 or a little less."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return [mean, mean]
    half = (2.09 if len(values) >= 20 else 4.3) * statistics.stdev(values) / math.sqrt(len(values))
    return [mean - half, mean + half]


def compared_pairs(pairs, key):
    more = [pair["agent"][key] - pair["plain"][key] for pair in pairs]
    return {"plain": statistics.median(pair["plain"][key] for pair in pairs),
            "agent": statistics.median(pair["agent"][key] for pair in pairs),
            "more": statistics.median(more), "more_95": interval(more),
            "more_mean": statistics.fmean(more), "more_mean_95": t_interval(more)}


def ratio(pairs, of):
    ratios = [of(pair["plain"], pair["agent"]) for pair in pairs]
    return {"median": statistics.median(ratios), "median_95": interval(ratios)}


KEYS = ("qps", "p50_ms", "p99_ms", "cpu_us", "first_thread_us", "waited_percent", "rss_kb", "peak_kb",
        "threads", "round_served")


def measure(lib, options):
    every = run_pairs(lib, options)
    pairs = [pair for pair in every if not pair["disturbed"]]
    if len(pairs) < (1 if options.quick else options.rounds / 2):
        say("the machine is too busy: disturbed pairs are counted too")
        pairs = every
    agents = [pair["agent"] for pair in every]
    return {"pairs": len(pairs), "pairs_left_out": len(every) - len(pairs), "connections": CONNECTIONS,
            "qps_ratio": ratio(pairs, lambda plain, agent: agent["qps"] / plain["qps"]),
            "cpu_ratio": ratio(pairs, lambda plain, agent: plain["cpu_us"] / agent["cpu_us"]),
            **{key: compared_pairs(pairs, key) for key in KEYS},
            **{key: sum(agent[key] for agent in agents)
               for key in ("served", "segments", "segments_in_error", "bytes")},
            "every_pair": every}


def wrongs(result):
    """What the agent did wrong, apart from speed."""
    found = []
    for pair in result["every_pair"]:
        plain, agent = pair["plain"], pair["agent"]
        if agent["segments"] != agent["served"]:
            found.append(f"{agent['served']} requests served, {agent['segments']} segments written")
        if plain["exit"] != agent["exit"]:
            found.append(f"exit status {plain['exit']} without, {agent['exit']} with the agent")
        if plain["stderr"] != agent["stderr"]:
            found.append(f"the server with the agent said: {agent['stderr'][:300]!r}")
    return found


def show(r):
    rows = []
    for title, key, digits in (("requests a second", "qps", 0), ("p50 ms", "p50_ms", 2),
                               ("p99 ms", "p99_ms", 2), ("CPU us a request, all threads", "cpu_us", 2),
                               ("CPU us a request, first thread", "first_thread_us", 2),
                               ("% of the round kept waiting for core 0", "waited_percent", 1),
                               ("VmRSS KB", "rss_kb", 0), ("peak KB", "peak_kb", 0),
                               ("threads", "threads", 0), ("requests in a round", "round_served", 0)):
        v = r[key]
        low, high = v["more_95"]
        rows.append([title, f"{v['plain']:,.{digits}f}", f"{v['agent']:,.{digits}f}",
                     f"{v['more']:+,.{digits}f}", f"{low:+,.{digits}f} .. {high:+,.{digits}f}"])
    mean = r["cpu_us"]
    title = f"/hello, {r['pairs']} pairs of rounds"
    lines = [table([title, "without", "with", "more", "95 % of more"], rows)]
    if r["pairs_left_out"]:
        lines.append(f"left out: {r['pairs_left_out']} pairs in which core 0 was wanted by others, "
                     f"too, for more than {WAITED_MAX:.0f} % of a round")
    for name, key in (("QPS kept", "qps_ratio"), ("QPS kept, from CPU per request", "cpu_ratio")):
        low, high = r[key]["median_95"]
        lines.append(f"{name}: {r[key]['median']:.3f} ({low:.3f} .. {high:.3f})")
    lines.append(f"CPU us more, mean: {mean['more_mean']:+.2f} "
                 f"({mean['more_mean_95'][0]:+.2f} .. {mean['more_mean_95'][1]:+.2f})")
    lines.append(f"segments written: {r['segments']:,} of {r['served']:,} requests served, "
                 f"{r['segments_in_error']:,} in error (wrk hangs up with requests open), "
                 f"{r['bytes'] / max(1, r['segments']):,.0f} bytes each")
    return "\n".join(lines)


def bars(r):
    return [("QPS kept on /hello", r["qps_ratio"]["median"], ">=", 0.95, r["qps_ratio"]["median_95"]),
            ("CPU us added per request", r["cpu_us"]["more"], "<=", 6.0, r["cpu_us"]["more_95"])]
