"""TLS to the collector: what arrives through it, whom we trust, what is said when we do not, and that
no program notices.

Certificates are made here (authority.py). Collectors are sink.Sink behind grpcio's own TLS, and
raw_peer.RawPeer behind Python's.
"""

import os
import shutil
import socket
import ssl
import struct
import sys
import threading
import time

import pytest

import sink
from authority import Authority, openssl
from conftest import LIB
from origin import get
from raw_peer import RawPeer, well
from sink import Sink
from test_grpc import EXIT_FLUSH_S, SEGMENT, Web, counters, curl, ours, over_grpc
from test_python import every

pytestmark = pytest.mark.usefixtures("any_engine")


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="session")
def identity(authority):
    return authority.issue("server")


@pytest.fixture(scope="session")
def client(authority):
    return authority.issue("client", "DNS:program", "client", subject="/CN=program")


@pytest.fixture
def collector(ports, identity):
    with Sink(ports(), tls=identity.credentials()) as collector:
        yield collector


@pytest.fixture
def strict(ports, identity, authority):
    """A collector that wants to know who we are."""
    with Sink(ports(), tls=identity.credentials(wants=authority)) as collector:
        yield collector


@pytest.fixture
def trusting(authority):
    """For env=: to this collector, trusting the authority."""
    def env(address, **more):
        return over_grpc(address, **{"SW_AGENT_SSL_TRUSTED_CA_PATH": authority.path, **more})
    return env


@pytest.fixture
def web(bench, ports, program, trusting):
    def start(address, name="web", origin=0, **env):
        return Web(bench, ports(), program, trusting(address, **env), name, origin)
    return start


def ourselves(identity):
    return {"SW_AGENT_SSL_CERT_CHAIN_PATH": identity.chain, "SW_AGENT_SSL_KEY_PATH": identity.key}


def said(server, *texts):
    """One warning of ours, with these texts; segments made and none delivered."""
    text = server.stop(warnings=1)
    [line] = [line for line in ours(text) if b"warning" in line]
    assert all(part in line.decode() for part in texts), line
    numbers = counters(text)
    assert numbers["segment_produced"] == server.asked and "segment_sent" not in numbers, text
    return line.decode()


def refused(server, *texts):
    """The same of what OpenSSL found, which C core has its own words for."""
    return said(server, *(() if server.bench.engine == "core" else texts))


# ---- what arrives ----


@pytest.mark.usefixtures("any_loop")
def test_delivered(web, collector):
    server = web(collector.port).ask(30)
    collector.segments(30)
    server.ask(30)
    collector.segments(60)
    assert len(collector.all_segments(served=False)) == 60, "none came twice"
    assert len({c.peer for c in collector.calls}) == 1, "one connection"
    server.stop()


@pytest.mark.usefixtures("any_loop")
def test_short_programs(bench, origin, collector, trusting):
    result = bench.both(curl(origin, "a", "b"), env=trusting(collector.port))
    assert result.waited < EXIT_FLUSH_S + 1
    collector.segments(2, timeout=0.5)


def test_scheme_and_protocol(web, ports, identity):
    with RawPeer(ports(), tls=identity.context()) as peer:
        server = web(peer.port).ask(3)
        peer.segments(3)
        assert peer.connections[0].sock.selected_alpn_protocol() == "h2"
        server.stop()
    assert {dict(s.headers)[":scheme"] for s in peer.streams} == {"https"}


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_version(web, ports, identity, newest):
    with RawPeer(ports(), tls=identity.context(newest=newest)) as peer:
        server = web(peer.port).ask(3)
        peer.segments(3)
        assert peer.connections[0].sock.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[newest]
        server.stop()


@pytest.mark.native  # C core wants ALPN
def test_a_server_without_alpn(web, ports, identity):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.chain, identity.key)
    with RawPeer(ports(), tls=context) as peer:
        server = web(peer.port).ask(3)
        peer.segments(3)
        server.stop()


@pytest.mark.usefixtures("any_loop")
def test_byte_by_byte(web, ports, identity):
    """Each answer in many records of one byte."""
    def piecewise(connection):
        connection.piecewise = True
        well(connection)

    with RawPeer(ports(), piecewise, tls=identity.context()) as peer:
        server = web(peer.port).ask(3)
        peer.segments(3)
        server.stop()


