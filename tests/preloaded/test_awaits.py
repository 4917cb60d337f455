"""What a suspended request waits for: its chain of awaits, on every interpreter, and of no other request."""

import collections
import pathlib
import re
import subprocess
import sys

import pytest

import greenlets
import test_profiles
from conftest import HERE
from test_frames import interpreters
from test_profiles import NOWHERE, Profiled, task

PROGRAM = HERE / "programs" / "suspended.py"
FUTURE, GATHERING = "(_asyncio.Future)", "(_GatheringFuture)"

# What stands below `handle`, outermost first, each waiting for the next. A name in brackets depends on the version;
# behind a bar another task begins, which may not be known yet.
CHAINS = {
    "chain": "chain middle innermost sleep",
    "task": "task middle innermost sleep",
    "gather": "gather | middle innermost sleep",
    "asyncgen": "asyncgen values innermost sleep",
    "comprehension": "comprehension [<listcomp>] values innermost sleep",
    "asend": "asend values innermost sleep",
    "asyncwith": "asyncwith __aenter__ innermost sleep",
    "dunder": "dunder __await__ innermost sleep",
    "wait_for": "wait_for wait_for | innermost sleep",
    "wait": "wait wait _wait | innermost sleep",
    "shield": "shield | innermost sleep",
    "group": "group __aexit__ [_aexit] | innermost sleep",
    "queue": "queue get",
    "event": "event wait",
    "lock": "lock __aenter__ acquire",
    "future": "future",
    "behind": "behind innermost sleep",
}
ALSO = {("gather", "short", "sleep", FUTURE)}
PYTHONS = [p for p in interpreters() if "3.6" not in str(p)]
def some(*versions):
    return [p for p in PYTHONS if p.parent.parent.name.startswith(("usr", *versions))]


UVLOOP = [p for p in [*PYTHONS, pathlib.Path(sys.executable)]
          if subprocess.run([p, "-c", "import uvloop"], capture_output=True).returncode == 0]
GEVENT = greenlets.found("gevent")


class Suspended(Profiled):
    def chains(self, path, count=1):
        """By segment: how often each chain was seen, by names of functions below `handle`, and what is awaited."""
        found = {}
        for segment, snapshots in self.stacks(path, count).items():
            found[segment] = collections.Counter(below(s.stack.codeSignatures) for s in snapshots)
        return found

    def chains_of(self, path, *names):
        """Of a request for all of them, after a short one: what a profile begins with takes time on a busy machine."""
        self.ask(f"{path}?{names[0]}")
        self.ask(f"{path}?" + ",".join(names))
        return max(self.chains(path, 2).values(), key=lambda seen: sum(seen.values()))


def below(frames):
    """Names are qualified from 3.11 on."""
    names = [f if f.startswith("(") else re.sub(r"^.*\.|: \d+$", "", f) for f in frames]
    return tuple(names[len(names) - names[::-1].index("handle"):]) if "handle" in names else tuple(names)


def variants(words):
    return {tuple(w.strip("[]") for w in words if w != "|"), tuple(w for w in words if w[0] not in "[|")}


def wanted(name):
    return {(*chain, FUTURE) for chain in variants(CHAINS[name].split())}


def check(seen, names):
    """Each waited as it should; nothing is said that is not so."""
    whole = ALSO.union(*map(wanted, names))
    ready = {(*chain[:i], "(ready)") for chain in whole for i in range(len(chain))}
    apart = {(*chain, note) for name in names if "|" in CHAINS[name]
             for chain in variants(CHAINS[name].partition("|")[0].split()) for note in (FUTURE, GATHERING)}
    for chain in seen:
        assert chain[-1][0] != "(" or chain in whole | ready | apart | {(NOWHERE,)} or chain[0] in ("cycle", "serve"), \
            (chain, seen)
    for name in names:
        assert sum(seen[chain] for chain in wanted(name)), (name, seen.most_common())


@pytest.fixture
def suspended(bench, ports, monkeypatch):
    made = []
    monkeypatch.setattr(test_profiles, "PROGRAM", PROGRAM)

    def make(*args, **options):
        made.append(Suspended(bench, ports, *args, **options))
        return made[-1]
    yield make
    for one in made:
        one.sink.stop()


