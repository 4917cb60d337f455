"""The grpc protocol: what arrives at a collector, and that no collector however strange disturbs a
program or makes it lose what could have been delivered.

Collectors are sink.Sink (grpcio, SkyWalking's own classes) and raw_peer.RawPeer (frames by hand).
"""

import os
import re
import socket
import subprocess
import sys
import time

import grpc
import pytest
from google.protobuf import json_format

import raw_peer
import reader
import sink
from conftest import IN_HASTE, PATIENT, Watch
from origin import get
from raw_peer import RawPeer, well
from sink import Sink

pytestmark = pytest.mark.usefixtures("any_engine")

EXIT_FLUSH_S = 0.5  # SW_AGENT_EXIT_FLUSH_TIMEOUT
SEGMENT = "TraceSegmentReportService"
MANAGEMENT = "ManagementService"
REFUSALS = [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED]


def over_grpc(address, **more):
    """For env=: to this collector. The protocol is the default one."""
    address = f"127.0.0.1:{address}" if isinstance(address, int) else address
    return {"SW_AGENT_PROTOCOL": "UNSET", "SW_AGENT_COLLECTOR_BACKEND_SERVICES": address,
            "SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD": 1, **more}


def ours(text):
    return [line for line in text.splitlines() if b"swagent" in line]


def counters(text):
    """What SW_AGENT_LOGGING_LEVEL=debug says at the end: {name: number}"""
    return {m[1].decode(): int(m[2]) for line in ours(text) if (m := re.search(rb"(\w+) (\d+)$", line))}


def curl(origin, *paths):
    return ["curl", "-sS", "--max-time", "10", *[f"http://127.0.0.1:{origin.port}/{p}" for p in paths or "x"]]


class Web:
    """web.py with us, and how it behaves."""

    def __init__(self, bench, port, program, env, name="web", origin=0):
        self.bench, self.port = bench, port
        self.process = bench.start(program("web.py", port, origin), port, name=name, env=env)
        self.asked = 0

    def ask(self, count=1, path="/hello"):
        for _ in range(count):
            status, _, body = get(self.port, f"{path}?{self.asked}")
            assert (status, body) == (200, b"hello\n")
            self.asked += 1
        return self

    def output(self):
        return self.bench.output(self.process)

    def said(self):
        """Our warnings so far."""
        return [line for line in ours(self.output()) if not re.search(rb"debug|\w+ \d+$", line)]

    def stop(self, warnings=0):
        """Ends it, once so many warnings of ours (None: any) have been said: as without us, no more
        warnings, no long delay. Returns its output."""
        deadline = time.monotonic() + 20
        while len(self.said()) < (warnings or 0) and time.monotonic() < deadline:
            time.sleep(0.02)
        watch = Watch()
        assert self.bench.stop(self.process) == 0
        assert watch.waited < EXIT_FLUSH_S + 0.45, (watch.waited, watch.seconds)
        text = self.output()
        assert text.splitlines() == ours(text), text
        assert warnings is None or len(self.said()) == warnings, text
        return text


@pytest.fixture
def collector(ports):
    with Sink(ports()) as collector:
        yield collector


@pytest.fixture
def web(bench, ports, program):
    def start(address, name="web", origin=0, **env):
        return Web(bench, ports(), program, over_grpc(address, **env), name, origin)
    return start


# ---- what arrives ----


def alike(segments):
    """Without what differs from run to run: ids, times, ports of clients."""
    def plain(segment):
        text = json_format.MessageToJson(segment, sort_keys=True)
        text = re.sub(r'("(traceId|traceSegmentId|parentTraceSegmentId|serviceInstance|'
                      r'parentServiceInstance|startTime|endTime)": )"[^"]*"', r"\1", text)
        return re.sub(r"127\.0\.0\.1:[3-6]\d{4}", "CLIENT", text)
    return sorted(plain(segment) for segment in segments)


