"""The contract of all transports, as a grid: each way of reporting x each loop x in the clear, by TLS,
by TLS that knows both sides x what a collector or what is in between may do. Each cell runs the same
program and asks the same things:

    the program is undisturbed     the same output and status, and not much later
    each record is accounted for   made = delivered + lost + left, by our counters at the end
    nothing comes twice            but what is counted as sent again, because no answer had come
    it is said, and once           what an operator has to know

All selected cells run beforehand, some at once: each is one program, which mostly sleeps. A new way of
reporting is a row of WAYS.
"""

import collections
import contextlib
import pathlib
import ssl
from concurrent import futures

import pytest

import conftest
from authority import Authority
from conftest import Bench, IN_HASTE, PATIENT, SYSTEM_PYTHON, free_port, has_io_uring
from far import Far
from http_sink import HttpSink, SEGMENTS, reply, well
from kafka_broker import Broker
from origin import Origin
from raw_peer import RawPeer, well as well_spoken
from sink import Sink
from test_grpc import EXIT_FLUSH_S, counters, ours
from test_peers import says

FOLDER = pathlib.Path(conftest.LIB.split(":")[-1]).parent
EACH, TURNS = 10, 2
PAUSE_S, LAST_PAUSE_S = 0.8, 2.4  # the last one is longer than the first back-off, 1.2 s
AT_ONCE = 12
GARBAGE = bytes(range(256)) * 20
LOOPS = ["epoll", "io_uring"]
SECURITIES = ["plain", "tls", "mtls"]
SITUATIONS = ["up", "down", "slow", "reset", "token", "garbage", "far"]

Cell = collections.namedtuple("Cell", "way loop security situation")

Found = collections.namedtuple("Found", "accepted kept")  # ids; kept: also what had no answer


class Papers:
    """Who vouches for whom."""

    def __init__(self, folder):
        self.authority = Authority(folder)
        self.server = self.authority.issue("server")
        self.client = self.authority.issue("client", "DNS:program", "client", subject="/CN=program")

    def context(self, security, protocols=()):
        if security == "plain":
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server.chain, self.server.key)
        if protocols:
            context.set_alpn_protocols(protocols)
        if security == "mtls":
            context.load_verify_locations(self.authority.path)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def credentials(self, security):
        return None if security == "plain" else self.server.credentials(
            wants=self.authority if security == "mtls" else None)

    def files(self, security):
        """(authority, chain, key); None where there is none."""
        return (self.authority.path if security != "plain" else None,
                *((self.client.chain, self.client.key) if security == "mtls" else (None, None)))


def ids(segments):
    return [s.traceSegmentId for s in segments]


def reset_unanswered(connection):
    """It has the whole batch, which therefore must come again and be counted (torn ones: test_grpc)."""
    connection.greet()
    connection.segment_stream()
    connection.sock.setsockopt(conftest.socket.SOL_SOCKET, conftest.socket.SO_LINGER, bytes([1, 0, 0, 0] + [0] * 4))


class Way:
    """One way of reporting."""

    securities, situations = SECURITIES, SITUATIONS
    plugin = None  # without it there is nothing to test; TLS for gRPC has one more
    takes_meters = True
    token_is_lost = False  # what is refused for the token is lost, not kept for a better time

    def env(self, port, papers, security):
        raise NotImplementedError

    def server(self, port, papers, security, situation):
        """A context manager: what serves in this situation."""
        raise NotImplementedError

    def reached_through(self, server, port):
        """The server's clients come from a port in front of it."""

    def found(self, server):
        """What has arrived, Found."""
        raise NotImplementedError


class Backend(Way):
    """SW_AGENT_COLLECTOR_BACKEND_SERVICES, by a protocol that TLS goes around."""

    def __init__(self, protocol, plugin=None, **more):
        self.protocol, self.plugin, self.more = protocol, plugin, more

    def env(self, port, papers, security):
        ca, chain, key = papers.files(security)
        return {"SW_AGENT_PROTOCOL": self.protocol, "SW_AGENT_AUTHENTICATION": "s3cret",
                "SW_AGENT_COLLECTOR_BACKEND_SERVICES": f"localhost:{port}", "SW_AGENT_SSL_TRUSTED_CA_PATH": ca or "UNSET",
                "SW_AGENT_SSL_CERT_CHAIN_PATH": chain or "UNSET", "SW_AGENT_SSL_KEY_PATH": key or "UNSET", **self.more}


class Grpc(Backend):
    def server(self, port, papers, security, situation):
        if situation in ("reset", "garbage"):
            scripts = [reset_unanswered, well_spoken] if situation == "reset" else [says(GARBAGE)]
            return RawPeer(port, *scripts, tls=papers.context(security, ["h2"]))
        collector = Sink(port, tls=papers.credentials(security))
        collector.delay = 0.5 if situation == "slow" else 0
        collector.token = "another" if situation == "token" else "s3cret"
        return collector

    def found(self, server):
        if isinstance(server, Sink):
            served = ids(server.all_segments())
            return Found(served, served + [s.traceSegmentId for c in server.of("TraceSegmentReportService", "collect", False)
                                           if c.status is None for s in c.messages])
        return Found(ids(server.accepted), ids(server.accepted) + ids(
            s for stream in server.streams if not stream.answered for s in stream.segments()))


