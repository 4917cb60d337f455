"""Several collectors: one list is shared by many programs, what one cannot take goes to another, and
one that was away is used again. One connection at a time, whichever it is."""

import time

import pytest

from conftest import IN_HASTE, Watch
from raw_peer import COLLECT, RawPeer
from sink import Sink
from test_grpc import EXIT_FLUSH_S, counters, curl, ours, over_grpc, web  # noqa: F401  web is a fixture
from test_peers import headers, says, silent, status
from test_python import PYENV

pytestmark = pytest.mark.usefixtures("any_loop")


def listed(*collectors):
    return ",".join(f"127.0.0.1:{getattr(c, 'port', c)}" for c in collectors)


def together(*collectors):
    """Ids of the segments that each has accepted."""
    return [{s.traceSegmentId for s in c.different()} for c in collectors]


def wait_for(count, *collectors, timeout=40):
    deadline = time.monotonic() + timeout
    while len(set().union(*together(*collectors))) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(set().union(*together(*collectors))) == count


@pytest.fixture
def two(ports):
    with Sink(ports()) as first, Sink(ports()) as second:
        yield first, second


@pytest.mark.usefixtures("any_engine")
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


@pytest.mark.usefixtures("any_engine")
def test_those_that_are_not_there(bench, origin, ports):
    """Wherever it begins: it comes to the one that is."""
    for there in range(3):
        with Sink(ports()) as collector:
            env = over_grpc(listed(*[collector if i == there else ports() for i in range(3)]))
            for _ in range(4):
                result = bench.run(curl(origin), env=env)
                assert (result.rc, result.err) == (0, b"") and result.waited < EXIT_FLUSH_S + 1
            collector.segments(4)


def test_a_name_that_nobody_knows_and_numbers(web, ports):  # noqa: F811
    with Sink(ports()) as collector:
        server = web(f"no-such-host.invalid:1,[::1]:{ports()},127.0.0.1:{collector.port}").ask(5)
        collector.segments(5)
        server.stop()


@pytest.mark.usefixtures("any_engine")
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
    wait_for(25, *two)
    server.stop(warnings=1)


@pytest.mark.slow
def test_one_that_does_not_accept(web, ports, black_hole):  # noqa: F811
    """Connecting to it takes for ever: after 5 s the next is tried."""
    with Sink(ports()) as collector:
        servers = [web(listed(black_hole, collector), name=f"web{i}").ask(3) for i in range(3)]
        collector.segments(9)
        for server in servers:
            server.stop()


# ---- one that is there and no good ----


def always(how):
    """A script: every call of every connection is answered so."""
    def script(connection):
        connection.greet()
        while True:
            how(connection, connection.ended_stream())
    return script


def closes(connection):
    """At once, unread."""


def without_answers(connection):
    """It speaks HTTP/2 and takes everything, and its calls never end."""
    connection.greet()
    while True:
        connection.step()


NO_GOOD = {
    "garbage": says(bytes(range(256)) * 20), "another-server": says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "closes": closes, "http-503": always(headers((":status", "503"))),
    **{f"status-{n}": always(status(n)) for n in (2, 8, 13, 14, 16)},
}


def met(web, listed, bad, good):  # noqa: F811
    """Programs that ask five times each, until one of them has begun at a bad one. All of theirs must
    come to the good one. Returns the programs."""
    servers = []
    while not bad.connections and len(servers) < 20:
        servers.append(web(listed, name=f"web{len(servers)}", SW_AGENT_LOGGING_LEVEL="debug").ask(5))
        good.segments(5 * len(servers))
    assert bad.connections, "of many that begin anywhere, one began here"
    return servers


def all_sent(server, count, resent=0):
    text = server.stop(warnings=None)
    numbers = counters(text)
    assert len([line for line in ours(text) if b"warning" in line]) <= 1, text
    assert numbers["segment_sent"] == count and numbers.get("resent", 0) <= resent, text
    return numbers