def traffic(bench, origin, port, program, env):
    """A service that makes calls, and curl."""
    server = bench.start(program("web.py", port, origin.port), port, name="web", env=env)
    for path in "/hello?a=b", "/calls/3", "/status/404", "/chunks/3", "/calls/0":
        get(port, path)
    get(port, "/hello", ["sw8: " + reader.carrier(trace="trace-1")])
    get(port, "/upload", method="POST", body=b"x" * 10000)
    bench.run(["curl", "-sS", f"http://127.0.0.1:{port}/hello"], name="curl", env=env)
    assert bench.stop(server) == 0 and bench.output(server) == b""


@pytest.mark.usefixtures("any_loop")
def test_the_same_as_in_a_file(bench, origin, ports, program, collector):
    port = ports()
    traffic(bench, origin, port, program, {})
    wanted = bench.segments(9)
    traffic(bench, origin, port, program, over_grpc(collector.port))
    assert alike(collector.segments(9)) == alike(wanted)
    assert len(collector.all_segments(served=False)) == 9, "none came twice"
    assert all(len(c.messages) <= 100 for c in collector.calls)


@pytest.mark.usefixtures("any_loop")
def test_short_programs(bench, origin, collector):
    """They live for some milliseconds: their segments are there when they have ended."""
    for paths in ["a"], ["b", "c"]:
        result = bench.both(curl(origin, *paths), env=over_grpc(collector.port))
        assert result.waited < EXIT_FLUSH_S + 1
    segments = collector.segments(3, timeout=0.5)
    assert sorted(s.spans[0].operationName for s in segments) == ["/a", "/b", "/c"]
    assert len({s.serviceInstance for s in segments}) == 2
    assert {c.path for c in collector.calls} == {raw_peer.COLLECT,
                                                 "/skywalking.v3.ManagementService/reportInstanceProperties"}


def test_programs_without_network_connect_to_nobody(bench, collector):
    bench.both(["ls", "/"], env=over_grpc(collector.port))
    bench.both(["bash", "-c", "echo a | cat; (exit 3)"], env=over_grpc(collector.port))
    assert collector.calls == []


@pytest.mark.usefixtures("any_loop")
def test_properties_then_pings(web, collector):
    watch = Watch()
    server = web(collector.port, SW_AGENT_COLLECTOR_PROPERTIES_REPORT_PERIOD_FACTOR=3).ask()
    collector.until(lambda: len(collector.of(MANAGEMENT)) >= 5)
    assert 3.5 < watch.seconds and watch.waited < 7, "one in a second"
    server.stop()
    kinds = [c.method for c in collector.of(MANAGEMENT)][:5]
    properties, ping = "reportInstanceProperties", "keepAlive"
    assert kinds == [properties, ping, ping, properties, ping]
    [segment] = collector.segments(1)
    for message in collector.properties + collector.pings:
        assert (message.service, message.serviceInstance) == ("web", segment.serviceInstance)
    values = {p.key: p.value for p in collector.properties[0].properties}
    assert values["language"] == "python" and values["Process No."] == str(server.process.pid)
    assert values["hostname"] and values["OS Name"]
    assert len({c.peer for c in collector.calls}) == 1, "one connection for everything"


@pytest.mark.usefixtures("any_loop")
def test_an_idle_program_says_nothing_else(web, collector):
    server = web(collector.port, SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD=60, SW_AGENT_PROFILE_ACTIVE="false").ask()
    collector.segments(1)
    assert collector.until(lambda: len(collector.of(MANAGEMENT)) == 1)
    time.sleep(1.5)
    assert len(collector.calls) == 2
    server.stop()


@pytest.mark.usefixtures("any_loop")
def test_many_segments_form_batches(bench, ports, program, collector):
    server = Web(bench, ports(), program, over_grpc(collector.port))
    server.ask(500)
    collector.segments(500)
    calls = collector.of(SEGMENT)
    assert all(1 <= len(call.messages) <= 1000 for call in calls)
    assert len(calls) < 250, "far fewer calls than segments"
    assert [s.spans[0].tags for s in collector.all_segments()]
    server.stop()


@pytest.mark.usefixtures("any_loop")
def test_long_texts(web, collector):
    """More bytes than a frame and than a window, whole."""
    server = web(collector.port)
    for _ in range(150):
        server.ask(path="/hello/" + "p" * 900)
    segments = collector.segments(150)
    assert all("p" * 100 in reader.entry(s).operationName for s in segments)
    server.stop()


