"""Recordings of a description, made by build/tests/record, and what a reader must find in them: counted
here from the description, by none of the code that writes them."""

import os
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("SW_BUILD", ROOT / "build"))


def escaped(text):
    """Bytes or text as a field of a description."""
    data = text.encode() if isinstance(text, str) else text
    return "".join(f"\\x{byte:02x}" if byte < 32 or byte > 126 or byte == 92 else chr(byte) for byte in data)


class Made:
    """A description as it grows. Frames are (kind, line, offset, function, file)."""

    def __init__(self, mode="cpu", program="prog", bytes_max=0):
        self.lines = [f"about\t{mode}\t17\t1795305600000\t10000000\t{bytes_max}\t{escaped(program)}"]
        self.frames = {}
        self.samples = []  # (tid, thread, task, segment, span, weight, frames)

    @classmethod
    def of(cls, lines):
        made, frames = cls(), []
        made.lines = []
        for line in lines:
            word, *rest = line.split("\t")
            if word == "frame":
                frames.append((rest[0], int(rest[1]), int(rest[2]), rest[3], rest[4]))
            if word == "sample":
                stack = tuple(frames[int(n)] for n in rest[6].split())
                made.samples.append((int(rest[0]), rest[3], rest[4], rest[5], int(rest[2]), int(rest[1]), stack))
            made.lines.append(line)
        return made

    def frame(self, function, kind="python", line=1, file="/app/x.py", offset=0):
        frame = (kind, line, offset, function, file)
        if frame not in self.frames:
            self.frames[frame] = len(self.frames)
            self.lines.append(f"frame\t{kind}\t{line}\t{offset}\t{escaped(function)}\t{escaped(file)}")
        return frame

    def add(self, weight_ns, *stack, tid=1, thread="MainThread", task="", segment="", span=0):
        stack = tuple(self.frame(name) if isinstance(name, (str, bytes)) else name for name in stack)
        numbers = " ".join(str(self.frames[frame]) for frame in stack)
        self.lines.append(f"sample\t{tid}\t{weight_ns}\t{span}\t{escaped(thread)}\t{escaped(task)}\t{escaped(segment)}\t{numbers}")
        self.samples.append((tid, thread, task, segment, span, weight_ns, stack))

    def end(self, missed=0, lost=0):
        taken = len(self.samples)
        self.lines.append(f"end\t2000000000\t{taken + missed}\t{taken}\t{missed}\t{lost}")
        return self

    def write(self, *paths):
        text = "\n".join(self.lines) + "\n"
        done = subprocess.run([BUILD / "tests/record", *paths], input=text, text=True, capture_output=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split()[0])

    # ---- what is in it ----

    def total(self):
        return sum(weight for *_, weight, _ in self.samples)

    def by_function(self, threads=None, within=(), count=False):
        """{function: (self, total)} of the samples of these threads whose stack begins with `within`."""
        alone, whole = Counter(), Counter()
        for _, thread, _, _, _, weight, stack in self.samples:
            names = [frame[3] for frame in stack]
            if (threads is not None and thread not in threads) or names[:len(within)] != list(within):
                continue
            weight = 1 if count else weight
            for name in set(names[max(len(within) - 1, 0):]):
                whole[name] += weight
            if names:
                alone[names[-1]] += weight
        return {name: (alone[name], whole[name]) for name in whole}

    def tree(self, by_thread=True):
        """{path: weight}; a path is the names from the first thread or frame on."""
        found = defaultdict(int)
        for _, thread, _, _, _, weight, stack in self.samples:
            path = ([thread] if by_thread else []) + [frame[3] for frame in stack]
            for i in range(len(path) + 1):
                found[tuple(path[:i])] += weight
        return dict(found)

    def layout(self, by_thread=True):
        """{path: (first, width)}: where a frame stands, the heaviest of its siblings first."""
        tree = self.tree(by_thread)
        placed = {(): (0, tree[()])}
        kids = defaultdict(list)
        for path in tree:
            if path:
                kids[path[:-1]].append(path)

        def place(path):
            at = placed[path][0]
            for kid in sorted(kids[path], key=lambda kid: (-tree[kid], kid[-1])):
                placed[kid] = (at, tree[kid])
                at += tree[kid]
                place(kid)

        place(())
        return placed