class Http(Backend):
    token_is_lost, takes_meters = True, False

    def server(self, port, papers, security, situation):
        script = {"slow": HttpSink.wait(0.5), "token": lambda r: reply(401), "garbage": lambda r: GARBAGE,
                  "reset": self.reset_once()}.get(situation, well)
        return HttpSink(port, script, tls=papers.context(security))

    @staticmethod
    def reset_once():
        met = []

        def script(request):
            if request.path == SEGMENTS and not met:
                met.append(request)
                request.reset()
            return reply()
        return script

    def found(self, server):
        assert all(r.header("authentication") == ["s3cret"] for r in server.requests)
        return Found(ids(server.all_segments()), ids(
            m for r in server.of(SEGMENTS, accepted=False) if r.accepted or not r.answered for m in r.messages))


class Garbage:
    """Says it to whoever comes, and that is all."""

    def __init__(self, port, tls):
        self.port, self.tls = port, tls

    def __enter__(self):
        self.listener = conftest.socket.create_server(("127.0.0.1", self.port))
        self.pool = futures.ThreadPoolExecutor(4)
        self.pool.submit(self.accept)
        return self

    def __exit__(self, *_):
        self.listener.shutdown(conftest.socket.SHUT_RDWR)
        self.listener.close()
        self.pool.shutdown()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.pool.submit(self.serve, self.listener.accept()[0])

    def serve(self, sock):
        sock.settimeout(2)
        with contextlib.suppress(OSError), self.tls.wrap_socket(sock, server_side=True) if self.tls else sock as sock:
            sock.sendall(GARBAGE)
            sock.recv(65536)


class Kafka(Way):
    plugin = "kafka"
    PREFIX = "SW_KAFKA_REPORTER_CONFIG_"

    def env(self, port, papers, security):
        ca, chain, key = papers.files(security)
        more = {"ssl_cafile": ca, "ssl_certfile": chain, "ssl_keyfile": key, "sasl_mechanism": "PLAIN",
                "security_protocol": "SASL_PLAINTEXT" if security == "plain" else "SASL_SSL",
                "sasl_plain_username": "agent", "sasl_plain_password": "s3cret",
                # so that an attempt falls into the program's life; librdkafka's own go up to 10 s
                "reconnect_backoff_max_ms": 500}
        return {"SW_AGENT_PROTOCOL": "kafka", "SW_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
                **{self.PREFIX + k: v for k, v in more.items() if v}}

    def server(self, port, papers, security, situation):
        if situation == "garbage":
            return Garbage(port, papers.context(security))
        broker = Broker(port, tls=papers.context(security))
        broker.users = {"agent": "another" if situation == "token" else "s3cret"}
        broker.delay = 0.5 if situation == "slow" else 0
        broker.cut = 1 if situation == "reset" else 0
        return broker

    def reached_through(self, server, port):
        server.port = port  # as it tells its clients

    def found(self, server):
        taken = [] if isinstance(server, Garbage) else ids(server.all_segments())
        return Found(taken, taken)


class File(Way):
    securities, situations = ["plain"], ["up", "down"]

    def env(self, port, papers, security):
        return {}


WAYS = {"grpc": Grpc("grpc"), "core": Grpc("grpc", "grpc", SW_AGENT_GRPC_ENGINE="core"),
        "http": Http("http", "http"), "kafka": Kafka(), "file": File()}

CELLS = [Cell(name, loop, security, situation) for name, way in WAYS.items() for loop in LOOPS
         for security in way.securities for situation in way.situations]


# ---- one cell ----


def played(cell, bench, origin, env):
    """The end of a program is not to wait for a collector that is no good, and has all the time that it needs
    for one that is."""
    env = env | (PATIENT if cell.situation in ("up", "slow", "reset", "far") else IN_HASTE)
    return bench.run([SYSTEM_PYTHON, "-S", conftest.HERE / "programs" / "steady.py", origin.port, EACH, PAUSE_S, LAST_PAUSE_S],
                     env={"SW_AGENT_LOGGING_LEVEL": "debug", "SW_AGENT_LOOP": cell.loop,
                          "SW_AGENT_METER_REPORTER_PERIOD": 1, **env})  # so that there are other kinds, too


def to_collector(cell, bench, papers, origin):
    """(what the program left, what has arrived)"""
    way, port, server = WAYS[cell.way], free_port(), None
    with contextlib.ExitStack() as stack:
        if cell.situation == "far":
            behind = free_port()
            server = stack.enter_context(way.server(behind, papers, cell.security, cell.situation))
            way.reached_through(server, port)
            stack.enter_context(Far(port, behind, 0.05))
        elif cell.situation != "down":
            server = stack.enter_context(way.server(port, papers, cell.security, cell.situation))
        result = played(cell, bench, origin, way.env(port, papers, cell.security))
        found = way.found(server) if server else Found([], [])
        if cell.way == "kafka" and cell.situation == "token":
            server.failures.clear()
        return result, found


