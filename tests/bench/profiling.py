"""A profile of a program that computes: what it costs the program and us, and whether it is true.

The program (profiled.py) runs without anybody, profiled by `swagent profile`, and by py-spy, by turns. Of our stacks
each call is looked up in the program's text, and the functions' own shares are compared with py-spy's.

And known.py, which says itself where its time went: once busy, once with sleeps between its bursts. What ours and
py-spy say of it is compared with that, beside what chance does with so many stacks.
"""

import collections
import json
import re
import statistics
import subprocess
import time
from pathlib import Path

from common import BENCH, Failed, ended, interval, ninja, plain_env, say, scratch, start, table
from load import venv

PROGRAM = BENCH / "profiled.py"
KNOWN = BENCH / "known.py"
PYTHON = "/usr/bin/python3"
TEXT = PROGRAM.read_text().split("\n")
# Name, looks a second, how threads that run are asked.
OURS = (("ours, 100 Hz", 100, "timer"), ("ours, 1000 Hz", 1000, "direct"))
OTHERS = (("py-spy, 100 Hz", 100), ("py-spy, 1000 Hz", 1000))
TRUTH = re.compile(r"(\d+) of (\d+) stacks due taken .*?(\d+) missed, (\d+) lost; it took ([\d.]+) s")
OWN = re.compile(r"^(.*) \((?:.*/)?profiled\.py:(\d+)\)$")
CALLED = {"<lambda>": "lambda", "__init__": "Odd(", "<genexpr>": "for _ in", "<listcomp>": "for"}
TOP = 20
SLEEP_MS = 2
SHARED = re.compile(r"(\d+) of them share")
OF_KNOWN = re.compile(r"^(.*) \((?:.*/)?known\.py:\d+\)$")


def py_spy():
    """The program, or None where it is not to be had."""
    try:
        return venv("venv-bench-py-spy", BENCH / "peers" / "py-spy.txt") / "py-spy"
    except Failed as failure:
        say(f"no py-spy to compare with: {failure}")
        return None


def rounds_of(out):
    """Rounds a second of wall time, and of the thread's processor time."""
    rounds, wall, cpu = map(float, out.split())
    return rounds / wall, rounds / cpu


def alone(seconds):
    done = subprocess.run([PYTHON, PROGRAM, str(seconds)], capture_output=True, text=True, check=True, env=plain_env())
    return rounds_of(done.stdout)


def stacks_of(path):
    found = collections.Counter()
    for line in Path(path).read_text().splitlines():
        stack, weight = line.rsplit(" ", 1)
        found[tuple(stack.split(";"))] += int(weight)
    return found


def profiled(lib, folder, hertz, how, *program):
    """By ours: what the program and the command printed, and the stacks."""
    command = Path(lib).parent / "swagent"
    path = Path(folder) / "ours.folded"
    env = plain_env() | {"SW_AGENT_PROFILE_SIGNAL": how, "SW_AGENT_PROTOCOL": "file",
                         "SW_AGENT_FILE_PATH": str(Path(folder) / "ours.jsonl")}
    done = subprocess.run([command, "profile", "--cpu", "-F", str(hertz), "-o", path, "--", PYTHON, *map(str, program)],
                          capture_output=True, text=True, env=env)
    truth = TRUTH.search(done.stderr)
    if done.returncode or not truth:
        raise Failed(f"swagent profile: {done.stderr}")
    return done, truth, stacks_of(path)


def ours(lib, folder, seconds, hertz, how):
    done, truth, stacks = profiled(lib, folder, hertz, how, PROGRAM, seconds)
    taken, due, missed, lost = (int(n) for n in truth.groups()[:4])
    return rounds_of(done.stdout), stacks, {
        "taken": taken, "due": due, "missed": missed, "lost": lost, "look_us": float(truth[5]) * 1e6 / max(due, 1)}