# ---- addresses ----


@pytest.mark.parametrize("address, host", [("localhost:{}", "127.0.0.1"), ("127.0.0.1:{}", "127.0.0.1"),
                                           ("[::1]:{}", "[::1]"), ("localhost:{}", "[::1]")])
def test_address(bench, origin, ports, address, host):
    port = ports()
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        if "::1" in host and "localhost" in address:
            assert ("::1", 0, 0, 0) in [a[4] for a in socket.getaddrinfo("localhost", 0)]
    except (OSError, AssertionError):
        if "::1" in host:
            pytest.skip("no such address here")
    with Sink(port, host) as collector:
        bench.both(curl(origin), env=over_grpc(address.format(port)))
        collector.segments(1)


@pytest.mark.parametrize("address", ["foo", "foo:bar", ":1", "host:99999", "host:0", "[::1", "::1:80:",
                                     "a b:80", "http://127.0.0.1:80", "x" * 500 + ":1", ",", "\n:1"])
def test_bad_address(bench, origin, address):
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env=over_grpc(address) | IN_HASTE)
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert len(ours(with_us.err)) == 1 and len(with_us.err) < 2000, with_us.err
    assert with_us.waited < without.seconds + 1


def test_unknown_host(bench, origin):
    """Asking for it may take as long as it likes: the program does not wait."""
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env=over_grpc("no-such-host.invalid:11800") | IN_HASTE)
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert len(ours(with_us.err)) <= 1 and with_us.waited < without.seconds + EXIT_FLUSH_S + 1


def test_unknown_host_in_a_server(web):
    server = web("no-such-host.invalid:11800").ask(3)
    time.sleep(2.5)
    server.ask(3).stop(warnings=1)


def test_default_address(bench, origin):
    try:
        collector = Sink(11800).start()
    except RuntimeError:
        pytest.skip("somebody listens on port 11800")
    with collector:
        bench.both(curl(origin), env={"SW_AGENT_PROTOCOL": "UNSET"})
        collector.segments(1)


def test_empty_address_is_the_default(bench, origin):
    """As the variable set to nothing, which scripts do."""
    with_us = bench.run(curl(origin), env=over_grpc("") | IN_HASTE)
    assert with_us.rc == 0 and len(ours(with_us.err)) <= 1


# ---- authentication ----


def test_token(web, collector):
    collector.token = "s3cret token"
    server = web(collector.port, SW_AGENT_AUTHENTICATION="s3cret token").ask(2)
    collector.segments(2)
    collector.until(lambda: collector.pings)
    assert {tuple(c.header("authentication")) for c in collector.calls} == {("s3cret token",)}
    server.stop()


def test_no_token(web, collector):
    server = web(collector.port).ask()
    collector.segments(1)
    assert {tuple(c.header("authentication")) for c in collector.calls} == {()}
    server.stop()


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("token", ["UNSET", "wrong"])
def test_wrong_token(web, collector, token, refusal):
    collector.token, collector.refusal = "right", refusal
    server = web(collector.port, SW_AGENT_AUTHENTICATION=token).ask(3)
    collector.until(lambda: len(collector.calls) >= 3)
    server.ask(3)
    text = server.stop(warnings=1)
    assert b"AUTHENTICATION" in text and b"s3cret" not in text
    assert collector.segments() == []


def test_token_is_accepted_later(web, collector):
    """An administrator mends the collector: what waited arrives."""
    collector.token = "right"
    server = web(collector.port).ask(3)
    collector.until(lambda: any(call.status == collector.refusal for call in collector.calls))
    collector.token = None
    collector.segments(3)
    server.ask()
    collector.segments(4)
    server.stop(warnings=1)


# ---- collectors that are away ----


@pytest.mark.usefixtures("any_loop")
def test_nobody_listens(web, ports):
    server = web(ports(), SW_AGENT_LOGGING_LEVEL="debug").ask(20)
    time.sleep(1.5)
    server.ask(5)
    text = server.stop(warnings=1)
    assert counters(text)["segment_produced"] == 25
    assert counters(text).get("segment_sent", 0) == 0


