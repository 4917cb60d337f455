#!/usr/bin/env python3
"""The broker of the benchmarks: tests/preloaded/kafka_broker.py, which only counts.

usage: kafka_sink.py PORT COUNTS

COUNTS is a file of 64-bit numbers as in struct counts of sink.c, which it keeps up to date.
"""

import mmap
import struct
import sys
import threading
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "preloaded"))

import kafka_broker  # noqa: E402  the path comes first
from sink import FIELDS  # noqa: E402

COUNT_AT = 57  # in a record batch of version 2


class Counter(kafka_broker.Broker):
    def __init__(self, port, numbers):
        super().__init__(port)
        self.numbers = numbers

    def add(self, field, number):
        self.numbers[FIELDS.index(field)] += number

    def take(self, topic, partition, data):
        kind = "segment" if topic.endswith("-segments") else "other"
        [count] = struct.unpack_from(">i", data, COUNT_AT)
        self.add(kind + "s", count)
        self.add(kind + "_bytes", len(data))
        self.add(kind + "_calls", 1)
        del self.requests[:]
        return 0


def main():
    port, path = int(sys.argv[1]), sys.argv[2]
    with open(path, "r+b") as file:
        numbers = memoryview(mmap.mmap(file.fileno(), 8 * len(FIELDS))).cast("Q")
    with Counter(port, numbers):
        threading.Event().wait()


main()