@pytest.mark.usefixtures("any_loop")
def test_more_than_the_socket_takes(web, ports, identity):
    """A collector that reads late: sealed bytes wait for it, nothing is lost or torn."""
    def late(connection):
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.greet(INITIAL_WINDOW=1 << 24)
        connection.window(0, 1 << 24)
        time.sleep(3)
        connection.serve()

    with RawPeer(ports(), late, tls=identity.context()) as peer:
        peer.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server = web(peer.port)
        for _ in range(400):
            server.ask(path="/hello/" + "p" * 3500)
        peer.segments(400)
        server.stop()


def test_token(web, collector):
    collector.token = "s3cret token"
    server = web(collector.port, SW_AGENT_AUTHENTICATION="s3cret token").ask(2)
    collector.segments(2)
    server.stop()


def test_wrong_token(web, collector):
    collector.token = "right"
    server = web(collector.port, SW_AGENT_AUTHENTICATION="wrong", SW_AGENT_LOGGING_LEVEL="debug").ask(2)
    collector.until(lambda: len(collector.calls) >= 2)
    assert "SW_AGENT_AUTHENTICATION" in said(server)


# ---- whom we trust ----


@pytest.mark.parametrize("address", ["localhost:{}", "127.0.0.1:{}"])
def test_names_and_numbers(bench, origin, collector, trusting, address):
    bench.both(curl(origin), env=trusting(address.format(collector.port)))
    collector.segments(1, timeout=1)


def test_ipv6(bench, origin, ports, identity, trusting):
    try:
        collector = Sink(ports(), "[::1]", tls=identity.credentials()).start()
    except RuntimeError:
        pytest.skip("no IPv6 here")
    with collector:
        bench.both(curl(origin), env=trusting(f"[::1]:{collector.port}"))
        collector.segments(1, timeout=1)


@pytest.mark.native  # C core tells numbers, too
def test_name_is_told_to_the_server(web, ports, identity):
    names, context = [], identity.context()
    context.sni_callback = lambda sock, name, _: names.append(name)
    with RawPeer(ports(), tls=context) as peer:
        for address in "localhost", "127.0.0.1":
            server = web(f"{address}:{peer.port}").ask()
            peer.until(lambda: len(peer.connections) == len(names) and peer.accepted)
            server.stop()
    assert names == ["localhost", None], "numbers are not names"


@pytest.mark.parametrize("names, address", [
    ("DNS:elsewhere.example", "localhost"), ("DNS:localhost", "127.0.0.1"),
    ("IP:127.0.0.1", "localhost"), ("DNS:*.localhost", "localhost"), ("IP:127.0.0.2", "127.0.0.1")])
def test_another_ones_certificate(web, ports, authority, names, address):
    with Sink(ports(), tls=authority.issue("other", names).credentials()) as collector:
        server = web(f"{address}:{collector.port}", SW_AGENT_LOGGING_LEVEL="debug").ask(3)
        time.sleep(2.5)
        line = refused(server.ask(3), "its certificate is not one of " + address)
        assert "SW_AGENT_SSL_TRUSTED_CA_PATH" in line and collector.calls == []


def test_wrong_authority(web, ports, stranger):
    with Sink(ports(), tls=stranger.issue("server").credentials()) as collector:
        server = web(collector.port, SW_AGENT_LOGGING_LEVEL="debug").ask(3)
        refused(server, "its certificate is refused")
        assert collector.calls == []


def test_expired(web, ports, authority):
    with Sink(ports(), tls=authority.issue("old", days=-1).credentials()) as collector:
        server = web(collector.port, SW_AGENT_LOGGING_LEVEL="debug").ask(3)
        refused(server, "its certificate is refused: certificate has expired")


def test_an_authority_in_between(bench, origin, ports, authority, trusting):
    """The server sends it along; or it is the one that is trusted."""
    below = Authority(bench.tmp, "between", above=authority)
    identity = below.issue("below")
    with Sink(ports(), tls=identity.credentials()) as collector:
        for path in authority.path, below.path:
            bench.both(curl(origin), env=trusting(collector.port, SW_AGENT_SSL_TRUSTED_CA_PATH=path))
        collector.segments(2, timeout=1)


def test_the_certificate_itself_is_trusted(bench, origin, collector, identity, trusting):
    bench.both(curl(origin), env=trusting(collector.port, SW_AGENT_SSL_TRUSTED_CA_PATH=identity.chain))
    collector.segments(1, timeout=1)


