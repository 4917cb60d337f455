"""A web application under full load, without and with agents by turns.

FastAPI on uvicorn with uvloop and httptools, one worker on core 0, wrk with 50 connections on core 1.
In every turn a fresh server of each kind is started, warmed up and loaded, one after the other, in
changing order, so a slow drift of the machine hits all alike. They are fresh each time because two
processes of one and the same program were seen to differ by 5 % and more in CPU per request as long
as they lived; that would otherwise be taken for the agent's cost.
"""

import math
import mmap
import re
import signal
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from common import (BENCH, BUILD, ROOT, Failed, cpu_ns, ended, free_port, interval, output_of,
                    plain_env, say, scratch, start, table, wait_for_port)
from sink import Place

CONNECTIONS = 50
WAITED_MAX = 8.0  # % of a round; a server whose reporter shares its core waits 2 % for that
SETTLE_S = 1.3  # the reporter's last batch of a round is at most a second old
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass
class Kind:
    """One way to run the application. `prefix` starts `python`; `place` knows what has arrived."""

    name: str
    python: Path
    env: dict
    prefix: tuple = ()
    place: object = None
    foreign: bool = False  # somebody else's agent: what it does wrong is not our matter


def venv(name, requirements):
    """A Python environment of the benchmarks; returns its folder of programs."""
    folder = BUILD / name
    output_of([ROOT / ".ci/venv", folder, requirements], timeout=1800)
    return folder / "bin"


def python_with_packages():
    return venv("venv-bench", BENCH / "requirements.txt") / "python"


def plain_and_agent(lib, folder, protocol):
    python = python_with_packages()
    place = Place(folder, lib, protocol)
    return [Kind("plain", python, plain_env()), Kind("agent", python, place.env, place=place)]


class Server:
    """The application, run in one way, and what the system says about it."""

    def __init__(self, kind, folder, path, env):
        self.kind, self.port, self.path = kind, free_port(), path
        counter = Path(folder) / f"{kind.name}.counter"
        counter.write_bytes(bytes(8))
        with open(counter, "r+b") as file:
            self.counter = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
        self.log = open(Path(folder) / f"{kind.name}.log", "w+b")
        self.before = kind.place.counts() if kind.place else {}
        self.process = start(
            [*kind.prefix, kind.python, "-m", "uvicorn", "hello_app:app", "--app-dir", BENCH,
             "--port", self.port, "--loop", "uvloop", "--http", "httptools", "--workers", 1,
             "--no-access-log", "--log-level", "warning"],
            cpu=0, cwd=folder, stdout=self.log, stderr=self.log,
            env=kind.env | env | {"BENCH_COUNTER": str(counter)})
        if not wait_for_port(self.process, self.port, 60):
            raise Failed(f"the server {kind.name} does not come up: {self.said()}")

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace").strip()

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
        pid = self.process.pid
        cpu, served, (ran, waited) = cpu_ns(pid), self.counter[0], self.first_thread_ns()
        busy = core_busy_s(1)
        seen = wrk(self.port, self.path, seconds)
        busy = core_busy_s(1) - busy
        time.sleep(SETTLE_S)
        served = self.counter[0] - served
        if not served:
            raise Failed(f"the server {self.kind.name} served nothing: {self.said()}")
        cpu, (ran_to, waited_to) = cpu_ns(pid) - cpu, self.first_thread_ns()
        return seen | {"round_served": served, "cpu_us": cpu / 1e3 / served,
                       "first_thread_us": (ran_to - ran) / 1e3 / served,
                       "waited_percent": (waited_to - waited) / 1e7 / seconds,
                       "core1_percent": busy * 100 / seconds}

    def end(self):
        """As systemd would. False: it had to be killed."""
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        stopped = self.process.poll() is not None
        ended(self.process)
        return stopped

    def stop(self):
        """Returns how it ended and what it left."""
        if not self.end() and not self.kind.foreign:
            raise Failed(f"the server {self.kind.name} does not stop on SIGTERM")
        after = self.kind.place.counts() if self.kind.place else {}
        arrived = {f"sent_{key}": after[key] - self.before[key] for key in after}
        said = self.said()[-300 if self.kind.foreign else 0:]
        return arrived | {"exit": self.process.returncode, "stderr": said, "served": self.counter[0]}


def core_busy_s(core):
    """Seconds that a core has not been idle."""
    [line] = [line for line in open("/proc/stat") if line.startswith(f"cpu{core} ")]
    user, nice, system, _, _, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / 100


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * UNITS[unit]


