"""Computes for so many seconds, 30 calls deep, through C and back: what the profilers look at.

    profiled.py SECONDS

Every call is written in this file, so who may call whom, and from which line, follows from its text.
Prints how many rounds were made, the wall time and the first thread's processor time of them, s.
"""

import json
import re
import sys
import time


def spin(n):
    total = 0
    for i in range(n):
        total += i ^ n
    return total


def leaf(depth):
    return spin(12) + spin(7)


def alpha(depth):
    if depth <= 0:
        return leaf(depth)
    if depth % 2:
        return beta(depth - 1) + 1
    return gamma(depth - 1) + 2


def beta(depth):
    if depth <= 0:
        return leaf(depth) + spin(3)
    if depth % 3 == 0:
        return alpha(depth - 1)
    return gamma(depth - 1)


def gamma(depth):
    if depth <= 0:
        return spin(9)
    return sum(delta(depth - 1) for _ in range(1))


def delta(depth):
    if depth <= 0:
        return leaf(depth)
    if depth % 5 == 0:
        return max([depth], key=lambda d: alpha(d - 1)) + spin(5)
    return beta(depth - 1)


class Odd:
    def __init__(self, depth):
        self.depth = depth


def encoded(odd):
    return alpha(odd.depth)


def through_json():
    return json.dumps([Odd(20), Odd(17)], default=encoded)


def through_re():
    return re.sub("x", lambda m: str(beta(21)), "axbx")


def through_sort():
    return sorted([22, 20, 21], key=delta)


def round_of_all():
    through_json()
    through_re()
    through_sort()


def main():
    rounds, seconds = 0, float(sys.argv[1])
    begin, used = time.perf_counter(), time.thread_time()
    while time.perf_counter() - begin < seconds:
        round_of_all()
        rounds += 1
    print(rounds, time.perf_counter() - begin, time.thread_time() - used, flush=True)


main()
