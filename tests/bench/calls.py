"""What a hooked call costs: instructions (callgrind) and CPU nanoseconds, with and without."""

import statistics

from callgrind import instructions
from common import (Failed, agent_env, compared, compiled, count_segments, output_of, plain_env,
                    scratch, table)

# Records of lines are made, and no segments.
LINES = 2

# Name in calls.c, hooked calls per round, segments per round or LINES, what it is.
CASES = (
    ("read", 1, 0, "read of 1 byte of /dev/zero"),
    ("write", 1, 0, "write of 1 byte to /dev/null"),
    ("seek-read", 1, 0, "lseek and read of 64 bytes of a file"),
    ("socketpair", 2, 0, "send and recv of 64 bytes, unknown socketpair"),
    ("read-threads", 1, 0, "read in a threaded HTTP server"),
    ("write-threads", 1, 0, "write in a threaded HTTP server"),
    ("seek-read-threads", 1, 0, "lseek and read in a threaded HTTP server"),
    ("socketpair-threads", 2, 0, "socketpair in a threaded HTTP server"),
    ("read-beside", 1, 0, "read in an HTTP server of one thread"),
    ("write-beside", 1, 0, "write in an HTTP server of one thread"),
    ("turn", 1, 0, "turn of an event loop (epoll_wait that brings one event)"),
    ("opaque", 2, 0, "recv and send, accepted TCP, unknown protocol"),
    ("http-body", 1, 0, "recv of 64 bytes of a request body"),
    ("http-serve", 2, 1, "HTTP/1.1 request served (recv, send)"),
    ("http-serve-sw8", 2, 1, "the same, request with sw8"),
    ("http-call", 2, 1, "HTTP/1.1 call made (send with sw8, recv)"),
    ("line-write", 1, LINES, "write of a line of 120 bytes, captured for a request"),
    ("line-fputs", 1, LINES, "the same by fputs"),
    ("line-fprintf", 1, LINES, "the same by fprintf with five arguments"),
    ("line-fprintf-alone", 1, LINES, "the same in a program of one thread"),
    ("line-putc", 120, LINES, "the same byte by byte, by putc"),
)
# Files. In a server of one thread, our thread makes glibc's own calls longer: told apart.
FILE_CASES = ("read", "write", "seek-read", "read-threads", "write-threads", "seek-read-threads")
LONELY_CASES = ("read-beside", "write-beside")
# Rounds: of a steady case the more, the less a page fault matters; records fit into the ring.
COUNTED = {0: (1000, 3000), 1: (200, 600), LINES: (200, 600)}
TIMED = {0: (20000, 15), 1: (100, 25), LINES: (400, 25)}


def counted(program, case, envs, folder):
    """Instructions per round: the difference of two counts, so that start-up cancels."""
    result = {}
    few, many = COUNTED[case[2]]
    for kind, env in envs.items():
        runs = [instructions([program, case[0], rounds, 1], env, folder) for rounds in (few, many)]
        result[kind] = (runs[1][0] - runs[0][0]) / (many - few)
        if kind == "agent":
            result["others"] = (runs[1][1] - runs[0][1]) / (many - few)
    result["more"] = result["agent"] - result["plain"]
    result["more_per_call"] = result["more"] / case[1]
    return result


def timed_once(program, case, env, file, quick):
    loops, chunks = TIMED[case[2]]
    chunks = 5 if quick else chunks
    file.unlink(missing_ok=True)
    lines = output_of([program, case[0], loops, chunks], env=env).split("\n")
    others = [float(line.split()[1]) for line in lines if line.startswith("others")]
    values = [float(line) for line in lines if line and not line.startswith("others")]
    if case[2] == 1 and "LD_PRELOAD" in env:
        written, errors = count_segments(file)
        if written != loops * chunks + 1 or errors:
            raise Failed(f"{case[0]}: {loops * chunks + 1} rounds, {written} segments, {errors} in error")
    return statistics.median(values), max(0.0, others[0])


def timed(program, case, envs, file, options):
    """CPU ns per round of the calling thread, and of all others together."""
    series, others = {"plain": [], "agent": []}, []
    # a run of a case that makes records has to wait for the reporter: fewer
    turns = 2 if options.quick else max(2, options.rounds // (3 if case[2] else 2))
    for turn in range(turns):
        for kind in (("plain", "agent"), ("agent", "plain"))[turn % 2]:
            value, other = timed_once(program, case, envs[kind], file, options.quick)
            series[kind].append(value)
            if kind == "agent":
                others.append(other)
    result = compared(series["plain"], series["agent"])
    return result | {"others": statistics.median(others) if case[2] else 0.0}


def measure(lib, options):
    results = {}
    with scratch() as folder:
        program = compiled("calls", folder)
        file = type(program)(folder) / "calls.jsonl"
        # Long enough for callgrind, which is some 50 times slower.
        envs = {"plain": plain_env(),
                "agent": agent_env(lib, file) | {"SW_AGENT_EXIT_FLUSH_TIMEOUT": "60000"}}
        for case in CASES:
            results[case[0]] = {"what": case[3], "hooked_calls": case[1],
                                "instructions": counted(program, case, envs, folder),
                                "cpu_ns": timed(program, case, envs, file, options)}
    return results


def show(results):
    rows = []
    for r in results.values():
        i, t = r["instructions"], r["cpu_ns"]
        rows.append([r["what"], str(r["hooked_calls"]), f"{i['plain']:,.0f}", f"{i['more']:+,.1f}",
                     f"{i['more_per_call']:+,.1f}", f"{t['plain']:,.0f}", f"{t['more']:+,.0f}",
                     f"{t['more_95'][0]:+,.0f} .. {t['more_95'][1]:+,.0f}",
                     f"{i['others']:,.0f}", f"{t['others']:,.0f}"])
    return table(["a round", "hooked calls", "instr. without", "more", "more per call", "ns without",
                  "more", "95 % of more", "reporter instr.", "reporter ns"], rows)


def bars(results):
    def worst(names):
        return max(results[name]["instructions"]["more_per_call"] for name in names)

    lines = results["line-write"]["cpu_ns"]
    return [("a captured line of 120 bytes, ns more", lines["more"], "<=", 400, lines["more_95"]),
            ("a read or write of a file, instructions more", worst(FILE_CASES), "<=", 25, None),
            ("the same in an HTTP server of one thread", worst(LONELY_CASES), "<=", 25, None)]