def wrk(port, path, seconds):
    out = output_of(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency",
                     f"http://127.0.0.1:{port}{path}"], env=plain_env(), cpu=1)
    if "Non-2xx" in out or "Socket errors" in out:
        raise Failed(f"wrk was not served well:\n{out}")
    percentiles = dict(re.findall(r"^\s+(50|99)%\s+(\S+)", out, re.M))
    return {"qps": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            "p50_ms": milliseconds(percentiles["50"]), "p99_ms": milliseconds(percentiles["99"])}


def one_turn(kinds, path, env, seconds):
    """A fresh server of each kind, loaded once after a warm-up: {kind: results}."""
    results = {}
    with scratch() as folder:
        servers = [Server(kind, folder, path, env) for kind in kinds]
        for server in servers:
            wrk(server.port, path, 1)
        time.sleep(SETTLE_S)
        for server in servers:
            results[server.kind.name] = server.load(seconds) | server.status()
        for server in servers:
            results[server.kind.name] |= server.stop()
    waited = max(results[kind.name]["waited_percent"] for kind in kinds if not kind.foreign)
    return results | {"disturbed": waited > WAITED_MAX}


def run_turns(kinds, path, options, env=None):
    """Turns in which somebody else wanted core 0 are kept but repeated, twice as many at most."""
    seconds = 1 if options.quick else options.seconds
    wanted = 3 if options.quick else options.rounds
    turns = []
    while sum(not turn["disturbed"] for turn in turns) < wanted and len(turns) < 2 * wanted:
        first = len(turns) % len(kinds)
        turns.append(one_turn(kinds[first:] + kinds[:first], path, env or {}, seconds))
        say(f"turn {len(turns)}: " + "; ".join(
            f"{kind.name} {turns[-1][kind.name]['qps']:.0f} a second, "
            f"{turns[-1][kind.name]['cpu_us']:.2f} CPU us a request" for kind in kinds)
            + (", disturbed" if turns[-1]["disturbed"] else ""))
    return turns


# ---- statistics ----