@pytest.mark.parametrize("bad", NO_GOOD)
def test_one_that_is_no_good(web, ports, bad):  # noqa: F811
    """Left for the next address at once: nothing is lost, waits long, or comes twice."""
    with RawPeer(ports(), NO_GOOD[bad]) as broken, Sink(ports()) as good:
        watch = Watch()
        servers = met(web, listed(broken, broken, good), broken, good)
        assert watch.waited < 3 * len(servers)
        for server in servers:
            server.ask(5)
        good.segments(10 * len(servers))
        for server in servers:
            all_sent(server, 10, resent=2 * 5)  # the first five, to each of the two, if it closes late
        assert len(broken.connections) <= 2 * len(servers), "not asked again and again"
        assert not broken.accepted


@pytest.mark.parametrize("bad", ["garbage", "status-14"])
def test_addresses_of_one_name(web, ports, two_addresses, bad):  # noqa: F811
    """Of two the one is there and no good, the other is well. (The order of one family is drawn.)"""
    address, env = two_addresses
    port, met, programs = ports(), [], 0
    with Sink(port) as good:
        while not met and programs < 30:
            with RawPeer(port, NO_GOOD[bad], host=address) as broken:
                server = web(f"collectors:{port}", name=f"web{programs}", SW_AGENT_LOGGING_LEVEL="debug", **env).ask(10)
                programs += 1
                good.segments(10 * programs)
                met = broken.connections
                all_sent(server, 10, resent=10)
        assert met


@pytest.mark.slow
def test_one_that_is_silent(web, ports):  # noqa: F811
    """Not even HTTP/2's first words: five seconds."""
    with RawPeer(ports(), silent) as broken, Sink(ports()) as good:
        for server in met(web, listed(broken, broken, good), broken, good):
            all_sent(server, 5, resent=10)


@pytest.mark.slow
def test_one_that_never_answers_a_call(web, ports):  # noqa: F811
    """A call has twenty seconds; what had no answer is counted as sent again. Of four programs that begin
    anywhere hardly all begin at the good one."""
    with RawPeer(ports(), without_answers) as broken, Sink(ports()) as good:
        servers = [web(listed(broken, good), name=f"web{i}", SW_AGENT_LOGGING_LEVEL="debug").ask(5) for i in range(4)]
        wait_for(20, good)
        again = [all_sent(server, 5, resent=100).get("resent", 0) for server in servers]
        began = [c for c in broken.connections if any(s.path == COLLECT for s in c.streams.values())]
        assert sum(count >= 5 for count in again) == len(began), again


@pytest.mark.parametrize("bad", ["garbage", "closes", "status-14"])
def test_none_that_is_good(web, ports, bad):  # noqa: F811
    """Each is asked, with pauses that grow; what is left is counted."""
    with RawPeer(ports(), NO_GOOD[bad]) as one, RawPeer(ports(), NO_GOOD[bad]) as other:
        server = web(listed(one, other), SW_AGENT_LOGGING_LEVEL="debug").ask(10)
        time.sleep(4)
        assert one.connections and other.connections
        assert len(one.connections) + len(other.connections) <= 10, "it waits between rounds"
        numbers = counters(server.stop(warnings=None))
        assert numbers["segment_left"] == 10


def test_a_token_that_one_of_them_takes(web, two):  # noqa: F811
    two[0].token = "mine"
    two[1].token = "another"
    server = web(listed(*two), SW_AGENT_AUTHENTICATION="mine").ask(10)
    two[0].segments(10)
    assert len(ours(server.stop(warnings=None))) <= 1


def test_a_service_that_one_of_them_has(web, two):  # noqa: F811
    two[1].missing = {COLLECT.split(".")[-1].split("/")[0]}
    server = web(listed(*two), SW_AGENT_LOGGING_LEVEL="debug").ask(10)
    two[0].segments(10)
    all_sent(server, 10)


# ---- and back ----


def users_of(collectors, action):
    """Which of them got something while this was done."""
    before = together(*collectors)
    action()
    return [c for c, had, has in zip(collectors, before, together(*collectors)) if has - had]


