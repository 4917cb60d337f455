#!/usr/bin/python3
"""Prints the traces in files of the `file` protocol as trees: examples/tree.py swagent-*.jsonl

Segments of any number of files (services, processes) are joined by their references. Each line is
one span: service, direction, operation and peer; its status; when it began, from the start of its
trace, and how long it took. Only the standard library is needed.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict

BAR_WIDTH = 20
WIDE = 120  # columns that a picture with bars needs


class Span:
    def __init__(self, segment, span):
        self.id = (segment["traceSegmentId"], span.get("spanId", 0))
        self.trace = segment["traceId"]
        self.service = segment.get("service", "?")
        self.instance = segment.get("serviceInstance", "?")
        # proto3 JSON leaves default values out: an absent spanType is Entry.
        self.type = span.get("spanType", "Entry")
        self.operation = span.get("operationName", "")
        self.peer = span.get("peer", "")
        self.error = span.get("isError", False)
        self.start = int(span.get("startTime", 0))
        self.end = int(span.get("endTime", 0))
        self.tags = {tag["key"]: tag.get("value", "") for tag in span.get("tags", [])}
        parent = span.get("parentSpanId", 0)
        if parent != -1:
            self.parents = [(self.id[0], parent)]
        else:
            self.parents = [(ref["parentTraceSegmentId"], ref.get("parentSpanId", 0))
                            for ref in span.get("refs", [])]
        self.children = []
        self.orphan = False


def read(paths):
    """All spans of the files; how many records of other kinds and how many broken lines."""
    spans, other, broken = [], 0, 0
    for path in paths:
        with open(path, "rb") as file:
            for line in file:
                try:
                    record = json.loads(line)
                    if record["kind"] == "segment":
                        segment = record["segment"]
                        spans += [Span(segment, span) for span in segment.get("spans", [])]
                    else:
                        other += 1
                except (ValueError, KeyError, TypeError, AttributeError):
                    broken += 1
    return spans, other, broken


def join(spans):
    """Hangs every span below its parent. Returns the roots of each trace, oldest trace first."""
    by_id = {}
    for span in spans:
        by_id.setdefault(span.id, span)
    traces = defaultdict(list)
    for span in by_id.values():
        known = [by_id[parent] for parent in span.parents
                 if parent in by_id and parent != span.id]
        if known:
            known[0].children.append(span)
        else:
            span.orphan = bool(span.parents)
            traces[span.trace].append(span)
    for span in by_id.values():
        span.children.sort(key=lambda child: (child.start, child.id[1]))
    for roots in traces.values():
        roots.sort(key=lambda root: root.start)
    return sorted(traces.items(), key=lambda item: item[1][0].start)


def walk(root):
    """Yields (span, prefix of its line), depth first, without recursion: traces may be deep."""
    stack = [(root, "", "")]
    while stack:
        span, here, below = stack.pop()
        yield span, here
        last = len(span.children) - 1
        for i in range(last, -1, -1):
            stack.append((span.children[i],
                          below + ("└─ " if i == last else "├─ "),
                          below + ("   " if i == last else "│  ")))


class Paint:
    CODES = {"dim": "2", "bold": "1", "red": "31", "green": "32", "cyan": "36"}

    def __init__(self, colour):
        self.colour = colour

    def __call__(self, text, *styles):
        if not self.colour or not text:
            return text
        codes = ";".join(self.CODES[style] for style in styles)
        return f"\033[{codes}m{text}\033[0m"


def cut(text, room):
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= room else text[:max(room - 1, 0)] + "…"


def title_parts(span, prefix, room):
    """[(text, styles)] of the tree column, cut to `room` columns."""
    method = span.tags.get("http.method", "")
    what = f"{method} {span.operation}".strip() or "(no operation)"
    if span.type == "Exit":
        parts = [(prefix, ("dim",)), (f"calls {span.peer}" if span.peer else "calls", ()),
                 ("  " + what, ())]
        if prefix == "":
            parts.insert(1, (span.service + "  ", ("bold", "cyan")))
    else:
        parts = [(prefix, ("dim",)), (span.service, ("bold", "cyan")), ("  " + what, ())]
    if span.orphan:
        parts.append(("  (caller not in these files)", ("dim",)))
    if span.tags.get("sw.parent") == "none":
        parts.append(("  (request not known)", ("dim",)))
    if span.tags.get("sw.unfinished"):
        parts.append(("  (unfinished)", ("dim",)))
    kept = []
    for text, styles in parts:
        text = cut(text, room) if room > 0 else ""
        room -= len(text)
        kept.append((text, styles))
    return kept


def bar(span, begin, end):
    length = max(end - begin, 1)
    first = min(int((span.start - begin) * BAR_WIDTH / length), BAR_WIDTH - 1)
    last = min(max(-(-(span.end - begin) * BAR_WIDTH // length), first + 1), BAR_WIDTH)
    return " " * max(first, 0) + "█" * (last - max(first, 0))


def duration(ms):
    return f"{ms} ms" if ms < 10000 else f"{ms / 1000:.1f} s"


def print_trace(number, trace, roots, paint, columns, out):
    lines = [line for root in roots for line in walk(root)]
    begin = min(span.start for span, _ in lines)
    end = max(span.end for span, _ in lines)
    services = len({span.service for span, _ in lines})
    errors = sum(span.error for span, _ in lines)
    when = time.strftime("%H:%M:%S", time.localtime(begin / 1000)) + f".{begin % 1000:03}"
    plural = lambda n, word: f"{n} {word}{'' if n == 1 else 's'}"
    head = f"{when}, {plural(services, 'service')}, {plural(len(lines), 'span')}, {duration(end - begin)}"
    error = f", {plural(errors, 'error')}" if errors else ""
    print(paint(f"trace {number}", "bold") + f"  {trace}  " + paint(head, "dim")
          + paint(error, "red"), file=out)
    right = 28 + (BAR_WIDTH + 2 if columns >= WIDE else 0)
    drawn = [(span, title_parts(span, prefix, columns - 2 - right)) for span, prefix in lines]
    width = max(sum(len(text) for text, _ in parts) for _, parts in drawn)
    print(paint(f"  {'':{width}}  {'status':<8}{'began at':>9}{'took':>9}", "dim"), file=out)
    for span, parts in drawn:
        title = "".join(paint(text, *styles) if styles else text for text, styles in parts)
        pad = " " * (width - sum(len(text) for text, _ in parts))
        status = span.tags.get("http.status_code", "-")
        if span.error:
            status = status + " ✗" if status != "-" else "error ✗"
        colour = "red" if span.error else "green"
        line = (f"{title}{pad}  {paint(f'{status:<8}', colour)}"
                f"{duration(span.start - begin):>9}{duration(span.end - span.start):>9}")
        if columns >= WIDE:
            line += "  " + paint(bar(span, begin, end), colour)
        print("  " + line.rstrip(), file=out)
    print(file=out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", nargs="+", help="files that the agent wrote")
    parser.add_argument("-n", type=int, metavar="N", help="print the first N traces only")
    args = parser.parse_args()
    try:
        spans, _, broken = read(args.file)
    except OSError as error:
        sys.exit(f"tree.py: {error.filename}: {error.strerror}")
    traces = join(spans)
    tty = sys.stdout.isatty()
    columns = int(os.environ.get("COLUMNS") or 0) or (os.get_terminal_size().columns if tty else WIDE)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    paint = Paint(tty and "NO_COLOR" not in os.environ)
    shown = traces if args.n is None else traces[:args.n]
    for number, (trace, roots) in enumerate(shown, 1):
        print_trace(number, trace, roots, paint, max(columns, 60), sys.stdout)
    segments = len({span.id[0] for span in spans})
    print(f"{len(traces)} trace(s), {segments} segment(s), {len(spans)} span(s)"
          + (f"; {len(traces) - len(shown)} trace(s) not shown" if len(shown) < len(traces) else "")
          + (f"; {broken} line(s) could not be read" if broken else ""))


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # … | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
