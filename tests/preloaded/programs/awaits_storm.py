"""What awaits_probe.c says of tasks that come and go at full speed, against a known graph of who awaits whom.

usage: awaits_storm.py PROBE storm|ends|cost|greenlets|cost_greenlet

Runs on 3.7 to 3.13, without anything of ours preloaded. Prints "ok" and what was looked at."""

import asyncio
import contextvars
import ctypes
import random
import sys
import threading
import time

REQUESTS = 8
GRAPH = """
async def r@_root():
    while not stop:
        await r@_a(4)
        asyncio.ensure_future(r@_left(2))
async def r@_a(n):
    if n > 0:
        await r@_b(n - 1)
    else:
        await asyncio.sleep(random.choice(PAUSES))
async def r@_b(n):
    if n % 2:
        await asyncio.ensure_future(r@_a(n))
    elif n % 3:
        await asyncio.gather(r@_c(n - 1), r@_c(n - 1))
    else:
        async for _ in r@_d(n - 1):
            await r@_a(n - 1)
async def r@_c(n):
    await R@(n)
async def r@_d(n):
    await r@_a(n - 1)
    yield 1
    await asyncio.sleep(random.choice(PAUSES))
    yield 2
class R@:
    def __init__(self, n):
        self.n = n
    def __await__(self):
        yield
        return (yield from r@_a(self.n - 1).__await__())
async def r@_left(n):
    await r@_a(n)
"""
PAUSES = [0, 0, 0.0001, 0.002, 0.005]
# (who waits, whom for): at which lines
EDGES = {("root", "a"): (4,), ("a", "b"): (8,), ("a", "sleep"): (10,), ("b", "a"): (13, 18), ("b", "c"): (15,),
         ("b", "d"): (17,), ("c", "__await__"): (20,), ("d", "a"): (22,), ("d", "sleep"): (24,),
         ("__await__", "a"): (31,), ("left", "a"): (33,)}
ENDS = {"sleep", "root", "a", "b", "c", "d", "__await__", "left"}  # those last are ready, or wait for a gather
stop = []


def names(chain):
    for frame in chain.split(";"):
        if frame:
            name, line = frame.rsplit(":", 1)
            yield name.replace("<locals>.", ""), int(line)


def wrong(seen):
    """What cannot be, in "REQUEST OUTER:LINE;...|ON"."""
    entry, chain = seen.split(" ", 1)
    frames, on = chain.split("|")
    before = None
    for full, line in names(frames):
        short = full.rpartition(".")[2]
        if short not in ("sleep", "__sleep0", "__await__") and not short.startswith("r%s_" % entry):
            return "another's", full
        if "." in full and not full.startswith("R%s." % entry):
            return "another's", full
        short = short.rpartition("r%s_" % entry)[2]
        if before is None:
            if short not in ("root", "left") and sys.version_info > (3, 8):  # which was first is not known in 3.7
                return "the first", full
        elif before[0] != "sleep" and before[1] not in EDGES.get((before[0], short), ()):
            return "an edge", before, short
        before = short, line
    if on not in ("", "_asyncio.Future", "_GatheringFuture", "_asyncio.Task"):
        return "what is awaited", on
    return None


def check(probe, wrong, failed):
    count, total, times = 0, 0, ctypes.c_int()
    while True:
        seen = probe.probe_seen(count, ctypes.byref(times))
        if seen is None:
            break
        assert wrong(seen.decode()) is None, (wrong(seen.decode()), seen, times.value)
        count, total = count + 1, total + times.value
    print("read", total, "different", count, "not", failed)
    assert total > 50 and count > 5
    return total


def storm(seconds=3):
    probe = ctypes.CDLL(sys.argv[1])
    probe.probe_seen.restype = ctypes.c_char_p
    space = {"asyncio": asyncio, "random": random, "stop": stop, "PAUSES": PAUSES}
    for i in range(1, REQUESTS + 1):
        exec(compile(GRAPH.replace("@", str(i)), "<graph>", "exec"), space)
    failed = []
    watcher = threading.Thread(target=lambda: failed.append(probe.probe_watch(REQUESTS)))

    async def main():
        for i in range(1, REQUESTS + 1):
            contextvars.copy_context().run(lambda: (serve(i), asyncio.ensure_future(space["r%d_root" % i]())))
        watcher.start()
        await asyncio.sleep(seconds)
        stop.append(1)
        probe.probe_stop()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    watcher.join()
    return check(probe, wrong, failed[0])


SWITCHES = """
def r@_root():
    while not stop and random.random() < 0.97:
        r@_a(4)
def r@_a(n):
    if n > 0:
        r@_b(n - 1)
    else:
        pause()
def r@_b(n):
    if n % 2:
        max([n], key=r@_a)
    else:
        for _ in r@_d(n - 1):
            r@_a(n - 1)
def r@_d(n):
    r@_a(n - 1)
    yield 1
    pause()
    yield 2
"""
SWITCH_EDGES = {("root", "a"): (4,), ("a", "b"): (7,), ("a", "pause"): (9,), ("b", "a"): (12, 15), ("b", "d"): (14,),
                ("d", "a"): (17,), ("d", "pause"): (19,)}


