"""SkyWalking's trace profiling over gRPC: tasks, stacks of their requests and of no others, the end."""

import collections
import re
import threading
import time

import pytest

from conftest import HERE, SYSTEM_PYTHON
from origin import get
from sink import Sink
from test_frames import interpreters

PROGRAM = HERE / "programs" / "profiled.py"
NOWHERE = "(waiting on no thread)"
NOTE = re.compile(r"\(.+\)")  # innermost: what is awaited
# With debug information, or of Python; without; of no library; and where the native stack is cut.
FRAME = re.compile(r".+\..+: \d+|.+\..+\+0x[0-9a-f]+|0x[0-9a-f]+|\(native frames not known\)")


def task(endpoint, number=1, **changes):
    now = int(time.time() * 1000)
    return {"SerialNumber": f"serial-{number}", "TaskId": f"task-{number}", "EndpointName": endpoint, "Duration": 1,
            "MinDurationThreshold": 0, "DumpPeriod": 10, "MaxSamplingCount": 9, "StartTime": now,
            "CreateTime": now + number} | changes


class Profiled:
    def __init__(self, bench, ports, kind, python=SYSTEM_PYTHON, arguments=(), **env):
        self.bench, self.port = bench, ports()
        self.sink = Sink(ports()).start()
        env = {"SW_AGENT_PROTOCOL": "grpc", "SW_AGENT_COLLECTOR_BACKEND_SERVICES": f"127.0.0.1:{self.sink.port}",
               "SW_AGENT_COLLECTOR_GET_PROFILE_TASK_INTERVAL": 1, "SW_AGENT_LOGGING_LEVEL": "debug"} | env
        self.program = bench.start([python, PROGRAM, kind, self.port, *arguments], self.port, name="profiled", env=env)

    def give(self, *tasks):
        """The program has them when this returns: it asks once more when it has understood an answer."""
        self.sink.tasks += tasks
        asked = len(self.sink.of("ProfileTask", "getProfileTaskCommands"))
        get(self.port, "/rest/1")  # so that it reports
        assert self.sink.until(lambda: len(self.sink.of("ProfileTask", "getProfileTaskCommands")) >= asked + 2)
        time.sleep(0.15)

    def ask(self, *paths):
        """All at once."""
        threads = [threading.Thread(target=get, args=(self.port, path)) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def warm_up(self, path):
        """The segment of a request with which the profile began: on a busy machine that takes its time."""
        self.ask(path)
        assert self.sink.until(lambda: self.segments(path))
        (segment,) = self.segments(path)
        return segment

    def segments(self, path):
        return {s.traceSegmentId for s in self.sink.different() if s.spans[-1].operationName == path}

    def lasted(self, segment):
        """In milliseconds."""
        (span,) = [s.spans[-1] for s in self.sink.different() if s.traceSegmentId == segment]
        return span.endTime - span.startTime

    def stacks(self, path, count=1):
        """{segment: its snapshots in order}; each was checked for what must always hold."""
        assert self.sink.until(lambda: len(self.segments(path)) >= count), self.bench.output(self.program)
        self.settle()
        found = collections.defaultdict(list)
        for snapshot in self.sink.snapshots:
            found[snapshot.traceSegmentId].append(snapshot)
        for snapshots in found.values():
            assert [s.sequence for s in snapshots] == list(range(len(snapshots)))
            assert all(a.time <= b.time for a, b in zip(snapshots, snapshots[1:]))
            for snapshot in snapshots:
                frames = list(snapshot.stack.codeSignatures)
                frames = frames[frames[0] == "(more)":]
                frames = frames[:len(frames) - bool(NOTE.fullmatch(frames[-1]))]
                assert all(FRAME.fullmatch(f) for f in frames), frames
        return {segment: found[segment] for segment in self.segments(path)}

    def settle(self):
        """What there was before has arrived: records leave in their order, but by streams of their own."""
        before = len(self.segments("/rest/1"))
        get(self.port, "/rest/1")
        assert self.sink.until(lambda: len(self.segments("/rest/1")) > before)
        seen = -1
        while seen != (seen := len(self.sink.snapshots)):
            time.sleep(0.5)
            assert self.sink.until(lambda: all(c.status for c in self.sink.of("ProfileTask", served=False)))

    def close(self):
        rc = self.bench.stop(self.program)
        said = self.bench.output(self.program).decode()
        self.sink.stop()
        assert rc in (0, -15, 128 + 15), said
        return said


@pytest.fixture
def profiled(bench, ports):
    made = []

    def make(*args, **options):
        made.append(Profiled(bench, ports, *args, **options))
        return made[-1]
    yield make
    for one in made:
        one.sink.stop()


def names(snapshots):
    """How often each function of the program is in a stack."""
    return collections.Counter(f for s in snapshots for f in {
        re.sub(r"^.*profiled\.py\.|: \d+$", "", frame) for frame in s.stack.codeSignatures if "profiled.py" in frame})


@pytest.mark.parametrize("python", interpreters()[:1] + interpreters()[2:], ids=lambda p: p.parent.parent.name)
def test_threads(profiled, python):
    """A request that waits on its thread, and one that turns; others on other threads meanwhile."""
    p = profiled("threads", python)
    p.give(task("/rest/400"))
    early = p.warm_up("/rest/400")
    p.ask("/rest/400", "/a/400", "/rest/400", "/b/300")
    found = p.stacks("/rest/400", 3)
    del found[early]
    assert len(found) == 2
    for snapshots in found.values():
        assert len(snapshots) >= 3 and snapshots[0].taskId == "task-1"  # 40, of a machine that has nothing else to do
        seen = names(snapshots)
        assert seen["rest"] >= len(snapshots) * 0.5 and not seen["burn_a"] and not seen["burn_b"], seen
        assert seen["Handler.do_GET"] or seen["do_GET"], seen
    assert set(s.traceSegmentId for s in p.sink.snapshots) - {early} == set(found)
    p.close()


@pytest.mark.parametrize("how", ["timer", "direct", "off"])
def test_burning(profiled, how):
    p = profiled("threads", SW_AGENT_PROFILE_SIGNAL=how)
    p.give(task("/a/500"))
    p.ask("/a/500")
    (snapshots,) = p.stacks("/a/500").values()
    seen = names(snapshots)
    assert seen["burn_a"] >= 5 and seen["burn_a"] >= len(snapshots) * 0.8, (seen, len(snapshots))
    p.close()


def test_threshold(profiled):
    """One that waits already when another comes to be due is not forgotten when its turn comes."""
    p = profiled("threads")
    p.give(task("/rest/400", MinDurationThreshold=150))
    early = p.warm_up("/rest/400")
    first = threading.Thread(target=p.ask, args=("/rest/400",))
    first.start()
    time.sleep(0.05)
    p.ask("/rest/400")
    first.join()
    found = p.stacks("/rest/400", 3)
    del found[early]
    assert len(found) == 2
    for segment, snapshots in found.items():  # 25, of one that takes no longer than it has to
        assert 3 <= len(snapshots) <= (p.lasted(segment) - 150) / 10 + 3, (p.lasted(segment), snapshots)
    p.close()


def test_begun_while_looked(profiled):
    """A request that begins while the sampler waits for the answer of another thread is found on its thread."""
    p = profiled("threads")
    p.give(task("/rest/120"))
    other = threading.Thread(target=p.ask, args=("/b/2500",))
    other.start()
    rows = [threading.Thread(target=lambda: [p.ask("/rest/120") for _ in range(3)]) for _ in range(3)]
    for row in rows:  # on threads that are new in the midst of it
        row.start()
        time.sleep(0.04)
    for thread in [other, *rows]:
        thread.join()
    found = p.stacks("/rest/120", 9)
    everything = [snapshot for snapshots in found.values() for snapshot in snapshots]
    assert names(everything)["rest"] >= len(everything) * 0.5 and not names(everything)["burn_b"], everything
    p.close()


def test_interleaved(profiled):
    """Requests that take turns on one thread: the stacks of one never show what another does."""
    p = profiled("asyncio")
    p.give(task("/a/300"))
    p.ask("/a/300", "/b/300", "/a/300", "/b/300", "/pause/200")
    found = p.stacks("/a/300", 2)
    assert len(found) == 2
    for snapshots in found.values():
        seen = names(snapshots)
        assert seen["burn_a"] and not seen["burn_b"], seen
        assert any(NOTE.fullmatch(s.stack.codeSignatures[-1]) for s in snapshots)
    assert set(s.traceSegmentId for s in p.sink.snapshots) == set(found)
    p.close()


@pytest.mark.parametrize("path,count,burns,other", [("/a/400", 1, "burn_a", "burn_b"), ("/b/40", 49, "burn_b", "burn_a")])
def test_fifty(profiled, path, count, burns, other):
    """50 requests take turns on one thread, one of them burning in a function of its own: it is in all of that one's
    stacks on the processor, and in none of the others'."""
    p = profiled("asyncio", SW_AGENT_PROFILE_MAX_PARALLEL=64)
    p.give(task(path))
    p.ask("/a/400", *["/b/40"] * 49)
    found = p.stacks(path, count)
    assert len(found) == count
    stacks = [s for snapshots in found.values() for s in snapshots]
    busy = [s for s in stacks if not NOTE.fullmatch(s.stack.codeSignatures[-1])]
    seen = names(stacks)
    assert len(busy) >= 10 and seen[burns] >= len(busy) * 0.7 and not seen[other], (len(busy), seen)
    p.close()


def test_limits(profiled):
    """Threshold, number of requests, requests at once; what is not understood is left alone."""
    p = profiled("threads", SW_AGENT_PROFILE_MAX_PARALLEL=2)
    p.give(task("/rest/1", 1, DumpPeriod=5), task("/rest/1", 2, Duration=0), task("", 3),
           task("/rest/400", 4, MinDurationThreshold=100, MaxSamplingCount=4), task("/rest/100", 5))
    early = p.warm_up("/rest/400")

    def sampled(count):
        return {segment: snapshots for segment, snapshots in p.stacks("/rest/400", count).items()
                if snapshots and segment != early}

    p.ask("/rest/400", "/rest/400", "/rest/400")
    found = sampled(4)
    assert len(found) == 2
    assert all(len(snapshots) <= (p.lasted(segment) - 100) / 10 + 4 for segment, snapshots in found.items()), found
    p.ask("/rest/400", "/rest/400")
    assert len(sampled(6)) == 3
    p.ask("/rest/100")
    assert {s.taskId for s in p.sink.snapshots} == {"task-4"}
    said = p.close()
    assert said.count("is not understood") == 3 and said.count("is left alone: another") == 1, said


MODERN = [p for p in interpreters() if "3.12" in str(p) or "3.13" in str(p)]


@pytest.mark.parametrize("python", interpreters()[:1] + MODERN, ids=lambda p: p.parent.parent.name)
@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_children(profiled, python, kind):
    """Children in mid-sample: no warning of CPython's, the program goes on, and so do profiles, with the next request."""
    p = profiled(kind, python, PYTHONWARNINGS="error" if kind == "asyncio" else "ignore")
    p.give(task("/forks/300"))
    assert get(p.port, "/forks/300")[0] == 200
    assert get(p.port, "/forks/300")[0] == 200
    found = p.stacks("/forks/300", 2)
    assert len(found) == 2 and any(found.values())
    assert "Traceback" not in p.close()


def test_threads_that_come_and_go(profiled):
    p = profiled("threads")
    p.give(task("/churns/400"))
    p.ask("/churns/400", "/churns/400")
    for snapshots in p.stacks("/churns/400", 2).values():
        assert names(snapshots)["churns"]
    assert "Traceback" not in p.close()


@pytest.mark.parametrize("python", interpreters()[:1] + MODERN, ids=lambda p: p.parent.parent.name)
def test_end(profiled, python):
    """The interpreter ends while its threads are read: the exit status is the program's."""
    p = profiled("threads", python, arguments=["ends"])
    p.give(task("/ends/200"))
    threading.Thread(target=lambda: pytest.raises(Exception, get, p.port, "/ends/200")).start()
    assert p.program.wait(60) == 3
    assert "Traceback" not in p.bench.output(p.program).decode()


def test_deep(profiled):
    p = profiled("threads")
    p.give(task("/deep/600"))
    early = p.warm_up("/deep/600")
    p.ask("/deep/600")
    (snapshots,) = (s for segment, s in p.stacks("/deep/600", 2).items() if segment != early)
    assert snapshots
    for snapshot in snapshots:
        frames = list(snapshot.stack.codeSignatures)
        assert (frames[0] == "(more)") == (len(frames) > 200) and len(frames) <= 257 + 128  # and native ones
    assert any("burn_a" in frame for one in snapshots for frame in one.stack.codeSignatures)
    p.close()


def test_sleep_is_not_cut(profiled):
    """What a signal would end early takes its time."""
    p = profiled("threads")
    p.give(task("/sleeps/400"))
    assert get(p.port, "/sleeps/400")[0] == 200
    (snapshots,) = p.stacks("/sleeps/400").values()
    assert names(snapshots)["sleeps"]
    assert "Traceback" not in p.close()


def test_switched_off(profiled):
    p = profiled("threads", SW_AGENT_PROFILE_ACTIVE="false")
    p.ask("/rest/300", "/rest/300")
    assert p.sink.segments(2) and not p.sink.of("ProfileTask")
    p.close()
