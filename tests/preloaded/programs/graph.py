"""Calls of which it is known which may be made from where, and what a probe says of them. 3.6 to 3.13."""

import sys
import threading
import time


class Frame:
    def __init__(self, line):
        self.code, self.entry, self.name, self.line, self.file = line.split(" ", 4)
        self.code, self.line = int(self.code, 16), int(self.line)

    def __repr__(self):
        return "%s:%d" % (self.name, self.line)


# Who may be called from which line of whom.
GRAPH = """
def a(n):
    return n and b(n - 1) + c(n - 1)
def b(n):
    return n and c(n - 1)
def c(n):
    return n and d(n - 1) + (
        a(n - 2) if n > 2 else 0)
def d(n):
    return n and sum(e(n - 1) for _ in range(1))
def e(n):
    return n and a(n - 1)
def run():
    while not stop:
        a(26)
        b(25)
        rounds[0] += 1
"""
GENERATOR = {"3.%d" % v: "<genexpr>" for v in range(6, 11)}.get("%d.%d" % sys.version_info[:2], "d.<locals>.<genexpr>")
MAY = {("a", "a"): (), ("a", "run"): (15,), ("a", "c"): (8,), ("a", "e"): (12,),
       ("b", "run"): (16,), ("b", "a"): (3,), ("c", "a"): (3,), ("c", "b"): (5,), ("d", "c"): (7,),
       (GENERATOR, "d"): (10,), ("e", GENERATOR): (10,), ("run", "work"): None}


# Short calls again and again, so that a stack seldom stands while it is read, and each seems to be there again; one
# generator that two functions resume by turns, and coroutines. Who may stand at which of its lines, called from which.
STORM = """
def h(n):
    return n
def g():
    while True:
        h(1)
        yield 1
        h(2)
        yield 2
def p(it):
    return next(it)
def q(it):
    return next(it)
def short():
    yield h(3)
def one():
    return sum(short())
async def co(n):
    if n:
        return await co(n - 1)
    return h(4)
def drive(n):
    try:
        co(n).send(None)
    except StopIteration:
        pass
def nest(n):
    if n:
        yield from nest(n - 1)
    else:
        yield h(5)
def all():
    for x in nest(3):
        pass
def run():
    it = g()
    while not stop:
        p(it)
        q(it)
        one()
        drive(2)
        all()
        rounds[0] += 1
"""
IN_STORM = {("g", "p"): ((4, 5, 6, 7, 9), (11,)), ("g", "q"): ((7, 8, 9), (13,)), ("h", "g"): (None, (6, 8)),
            ("p", "run"): (None, (38,)), ("q", "run"): (None, (39,)), ("one", "run"): (None, (40,)),
            ("drive", "run"): (None, (41,)), ("all", "run"): (None, (42,)), ("h", "short"): (None, (15,)),
            ("short", "one"): (None, (17,)), ("co", "co"): (None, (20,)), ("h", "co"): (None, (21,)),
            ("co", "drive"): (None, (24,)), ("nest", "nest"): (None, (29,)), ("h", "nest"): (None, (31,)),
            ("nest", "all"): (None, (33,)), ("run", "work"): (None, None)}


def impossible_in_storm(found):
    graph = [f for f in found if f.file == "<graph>"]
    for callee, caller in zip(graph, graph[1:]):
        here, there = IN_STORM.get((callee.name, caller.name), ((), ()))
        if (here is not None and callee.line not in here) or (there is not None and caller.line not in there):
            return callee, caller
    return None


def impossible(found):
    """The first call that the graph has not, from the outside in."""
    graph = [f for f in found if f.file == "<graph>"]
    for callee, caller in zip(graph, graph[1:]):
        lines = MAY.get((callee.name, caller.name), ())
        if lines is not None and caller.line not in lines:
            return callee, caller
    return None


class Running:
    """A thread that does nothing else, while the block runs; `get_tid` is called on it."""

    def __init__(self, get_tid, text=GRAPH):
        self.text, self.get_tid, self.tid, self.stop, self.rounds = text, get_tid, None, [], [0]

    def __enter__(self):
        space = {"stop": self.stop, "rounds": self.rounds}
        exec(compile(self.text, "<graph>", "exec"), space)

        def work():
            self.tid = self.get_tid()
            space["run"]()

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        while not self.tid:
            time.sleep(0.001)
        return self

    def __exit__(self, *_):
        self.stop.append(1)
        self.thread.join()