def shapes(python, how="", factory=None):
    """3.7 does not number tasks; 3.13 names all that a factory makes "None". Which is the request's own is not known."""
    groups = subprocess.run([python, "-c", "import asyncio; asyncio.TaskGroup"], capture_output=True).returncode == 0
    numbers = how != "tasks" or "3.7" not in str(python) and ("3.13" not in str(python) or not factory)
    return [name for name in CHAINS if (name != "group" or groups) and (name != "behind" or numbers)]


@pytest.mark.parametrize("python,factory", [(p, "derived") for p in some("3.8", "3.13")] + [
    (p, "eager") for p in some("3.12", "3.13") if "usr" not in str(p)],
    ids=lambda p: p if isinstance(p, str) else p.parent.parent.name)
@pytest.mark.parametrize("how", ["streams", "tasks"])
def test_factories(suspended, python, factory, how):
    """Tasks of a class of the program's own, and those that begin where they are made."""
    run_shapes(suspended("asyncio", python, arguments=[how, factory]), python, how, factory)


def run_shapes(p, python, how, factory=None):
    names = shapes(python, how, factory)
    p.give(task("/work/200"))
    seen = p.chains_of("/work/200", *names)
    check(seen, names)
    assert seen[(NOWHERE,)] <= sum(seen.values()) / 10, seen
    p.close()


@pytest.mark.parametrize("python", PYTHONS, ids=lambda p: p.parent.parent.name)
@pytest.mark.parametrize("how", ["streams", "tasks"])
def test_shapes(suspended, python, how):
    run_shapes(suspended("asyncio", python, arguments=[how]), python, how)


@pytest.mark.parametrize("python", UVLOOP, ids=lambda p: p.parent.parent.name)
@pytest.mark.parametrize("how", ["streams", "tasks"])
def test_uvloop(suspended, python, how):
    run_shapes(suspended("uvloop", python, arguments=[how]), python, how)


@pytest.mark.parametrize("server", ["uvicorn", "uvloop", "fastapi", "aiohttp"])
def test_servers(suspended, monkeypatch, server):
    """A handler is found below whatever the server makes of it."""
    monkeypatch.setattr(test_profiles, "PROGRAM", PROGRAM.with_name("suspended_servers.py"))
    p = suspended(server, pathlib.Path(sys.executable))
    p.give(task("/work/200"))
    names = shapes(sys.executable)
    seen = p.chains_of("/work/200", *names)
    check(collections.Counter({c: n for c, n in seen.items() if c and c[0] in names or c[-1] == FUTURE}), names)
    p.close()


@pytest.mark.parametrize("python", some("3.9", "3.10", "3.12", "3.13"), ids=lambda p: p.parent.parent.name)
def test_plain_yield(suspended, python):
    """A generator on the stack of one that yields is not what that waits for."""
    p = suspended("asyncio", python)
    p.give(task("/work/900"))
    p.ask("/work/900?yields", "/work/900?burn")
    seen = sum(p.chains("/work/900", 2).values(), collections.Counter())
    assert seen[("yields", "__await__", "(ready)")], seen
    assert not seen[("yields", "__await__", "others", "(ready)")], seen
    p.close()


@pytest.mark.parametrize("python", some("3.8", "3.13"), ids=lambda p: p.parent.parent.name)
def test_starved(suspended, python):
    """What it waited for is there, but the loop is busy: it is ready."""
    p = suspended("asyncio", python)
    p.give(task("/work/400"))
    p.ask("/work/400?starved")
    (seen,) = p.chains("/work/400").values()
    assert seen[("starved", "(ready)")], seen
    p.close()


@pytest.mark.parametrize("python", some("3.9"), ids=lambda p: p.parent.parent.name)
def test_deep(suspended, python):
    """The innermost are kept."""
    p = suspended("asyncio", python)
    p.give(task("/work/300"))
    p.ask("/work/300?recursion")
    (snapshots,) = p.stacks("/work/300").values()
    deep = [list(s.stack.codeSignatures) for s in snapshots if s.stack.codeSignatures[-1] == FUTURE]
    assert deep
    for frames in deep:
        assert frames[0] == "(more)" and "innermost" in frames[-3] and "recursion" in frames[1], frames
    p.close()


