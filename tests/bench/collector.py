"""What a program feels of a collector that is away, slow, or back: /hello under full load.

up      it is there and answers at once            slow  it answers after 2 s
down    nobody listens, from the start             back  nobody listens for a while, then it is there

Up, down and slow are compared turn by turn with fresh servers, as /hello is. For back a server is
loaded while its collector is away; once that listens, rounds of it and of one with a collector that
was always up follow each other until the first segments have arrived, and once more.
"""

import statistics
import time

import load
from common import Failed, free_port, grpc_env, interval, say, scratch, table
from sink import Sink

SLOW_MS = 2000
STATES = ("down", "slow", "back")
BAR = 0.97
ROUNDS_MAX = 10  # of back, until segments arrive


class Silent:
    """A collector that is not there."""

    @staticmethod
    def counts():
        return {"segments": 0}


class Arrived:
    def __init__(self, sink):
        self.sink = sink

    def counts(self):
        return {"segments": self.sink.settled()["segments"]}


def kind(name, lib, port, place):
    return load.Kind(name, load.python_with_packages(), grpc_env(lib, port), place=place)


def compare_states(lib, folder, options):
    up, slow = Sink(folder), Sink(folder, SLOW_MS)
    kinds = [kind("up", lib, up.port, Arrived(up)), kind("down", lib, free_port(), Silent),
             kind("slow", lib, slow.port, Arrived(slow))]
    return load.run_turns(kinds, "/hello", options)


def rounds_after_return(back, up, sink, seconds):
    """[(QPS of the one whose collector is back, of the other)], and after how many seconds the first
    segments came."""
    rounds, began, arrived = [], time.monotonic(), None
    while len(rounds) < ROUNDS_MAX and arrived is None:
        if sink.counts()["segments"]:
            arrived = time.monotonic() - began
        rounds.append((back.load(seconds)["qps"], up.load(seconds)["qps"]))
    return rounds, arrived


def one_return(lib, options, away_s):
    with scratch() as folder:
        there, later = Sink(folder), Sink(folder, begin=False)
        back = load.Server(kind("back", lib, later.port, Arrived(later)), folder, "/hello", {})
        up = load.Server(kind("up", lib, there.port, Arrived(there)), folder, "/hello", {})
        load.wrk(up.port, "/hello", 1)
        load.wrk(back.port, "/hello", away_s)
        before = back.counter[0]
        later.start()
        rounds, arrived = rounds_after_return(back, up, later, 2 if options.quick else 5)
        result = {"rounds": rounds, "arrived_s": arrived, "served_before": before}
        result |= {name: server.stop() for name, server in (("back", back), ("up", up))}
        there.stop(), later.stop()
        return result


def measure(lib, options):
    away_s = 20 if options.quick else 60
    if options.protocol != "grpc":
        raise Failed("collector needs the grpc protocol")
    with scratch() as folder:
        turns = compare_states(lib, folder, options)
    returns = []
    for _ in range(1 if options.quick else 3):
        returns.append(one_return(lib, options, away_s))
        say(f"back after {away_s} s: first segments after {returns[-1]['arrived_s'] or -1:.0f} s")
    ratios = {name: [turn[name]["qps"] / turn["up"]["qps"] for turn in turns] for name in ("down", "slow")}
    cpu = {name: [turn["up"]["cpu_us"] / turn[name]["cpu_us"] for turn in turns] for name in ("down", "slow")}
    ratios["back"] = [back / up for one in returns for back, up in one["rounds"]]
    return {"away_s": away_s, "turns": turns, "returns": returns, "ratios": ratios,
            "cpu_ratios": cpu}


def wrongs(results):
    found = []
    for turn in [*results["turns"], *results["returns"]]:
        up = turn["up"]
        if up["sent_segments"] != up["served"]:
            found.append(f"collector up: {up['served']} served, {up['sent_segments']} arrived")
        found += [f"collector {name}: exit status {turn[name]['exit']}" for name in STATES
                  if name in turn and turn[name]["exit"] != up["exit"]]
    if any(one["arrived_s"] is None for one in results["returns"]):
        found.append("collector back: nothing arrived")
    return found


def show(results):
    rows = []
    for name in STATES:
        ratios = results["ratios"][name]
        runs = [turn[name] for turn in results["turns" if name in results["turns"][0] else "returns"]]
        low, high = interval(ratios)
        cpu = results["cpu_ratios"].get(name)
        rows.append([name, f"{statistics.median(ratios):.3f}", f"{low:.3f} .. {high:.3f}",
                     f"{statistics.median(cpu):.3f}" if cpu else "", str(len(ratios)),
                     f"{sum(run['served'] for run in runs):,}",
                     f"{sum(run['sent_segments'] for run in runs):,}"])
    after = ", ".join(f"{one['arrived_s'] or -1:.0f}" for one in results["returns"])
    return table(["collector", "QPS / up", "95 %", "from CPU", "rounds", "served", "arrived"], rows) + \
        f"\nback after {results['away_s']} s: first segments {after} s later"


def bars(results):
    return [(f"QPS with the collector {name} / up", statistics.median(ratios), ">=", BAR, interval(ratios))
            for name, ratios in results["ratios"].items()]