@pytest.mark.parametrize("turn", range(3))
def test_the_next_collector(bench, origin, ports, collector, stranger, trusting, turn):
    """Of two the one that cannot be trusted gets nothing, whichever is tried first."""
    with Sink(ports(), tls=stranger.issue("wrong").credentials()) as wrong:
        bench.both(curl(origin), env=trusting(f"localhost:{wrong.port},localhost:{collector.port}"))
        collector.segments(1, timeout=1)
        assert wrong.calls == []


FORCED = {"SW_AGENT_FORCE_TLS": "true", "SW_AGENT_SSL_TRUSTED_CA_PATH": "UNSET"}


def test_the_system_does_not_trust_it(web, collector):
    server = web(collector.port, **FORCED, SW_AGENT_LOGGING_LEVEL="debug").ask(3)
    refused(server, "its certificate is refused: unable to get local issuer certificate")
    assert collector.calls == []


def test_store_file(bench, origin, collector, authority, trusting):
    bench.both(curl(origin), env=trusting(collector.port, **FORCED, SSL_CERT_FILE=authority.path))
    collector.segments(1, timeout=1)


def test_store_folder(bench, origin, collector, authority, tmp_path, trusting):
    folder = tmp_path / "certs"
    folder.mkdir()
    shutil.copy(authority.path, folder / "one.pem")
    openssl("rehash", folder)
    bench.both(curl(origin), env=trusting(collector.port, **FORCED, SSL_CERT_DIR=folder))
    collector.segments(1, timeout=1)


def test_neither_is_asked_where_an_authority_is_named(web, collector, stranger, authority):
    server = web(collector.port, SW_AGENT_SSL_TRUSTED_CA_PATH=stranger.path, SSL_CERT_FILE=authority.path,
                 SW_AGENT_LOGGING_LEVEL="debug").ask()
    refused(server, "its certificate is refused")


# ---- who we are ----


@pytest.mark.usefixtures("any_loop")
def test_mutual(web, strict, client):
    server = web(strict.port, **ourselves(client)).ask(10)
    strict.segments(10)
    server.stop()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_mutual_but_we_are_nobody(web, ports, identity, authority, newest):
    with RawPeer(ports(), tls=identity.context(authority, newest)) as peer:
        server = web(peer.port, SW_AGENT_LOGGING_LEVEL="debug").ask(3)
        peer.until(lambda: len(peer.connections) >= 2)
        refused(server, "it refuses us", "SW_AGENT_SSL_CERT_CHAIN_PATH")
        assert 2 <= len(peer.connections) < 6, "with pauses in between"


def test_mutual_but_a_stranger(web, ports, identity, authority, stranger):
    us = stranger.issue("us", "DNS:us", "client")
    with RawPeer(ports(), tls=identity.context(authority)) as peer:
        server = web(peer.port, SW_AGENT_LOGGING_LEVEL="debug", **ourselves(us)).ask(3)
        peer.until(lambda: len(peer.connections) >= 2)
        refused(server, "it refuses us: unknown ca")


# ---- files ----


def bad_file(kind, tmp_path, identity, stranger):
    """A path, what is said of it."""
    path = tmp_path / "file"
    if kind == "missing":
        return path, "there is no such file"
    if kind == "folder":
        path.mkdir()
        return path, "it is a folder"
    if kind == "fifo":
        os.mkfifo(path)
        return path, "it cannot be read"
    if kind == "huge":
        with open(path, "wb") as file:
            file.truncate(100 << 20)
        return path, "it cannot be read"
    path.write_bytes({"empty": b"", "text": b"no PEM\n" * 10,
                      "damaged": identity.chain.read_bytes().replace(b"M", b"N")}[kind])
    return path, "a certificate in it is damaged" if kind == "damaged" else "in PEM format"


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "huge", "empty", "text", "damaged"])
def test_bad_authority_file(web, collector, tmp_path, identity, stranger, kind):
    path, wanted = bad_file(kind, tmp_path, identity, stranger)
    server = web(collector.port, SW_AGENT_SSL_TRUSTED_CA_PATH=path, SW_AGENT_LOGGING_LEVEL="debug").ask(3)
    said(server, f"{path}: ", wanted)
    assert collector.calls == [], "not in the clear instead"