def theirs(spy, folder, seconds, hertz):
    path = Path(folder) / "theirs.folded"
    program = start([PYTHON, PROGRAM, seconds], stdout=subprocess.PIPE, text=True, env=plain_env())
    time.sleep(0.1)
    subprocess.run([spy, "record", "-f", "raw", "-r", str(hertz), "-d", str(int(seconds)), "-o", path, "--pid",
                    str(program.pid)], capture_output=True)
    out = program.communicate()[0]
    ended(program)
    return rounds_of(out), stacks_of(path) if path.exists() else collections.Counter()


def own(stack):
    """The frames of the program itself, outermost first: (function, line)."""
    found = [OWN.match(frame) for frame in stack]
    return [(m[1].rpartition(".")[2], int(m[2])) for m in found if m]


def impossible(stack):
    """A call that stands nowhere in the program's text."""
    frames = own(stack)
    for (_, line), (callee, _) in zip(frames, frames[1:]):
        if CALLED.get(callee, callee) not in TEXT[line - 1]:
            return f"{callee} from line {line}: {TEXT[line - 1].strip()}"
    return None


def shares(stacks):
    """Of each function of the program, how much of the time it was the innermost of those."""
    found = collections.Counter()
    for stack, weight in stacks.items():
        frames = own(stack)
        if frames:
            found[frames[-1][0]] += weight
    whole = sum(found.values()) or 1
    return {name: weight / whole for name, weight in found.items()}


def apart(one, other):
    """The largest difference of the most frequent functions' shares, in percentage points."""
    top = sorted(one, key=one.get, reverse=True)[:TOP]
    return max((abs(one[name] - other.get(name, 0)) * 100 for name in top), default=100.0)


# ---- a program that knows ----

def known_by_ours(lib, folder, hertz, how, arguments):
    done, truth, stacks = profiled(lib, folder, hertz, how, KNOWN, *arguments)
    shared = SHARED.search(done.stderr)
    return json.loads(done.stdout), stacks, int(truth[1]) - int(shared[1] if shared else 0)


def known_by_other(spy, folder, more, arguments):
    path = Path(folder) / "theirs.folded"
    done = subprocess.run([spy, "record", "-f", "raw", "-r", "1000", "-o", path, *more, "--", PYTHON, KNOWN,
                           *map(str, arguments)], capture_output=True, text=True, env=plain_env())
    found = re.search(r"^{.*}$", done.stdout, re.M)
    if not found:
        raise Failed(f"py-spy: {done.stderr}")
    stacks = stacks_of(path)
    return json.loads(found[0]), stacks, sum(stacks.values())


def kind_of(stack, kinds):
    for frame in stack:
        found = OF_KNOWN.match(frame)
        if found and found[1] in kinds:
            return found[1]
    return None


def against(truth, stacks, count):
    """How far the shares are from the truth at most, in percentage points, and twice the standard error of the largest;
    and how much of all stands with one of them."""
    seen = collections.Counter()
    for stack, weight in stacks.items():
        seen[kind_of(stack, truth["kinds"])] += weight
    whole, all_of_it = sum(n for kind, n in seen.items() if kind), sum(seen.values())
    points = max(abs(seen[kind] / max(whole, 1) - share) for kind, share in truth["kinds"].items())
    most, inside = max(truth["kinds"].values()), whole / max(all_of_it, 1)
    return {"points": points * 100, "chance": 200 * (most * (1 - most) / max(count * inside, 1)) ** 0.5,
            "stacks": count, "inside": inside}


def measure_known(lib, spy, folder, seconds):
    found = {}
    for kind, arguments in (("busy", [seconds]), (f"asleep {SLEEP_MS} ms at a time", [seconds, SLEEP_MS])):
        for name, hertz, how in OURS:
            found[f"{kind}: {name}"] = against(*known_by_ours(lib, folder, hertz, how, arguments))
        for name, more in (("py-spy, 1000 Hz", []), ("py-spy --nonblocking", ["--nonblocking"])) if spy else ():
            found[f"{kind}: {name}"] = against(*known_by_other(spy, folder, more, arguments))
    return found