def to_file(cell, bench, papers, origin):
    missing = {"SW_AGENT_FILE_PATH": "/dev/full"} if cell.situation == "down" else {}
    result = played(cell, bench, origin, missing)
    found = ids(bench.segments())
    return result, Found(found, found)


def play(cell, folder, papers, origin, without):
    bench = Bench(folder)
    try:
        result, found = (to_file if cell.way == "file" else to_collector)(cell, bench, papers, origin)
    finally:
        bench.close()
    plugin = WAYS[cell.way].plugin
    assert not plugin or f"libswagent-{plugin}.so: ".encode() in result.err, "it was used"
    check_program(result, without)
    check_kinds(counters(result.err), WAYS[cell.way].takes_meters)
    check_accounts(counters(result.err), found)
    check_cell(cell, counters(result.err), found, warnings(result.err))


def warnings(text):
    return [line.decode() for line in ours(text) if b"warning" in line]


def check_program(result, without):
    theirs = b"".join(line for line in result.err.splitlines(True) if b"swagent" not in line)
    assert (result.rc, result.out, theirs) == (without.rc, without.out, without.err), result
    assert result.waited < without.seconds + EXIT_FLUSH_S + 1.5, "it waits for nobody"
    assert b"s3cret" not in result.err


def check_kinds(counted, takes_meters):
    for kind in {name.removesuffix("_produced") for name in counted if name.endswith("_produced")}:
        made, *became = (counted.get(f"{kind}_{what}", 0) for what in ("produced", "sent", "left", "lost"))
        assert made == sum(became), (kind, counted)
    assert bool(counted.get("meter_produced")) == takes_meters, "there are other kinds, too"


def check_accounts(counted, found):
    made, sent, left, dropped, resent = (counted.get(name, 0) for name in (
        "segment_produced", "segment_sent", "segment_left", "segment_dropped", "resent"))
    assert made + dropped == EACH * TURNS, counted
    accepted = len(set(found.accepted))
    assert sent <= accepted <= sent + left, (counted, accepted)
    assert len(found.kept) - len(set(found.kept)) <= resent, (counted, len(found.kept), len(set(found.kept)))


def check_cell(cell, counted, found, said):
    everything = EACH * TURNS
    counted = {name: counted.get(name, 0) for name in ("segment_sent", "segment_left", "segment_lost", "resent")}
    if cell.situation in ("up", "slow", "far"):
        assert counted == {"segment_sent": everything, "segment_left": 0, "segment_lost": 0, "resent": 0}
        assert said == []
    elif cell.situation == "reset":
        assert counted["segment_sent"] == everything and len(said) <= 1, (counted, said)
    else:
        gone = cell.way == "file" or (cell.situation == "token" and WAYS[cell.way].token_is_lost)
        assert counted["segment_lost" if gone else "segment_left"] == everything, counted
        assert not found.accepted and len(said) == 1, said


# ---- all of them ----


def why_not(cell):
    """Why it cannot be played on this machine; empty: it can."""
    way, secured = WAYS[cell.way], cell.security != "plain"
    needed = [way.plugin] if way.plugin else ["tls"] if secured else []
    missing = [name for name in needed if not (FOLDER / f"libswagent-{name}.so").exists()]
    if missing:
        return f"the plug-in {missing[0]} is not built"
    return "no io_uring here" if cell.loop == "io_uring" and not has_io_uring() else ""


@pytest.fixture(scope="module")
def cells(request, tmp_path_factory):
    """Of each cell that was selected, the future of its play."""
    chosen = [item.callspec.params["cell"] for item in request.session.items if getattr(item, "originalname", "") == "test_cell"]
    folder = tmp_path_factory.mktemp("cells")
    papers, bench = Papers(tmp_path_factory.mktemp("papers")), Bench(tmp_path_factory.mktemp("without"))
    with Origin(free_port()) as origin, futures.ThreadPoolExecutor(AT_ONCE) as pool:
        without = bench.run([SYSTEM_PYTHON, "-S", conftest.HERE / "programs" / "steady.py", origin.port, EACH, PAUSE_S,
                             LAST_PAUSE_S], agent=False)
        assert without.rc == 7 and without.out.count(b" 200 ") == EACH * TURNS

        def start(cell):
            own = folder / "-".join(cell)
            own.mkdir()
            return pool.submit(play, cell, own, papers, origin, without)

        running = {cell: start(cell) for cell in chosen if not why_not(cell)}
        yield running
        for future in running.values():
            future.cancel()


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_cell(cells, cell):
    if cell not in cells:
        pytest.skip(why_not(cell))
    cells[cell].result()
