"""The reporter alone: what a segment costs from the ring to the wire, and what waiting costs.

tests/bench/reporter.c puts segments of 3 spans and 8 tags (585 bytes) into the ring at a steady rate,
on core 0; the sink counts them on core 1. At the first rate a batch of about 100 forms on every tick
of the reporter, at the second, that of /hello under full load, longer ones. With --loop both each
round has a neighbour over io_uring, by turns before and after it.
"""

import re
import statistics
import subprocess
import time
from pathlib import Path

from callgrind import instructions
from common import Failed, ended, interval, ninja, scratch, start, table
from sink import Place

RATES = {"batches of 100": 1100, "full load": 10000}
SECONDS = {"batches of 100": 8, "full load": 4}
NAMES = {"SW_AGENT_NAME": "bench-reporter", "SW_AGENT_INSTANCE_NAME": "0123456789abcdef" * 2}
IDLE_S = 60
PLUGINS = {"http": "libswagent-http.so", "kafka": "libswagent-kafka.so", "grpc+tls": "libswagent-tls.so",
           "core": "libswagent-grpc.so", "core+tls": "libswagent-grpc.so"}
# CPU us a segment; threads and KB beside the program's.
LIMITS = {"grpc": (1.5, 1, 4096), "grpc+tls": (2.5, 1, 4096), "http": (4, 1, 4096), "file": (1.5, 1, 4096),
          "kafka": (5, 5, 8192), "core": (8, 16, 20480), "core+tls": (9, 16, 24576)}
COUNTED = (330, 3300)  # segments under callgrind
WARM = {"grpc+tls": 110, "core": 110, "core+tls": 110}  # segments before the count: the library is loaded, the handshake is made


class Program:
    """reporter.c, waiting for commands."""

    def __init__(self, program, env):
        self.process = start([program], cpu=0, env=env, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        self.first = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the reporter's program ended with {self.process.wait()}")
        return [int(word) for word in line.split()]

    def ask(self, command):
        print(command, file=self.process.stdin, flush=True)
        return self.answer()

    def switches(self):
        """How often our thread gave up its core by itself: its wake-ups."""
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            if (task / "comm").read_text() == "swagent\n":
                found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)",
                                  (task / "status").read_text(), re.M)
                return int(found.group(1))
        raise Failed("no thread named swagent")

    def end(self):
        self.process.stdin.close()
        self.process.wait(20)
        ended(self.process)


def one_round(program, place, name, seconds, loop):
    count, rate = RATES[name] * seconds, RATES[name]
    run = Program(program, place.env | {"SW_AGENT_LOOP": loop})
    warm, start_ns = WARM.get(place.protocol, 0), 0
    if warm:
        _, start_ns = run.ask(f"put {warm} {RATES['batches of 100']}")
    before, sink_ns, began = place.counts(), place.sink_ns(), time.monotonic()
    own, others = run.ask(f"put {count} {rate}")
    rss, threads = run.ask("status")
    [full] = run.ask("full")
    run.end()
    took = time.monotonic() - began
    sink_ns, after = place.sink_ns() - sink_ns, place.counts()
    arrived = after["segments"] - before["segments"]
    return {"put_us": own / 1e3 / count, "others_us": others / 1e3 / count,
            "start_ms": start_ns / 1e6,
            "all_us": (own + others) / 1e3 / count, "put": count, "arrived": arrived,
            "ring_full": full, "rss_kb": rss - run.first[0], "threads": threads - run.first[1],
            "per_call": arrived / max(1, after["segment_calls"] - before["segment_calls"]),
            "sink_percent": sink_ns / 1e7 / took, "cut": after["cut"] - before["cut"],
            "torn": after["torn"] - before["torn"]}


def idle(program, place, seconds):
    """Wake-ups of a reporter that has nothing to do but the heartbeat (30 s)."""
    run = Program(program, place.env)
    run.ask("put 1 1000")
    time.sleep(2)
    before = run.switches()
    time.sleep(seconds)
    woken = run.switches() - before
    run.end()
    return {"seconds": seconds, "woken": woken, "per_minute": woken * 60 / seconds}


def counted(program, place, folder):
    """Instructions per segment, by difference: (of the thread that puts, of ours)."""
    env = place.env | {"SW_AGENT_EXIT_FLUSH_TIMEOUT": "60000"}
    few, many = (instructions([program, f"put {count} {RATES['batches of 100']}"], env, folder)
                 for count in COUNTED)
    return [(b - a) / (COUNTED[1] - COUNTED[0]) for a, b in zip(few, many)]


def turn(program, place, options, results, backwards):
    """One round at each rate over each loop; who comes second has a small disadvantage."""
    loops = [("rounds", "epoll"), ("io_uring", "io_uring")] if options.loop == "both" else [("rounds", options.loop)]
    for name in RATES:
        seconds = 2 if options.quick else SECONDS[name]
        for key, loop in reversed(loops) if backwards else loops:
            results.setdefault(key, {}).setdefault(name, []).append(
                one_round(program, place, name, seconds, loop))