@pytest.mark.usefixtures("any_loop")
def test_nobody_listens_and_the_program_is_short(bench, origin, ports):
    """No waiting at the end for somebody who is not there."""
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env=over_grpc(ports()) | IN_HASTE)
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert len(ours(with_us.err)) == 1
    assert with_us.waited < without.seconds + EXIT_FLUSH_S + 0.5


def test_no_more_than_the_queue_waits(web, ports):
    port = ports()
    server = web(port, SW_AGENT_TRACE_REPORTER_MAX_BUFFER_SIZE=10, SW_AGENT_LOGGING_LEVEL="debug", **PATIENT).ask(50)
    time.sleep(0.5)
    with Sink(port) as collector:
        collector.until(lambda: len(collector.different()) >= 10)
        assert len(collector.segments()) == 10
        text = server.ask(5).stop(warnings=1)
        collector.segments(15)
    assert counters(text)["segment_dropped"] == 40, text


@pytest.mark.usefixtures("any_loop")
def test_collector_appears(web, ports):
    port = ports()
    server = web(port).ask(30)
    time.sleep(1)
    with Sink(port) as collector:
        collector.segments(30)
        assert collector.until(lambda: collector.properties)
        server.stop(warnings=1)


@pytest.mark.usefixtures("any_loop")
def test_collector_is_killed_and_comes_back(web, ports):
    """A process that dies with its connections, twice, and has not answered anything."""
    port, code = ports(), "import sink, sys, time; s = sink.Sink(int(sys.argv[1])); s.delay = 60; " \
        "s.start(); print(flush=True); time.sleep(60)"
    with Sink(port) as collector:
        server = web(port).ask(10)
        collector.segments(10)
    for _ in range(2):
        other = subprocess.Popen([sys.executable, "-c", code, str(port)], stdout=subprocess.PIPE,
                                 cwd=os.path.dirname(sink.__file__))
        other.stdout.readline()
        time.sleep(2)  # they are connected
        other.kill()
        other.wait()
        server.ask(10)
    collector.start()
    try:
        server.ask(10)
        collector.segments(40)
        server.stop(warnings=len(ours(server.output())))  # a warning or none
    finally:
        collector.stop()
    assert len(ours(server.output())) <= 1, server.output()


@pytest.mark.usefixtures("any_loop")
def test_no_status_means_again(web, ports):
    """A collector that took the messages and went away without a word: they come again."""
    def speechless(connection):
        connection.greet()
        while len([s for stream in connection.streams.values() for s in stream.segments()]) < 20:
            connection.segment_stream().answered = True  # it never is

    with RawPeer(ports(), speechless, well) as peer:
        server = web(peer.port, SW_AGENT_LOGGING_LEVEL="debug", **PATIENT).ask(20)
        peer.segments(20)
        assert sum(len(stream.segments()) for stream in peer.streams) >= 40
        text = server.ask().stop()
        peer.segments(21)
    assert counters(text)["resent"] >= 20 and counters(text)["segment_sent"] == 21, text


def test_status_that_means_later(web, collector):
    collector.statuses[SEGMENT] = grpc.StatusCode.UNAVAILABLE
    server = web(collector.port).ask(10)
    collector.until(lambda: any(c.service == SEGMENT and c.status for c in collector.calls))
    collector.statuses.clear()
    collector.segments(10)
    server.stop()


STATUSES = [s for s in grpc.StatusCode if s not in (grpc.StatusCode.OK, grpc.StatusCode.UNIMPLEMENTED)]


@pytest.mark.parametrize("status, hasty", [(s, False) for s in STATUSES] + [(s, True) for s in STATUSES[::5]])
def test_any_status_once(web, collector, status, hasty):
    """Whatever is wrong for a moment, the next attempt delivers; also when it is said before
    anything was read."""
    collector.statuses[SEGMENT], collector.hasty = status, hasty
    server = web(collector.port).ask(5)
    assert collector.until(lambda: any(c.service == SEGMENT and c.status for c in collector.calls))
    collector.statuses.clear()
    collector.segments(5)
    server.ask()
    collector.segments(6)
    server.stop(warnings=len(ours(server.output())))
    assert len(ours(server.output())) <= 1


