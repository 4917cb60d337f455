#!/usr/bin/env python3
"""Stacks of a thread that calls and returns all the time: how many are taken, what they cost, and whether they are true.

usage: shots.py [--seconds N] [PYTHON...]   (default: Debian's and the newest pyenv CPythons)

Needs build/tests/libshots_probe.so. Each figure is of one thread that computes without pause, a stack of some 27 frames and a
call every 50 to 100 ns. "kept": what it does in a second on a processor, against the same without us, in turns.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from common import BUILD, ROOT

sys.path.insert(0, str(ROOT / "tests" / "preloaded"))
PROGRAM = ROOT / "tests" / "preloaded" / "programs" / "shots.py"
PROBE = BUILD / "tests" / "libshots_probe.so"


def ask(python, kind, how, times, period_us):
    got = subprocess.run([str(python), str(PROGRAM), str(PROBE), kind, how, str(times), str(period_us)],
                         env=dict(os.environ, LD_PRELOAD=str(PROBE)), stdout=subprocess.PIPE, timeout=600, check=False)
    lines = got.stdout.decode().splitlines()
    return lines if got.returncode == 0 and lines and lines[-1].startswith("ok") else None


def row(python, how, hz, seconds):
    found = ask(python, "cost", how, int(seconds * hz / 4), 1000000 // hz)
    checked = ask(python, "running", how, int(seconds * hz), 1000000 // hz)
    if not found:
        return f"{python}: {how} {hz} Hz: failed"
    f = json.loads(found[-2])
    true = f"{checked[-1].split()[1]} stacks, 0 impossible" if checked else "IMPOSSIBLE STACKS, or none"
    return (f"{how:7}{hz:5} Hz: {f['told'] / f['due']:7.2%} of {f['due']} due, {f['shots'] / f['due']:4.0%} by the thread "
            f"itself; ours {f['cpu_us'] / f['looks']:6.1f} us a look; in the handler {max(f['handler_us']):5.1f} us for "
            f"{f['depth']} frames; reached {f['looks'] / f['us'] * 1e6:5.0f} Hz; kept {sum(f['kept']) / 2:.3f}; {true}")


def main():
    from test_frames import interpreters
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("pythons", nargs="*", type=Path)
    args = parser.parse_args()
    for python in args.pythons or interpreters():
        print(python)
        for how in ("timer", "direct", "off"):
            for hz in (100, 1000):
                print("  " + row(python, how, hz, args.seconds), flush=True)


main()