def wrong_switch(seen):
    entry, chain = seen.split(" ", 1)
    frames, on = chain.split("|")
    found = [(name.rpartition("r%s_" % entry)[2].rpartition(".")[2], line) for name, line in names(frames)]
    if found.pop(0)[0] != "run" or found[0][0] != "root" or found[-1][0] != "pause" or on != "greenlet.switch":
        return "an end", found[0], found[-1], on
    for (outer, line), (inner, _) in zip(found, found[1:]):
        if line not in SWITCH_EDGES.get((outer, inner), ()):
            return "an edge", outer, line, inner
    return None


def take_turns(numbers, made, end):
    """Greenlets of these requests, each for some us or a moment; those that end are made anew."""
    import greenlet
    hub = greenlet.getcurrent()
    mine = {}

    def pause():
        hub.switch()

    space = {"stop": stop, "random": random, "pause": pause}

    def run(i):
        serve_greenlet(i, greenlet.greenlet)
        space["r%d_root" % i]()

    def begin(i):
        mine[i] = greenlet.greenlet(run)
        mine[i].gr_context = contextvars.Context()
        mine[i].switch(i)

    for i in numbers:
        exec(compile(SWITCHES.replace("@", str(i)), "<graph>", "exec"), space)
        begin(i)
    made.set()
    while time.monotonic() < end:
        for i in random.sample(numbers, 3):
            for _ in range(random.choice([1, 1, 100])):
                if mine[i].dead:
                    begin(i)
                else:
                    mine[i].switch()
        if random.random() < 0.02:
            time.sleep(random.choice([0, 0.001, 0.003]))
    stop.append(1)
    for one in mine.values():
        while not one.dead:
            one.switch()


def greenlets(seconds=3):
    """Those of two threads."""
    probe = ctypes.CDLL(sys.argv[1])
    probe.probe_seen.restype = ctypes.c_char_p
    serve_greenlet.argtypes = (ctypes.c_int, ctypes.py_object)
    sys.setswitchinterval(0.0005)
    failed, end, made = [], time.monotonic() + seconds, [threading.Event(), threading.Event()]
    numbers = list(range(1, REQUESTS + 1))
    threads = [threading.Thread(target=take_turns, args=(numbers[i::2], made[i], end)) for i in range(2)]
    watcher = threading.Thread(target=lambda: failed.append(probe.probe_watch(REQUESTS)))
    for thread in threads:
        thread.start()
    for one in made:
        one.wait()
    watcher.start()
    for thread in threads:
        thread.join()
    probe.probe_stop()
    watcher.join()
    return check(probe, wrong_switch, failed[0])


def ends():
    """Somebody reads while the interpreter ends."""
    probe = ctypes.CDLL(sys.argv[1])
    for _ in range(2):
        threading.Thread(target=probe.probe_watch, args=(REQUESTS,), daemon=True).start()

    async def churn():
        serve(1)
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(20)))
    asyncio.new_event_loop().run_until_complete(churn())
    return 1


def cost():
    probe = ctypes.CDLL(sys.argv[1])

    async def nest(n):
        await (nest(n - 1) if n else asyncio.sleep(1000))

    async def main():
        tasks = []
        contextvars.copy_context().run(lambda: (serve(1), tasks.append(asyncio.ensure_future(nest(8)))))
        await asyncio.sleep(0.01)
        print("a chain of 10:", probe.probe_cost_chain(200), "ns")
        for count in (100, 1000, 10000):
            contextvars.copy_context().run(lambda: (serve(2), tasks.extend(
                asyncio.ensure_future(nest(1)) for _ in range(count - len(tasks)))))
            await asyncio.sleep(0.1)
            print(count, "tasks:", probe.probe_cost_walk(20), "ns")
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    asyncio.new_event_loop().run_until_complete(main())
    return 1


def cost_greenlet():
    import greenlet
    probe = ctypes.CDLL(sys.argv[1])
    hub = greenlet.getcurrent()
    serve_greenlet.argtypes = (ctypes.c_int, ctypes.py_object)

    def nest(n):
        return nest(n - 1) if n else hub.switch()

    made = greenlet.greenlet(lambda: (serve_greenlet(1, greenlet.greenlet), nest(18)))
    made.gr_context = contextvars.Context()
    made.switch()
    print("a stack of 20:", probe.probe_cost_greenlet(200), "ns")
    made.switch()
    return 1


holder = ctypes.PyDLL(sys.argv[1])
serve, serve_greenlet = holder.probe_serve, holder.probe_serve_greenlet
assert holder.probe_find() == 1
print("ok", {"storm": storm, "ends": ends, "cost": cost, "greenlets": greenlets,
              "cost_greenlet": cost_greenlet}[sys.argv[2]]())
