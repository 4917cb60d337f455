"""Meters of what the program does: loops, endpoints, peers, connections, names, descriptors, the GIL.
Each test makes the program do a known thing and reads what the last period says of it."""

import socket
import ssl
import sys
import threading
import time

import pytest

import reader
from authority import Authority
from conftest import SYSTEM_PYTHON, Watch
from programs import shakes

PERIOD_S = 1


class Metered:
    """A server, and what its meters say."""

    def __init__(self, bench, argv, port=None, env=None):
        self.bench, self.port = bench, port
        self.program = bench.start(argv, port, name="metered",
                                   env={"SW_AGENT_METER_REPORTER_PERIOD": PERIOD_S, **(env or {})})

    def ask(self, path):
        with socket.create_connection(("127.0.0.1", self.port), 10) as talk:
            talk.sendall(f"GET /{path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
            answer = talk.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
        return answer

    def readings(self):
        """{(name, labels): [value of each period]}; of a histogram {least: count}."""
        found = {}
        for _, kind, meter in reader.records(self.bench.records):
            if kind != "meter":
                continue
            one = meter.singleValue if meter.HasField("singleValue") else meter.histogram
            key = (one.name, *(label.value for label in one.labels))
            found.setdefault(key, []).append(
                one.value if meter.HasField("singleValue") else
                {value.bucket: value.count for value in one.values})
        return found

    def wait(self, name, *labels, until=lambda value: True, timeout=40):
        """The newest value, once there is one that will do."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            values = self.readings().get((name, *labels), [])
            if values and until(values[-1]):
                return values[-1]
            time.sleep(0.1)
        pytest.fail(f"{name} {labels}: {values}; there is {sorted(self.readings())}")


@pytest.fixture
def blocks(bench, port, program):
    return Metered(bench, [*program("blocks.py"), port], port)


def slowest(times):
    """The least that the longest of them may have taken; on a busy machine it may be more than was asked for."""
    return max(least for least, count in times.items() if count)


def test_endpoints_are_counted_with_their_time(blocks):
    for path in ("hello", "hello", "sleep/60", "hello"):
        blocks.ask(path)
    assert blocks.wait("swagent_endpoint_requests", "/hello", until=lambda n: n >= 3) == 3
    assert blocks.wait("swagent_endpoint_requests", "/sleep/60") == 1
    assert blocks.wait("swagent_endpoint_errors", "/hello") == 0
    times = blocks.wait("swagent_endpoint_time", "/sleep/60", until=lambda t: sum(t.values()))
    assert sum(times.values()) == 1 and slowest(times) >= 50


def test_endpoints_without_number_are_bounded(blocks):
    for n in range(130):
        blocks.ask(f"user{n}")
    blocks.wait("swagent_endpoint_requests", "other", until=lambda n: n == 30)
    names = {key[1] for key in blocks.readings() if key[0] == "swagent_endpoint_requests"}
    assert len(names) == 101 and "/user0" in names and "/user120" not in names


def test_loops_say_how_busy_they_are(blocks):
    watch = Watch()
    for _ in range(4):
        blocks.ask("burn/50")
    name = "python3/0"
    took = watch.seconds * 1000
    busy = blocks.wait("swagent_loop_busy_time", name, until=lambda ms: ms >= 200)
    assert busy < took + 1000
    times = blocks.wait("swagent_loop_turn_time", name,
                        until=lambda t: sum(count for least, count in t.items() if least >= 50) >= 4)
    assert times[0] > 4, "and the short ones beside"
    longest = max(blocks.readings()[("swagent_loop_longest", name)])
    assert 50 <= longest < took
    # 4 turns of 50 ms in a period of 1 s: 4 * 50 * 50 / 2 / 1000 = 5 ms, in one period or two
    assert 4 <= sum(blocks.readings()[("swagent_loop_lag", name)]) <= 100 * (longest / 50) ** 2


def test_turns_grow_and_nothing_else_when_idle(blocks):
    blocks.ask("hello")
    before = blocks.wait("swagent_loop_busy_time", "python3/0")
    time.sleep(2 * PERIOD_S + 0.5)
    after = blocks.readings()[("swagent_loop_busy_time", "python3/0")][-1]
    assert after - before < 500


def test_connections_and_bytes(blocks):
    answer = blocks.ask("hello")
    with socket.create_connection(("127.0.0.1", blocks.port)) as held:
        held.sendall(b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\n")
        assert held.recv(4096) == answer
        assert blocks.wait("swagent_connections", "accepted", until=lambda n: n == 1) == 1
        assert blocks.wait("swagent_connections_begun", "accepted", until=lambda n: n == 2) == 2
    blocks.wait("swagent_connections", "accepted", until=lambda n: n == 0)
    assert blocks.wait("swagent_bytes", "out") == 2 * len(answer)
    assert blocks.wait("swagent_bytes", "in") == len(b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\n") * 2
    assert blocks.wait("swagent_accept_queue_limit") == 100
    assert max(blocks.readings()[("swagent_accept_queue",)]) == 1


def test_what_the_hooks_take(blocks):
    """Told from one in a thousand of our sections, of which a request has five and more; some us each."""
    for _ in range(1200):
        blocks.ask("hello")
    took_ms = blocks.wait("swagent_hook_time")
    assert 0 < took_ms < 1200, "less than a millisecond each"


def test_an_accept_queue_that_grows_is_seen(blocks):
    """While the loop is held nobody accepts; when it is free again the kernel tells how many wait."""
    holder = threading.Thread(target=blocks.ask, args=["sleep/2000"])
    holder.start()
    time.sleep(0.5)
    waiting = [socket.create_connection(("127.0.0.1", blocks.port)) for _ in range(20)]
    holder.join()
    blocks.wait("swagent_accept_queue", until=lambda n: n >= 20)
    for talk in waiting:
        talk.close()


LATE = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
talk, _ = server.accept()          # this one is waited for
talk.send(b"x")
talk.recv(1)
time.sleep(0.3)
talk, _ = server.accept()
time.sleep(60)
"""


@pytest.mark.parametrize("says_something", [False, True])
def test_how_long_a_connection_waited(bench, port, says_something):
    metered = Metered(bench, [SYSTEM_PYTHON, "-c", LATE, port], port)
    with socket.create_connection(("127.0.0.1", port)) as talk:
        assert talk.recv(1) == b"x"
        assert metered.wait("swagent_accept_wait") < 250
        talk.sendall(b"x")
        with socket.create_connection(("127.0.0.1", port)) as late:
            if says_something:
                late.sendall(b"x")
            metered.wait("swagent_accept_wait", until=lambda ms: ms >= 250)
        metered.wait("swagent_accept_wait", until=lambda ms: ms == 0)


@pytest.mark.parametrize("loop", [[], ["uvloop"]])
def test_how_long_they_waited_for_a_loop(bench, port, program, loop):
    blocks = Metered(bench, [*program("blocks.py", *loop, python=sys.executable), port], port)
    holder = threading.Thread(target=blocks.ask, args=["sleep/1000"])
    holder.start()
    time.sleep(0.3)
    with socket.create_connection(("127.0.0.1", port)):
        holder.join()
        blocks.wait("swagent_accept_wait", until=lambda ms: ms >= 250)


def test_descriptors_in_use(bench, port):
    many = ("import os, socket, sys, time; server = socket.create_server(('127.0.0.1', int(sys.argv[1])));"
            "talk, _ = server.accept(); files = [os.open('/dev/null', 0) for _ in range(50)];"
            "print(len(os.listdir('/proc/self/fd')) - 1, flush=True); time.sleep(60)")
    metered = Metered(bench, [SYSTEM_PYTHON, "-c", many, port], port)
    with socket.create_connection(("127.0.0.1", port)):
        count = metered.wait("swagent_descriptors", until=lambda n: n >= 50)
        assert abs(count - int(bench.output(metered.program))) <= 1
        assert metered.wait("swagent_descriptors_limit") >= count


CALLER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
talk, _ = server.accept()
for name in "localhost", "localhost", "nobody.invalid":
    try:
        socket.getaddrinfo(name, 80)
    except OSError:
        pass
with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as out:
    out.sendall(b"GET /x HTTP/1.1\\r\\nHost: peer:1\\r\\n\\r\\n")
    out.recv(4096)
    talk.recv(1)
time.sleep(60)
"""


def test_names_and_peers(bench, port, origin):
    metered = Metered(bench, [SYSTEM_PYTHON, "-c", CALLER, port, origin.port], port)
    with socket.create_connection(("127.0.0.1", port)) as talk:
        # of an address no name is asked for, but getaddrinfo is
        assert metered.wait("swagent_dns_lookups", until=lambda n: n >= 4) == 4
        assert metered.wait("swagent_dns_failures") == 1
        assert metered.wait("swagent_dns_time") >= 0
        assert ("swagent_dns_longest",) in metered.readings()
        assert metered.wait("swagent_peer_calls", "peer:1", until=lambda n: n == 1)
        assert metered.wait("swagent_connections", "made") == 1
        talk.sendall(b"x")
        metered.wait("swagent_connections", "made", until=lambda n: n == 0)


def test_tls_is_counted_where_it_begins(blocks):
    context = ssl.create_default_context()
    with socket.create_connection(("127.0.0.1", blocks.port)) as talk, pytest.raises(OSError):
        talk.settimeout(0.5)  # the server waits for the end of a head
        context.wrap_socket(talk, server_hostname="here")
    assert blocks.wait("swagent_tls_connections", "accepted") == 1
    assert blocks.wait("swagent_connections", "accepted", until=lambda n: n == 0) == 0
    assert blocks.wait("swagent_tls_failures", "accepted", until=lambda n: n) == 1
    assert blocks.wait("swagent_tls_handshakes", "accepted") == 0


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authorities")
    return Authority(folder, "ours"), Authority(folder, "theirs")


def counts(metered, role, done, failed, unknown=0):
    metered.wait("swagent_tls_connections", role, until=lambda n: n == done + failed + unknown)
    metered.wait("swagent_tls_handshakes", role, until=lambda n: n == done)
    metered.wait("swagent_tls_failures", role, until=lambda n: n == failed)
    time.sleep(PERIOD_S + 0.2)
    assert metered.readings()[("swagent_tls_handshakes", role)][-1] == done
    assert metered.readings()[("swagent_tls_failures", role)][-1] == failed
    assert (metered.readings()[("swagent_tls_handshake_time", role)][-1] > 0) == (done > 0)
    metered.wait("swagent_connections", role, until=lambda n: n <= 1)


def tries(call, ours, theirs, port, version):
    """One that succeeds, one that does not trust the server."""
    call(port, version, ours)
    with pytest.raises(ssl.SSLError):
        call(port, version, theirs)


@pytest.mark.parametrize("kind", ["threads", "asyncio", "uvloop"])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tls_that_is_served(bench, port, program, authorities, kind, version):
    ours, theirs = (authority.path for authority in authorities)
    server = authorities[0].issue(f"server-{port}")
    argv = program("shakes.py", "serve", kind, port, server.chain, server.key, python=sys.executable)
    metered = Metered(bench, argv, port)
    tries(shakes.call, ours, theirs, port, version)
    shakes.hang_up(port)
    shakes.call(port, version, ours)
    with pytest.raises(ssl.SSLError):
        context = ssl.create_default_context(cafile=ours)
        context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # the key is not RSA
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection(("127.0.0.1", port)) as plain:
            context.wrap_socket(plain, server_hostname="localhost")
    counts(metered, "accepted", 2, 3)


@pytest.mark.parametrize("kind", ["threads", "asyncio", "uvloop"])
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tls_that_asks_for_certificates(bench, port, program, authorities, kind, version):
    ours, theirs = authorities
    server, good, bad = (which.issue(f"{name}-{port}", use=name) for which, name in
                         ((ours, "server"), (ours, "client"), (theirs, "client")))
    argv = program("shakes.py", "serve", kind, port, server.chain, server.key, ours.path, python=sys.executable)
    metered = Metered(bench, argv, port)
    shakes.call(port, version, ours.path, good.chain, good.key)
    for chain in [bad.chain, bad.key], []:
        with pytest.raises(OSError):
            shakes.call(port, version, ours.path, *chain)
    # a loop closes without the alert: in 1.3 the server might as well have nothing to say
    counts(metered, "accepted", 1, *((0, 2) if kind != "threads" and version == "TLSv1_3" else (2, 0)))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tls_that_is_called(bench, ports, program, authorities, version):
    ours, theirs = authorities
    port, plain, mutual = ports(), ports(), ports()
    server, good, bad = (which.issue(f"{name}-{port}", use=name) for which, name in
                         ((ours, "server"), (ours, "client"), (theirs, "client")))
    for peer, files in (plain, []), (mutual, [ours.path]):
        bench.start(program("shakes.py", "serve", "threads", peer, server.chain, server.key, *files),
                    peer, agent=False)
    peers = [(plain, version, ours.path), (plain, version, theirs.path), (plain, ""), (plain, version, ours.path),
             (mutual, version, ours.path, good.chain, good.key), (mutual, version, ours.path, bad.chain, bad.key),
             (mutual, version, ours.path)]
    metered = Metered(bench, program("shakes.py", "call", port, *(",".join(map(str, peer)) for peer in peers)), port)
    with socket.create_connection(("127.0.0.1", port)):
        counts(metered, "made", 3, 4)


FIGHT = """
import socket, sys, threading, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
talk, _ = server.accept()
def work():
    end = time.monotonic() + 1
    while time.monotonic() < end:
        sum(range(1000))
threads = [threading.Thread(target=work) for _ in range(int(sys.argv[2]))]
begin = time.monotonic()
for thread in threads: thread.start()
for thread in threads: thread.join()
talk.sendall(b"%d" % ((time.monotonic() - begin) * 1000))
talk.recv(1)
time.sleep(60)
"""


@pytest.mark.parametrize("threads, least_ms, others", [(3, 1200, 2), (1, 0, 0)])
def test_threads_wait_for_the_gil(bench, port, threads, least_ms, others):
    """Of three threads that compute for a second, two wait at any moment."""
    metered = Metered(bench, [SYSTEM_PYTHON, "-c", FIGHT, port, threads], port)
    with socket.create_connection(("127.0.0.1", port), 60) as talk:
        took = int(talk.recv(100))
        time.sleep(2 * PERIOD_S)
        waited = metered.readings().get(("swagent_gil_wait_time",), [0])[-1]
        assert least_ms <= waited <= others * took + 300


def test_meters_can_be_switched_off(bench, port, program):
    metered = Metered(bench, [*program("blocks.py"), port], port,
                      env={"SW_AGENT_METER_REPORTER_ACTIVE": "false"})
    metered.ask("hello")
    time.sleep(2 * PERIOD_S)
    assert metered.readings() == {}


FORKED = """
import os, socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
talk, _ = server.accept()
answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\ndone"
def serve():
    talk.recv(4096)
    talk.sendall(answer)
serve()
time.sleep(0.5)                    # our thread is there, and stays
if os.fork():
    time.sleep(60)
serve()
serve()
time.sleep(60)
"""


def newest_of_each_process(bench, name):
    return {path: meter.singleValue.value for path, kind, meter in reader.records(bench.records)
            if kind == "meter" and meter.singleValue.name == name}


def test_a_child_counts_anew(bench, port):
    Metered(bench, [SYSTEM_PYTHON, "-c", FORKED, port], port)
    with socket.create_connection(("127.0.0.1", port)) as talk:
        for _ in range(3):
            talk.sendall(b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\n")
            assert talk.recv(4096).endswith(b"done")
            time.sleep(0.3)
        deadline = time.monotonic() + 40
        while (counts := sorted(newest_of_each_process(bench, "swagent_endpoint_requests").values())) != [1, 2] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert counts == [1, 2]
