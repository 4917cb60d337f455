"""Computes for so many seconds, and says itself where its time went: what profiles of it should say.

    known.py SECONDS [SLEEP_MS]

Pieces of work of many kinds, of some 20 to 400 us each, in random order. Each measures the processor time of its own
thread from its first to its last statement. Those of `equal` are functions of the same code, called 1, 2, 3 and 4 times
as often: what they take is known by construction. With SLEEP_MS it sleeps so long, on the average, between bursts of
work of some 300 us, as a server does that is not busy.

Prints a JSON object: of each kind the share of the processor's time, and the shares among the equal ones; "rounds" is
how many pieces there were.
"""

import hashlib
import json
import os
import random
import sys
import time

clock = time.thread_time_ns
used = {}
EQUAL = """
def equal_{}(n):
    total = 0
    for i in range(n):
        total += i ^ n
    return total
"""
for number in (1, 2, 3, 4):
    exec(compile(EQUAL.format(number), __file__, "exec"))


def arithmetic(n):
    begin = clock()
    total = 0
    for i in range(n * 12):
        total += i ^ n
    used["arithmetic"] += clock() - begin


def small(n):
    return n + 1


def calls(n):
    begin = clock()
    for i in range(n * 10):
        small(i)
    used["calls"] += clock() - begin


def descend(depth):
    return descend(depth - 1) + 1 if depth else 0


def deep(n):
    begin = clock()
    for _ in range(n // 4):
        descend(30)
    used["deep"] += clock() - begin


def encoding(n, values=[{"a": 1, "b": [1.5, "x" * 10]}] * 5):
    begin = clock()
    for _ in range(n // 10):
        json.dumps(values)
    used["encoding"] += clock() - begin


def hashing(n, data=bytes(1000)):
    begin = clock()
    for _ in range(n // 2):
        hashlib.sha256(data)
    used["hashing"] += clock() - begin


def pages(n):
    """Most of its time is the kernel's: page faults."""
    begin = clock()
    for _ in range(n // 10 + 1):
        bytearray(1 << 17)
    used["pages"] += clock() - begin


def system(n):
    """So is this one's: calls."""
    begin = clock()
    for _ in range(n):
        os.stat("/")
    used["system"] += clock() - begin


def sorting(n, values=[(i * 7919) % 101 for i in range(60)]):
    begin = clock()
    for _ in range(n // 10):
        sorted(values, key=lambda v: -v)
    used["sorting"] += clock() - begin


def generating(n):
    begin = clock()
    sum(i & 3 for i in range(n * 12))
    used["generating"] += clock() - begin


def raising(n):
    begin = clock()
    for _ in range(n * 3):
        try:
            raise KeyError(n)
        except KeyError:
            pass
    used["raising"] += clock() - begin


def equal(n, order=[1, 2, 3, 4, 2, 3, 4, 3, 4, 4]):
    begin = clock()
    functions = [globals()[f"equal_{number}"] for number in order]
    for _ in range(n // 6):
        for function in functions:
            function(12)
    used["equal"] += clock() - begin


KINDS = [arithmetic, calls, deep, encoding, hashing, pages, system, sorting, generating, raising, equal]
WEIGHTS = [14, 12, 10, 9, 8, 8, 7, 6, 5, 4, 12]


def main():
    seconds, sleep = float(sys.argv[1]), float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0
    dice = random.Random(len(sys.argv))
    used.update((kind.__name__, 0) for kind in KINDS)
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for kind in dice.choices(KINDS, WEIGHTS, k=8):
            kind(dice.randrange(20, 200))
            rounds += 1
            if sleep and not rounds % 2:
                time.sleep(dice.random() * 2 * sleep)
    whole = sum(used.values())
    print(json.dumps({"rounds": rounds, "seconds": whole / 1e9, "kinds": {k: v / whole for k, v in used.items()},
                      "equal": {f"equal_{n}": n / 10 for n in (1, 2, 3, 4)}}))


main()
