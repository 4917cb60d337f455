#!/usr/bin/env python3
"""Turns the golden conversations into seeds for tests/fuzz/fuzz_parser.c.

usage: seeds.py DEST

Writes DEST/PARSER/CASE for each tests/parsers/PARSER/CASE.bytes; both formats are explained where
they are read: tests/parsers/README.md and tests/fuzz/fuzz_parser.c.
"""

import pathlib
import re
import sys

PARSERS = pathlib.Path(__file__).resolve().parent.parent / "parsers"
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[rnt0\\])")
NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}
TURN, SKIP, FINISH, LITERAL = b"\xff\x00", b"\xff\x01", b"\xff\x02", b"\xff\xff"
# What decides the cuts; its lowest bit says whether sniff() is asked first.
CUTS = b"\x01\x02\x03\x04"


def unescape(text):
    return ESCAPE.sub(lambda m: NAMED.get(m[1]) or bytes([int(m[1][1:], 16)]), text)


def operation(text):
    """The fuzzer's form of what stands after the letter of the side."""
    if text == b".":
        return FINISH
    if text.startswith(b"~"):
        return SKIP + min(int(text[1:]), 2 ** 64 - 1).to_bytes(8, "little")
    times, _, rest = text.partition(b" ")
    return (unescape(rest) * int(times[1:] or 1)).replace(b"\xff", LITERAL)


def seed(script):
    out, side = CUTS, b">"
    for line in script.split(b"\n"):
        if line[:1] not in (b">", b"<") or len(line) < 2:
            continue
        if line[:1] != side:
            out += TURN
            side = line[:1]
        out += operation(line[1:])
    return out


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for golden in sorted(PARSERS.glob("*/*.bytes")):
        folder = pathlib.Path(sys.argv[1]) / golden.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / golden.stem).write_bytes(seed(golden.read_bytes()))


main()
