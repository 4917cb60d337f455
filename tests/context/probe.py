"""Whose request was each command? By what the probe (probe.c) noted of the bytes.

A handle of a request is tied to an id by the answers that left on the request's own connection.
right: a command was sent for the handle of the request whose id it has in it. wrong: for another's,
for one that no answer is known of, or for one that two ids share. none: for no request.
"""

import collections
import re

COMMANDS = 2  # of each call (apps/waiting.py)

ANSWERED = re.compile(rb"\b(s\d+t\d+c\d+r\d+) \d")
COMMAND = re.compile(rb"/down/[\w.]+/((s\d+t\d+c)\d+r\d+)\.\d+")


class Probe:
    """What one server sent."""

    def __init__(self, file):
        self.file = file
        self.ids = collections.defaultdict(set)       # (process, handle) -> ids
        self.commands = collections.defaultdict(list)  # first part of ids -> [(path, id, handle)]

    def read(self):
        self.ids.clear()
        self.commands.clear()
        if self.file.exists():
            for line in self.file.read_text().splitlines():
                self.add(line)
        return self

    def add(self, line):
        kind, process, _, _, entry, text = line.split(" ")
        handle, text = (process, int(entry, 16)), bytes.fromhex(text)
        if kind == "A":
            self.ids[handle].update(ident.decode() for ident in ANSWERED.findall(text))
            return
        # A command may say its path twice; each path is one command.
        for path, ident, prefix in {match.group(0, 1, 2) for match in COMMAND.finditer(text)}:
            self.commands[prefix.decode()].append((path.decode(), ident.decode(), handle))

    def verdict(self, ident, handle):
        if not handle[1]:
            return "none"
        return "right" if self.ids.get(handle) == {ident} else "wrong"

    def judge(self, prefix, expected):
        """Counts, examples of each verdict, and errors: commands that were not seen, or too often.
        """
        counts, examples = collections.Counter(), collections.defaultdict(list)
        for path, ident, handle in self.commands[prefix]:
            verdict = self.verdict(ident, handle)
            counts[verdict] += 1
            tied = " ".join(sorted(self.ids.get(handle, ()))) or "no answer"
            examples[verdict].append(f"{path}: handle {handle[1]:x}, which is {tied}")
        sent = collections.Counter(path for path, _, _ in self.commands[prefix])
        errors = [f"{path} was sent {sent[path]} times, not {COMMANDS}"
                  for path in sorted({*sent, *expected}) if sent[path] != COMMANDS]
        return counts, examples, errors + self.untied(expected)

    def untied(self, expected):
        """Requests whose answers were sent for no request: then nothing could be right."""
        tied = {ident for handle, ids in self.ids.items() if handle[1] for ident in ids}
        asked = {path.split("/")[3].rpartition(".")[0] for path in expected}
        return [f"{ident}: its answer was not seen" for ident in sorted(asked - tied)]
