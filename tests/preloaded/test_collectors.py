"""Several collectors: one list is shared by many programs, what one cannot take goes to another, and
one that was away is used again. One connection at a time, whichever it is."""

import time

import pytest

from sink import Sink
from test_grpc import EXIT_FLUSH_S, curl, over_grpc, web  # noqa: F401  web is a fixture

pytestmark = pytest.mark.usefixtures("any_loop")


def listed(*collectors):
    return ",".join(f"127.0.0.1:{getattr(c, 'port', c)}" for c in collectors)


def together(*collectors):
    """Ids of the segments that each has accepted."""
    return [{s.traceSegmentId for s in c.different()} for c in collectors]


def wait_for(count, *collectors, timeout=15):
    deadline = time.monotonic() + timeout
    while len(set().union(*together(*collectors))) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(set().union(*together(*collectors))) == count


@pytest.fixture
def two(ports):
    with Sink(ports()) as first, Sink(ports()) as second:
        yield first, second


def test_programs_share_a_list(bench, origin, two):
    """Each begins anywhere: that all begin alike happens once in a million times."""
    for _ in range(21):
        assert bench.run(curl(origin), env=over_grpc(listed(*two))).err == b""
    wait_for(21, *two)
    first, second = together(*two)
    assert first and second and not first & second


def test_a_program_has_one_connection(web, two):  # noqa: F811
    server = web(listed(*two)).ask(20)
    wait_for(20, *two)
    assert [] in [collector.calls for collector in two]
    server.stop()


def test_those_that_are_not_there(bench, origin, ports):
    """Wherever it begins: it comes to the one that is."""
    for there in range(3):
        with Sink(ports()) as collector:
            env = over_grpc(listed(*[collector if i == there else ports() for i in range(3)]))
            for _ in range(4):
                result = bench.run(curl(origin), env=env)
                assert (result.rc, result.err) == (0, b"") and result.seconds < EXIT_FLUSH_S + 1
            collector.segments(4)


def test_a_name_that_nobody_knows_and_numbers(web, ports):  # noqa: F811
    with Sink(ports()) as collector:
        server = web(f"no-such-host.invalid:1,[::1]:{ports()},127.0.0.1:{collector.port}").ask(5)
        collector.segments(5, timeout=20)
        server.stop()


def test_one_goes_away_and_another_takes_over(web, two):  # noqa: F811
    """And back again, three times: nothing is lost, whoever is there."""
    server, users = web(listed(*two)), []
    for turn in range(1, 5):
        before = together(*two)
        server.ask(10)
        wait_for(10 * turn, *two)
        users += [c for c, had, has in zip(two, before, together(*two)) if has - had]
        if turn < 4:
            away, other = users[-1], two[two[0] is users[-1]]
            if not other.server:
                other.start()
            away.stop()
    first, second = users[:2]
    assert users == [first, second, first, second] and first is not second
    server.stop()


def test_all_go_away_and_one_comes_back(web, two):  # noqa: F811
    server = web(listed(*two)).ask(10)
    wait_for(10, *two)
    for collector in two:
        collector.stop()
    server.ask(10)
    time.sleep(1)
    two[1].start()
    server.ask(5)
    wait_for(25, *two, timeout=20)
    server.stop(warnings=1)


@pytest.mark.slow
def test_one_that_does_not_accept(web, ports, black_hole):  # noqa: F811
    """Connecting to it takes for ever: after 5 s the next is tried."""
    with Sink(ports()) as collector:
        servers = [web(listed(black_hole, collector), name=f"web{i}").ask(3) for i in range(3)]
        collector.segments(9, timeout=15)
        for server in servers:
            server.stop()