def test_a_status_for_ever(web, collector):
    """No flood of attempts, no flood of lines, and the server serves on."""
    collector.statuses[SEGMENT] = grpc.StatusCode.INTERNAL
    server = web(collector.port).ask(20)
    time.sleep(3)
    server.ask(20)
    assert len([c for c in collector.calls if c.service == SEGMENT]) < 20
    server.stop(warnings=1)


@pytest.mark.parametrize("missing", [{MANAGEMENT}, {SEGMENT}, {MANAGEMENT, SEGMENT}])
def test_unimplemented(web, collector, missing):
    collector.missing = missing
    server = web(collector.port).ask(10)
    if SEGMENT not in missing:
        collector.segments(10)
    assert collector.until(lambda: collector.unknown)
    time.sleep(1.5)
    server.ask()
    server.stop(warnings=len(ours(server.output())))
    assert len(ours(server.output())) <= 1
    if MANAGEMENT not in missing:
        assert collector.until(lambda: collector.properties)


def test_a_service_that_appears_later(web, ports):
    """A proxy without its route says UNIMPLEMENTED or 404, too: another connection, another chance."""
    port = ports()
    with Sink(port) as collector:
        collector.missing = {SEGMENT}
        server = web(port).ask(3)
        assert collector.until(lambda: any(SEGMENT in path for path in collector.unknown))
        collector.stop()
        collector.missing = set()
        collector.start()
        time.sleep(2.5)
        server.ask(5)
        assert collector.until(lambda: len(collector.different()) >= 5)
        server.stop(warnings=None)
    assert len(ours(server.output())) <= 1


@pytest.mark.usefixtures("any_loop")
def test_slow_answers(web, collector):
    """Many calls at once, none is repeated."""
    collector.delay = 1.5
    server = web(collector.port)
    for _ in range(5):
        server.ask(10)
        time.sleep(0.3)
    collector.segments(50)
    assert len(collector.all_segments(served=False)) == 50
    server.stop()


@pytest.mark.usefixtures("any_loop")
def test_answer_that_does_not_come_at_the_end(web, collector):
    """The end of a program waits for its bound and no longer."""
    collector.delay = 10
    server = web(collector.port).ask(3)
    assert collector.until(lambda: len(collector.different(served=False)) == 3)
    server.stop()


@pytest.mark.parametrize("milliseconds", [0, 200, 1500])
def test_flush_timeout(bench, origin, collector, milliseconds):
    collector.delay = 10
    result = bench.run(curl(origin), env=over_grpc(collector.port,
                                                   SW_AGENT_EXIT_FLUSH_TIMEOUT=milliseconds))
    without = bench.run(curl(origin), agent=False)
    assert (result.rc, result.out, result.err) == (without.rc, without.out, without.err)
    assert result.waited < without.seconds + milliseconds / 1000 + 0.5
    if milliseconds:
        assert collector.until(lambda: len(collector.different(served=False)) == 1)


@pytest.mark.usefixtures("any_loop")
def test_deaf_collector(web, ports):
    """It reads nothing: windows fill, the program goes on, later everything arrives."""
    with Sink(ports(), options=sink.TINY_WINDOWS) as collector:
        collector.deaf.set()
        server = web(collector.port)
        for _ in range(150):
            server.ask(path="/hello/" + "p" * 900)
        time.sleep(0.5)
        collector.deaf.clear()
        collector.segments(150)
        server.stop()


@pytest.mark.usefixtures("any_loop")
@pytest.mark.parametrize("options", [sink.OLD_AGE, sink.TINY_WINDOWS, sink.ONE_STREAM, sink.NO_TABLE],
                         ids=["old-age", "tiny-windows", "one-stream", "no-table"])
def test_peculiar_server(web, ports, options):
    with Sink(ports(), options=options) as collector:
        server = web(collector.port)
        for _ in range(8):
            server.ask(25)
            time.sleep(0.2)
        collector.segments(200)
        server.stop()


# ---- forks ----