@pytest.mark.parametrize("python,how", [*((p, "streams") for p in PYTHONS), *((p, "tasks") for p in some("3.12"))],
                         ids=lambda p: p if isinstance(p, str) else p.parent.parent.name)
def test_interleaved(suspended, python, how):
    """50 requests on one thread, one of which burns: all that ran is its, and the others show their awaits."""
    p = suspended("asyncio", python, arguments=[how], SW_AGENT_PROFILE_MAX_PARALLEL=9)
    names = ["chain", "gather", "dunder", "queue", "event", "lock", "asyncgen"]
    p.give(task("/work/800"))
    p.ask("/work/800?burn", *(f"/work/800?{names[i % 7]}" for i in range(7)), *(f"/more/800?{n}" for n in names * 6))
    burnt = [s for s in p.chains("/work/800", 8).values()]
    ran = [seen for seen in burnt if any("burn" in chain for chain in seen)]
    assert len(ran) == 1 and any("burn_here" in chain for chain in ran[0]), burnt
    kinds = set()
    for seen in burnt:
        if seen is not ran[0] and seen:
            whose = {chain[0] for chain in seen if chain[-1] == FUTURE} - {"serve"}
            assert len(whose) == 1, seen
            check(seen, whose)
            kinds |= whose
    assert len(kinds) >= 4, burnt
    p.close()


GREENLETS = {"chain": "chain middle [<listcomp>] innermost", "through_c": "through_c middle [<listcomp>] innermost",
             "spawned": "spawned", "gathered": "gathered", "queue": "queue", "event": "event", "apart": "apart"}
SWITCHED = "(greenlet.switch)"
# What requests that take turns are in, each in its own.
REQUESTS = [{*GREENLETS} - {"apart"}, {"burn"}, {"apart"}]


def switched(name, chain):
    words = GREENLETS[name].split()
    return chain[-1:] == (SWITCHED,) and any(chain[:len(v)] == v for v in variants(words))


def served(suspended, monkeypatch, python, enough):
    """Stacks of these requests, by segment; again until there are enough: a busy machine may grant us few."""
    monkeypatch.setattr(test_profiles, "PROGRAM", PROGRAM.with_name("suspended_gevent.py"))
    p = suspended("gevent", python, SW_AGENT_PROFILE_MAX_PARALLEL=9)
    p.give(task("/work/300"))
    for i in range(1, 4):  # a task may have nine
        p.ask(*("/work/300?" + ",".join(sorted(names)) for names in REQUESTS))
        found = p.stacks("/work/300", 3 * i)
        if enough([below(s.stack.codeSignatures) for snapshots in found.values() for s in snapshots]):
            break
    else:
        raise AssertionError(found)
    p.close()
    return [[list(s.stack.codeSignatures) for s in snapshots] for snapshots in found.values()]


@pytest.mark.parametrize("python", GEVENT, ids=lambda p: p.parent.parent.name)
def test_greenlets(suspended, monkeypatch, python):
    """What a suspended greenlet stands in; requests that take turns do not mix."""
    def enough(chains):
        return (all(any(switched(name, chain) for chain in chains) for name in GREENLETS) and
                any("burn" in chain and SWITCHED not in chain for chain in chains))
    for stacks in served(suspended, monkeypatch, python, enough):
        whose = {name for frames in stacks for name in below(frames)} & set.union(*REQUESTS)
        assert any(whose <= names for names in REQUESTS), stacks


@pytest.mark.parametrize("python", GEVENT, ids=lambda p: p.parent.parent.name)
def test_the_hub_works_for_no_request(suspended, monkeypatch, python):
    """gevent's loop waits for all; connections are accepted there, but what it does is no request's."""
    def enough(chains):
        return len(chains) > 30
    for stacks in served(suspended, monkeypatch, python, enough):
        assert not any(re.search(r"hub\.py\.(Hub\.)?run: ", frame) for frames in stacks for frame in frames), stacks