def measure(lib, options):
    if not (Path(lib).parent / "swagent").exists():
        ninja("swagent")
    turns, seconds = (2, 2) if options.quick else (max(3, options.rounds // 3), 3)
    spy, kept, looks = py_spy(), collections.defaultdict(list), collections.defaultdict(list)
    stacks = collections.defaultdict(collections.Counter)
    with scratch() as folder:
        for _ in range(turns):
            base = alone(seconds)
            for name, hertz, how in OURS:
                rate, found, counts = ours(lib, folder, seconds, hertz, how)
                kept[name].append([a / b for a, b in zip(rate, base)])
                looks[name].append(counts)
                stacks[name].update(found)
            for name, hertz in OTHERS if spy else ():
                rate, found = theirs(spy, folder, seconds, hertz)
                kept[name].append([a / b for a, b in zip(rate, base)])
                stacks[name].update(found)
        known = measure_known(lib, spy, folder, 5 if options.quick else 30)
    return {"rows": {name: row(name, kept[name], looks[name], stacks) for name in kept}, "known": known}


def row(name, kept, looks, stacks):
    wall = [k[0] for k in kept]
    wrong = [w for w in map(impossible, stacks[name]) if w]
    result = {"kept": statistics.median(wall), "kept_95": interval(wall), "kept_cpu": statistics.median(k[1] for k in kept),
              "impossible": len(wrong), "examples": wrong[:3], "stacks": len(stacks[name])}
    if looks:
        due = sum(n["due"] for n in looks)
        result |= {"taken": sum(n["taken"] for n in looks) / max(due, 1), "due": due, "lost": sum(n["lost"] for n in looks),
                   "look_us": statistics.median(n["look_us"] for n in looks)}
        if stacks["py-spy, 1000 Hz"]:
            result["apart"] = apart(shares(stacks[name]), shares(stacks["py-spy, 1000 Hz"]))
    return result


def show(result):
    rows = [[name, f"{r['kept']:.3f}", "{:.3f} .. {:.3f}".format(*r["kept_95"]), f"{r['kept_cpu']:.3f}",
             f"{r['taken']:.3f}" if "taken" in r else "", f"{r['look_us']:.0f}" if "look_us" in r else "",
             f"{r['impossible']} of {r['stacks']}", f"{r['apart']:.1f}" if "apart" in r else ""]
            for name, r in result["rows"].items()]
    known = [[name, f"{k['points']:.1f}", f"{k['chance']:.1f}", str(k["stacks"]), f"{k['inside']:.3f}"]
             for name, k in result["known"].items()]
    return table(["a program that computes", "rounds kept", "95 %", "by CPU", "taken of due", "us a look",
                  "impossible", "points from py-spy"], rows) + "\n" + \
        table(["a program that knows", "points from the truth", "by chance", "stacks", "in what it knows"], known)


def wrongs(result):
    return [f"{name}: {r['impossible']} stacks that cannot be, as {r['examples']}"
            for name, r in result["rows"].items() if "taken" in r and r["impossible"]]


def bars(result):
    fast, slow = result["rows"]["ours, 1000 Hz"], result["rows"]["ours, 100 Hz"]
    found = [("throughput kept at 1000 Hz", fast["kept"], ">=", 0.98, fast["kept_95"]),
             ("CPU of ours a look at 1000 Hz, us", fast["look_us"], "<=", 15, None),
             ("stacks taken of those due at 1000 Hz", fast["taken"], ">=", 0.99, None),
             ("stacks taken of those due at 100 Hz", slow["taken"], ">=", 0.99, None),
             ("impossible stacks", fast["impossible"] + slow["impossible"], "<=", 0, None)]
    known = result["known"]["busy: ours, 1000 Hz"]
    found.append(("shares of functions at 1000 Hz, points from the truth", known["points"], "<=", 2, None))
    if "apart" in fast:
        found.append(("the same, points from py-spy's", fast["apart"], "<=", 2, None))
    return found