def test_back_to_the_first(web, two):  # noqa: F811
    """The one that a program began with is used again once it is there again, though the other one is
    well; nothing is lost or comes twice."""
    server = web(listed(*two), SW_AGENT_LOGGING_LEVEL="debug")
    [home] = users_of(two, lambda: (server.ask(10), wait_for(10, *two)))
    other = two[two[0] is home]
    home.stop()
    assert users_of(two, lambda: (server.ask(10), wait_for(20, *two))) == [other]
    home.start()
    asked, deadline = 20, time.monotonic() + 40
    while time.monotonic() < deadline and home not in users_of(
            two, lambda: (server.ask(5), wait_for(asked + 5, *two))):
        asked += 5
        time.sleep(0.2)
    asked += 5
    assert users_of(two, lambda: (server.ask(10), wait_for(asked + 10, *two))) == [home]
    all_sent(server, asked + 10)
    assert len(home.all_segments()) + len(other.all_segments()) == asked + 10, "none came twice"


@pytest.mark.parametrize("bad", ["garbage", "closes", "status-14", "silent", "without answers"])
def test_not_back_to_one_that_is_no_good(web, ports, bad):  # noqa: F811
    """It is tried, by a heartbeat, and costs nothing but that."""
    port = ports()
    script = {"silent": silent, "without answers": without_answers}.get(bad) or NO_GOOD[bad]
    with Sink(ports()) as good:
        server = web(f"127.0.0.1:{port}," * 2 + listed(good), SW_AGENT_LOGGING_LEVEL="debug").ask(10)
        good.segments(10)
        with RawPeer(port, script) as broken:
            for turn in range(2, 6):
                time.sleep(0.7)
                server.ask(10)
                good.segments(10 * turn)
            assert len(broken.connections) <= 8
            all_sent(server, 50)
            assert not broken.accepted and not any(s.path == COLLECT for s in broken.streams)
        assert len(good.all_segments()) == 50, "none came twice"


FORKING = """
import os, socket, sys, time
def ask():
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as to:
        to.sendall(b"GET /x HTTP/1.1\\r\\nHost: o\\r\\nConnection: close\\r\\n\\r\\n")
        while to.recv(4096): pass
took = []
for turn in range(80):
    ask()
    begin = time.monotonic()
    child = os.fork()
    if not child:
        os._exit(len(os.listdir("/proc/self/fd")) - 1)
    took.append(time.monotonic() - begin)
    assert os.waitpid(child, 0)[1] >> 8 == 3, "descriptors of a child"
    time.sleep(0.05)
took.sort()
assert took[40] < 0.5, took  # a busy machine takes some longer; who waits for an answer, waits for seconds
"""


@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_forks_while_the_first_is_looked_for(bench, ports, origin, version):
    """It takes connections and says nothing, so that a second connection is nearly always there: forks
    neither wait for it nor give it to a child, and nothing is lost. For 3.12 our thread leaves each time."""
    python = next(PYENV.glob(f"{version}.*/bin/python"), None) or pytest.skip(f"no Python {version} here")
    looked_for, port, programs = False, ports(), 0
    with Sink(ports()) as good:
        env = over_grpc(f"127.0.0.1:{port}," * 7 + listed(good))
        while not looked_for and programs < (8 if version == "3.11" else 1):  # for 3.12 there may be no time
            server = bench.start([python, "-c", FORKING, origin.port], env=env)
            assert good.until(lambda: len(good.different()) >= 80 * programs + 5)
            with RawPeer(port, silent) as silent_one:
                assert server.wait(60) == 0, bench.output(server)
                looked_for = silent_one.connections
            programs += 1
            good.segments(80 * programs)
            assert bench.output(server) == b"" and len(good.all_segments()) == 80 * programs
        assert looked_for or version != "3.11"


@pytest.mark.parametrize("what", ["", "u", "ust"])
def test_descriptors_while_the_first_is_looked_for(bench, ports, origin, compiled, what):
    """The program closes and takes all numbers, in a table of ours or in its own: what is its own stays so."""
    port = ports()
    with Sink(ports()) as good:
        env = over_grpc(f"127.0.0.1:{port}," * 3 + listed(good))
        argv = [*([compiled("older"), what] if what else []), compiled("limits"), origin.port, "close_all"]
        without = bench.run(argv, agent=False)
        with RawPeer(port, silent):
            result = bench.run(argv, env=env | IN_HASTE)
        assert (result.rc, result.out) == (without.rc, without.out) and len(ours(result.err)) <= 2, result