def beside(program, protocol):
    """The plug-in of a protocol is looked for beside what contains the agent."""
    if protocol in PLUGINS:
        link = Path(program).parent / PLUGINS[protocol]
        link.unlink(missing_ok=True)
        link.symlink_to(ninja(PLUGINS[protocol]))


def measure(lib, options):
    program, rounds = ninja("tests/reporter_bench"), 2 if options.quick else max(3, options.rounds // 3)
    results = {"protocol": options.protocol, "loop": options.loop}
    beside(program, options.protocol)
    with scratch() as folder:
        place = Place(folder, lib, options.protocol)
        place.env |= NAMES
        del place.env["LD_PRELOAD"]  # the program contains the agent
        for number in range(rounds):
            turn(program, place, options, results, number % 2 == 1)
        place.env["SW_AGENT_LOOP"] = "epoll" if options.loop == "both" else options.loop
        results["instructions"] = counted(program, place, folder)
        results["idle"] = idle(program, place, options.idle or (10 if options.quick else IDLE_S))
        place.close()
    return results


def wrongs(results):
    found = []
    for name in RATES:
        for r in results["rounds"][name] + results.get("io_uring", {}).get(name, []):
            if r["arrived"] != r["put"] or r["torn"] or r["ring_full"]:
                found.append(f"reporter, {name}: {r['put']} segments put, {r['arrived']} arrived, "
                             f"{r['torn']} calls torn, {r['ring_full']} records without room")
    return found


KEYS = (("CPU us a segment: putting", "put_us", 2), ("CPU us a segment: our thread", "others_us", 2),
        ("CPU us a segment: both", "all_us", 2), ("CPU ms before: TLS is loaded and shakes hands", "start_ms", 1), ("segments in a call", "per_call", 0),
        ("RSS KB more", "rss_kb", 0), ("threads more", "threads", 0), ("sink: % of core 1", "sink_percent", 1))


def median(results, name, key):
    values = [r[key] for r in results["rounds"][name]]
    return statistics.median(values), interval(values)


def against(results, name, key):
    """Median of io_uring's share of epoll's, neighbouring rounds compared, with its interval."""
    ratios = [b[key] / a[key] for a, b in zip(results["rounds"][name], results["io_uring"][name])]
    return statistics.median(ratios), interval(ratios)


def show_against(results):
    rows = []
    for title, key, _ in KEYS[:3]:
        cells = [title]
        for name in RATES:
            value, (low, high) = against(results, name, key)
            cells += [f"{value:.3f}", f"{low:.3f} .. {high:.3f}"]
        rows.append(cells)
    return table(["io_uring against epoll", *[word for name in RATES for word in (name, "95 %")]], rows)


def show(results):
    rows = []
    for title, key, digits in KEYS:
        cells = [title]
        for name in RATES:
            value, (low, high) = median(results, name, key)
            cells += [f"{value:,.{digits}f}", f"{low:,.{digits}f} .. {high:,.{digits}f}"]
        if key != "start_ms" or results["protocol"] in WARM:
            rows.append(cells)
    rounds = [r for some in results["rounds"].values() for r in some]
    head = [f"reporter, {results['protocol']}, loop {results['loop']}, {len(rounds) // len(RATES)} rounds"]
    for name, rate in RATES.items():
        head += [f"{name}, {rate:,}/s", "95 %"]
    put, ours = results["instructions"]
    return "\n".join([
        table(head, rows), f"instructions a segment: {put:,.0f} putting, {ours:,.0f} our thread",
        f"idle: {results['idle']['woken']} wake-ups in {results['idle']['seconds']} s",
        f"arrived: {sum(r['arrived'] for r in rounds):,} of {sum(r['put'] for r in rounds):,} segments",
        *([show_against(results)] if "io_uring" in results else [])])


def bars(results):
    rounds = [r for some in results["rounds"].values() for r in some]
    name = next(iter(RATES))

    cpu_us, threads, rss_kb = LIMITS[results["protocol"]]

    def bar(what, key, limit, of=name):
        value, value_95 = median(results, of, key)
        return what, value, "<=", limit, value_95

    loops = [(f"io_uring against epoll, our thread, {of}", against(results, of, "others_us")[0], "<=", 1.03,
              against(results, of, "others_us")[1]) for of in RATES if "io_uring" in results]
    return [*loops, *[bar(f"CPU us a segment, ring to wire, {of}", "others_us", cpu_us, of) for of in RATES],
            bar("reporter: RSS KB more", "rss_kb", rss_kb), bar("reporter: threads more", "threads", threads),
            bar("sink, % of core 1", "sink_percent", 10, "full load"),
            ("idle wake-ups a minute", results["idle"]["per_minute"], "<=", 6, None),
            ("reporter: share delivered", sum(r["arrived"] for r in rounds) / sum(r["put"] for r in rounds),
             ">=", 1, None)]
