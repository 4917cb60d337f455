"""Whose request was each call? By its sw8 header, and by the segments that were written.

right: the inbound request that made it. wrong: another one. none: a trace of its own. bare: no
sw8 at all. lost: the header was right, and no segment tells of the call.
"""

import base64
import collections
import json

from load import trace_of

COUNTS = ("right", "wrong", "none", "bare", "lost")


def inbound(path):
    """The operation that a call belongs to: of /down/CLIENT/ID.K it is /w/CLIENT/ID."""
    return path.replace("/down/", "/w/", 1).rpartition(".")[0]


def by_header(path, sw8):
    """(verdict, what was seen)"""
    fields = (sw8 or "").split("-")
    if len(fields) != 8 or not fields[6]:
        return "bare", sw8
    trace, parent = (base64.b64decode(fields[i]).decode() for i in (1, 6))
    if parent == path:
        return "none", parent
    if parent != inbound(path):
        return "wrong", parent
    brought = trace_of(parent.rpartition("/")[2])
    return ("right" if not brought or brought == trace else "wrong"), f"{parent} in trace {trace}"


class Segments:
    """What the processes of one server wrote."""

    def __init__(self, folder):
        self.folder = folder
        self.segments = {}
        self.calls = collections.defaultdict(list)  # path of a call -> its segments' ids

    def read(self):
        self.segments.clear()
        self.calls.clear()
        for file in self.folder.glob("*.jsonl"):
            for line in file.read_text().splitlines():
                self.add(line)
        return self

    def add(self, line):
        try:
            segment = json.loads(line).get("segment")
        except ValueError:  # the end of a killed process
            return
        if segment:
            self.put(segment)

    def put(self, segment):
        self.segments[segment["traceSegmentId"]] = segment
        for span in segment["spans"]:
            if span.get("spanType") == "Exit":
                self.calls[span["operationName"]].append((segment["traceSegmentId"], span))

    def parent(self, ident, span):
        """The operation of the Entry above a span, "" if there is none."""
        spans = {s.get("spanId", 0): s for s in self.segments[ident]["spans"]}
        while span.get("spanType", "Entry") != "Entry":
            if span.get("parentSpanId", 0) not in spans:
                return self.across(span)
            span = spans[span.get("parentSpanId", 0)]
        return span["operationName"]

    def across(self, span):
        for ref in span.get("refs", []):
            other = self.segments.get(ref["parentTraceSegmentId"])
            if other:
                above = {s.get("spanId", 0): s for s in other["spans"]}
                found = above.get(ref.get("parentSpanId", 0))
                if found:
                    return self.parent(ref["parentTraceSegmentId"], found)
        return ""

    def verdict(self, path):
        """(verdict, what was seen)"""
        found = self.calls.get(path, [])
        if not found:
            return "lost", "in no segment"
        if len(found) > 1:
            return "wrong", f"in {len(found)} segments"
        parent = self.parent(*found[0])
        right = parent == inbound(path)
        return ("right" if right else "wrong" if parent else "none"), f"segment of {parent or '-'}"


def one(path, sw8, segments):
    """Both together: the worse of the two, but a call in its own segment may refer to another."""
    header, said = by_header(path, sw8)
    written, told = segments.verdict(path)
    seen = f"{path}: header {header}: {said}; {told}"
    if "wrong" in (header, written):
        return "wrong", seen
    if header == "none" and written == "right":
        return "right", seen
    if header == "right" and written in ("lost", "none"):
        return ("lost" if written == "lost" else "wrong"), seen
    return header, seen


def judge(notes, expected, segments):
    """Counts, examples of each verdict, and errors: calls that nobody saw, or too often."""
    counts, examples = collections.Counter(), collections.defaultdict(list)
    for path, sw8 in notes:
        verdict, seen = one(path, sw8, segments)
        counts[verdict] += 1
        examples[verdict].append(seen)
    arrived, asked = collections.Counter(path for path, _ in notes), collections.Counter(expected)
    errors = [f"{path} arrived {arrived[path]} times, not {asked[path]}"
              for path in sorted(set(arrived) | set(asked)) if arrived[path] != asked[path]]
    return counts, examples, errors