def t_interval(values):
    """95 % interval of the mean; Student's t from 20 values on is 2.09 or a little less."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return [mean, mean]
    half = (2.09 if len(values) >= 20 else 4.3) * statistics.stdev(values) / math.sqrt(len(values))
    return [mean - half, mean + half]


def compared(turns, name, key):
    """A kind and the plain one: medians, and the median of the differences of each turn."""
    more = [turn[name][key] - turn["plain"][key] for turn in turns]
    return {"plain": statistics.median(turn["plain"][key] for turn in turns),
            name: statistics.median(turn[name][key] for turn in turns),
            "more": statistics.median(more), "more_95": interval(more),
            "more_mean": statistics.fmean(more), "more_mean_95": t_interval(more)}


def ratio(turns, of):
    ratios = [of(turn) for turn in turns]
    return {"median": statistics.median(ratios), "median_95": interval(ratios)}


def qps_kept(turns, name):
    return ratio(turns, lambda turn: turn[name]["qps"] / turn["plain"]["qps"])


KEYS = ("qps", "p50_ms", "p99_ms", "cpu_us", "first_thread_us", "waited_percent", "core1_percent",
        "rss_kb", "peak_kb", "threads", "round_served")


def summary(path, every, options):
    turns = [turn for turn in every if not turn["disturbed"]]
    if len(turns) < (1 if options.quick else options.rounds / 2):
        say("the machine is too busy: disturbed turns are counted too")
        turns = every
    agents = [turn["agent"] for turn in every]
    others = sorted(set(every[0]) - {"plain", "agent", "disturbed"})
    return {"path": path, "protocol": options.protocol, "connections": CONNECTIONS,
            "turns": len(turns), "turns_left_out": len(every) - len(turns),
            "qps_ratio": qps_kept(turns, "agent"),
            "cpu_ratio": ratio(turns, lambda turn: turn["plain"]["cpu_us"] / turn["agent"]["cpu_us"]),
            **{key: compared(turns, "agent", key) for key in KEYS},
            **{key: sum(agent[key] for agent in agents) for key in agents[0]
               if key == "served" or key.startswith("sent_")},
            "peers": {name: {"qps_ratio": qps_kept(turns, name), "delivery": delivery(every, name)} |
                      {key: compared(turns, name, key) for key in KEYS} for name in others},
            "every_turn": every}


def delivery(turns, name):
    """Of another agent: requests served, and what its collector got."""
    return {key: sum(turn[name][key] for turn in turns) for key in turns[0][name]
            if key == "served" or key.startswith("sent_")}


# ---- words ----


def wrongs(result, per_request):
    """What the agent did wrong, apart from speed. per_request: segments that may come of one."""
    found = []
    for turn in result["every_turn"]:
        plain, agent = turn["plain"], turn["agent"]
        if agent["sent_segments"] not in [agent["served"] * n for n in per_request]:
            found.append(f"{result['path']}: {agent['served']} requests served, "
                         f"{agent['sent_segments']} segments arrived")
        if agent["sent_torn"]:
            found.append(f"{result['path']}: {agent['sent_torn']} calls torn")
        if plain["exit"] != agent["exit"]:
            found.append(f"exit status {plain['exit']} without, {agent['exit']} with the agent")
        if plain["stderr"] != agent["stderr"]:
            found.append(f"the server with the agent said: {agent['stderr'][:300]!r}")
    return found


TITLES = (("requests a second", "qps", 0), ("p50 ms", "p50_ms", 2), ("p99 ms", "p99_ms", 2),
          ("CPU us a request, all threads", "cpu_us", 2),
          ("CPU us a request, first thread", "first_thread_us", 2),
          ("% of the round kept waiting for core 0", "waited_percent", 1),
          ("% of core 1 in use", "core1_percent", 0), ("VmRSS KB", "rss_kb", 0), ("peak KB", "peak_kb", 0),
          ("threads", "threads", 0), ("requests in a round", "round_served", 0))


def show(r):
    rows = []
    for title, key, digits in TITLES:
        v = r[key]
        low, high = v["more_95"]
        rows.append([title, f"{v['plain']:,.{digits}f}", f"{v['agent']:,.{digits}f}",
                     f"{v['more']:+,.{digits}f}", f"{low:+,.{digits}f} .. {high:+,.{digits}f}"])
    mean = r["cpu_us"]
    title = f"{r['path']}, {r['protocol']}, {r['turns']} turns"
    lines = [table([title, "without", "with", "more", "95 % of more"], rows)]
    if r["turns_left_out"]:
        lines.append(f"left out: {r['turns_left_out']} turns in which core 0 was wanted by others, "
                     f"too, for more than {WAITED_MAX:.0f} % of a round")
    for name, key in (("QPS kept", "qps_ratio"), ("QPS kept, from CPU per request", "cpu_ratio")):
        low, high = r[key]["median_95"]
        lines.append(f"{name}: {r[key]['median']:.3f} ({low:.3f} .. {high:.3f})")
    lines.append(f"CPU us more, mean: {mean['more_mean']:+.2f} "
                 f"({mean['more_mean_95'][0]:+.2f} .. {mean['more_mean_95'][1]:+.2f})")
    lines.append(f"segments arrived: {r['sent_segments']:,} of {r['served']:,} requests served, "
                 f"{r['sent_segment_bytes'] / max(1, r['sent_segments']):,.0f} bytes each, "
                 f"{r['sent_segments'] / max(1, r['sent_segment_calls']):,.0f} in a call")
    return "\n".join(lines + ([show_peers(r)] if r["peers"] else []))


def show_peers(r):
    rows = []
    for name, v in ({"agent": r} | r["peers"]).items():
        low, high = v["qps_ratio"]["median_95"]
        arrived = v["delivery"] if name != "agent" else r
        rows.append([name, f"{v['qps'][name]:,.0f}",
                     f"{v['qps_ratio']['median']:.3f} ({low:.3f} .. {high:.3f})",
                     f"{v['p99_ms'][name]:.1f}", f"{v['cpu_us']['more']:+,.1f}",
                     f"{v['rss_kb']['more'] / 1024:+,.1f}", f"{v['threads']['more']:+,.0f}",
                     f"{arrived['served']:,}",
                     f"{arrived.get('sent_segments', 0):,} + {arrived.get('sent_others', 0):,}"])
    rows += [[f"({row[0]}: nothing arrived, its figures are worthless)"] + [""] * 8 for row in rows
             if row[-1] == "0 + 0"]
    plain = r["qps"]["plain"]
    return "\n" + table([f"others, {r['path']} ({plain:,.0f} a second without)", "QPS", "kept", "p99 ms",
                         "CPU us more", "RSS MB more", "threads more", "served", "segments + others arrived"],
                        rows)