def bad_pair(kind, tmp_path, authority, client):
    chain, key = client.chain, client.key
    if kind == "no such key":
        return chain, tmp_path / "none", "there is no such file"
    if kind == "another key":
        return chain, authority.key, "the key does not belong to the certificate"
    if kind == "no key":
        return chain, "UNSET", "a certificate and its key are needed, both"
    if kind == "no chain":
        return "UNSET", key, "a certificate and its key are needed, both"
    if kind == "exchanged":
        return key, chain, "there is no certificate in PEM format"
    if kind == "no key in it":
        return chain, chain, "there is no private key in PEM format"
    if kind == "pass phrase":
        openssl("pkcs8", "-topk8", "-in", key, "-out", tmp_path / "locked", "-passout", "pass:secret")
        return chain, tmp_path / "locked", "the key has a pass phrase"
    if kind == "expired":
        old = authority.issue("us-old", "DNS:us", "client", days=-1)
        return old.chain, old.key, "the certificate has expired"
    weak = tmp_path / "weak"
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", f"{weak}.key", "-out", weak,
            "-subj", "/CN=weak")
    return weak, f"{weak}.key", "the certificate cannot be used: ee key too small"


@pytest.mark.parametrize("kind", ["no such key", "another key", "no key", "no chain", "exchanged",
                                  "no key in it", "pass phrase", "expired", "weak"])
def test_bad_identity(web, strict, tmp_path, authority, client, kind):
    chain, key, wanted = bad_pair(kind, tmp_path, authority, client)
    server = web(strict.port, SW_AGENT_SSL_CERT_CHAIN_PATH=chain, SW_AGENT_SSL_KEY_PATH=key,
                 SW_AGENT_LOGGING_LEVEL="debug").ask(3)
    said(server, wanted)


def test_an_identity_alone_asks_for_nothing(bench, ports, program, client):
    """As in the Python agent; but it is said."""
    with Sink(ports()) as plain:
        server = Web(bench, ports(), program, over_grpc(plain.port, **ourselves(client))).ask(3)
        plain.segments(3)
        assert b"SW_AGENT_FORCE_TLS" in server.stop(warnings=1)


def test_files_that_come_later(web, strict, tmp_path, authority, client):
    """As they do in a container that has just begun; what waited arrives."""
    paths = [tmp_path / name for name in ("ca", "chain", "key")]
    server = web(strict.port, SW_AGENT_SSL_TRUSTED_CA_PATH=paths[0], SW_AGENT_SSL_CERT_CHAIN_PATH=paths[1],
                 SW_AGENT_SSL_KEY_PATH=paths[2]).ask(5)
    time.sleep(0.5)
    for path, source in zip(paths, (authority.path, client.chain, client.key)):
        shutil.copy(source, path)
    strict.segments(5)
    server.stop(warnings=1)


def test_new_files_are_used_by_the_next_connection(web, ports, tmp_path, authority, stranger):
    """A collector comes back with another authority."""
    path, port = tmp_path / "ca.pem", ports()
    shutil.copy(authority.path, path)
    collector = Sink(port, tls=authority.issue("before").credentials()).start()
    try:
        server = web(port, SW_AGENT_SSL_TRUSTED_CA_PATH=path).ask(3)
        collector.segments(3)
        collector.stop()
        shutil.copy(stranger.path, path)
        collector.tls = stranger.issue("after").credentials()
        collector.start()
        server.ask(3)
        collector.segments(6)
        server.stop(warnings=len(ours(server.output())))
    finally:
        collector.stop()


# ---- collectors that do not speak it ----


def test_a_plain_collector(web, ports):
    with Sink(ports()) as plain:
        server = web(plain.port, SW_AGENT_LOGGING_LEVEL="debug").ask(3)
        time.sleep(2.5)
        refused(server.ask(3), "no TLS with the collector", "speak TLS")
        assert plain.calls == []


def test_a_collector_with_tls_and_we_without(bench, ports, program, collector):
    server = Web(bench, ports(), program, over_grpc(collector.port, SW_AGENT_LOGGING_LEVEL="debug")).ask(3)
    said(server, "does not answer as a gRPC server")