@pytest.mark.usefixtures("any_loop")
def test_workers(bench, workers, collector):
    """Each worker is an instance of its own, on a connection of its own."""
    server, port = workers(over_grpc(collector.port))
    count = 0
    while len({s.serviceInstance for s in collector.different()}) < 3 and count < 200:
        get(port, "/back/1")
        count += 1
        time.sleep(0.02)
    segments = collector.segments(count)
    by_peer = {}
    for call in collector.of(SEGMENT):
        by_peer.setdefault(call.peer, set()).update(s.serviceInstance for s in call.messages)
    assert all(len(instances) == 1 for instances in by_peer.values()), by_peer
    assert len({s.serviceInstance for s in segments}) == 3
    assert {p.serviceInstance for p in collector.properties} >= {s.serviceInstance for s in segments}
    bench.stop(server)


@pytest.mark.native  # test_core.py has its like
@pytest.mark.usefixtures("any_loop")
@pytest.mark.slow
def test_forks_under_load(bench, origin, compiled, collector):
    """Nothing is lost, neither of the parent that reports while it forks nor of its children."""
    result = bench.run([compiled("forks"), origin.port, 200], name="forks",
                       env=over_grpc(collector.port) | {"SW_AGENT_EXIT_FLUSH_TIMEOUT": 20000}, timeout=100)
    assert (result.rc, result.err) == (0, b""), result
    made = len(origin.requests)
    collector.segments(made)
    names = {s.serviceInstance for s in collector.different()}
    assert sum("-child(" in name for name in names) == 20
    assert all(len({s.serviceInstance for s in c.messages}) <= 1 for c in collector.of(SEGMENT))


@pytest.mark.native  # test_core.py has its like
@pytest.mark.usefixtures("any_loop")
def test_forks_while_nobody_listens(bench, origin, compiled, ports):
    result = bench.run([compiled("forks"), origin.port, 20], env=over_grpc(ports()), timeout=60)
    assert result.rc == 0 and len(ours(result.err)) <= 3, result


@pytest.mark.native  # test_core.py has its like
@pytest.mark.usefixtures("any_loop")
def test_a_child_does_not_use_the_parents_connection(bench, origin, collector):
    url = f"http://127.0.0.1:{origin.port}"
    script = ("import os, urllib.request as u\n"
              f"def ask(p): u.urlopen('{url}/' + p).read()\n"
              "ask('before')\nimport time; time.sleep(1.5)\n"
              "if os.fork() == 0:\n    ask('child'); os._exit(0)\n"
              "os.wait(); ask('after')\n")
    result = bench.both(["/usr/bin/python3", "-c", script], env=over_grpc(collector.port))
    assert result.err == b""
    segments = collector.segments(3)
    by_peer = {s.spans[0].operationName: c.peer for c in collector.of(SEGMENT) for s in c.messages}
    assert by_peer["/child"] not in (by_peer["/before"], by_peer["/after"])
    assert len({s.serviceInstance for s in segments}) == 2


# ---- whose traffic ----


def test_own_traffic_is_not_traced(bench, origin, collector):
    """The connection to the collector is nobody's call."""
    bench.both(curl(origin, "a"), env=over_grpc(collector.port))
    for segment in collector.segments(1):
        assert not any(str(collector.port) in span.peer for span in segment.spans)


def test_program_with_its_own_grpc(bench, ports, collector):
    """A program that speaks gRPC itself, to the same collector."""
    script = ("import sys; sys.path.insert(0, %r)\n"
              "import grpc, sink\n"
              "from skywalking.protocol.management import Management_pb2 as m, Management_pb2_grpc as g\n"
              "with grpc.insecure_channel('127.0.0.1:%d') as c:\n"
              "    g.ManagementServiceStub(c).keepAlive(m.InstancePingPkg(service='theirs'))\n"
              "print('done')\n") % (os.path.dirname(sink.__file__), collector.port)
    result = bench.both([sys.executable, "-c", script], env=over_grpc(collector.port))
    assert result.out == b"done\n"
    assert [p.service for p in collector.pings if p.service == "theirs"] == ["theirs"] * 2