def listen(port, how):
    """Each connection is given to how() on a thread of its own."""
    listener = socket.create_server(("127.0.0.1", port))

    def accept():
        while True:
            try:
                sock = listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=how, args=(sock,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return listener


def test_http_in_the_clear(web, ports):
    def refuse(sock):
        with sock:
            sock.recv(10000)
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            sock.recv(10000)

    with listen(ports(), refuse) as listener:
        server = web(listener.getsockname()[1], SW_AGENT_LOGGING_LEVEL="debug").ask(3)
        refused(server, "no TLS with the collector", "it does not speak TLS")
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.usefixtures("any_loop")
def test_nothing_after_hello(web, ports):
    """It takes our first bytes and says nothing: given up after five seconds, tried again later."""
    met, times = [], []

    def meet(sock):
        times.append(time.monotonic())
        met.append(sock)
    with listen(ports(), meet) as listener:
        server = web(listener.getsockname()[1], SW_AGENT_LOGGING_LEVEL="debug").ask(3)
        deadline = time.monotonic() + 40
        while len(met) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(met) == 2 and times[1] - times[0] > 4, "it has five seconds"
        server.ask(3)
        refused(server, "it does not finish the TLS handshake")
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("how", ["end", "reset"])
def test_the_end_after_hello(web, ports, how):
    def leave(sock):
        with sock:
            sock.recv(10 if how == "reset" else 10000)
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with listen(ports(), leave) as listener:
        server = web(listener.getsockname()[1], SW_AGENT_LOGGING_LEVEL="debug").ask(3)
        refused(server, "in the TLS handshake")
        listener.shutdown(socket.SHUT_RDWR)


class Cut:
    """Passes bytes on to a port; of its n-th connection only budgets[n] bytes of what the port says."""

    def __init__(self, port, target, budgets):
        self.target, self.budgets, self.met = target, budgets, 0
        self.listener = listen(port, self.serve)

    def serve(self, sock):
        budget = self.budgets[self.met] if self.met < len(self.budgets) else 1 << 40
        self.met += 1
        with sock, socket.create_connection(("127.0.0.1", self.target)) as other:
            threading.Thread(target=self.pump, args=(sock, other, 1 << 40), daemon=True).start()
            self.pump(other, sock, budget)

    @staticmethod
    def pump(source, target, budget):
        try:
            while budget and (got := source.recv(min(budget, 65536))):
                target.sendall(got)
                budget -= len(got)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@pytest.mark.native  # what is said is not the same
@pytest.mark.usefixtures("any_loop")
def test_cut_anywhere(web, ports, collector):
    """A collector, or what is in between, that ends at any moment of a handshake or soon after: nothing
    is lost, and each of the two ways to fail is said once."""
    port = ports()
    cut = Cut(port, collector.port, [0, 1, 100, 500, 900])
    server = web(port, SW_AGENT_LOGGING_LEVEL="debug").ask(10)
    collector.segments(10)
    text = server.stop(warnings=2)
    assert cut.met >= 6 and counters(text)["segment_sent"] == 10
    cut.listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.usefixtures("any_loop")
def test_garbage_in_mid_session(web, ports, collector):
    """Bytes that were no record: the connection is made anew, what was on its way comes again."""
    port, spoilt = ports(), []

    def spoil(sock):
        with sock, socket.create_connection(("127.0.0.1", collector.port)) as other:
            threading.Thread(target=Cut.pump, args=(sock, other, 1 << 40), daemon=True).start()
            if not spoilt:
                spoilt.append(sock)
                threading.Thread(target=Cut.pump, args=(other, sock, 1 << 40), daemon=True).start()
                collector.until(lambda: collector.of(SEGMENT))
                sock.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
                time.sleep(1)
            else:
                Cut.pump(other, sock, 1 << 40)

    listener = listen(port, spoil)
    server = web(port).ask(10)
    collector.segments(10)
    time.sleep(1)
    server.ask(10)
    collector.segments(20)
    server.stop(warnings=len(ours(server.output())))
    assert len(ours(server.output())) <= 1
    listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.usefixtures("any_loop")
def test_reset_in_mid_batch(web, ports, identity):
    """What had no answer comes again, and is counted."""
    def reset(connection):
        connection.greet()
        connection.segment_stream(ended=False)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with RawPeer(ports(), reset, well, tls=identity.context()) as peer:
        server = web(peer.port, SW_AGENT_LOGGING_LEVEL="debug").ask(20)
        peer.segments(20)
        text = server.stop()
    assert counters(text)["segment_sent"] == 20 and counters(text)["resent"] > 0, text


def test_collector_appears(web, ports, identity):
    port = ports()
    server = web(port).ask(30)
    time.sleep(1)
    with Sink(port, tls=identity.credentials()) as collector:
        collector.segments(30)
        server.stop(warnings=1)


def test_no_more_than_the_queue_waits(web, ports, identity, stranger):
    port = ports()
    with Sink(port, tls=stranger.issue("wrong").credentials()):
        server = web(port, SW_AGENT_TRACE_REPORTER_MAX_BUFFER_SIZE=10, SW_AGENT_LOGGING_LEVEL="debug").ask(50)
        time.sleep(0.5)
    with Sink(port, tls=identity.credentials()) as collector:
        collector.segments(10)
        text = server.stop(warnings=1)
    assert counters(text)["segment_dropped"] == 40, text


# ---- the process ----


@pytest.mark.native  # test_core.py has its like
@pytest.mark.usefixtures("any_loop")
def test_a_child_has_a_connection_of_its_own(bench, origin, collector, trusting):
    url = f"http://127.0.0.1:{origin.port}"
    script = ("import os, time, urllib.request as u\n"
              f"def ask(p): u.urlopen('{url}/' + p).read()\n"
              "ask('before'); time.sleep(1.5)\n"
              "for n in range(3):\n"
              "    if os.fork() == 0:\n        ask(f'child{n}'); os._exit(0)\n"
              "    os.wait()\n"
              "ask('after')\n")
    result = bench.both(["/usr/bin/python3", "-c", script], env=trusting(collector.port))
    assert result.err == b""
    segments = collector.segments(5)
    peers = {s.spans[0].operationName: c.peer for c in collector.of(SEGMENT) for s in c.messages}
    assert peers["/before"] == peers["/after"] and len(set(peers.values())) == 4
    assert len({s.serviceInstance for s in segments}) == 4
    assert all(c.status for c in collector.calls), "the children did not disturb the parent's"


@pytest.mark.native  # test_core.py has its like
@pytest.mark.slow
def test_forks_under_load(bench, origin, compiled, collector, trusting):
    """Nothing is lost, neither of the parent that reports while it forks nor of its children."""
    result = bench.run([compiled("forks"), origin.port, 200], name="forks", env=trusting(collector.port),
                       timeout=100)
    assert (result.rc, result.err) == (0, b""), result
    collector.segments(len(origin.requests), timeout=2)
    assert sum("-child(" in name for name in {s.serviceInstance for s in collector.different()}) == 20


def test_workers(bench, workers, collector, trusting):
    server, port = workers(trusting(collector.port))
    for _ in range(60):
        get(port, "/back/1")
    collector.segments(60)
    bench.stop(server)
    assert bench.output(server) == b""


# A server and a client of HTTPS in one process, with Python's own libssl, while we report.
BESIDE = """
import http.client, http.server, ssl, sys, threading, time
chain, key, trusted, origin = sys.argv[1:]
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(chain, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.RequestHandlerClass.log_message = lambda *_: None
server.RequestHandlerClass.do_GET = lambda s: (s.send_response(200), s.send_header("Content-Length", "2"),
                                               s.end_headers(), s.wfile.write(b"ok"))
threading.Thread(target=server.serve_forever, daemon=True).start()
trust = ssl.create_default_context(cafile=trusted)
trust.check_hostname = False
for n in range(30):
    plain = http.client.HTTPConnection("127.0.0.1", int(origin))
    plain.request("GET", "/plain")
    plain.getresponse().read()
    secure = http.client.HTTPSConnection("127.0.0.1", server.server_address[1], context=trust)
    secure.request("GET", "/secure")
    print(secure.getresponse().read().decode(), secure.sock.version() if secure.sock else "")
    if n == 15:
        time.sleep(1.3)
print(ssl.OPENSSL_VERSION)
"""


@every
def test_beside_a_program_with_tls(bench, origin, collector, authority, identity, trusting, python):
    """Its libssl, of whatever version, and ours: neither knows of the other; the end is clean."""
    result = bench.both([python, "-c", BESIDE, identity.chain, identity.key, authority.path, origin.port],
                        env=trusting(collector.port))
    assert result.rc == 0 and result.err == b"" and result.out.count(b"ok") == 30
    collector.until(lambda: len(collector.different()) >= 30)
    operations = [s.spans[0].operationName for s in collector.different()]
    assert operations.count("/plain") == 30


def test_beside_a_program_with_its_own_grpc(bench, collector, authority, trusting):
    """BoringSSL, to the same collector."""
    script = ("import os, sys; sys.path.insert(0, %r)\n"
              "import grpc, sink\n"
              "from skywalking.protocol.management import Management_pb2 as m, Management_pb2_grpc as g\n"
              "trust = grpc.ssl_channel_credentials(open(%r, 'rb').read())\n"
              "with grpc.secure_channel('127.0.0.1:%d', trust) as c:\n"
              "    g.ManagementServiceStub(c).keepAlive(m.InstancePingPkg(service='theirs'))\n"
              "print('done')\n") % (os.path.dirname(sink.__file__), str(authority.path), collector.port)
    result = bench.both([sys.executable, "-c", script], env=trusting(collector.port))
    assert result.out == b"done\n"
    assert [p.service for p in collector.pings if p.service == "theirs"] == ["theirs"] * 2


@pytest.mark.native  # test_core.py has its like
@pytest.mark.parametrize("what", ["u", "cp", "ust"])
def test_older_kernels(bench, origin, compiled, ports, program, collector, trusting, what):
    """Where ours share the program's table (programs/older.c)."""
    bench.both([compiled("older"), what, *curl(origin, "a")], env=trusting(collector.port))
    collector.segments(1, timeout=1)
    port = ports()
    server = bench.start([compiled("older"), what, *program("web.py", port)], port, env=trusting(collector.port))
    get(port, "/hello")
    collector.segments(2)
    numbers = sorted(int(n) for n in os.listdir(f"/proc/{server.pid}/fd"))
    assert [n for n in numbers if n < 900] == [0, 1, 2, 3], "those of the program, and none that stayed"
    bench.stop(server)
    assert bench.output(server) == b""


def test_the_process_is_left_alone(bench, origin, compiled, collector, trusting):
    """Its time zone and its signals."""
    result = bench.both([compiled("zones"), origin.port], env=trusting(collector.port))
    assert b"20:16 XYZ" in result.out, "01:46:40 by UTC"
    collector.segments(1, timeout=0)


def test_without_random_numbers(bench, origin, compiled, collector, trusting):
    """OpenSSL has no other source than getrandom."""
    result = bench.run([compiled("older"), "r", *curl(origin, "a")], env=trusting(collector.port))
    assert result.rc == 0 and len(ours(result.err)) == 1
    assert b"no TLS with the collector" in result.err and b"entropy" in result.err


def test_the_programs_configuration_of_openssl_is_not_read(bench, origin, collector, trusting, tmp_path):
    """Nor its modules: they may be engines."""
    config = tmp_path / "openssl.cnf"
    config.write_text("openssl_conf = all\n[all]\nssl_conf = ssl\nproviders = none\n[none]\nx = y\n"
                      "[y]\nmodule = /nonexistent\nactivate = 1\n[ssl]\nsystem_default = old\n"
                      "[old]\nCipherString = NONE\nMaxProtocol = TLSv1\n")
    bench.both(curl(origin), env=trusting(collector.port, OPENSSL_CONF=config, OPENSSL_MODULES=tmp_path))
    collector.segments(1, timeout=1)


@pytest.mark.native  # test_core.py has its like
@pytest.mark.parametrize("missing", ["missing", "not ours"])
def test_without_the_plug_in(bench, ports, program, collector, trusting, tmp_path, missing):
    shutil.copy(LIB, tmp_path / "libswagent.so")
    if missing == "not ours":
        shutil.copy("/lib/x86_64-linux-gnu/libm.so.6", tmp_path / "libswagent-tls.so")
    server = Web(bench, ports(), program,
                 trusting(collector.port, LD_PRELOAD=tmp_path / "libswagent.so", SW_AGENT_LOGGING_LEVEL="debug"))
    server.ask(3)
    said(server.ask(3), "the plug-in `tls` cannot be used")
    assert collector.calls == []


def test_no_descriptor_is_seen(bench, ports, program, collector, trusting):
    server = Web(bench, ports(), program, trusting(collector.port)).ask(3)
    collector.segments(3)
    before = os.listdir(f"/proc/{server.process.pid}/fd")
    server.ask(3)
    collector.segments(6)
    assert len(os.listdir(f"/proc/{server.process.pid}/fd")) == len(before) <= 5
    server.stop()
