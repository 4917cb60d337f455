"""The http protocol: what arrives at a collector's REST port, and that no server however strange
disturbs a program or makes it lose what could have been delivered.

Collectors are http_sink.HttpSink: answers by hand, bodies read with SkyWalking's own classes.
"""

import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

import reader
from conftest import IN_HASTE, LIB, PATIENT, Watch
from http_sink import HttpSink, PING, PROPERTIES, SEGMENTS, reply, well
from origin import get
from test_grpc import EXIT_FLUSH_S, Web, alike, counters, curl, ours, traffic
from test_limits import compared

PLUGIN = pathlib.Path(LIB.split(":")[0]).parent / "libswagent-http.so"

pytestmark = pytest.mark.skipif(not PLUGIN.exists(), reason="the plug-in http is not built")


def over_http(address, **more):
    address = f"127.0.0.1:{address}" if isinstance(address, int) else address
    return {"SW_AGENT_PROTOCOL": "http", "SW_AGENT_COLLECTOR_BACKEND_SERVICES": address,
            "SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD": 1, **more}


@pytest.fixture
def collector(ports):
    with HttpSink(ports()) as collector:
        yield collector


@pytest.fixture
def web(bench, ports, program):
    def start(address, name="web", origin=0, **env):
        return Web(bench, ports(), program, over_http(address, **env), name, origin)
    return start


def first(path, *scripts):
    """Scripts for the first requests of one path; all else is answered well. For HttpSink."""
    left = list(scripts)

    def script(request):
        return (left.pop(0) if request.path == path and left else well)(request)
    return script


# ---- what arrives ----


def test_the_same_as_in_a_file(bench, origin, ports, program, collector):
    port = ports()
    traffic(bench, origin, port, program, {})
    wanted = bench.segments(9)
    traffic(bench, origin, port, program, over_http(collector.port))
    assert alike(collector.segments(9)) == alike(wanted)
    assert len(collector.all_segments()) == 9, "none came twice"


def test_short_programs(bench, origin, collector):
    """They live for some milliseconds: their segments are there when they have ended."""
    for paths in ["a"], ["b", "c"]:
        result = bench.both(curl(origin, *paths), env=over_http(collector.port))
        assert result.waited < EXIT_FLUSH_S + 1
    segments = collector.segments(3, timeout=0.5)
    assert sorted(s.spans[0].operationName for s in segments) == ["/a", "/b", "/c"]
    assert len({s.serviceInstance for s in segments}) == 2
    assert {r.path for r in collector.requests} == {SEGMENTS, PROPERTIES}


def test_properties_then_pings(web, collector):
    server = web(collector.port, SW_AGENT_COLLECTOR_PROPERTIES_REPORT_PERIOD_FACTOR=3).ask()
    collector.until(lambda: len(collector.of(PROPERTIES) + collector.of(PING)) >= 5)
    server.stop()
    kinds = [r.path for r in collector.requests if r.path != SEGMENTS][:5]
    assert kinds == [PROPERTIES, PING, PING, PROPERTIES, PING]
    [segment] = collector.segments(1)
    messages = [r.messages[0] for r in collector.of(PROPERTIES) + collector.of(PING)]
    for message in messages:
        assert (message.service, message.serviceInstance) == ("web", segment.serviceInstance)
    values = {p.key: p.value for p in messages[0].properties}
    assert values["language"] == "python" and values["Process No."] == str(server.process.pid)
    assert len(collector.connections) <= 2, "they are kept"


def test_many_segments_form_batches(web, collector):
    web(collector.port).ask(500)
    collector.segments(500)
    calls = collector.of(SEGMENTS)
    assert all(1 <= len(r.messages) <= 1000 for r in calls)
    assert len(calls) < 100, "far fewer calls than segments"
    assert len(collector.all_segments()) == 500 and len(collector.connections) <= 4


def test_long_texts(web, collector):
    """Bodies that do not fit into a socket's buffers, whole."""
    server = web(collector.port)
    for _ in range(150):
        server.ask(path="/hello/" + "p" * 900)
    segments = collector.segments(150)
    assert all("p" * 100 in reader.entry(s).operationName for s in segments)
    server.stop()


def test_token(web, collector):
    server = web(collector.port, SW_AGENT_AUTHENTICATION="s3cret token").ask(2)
    collector.segments(2)
    assert {tuple(r.header("authentication")) for r in collector.requests} == {("s3cret token",)}
    server.stop()


def test_a_token_makes_no_header_of_its_own(bench, origin, collector):
    bench.both(curl(origin), env=over_http(collector.port, SW_AGENT_AUTHENTICATION="a\r\nX-B: c"))
    collector.segments(1)
    assert not any(r.header("authentication") or r.header("x-b") for r in collector.requests)


# ---- addresses ----


@pytest.mark.parametrize("address, host", [("localhost:{}", "127.0.0.1"), ("127.0.0.1:{}", "127.0.0.1"),
                                           ("[::1]:{}", "::1"), ("localhost:{}", "::1")])
def test_address(bench, origin, ports, address, host):
    port = ports()
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        assert host in [a[4][0] for a in socket.getaddrinfo(address[:-3].strip("[]"), 0)]
    except (OSError, AssertionError):
        pytest.skip("no such address here")
    with HttpSink(port, host=host) as collector:
        bench.both(curl(origin), env=over_http(address.format(port)))
        collector.segments(1)
        assert {tuple(r.header("host")) for r in collector.requests} == {(address.format(port),)}


@pytest.mark.parametrize("address", ["foo", ":1", "host:0", "http://127.0.0.1:80", ","])
def test_bad_address(bench, origin, address):
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env=over_http(address) | IN_HASTE)
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert len(ours(with_us.err)) == 1, with_us.err


def test_unknown_host(web):
    server = web("no-such-host.invalid:12800").ask(3)
    time.sleep(2.5)
    server.ask(3).stop(warnings=1)


def test_several_collectors(web, ports):
    """Any of them will do; when one goes, the other gets what comes and what waited."""
    one, other = ports(), ports()
    server = web(f"127.0.0.1:{ports()}, 127.0.0.1:{one},127.0.0.1:{other}").ask(3)
    with HttpSink(one) as first_one:
        first_one.segments(3)
    server.ask(3)
    with HttpSink(other) as second:
        second.segments(3)
        server.ask(1)
        second.segments(4)
        # None if there was always somebody; it may have gone before its first answer was read, too.
        assert len(ours(server.stop(warnings=None))) <= 2


def test_back_to_the_first(web, ports):
    """Once it takes a heartbeat again; the other one is well all the time, and nothing comes twice."""
    one, other = ports(), ports()
    with HttpSink(other) as second:
        with HttpSink(one) as first_one:
            server = web(f"127.0.0.1:{one},127.0.0.1:{other}", SW_AGENT_LOGGING_LEVEL="debug").ask(5)
            begun = time.monotonic()
            while not (first_one.different() or second.different()) and time.monotonic() < begun + 40:
                time.sleep(0.02)
            home, away = (first_one, second) if first_one.different() else (second, first_one)
            home.segments(5)
            home.stop()
            server.ask(5)
            away.segments(5)
            with HttpSink(home.port) as again:
                assert again.until(lambda: again.of(PING) + again.of(PROPERTIES))
                server.ask(5)
                again.segments(5)
                assert len(away.all_segments()) == 5
                text = server.stop(warnings=None)
    assert counters(text)["segment_sent"] == 15 and counters(text).get("resent", 0) == 0


def test_addresses_of_one_name(web, ports, two_addresses):
    """Of two the one is there and no good, the other is well. (The order of one family is drawn.)"""
    address, env = two_addresses
    port, met, programs = ports(), [], 0
    with HttpSink(port) as good:
        while not met and programs < 8:
            with HttpSink(port, lambda r: b"?" * 100, host=address) as broken:
                server = web(f"collectors:{port}", f"web{programs}", SW_AGENT_LOGGING_LEVEL="debug", **env).ask(10)
                programs += 1
                good.segments(10 * programs)
                met = broken.requests
                text = server.stop(warnings=None)
            assert counters(text)["segment_sent"] == 10 and len([s for s in ours(text) if b"warning" in s]) <= 1
        assert met


@pytest.mark.parametrize("bad", [404, 503, None])
def test_not_back_to_one_that_is_no_good(web, ports, bad):
    """It gets a heartbeat now and then, never a record, and the good one gets that heartbeat too."""
    port = ports()
    with HttpSink(ports()) as good:
        server = web(f"127.0.0.1:{port}," * 2 + f"127.0.0.1:{good.port}", SW_AGENT_LOGGING_LEVEL="debug").ask(5)
        good.segments(5)
        with HttpSink(port, lambda r: reply(bad) if bad else b"?" * 100) as broken:
            assert good.until(lambda: len(good.of(PING)) + len(good.of(PROPERTIES)) >= 4)
            server.ask(5)
            good.segments(10)
            text = server.stop(warnings=None)
            assert len(broken.requests) <= 5 and not broken.all_segments(accepted=False)
    assert counters(text)["segment_sent"] == 10 and counters(text).get("resent", 0) == 0
    assert len([line for line in ours(text) if b"warning" in line]) <= 1


# ---- proxies ----


def test_no_proxy_of_the_environment(bench, origin, collector, ports):
    trap = ports()
    with HttpSink(trap) as proxy:
        url = f"http://127.0.0.1:{trap}"
        names = {name: url for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")}
        bench.both(curl(origin) + ["--noproxy", "*"], env=over_http(collector.port) | names)
        collector.segments(1)
        assert not proxy.connections


@pytest.mark.parametrize("prefix", ["", "http://", "http://us%er:p@ss:w@"])
def test_proxy(bench, origin, ports, prefix):
    port = ports()
    with HttpSink(port) as proxy:
        env = over_http("collector.invalid:12800", SW_AGENT_COLLECTOR_PROXY=f"{prefix}127.0.0.1:{port}")
        bench.both(curl(origin), env=env)
        proxy.segments(1)
        assert {r.target for r in proxy.requests} == {"http://collector.invalid:12800" + p
                                                      for p in (SEGMENTS, PROPERTIES)}
        login = "Basic dXMlZXI6cEBzczp3"  # us%er:p@ss:w
        assert {tuple(r.header("proxy-authorization")) for r in proxy.requests} == \
            {(login,) if "@" in prefix else ()}


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "foo", "a:1,b:2", "@"])
def test_bad_proxy(bench, origin, collector, proxy):
    with_us = bench.run(curl(origin), env=over_http(collector.port, SW_AGENT_COLLECTOR_PROXY=proxy))
    assert with_us.rc == 0 and len(ours(with_us.err)) == 1 and b"COLLECTOR_PROXY" in with_us.err
    assert not collector.connections


# ---- refusals ----


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 301])
def test_refused_for_good(web, ports, status):
    """Dropped, counted and said once; what comes later is offered all the same."""
    port = ports()
    with HttpSink(port, first(SEGMENTS, lambda r: reply(status), lambda r: reply(status))) as collector:
        server = web(port, SW_AGENT_LOGGING_LEVEL="debug").ask(2)
        collector.until(lambda: len(collector.of(SEGMENTS, accepted=False)) == 1)
        server.ask(1)
        collector.until(lambda: len(collector.of(SEGMENTS, accepted=False)) == 2)
        server.ask(4)
        collector.segments(4)
        text = server.stop(warnings=1)
    assert f"status {status}".encode() in text and b"; what it refuses is dropped\n" in text
    assert (b"(SW_AGENT_AUTHENTICATION is not set)" in text) == (status in (401, 403))
    assert (counters(text)["segment_lost"], counters(text)["segment_sent"]) == (3, 4)
    assert counters(text).get("resent", 0) == 0


def test_redirections_are_not_followed(web, ports, collector):
    port, there = ports(), f"Location: http://127.0.0.1:{collector.port}{SEGMENTS}"
    with HttpSink(port, lambda r: reply(307, b"", there)) as redirecting:
        server = web(port).ask(2)
        redirecting.until(lambda: redirecting.of(SEGMENTS, accepted=False))
        assert b"redirect" in server.stop(warnings=1)
    assert not collector.connections


@pytest.mark.parametrize("status", [429, 500, 502, 503, 408])
def test_asked_later(web, ports, status):
    """Kept, and delivered once."""
    port = ports()
    with HttpSink(port, first(SEGMENTS, lambda r: reply(status))) as collector:
        server = web(port, SW_AGENT_LOGGING_LEVEL="debug").ask(3)
        collector.segments(3)
        assert len(collector.all_segments(accepted=False)) == 6
        text = server.stop(warnings=1)
    assert counters(text)["segment_sent"] == 3 and counters(text).get("segment_lost", 0) == 0


@pytest.mark.parametrize("wait_s, least", [("4", 3.9), ("1000000", 4), ("rubbish", 0.7)])
def test_retry_after(web, ports, wait_s, least):
    """Honoured within reason: nobody makes us silent for longer than half a minute."""
    port, begun = ports(), []

    def busy(request):
        begun.append(Watch())
        return reply(503, b"", f"Retry-After: {wait_s}")
    with HttpSink(port, first(SEGMENTS, busy)) as collector:
        server = web(port).ask(1)
        collector.until(lambda: begun)
        if wait_s == "1000000":
            time.sleep(least)
            assert not collector.of(SEGMENTS)
        else:
            collector.segments(1)
            assert least < begun[0].seconds and begun[0].waited < least + 2
        server.stop(warnings=1)


def test_busy_for_ever(web, ports):
    """Never lost while there is room, never asked without a pause."""
    port = ports()
    with HttpSink(port, lambda r: reply(503)) as collector:
        server = web(port, SW_AGENT_LOGGING_LEVEL="debug").ask(5)
        time.sleep(4)
        assert collector.until(lambda: len(collector.requests) >= 2) and len(collector.requests) <= 12
        text = server.stop(warnings=1)
    assert counters(text)["segment_left"] == 5


# ---- collectors that are away ----


def test_nobody_listens_and_then_somebody(web, ports):
    port = ports()
    server = web(port).ask(20)
    time.sleep(0.5)
    server.ask(5)
    with HttpSink(port) as collector:
        collector.segments(25)
        server.stop(warnings=1)


def test_nobody_listens_and_the_program_is_short(bench, origin, ports):
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env=over_http(ports()) | IN_HASTE)
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert len(ours(with_us.err)) == 1
    assert with_us.waited < without.seconds + EXIT_FLUSH_S + 0.5


def test_no_more_than_the_queue_waits(web, ports):
    port = ports()
    server = web(port, SW_AGENT_TRACE_REPORTER_MAX_BUFFER_SIZE=10, SW_AGENT_LOGGING_LEVEL="debug", **PATIENT).ask(50)
    time.sleep(0.5)
    with HttpSink(port) as collector:
        collector.segments(10)
        text = server.ask(5).stop(warnings=1)
        collector.segments(15)
    assert counters(text)["segment_dropped"] == 40


def test_collector_that_comes_back(web, ports):
    """Connections that were kept have ended meanwhile: nothing is lost, nothing comes twice."""
    port = ports()
    with HttpSink(port) as collector:
        server = web(port).ask(3)
        collector.segments(3)
    time.sleep(0.3)
    with HttpSink(port) as collector:
        server.ask(4)
        collector.segments(4)
        assert len(collector.all_segments()) == 4
        server.stop()


def test_slow_answers(web, ports):
    """The program does not wait, and nothing is lost."""
    port = ports()
    with HttpSink(port, HttpSink.wait(1)) as collector:
        server = web(port)
        watch = Watch()
        server.ask(50)
        assert watch.waited < 1
        collector.segments(50)
        server.stop()
        assert len(collector.all_segments()) == 50


def test_far_away(web, ports):
    """An answer takes 100 ms: calls overlap, throughput is not that of one at a time."""
    port = ports()
    with HttpSink(port, HttpSink.wait(0.1)) as collector:
        server = web(port)
        server.ask(600)
        collector.segments(600, timeout=30)
        server.stop()


def test_answer_that_does_not_come(bench, origin, ports):
    """The end of a program waits for it, but not for long."""
    port = ports()
    with HttpSink(port, lambda r: r.mute()):
        without = bench.run(curl(origin), agent=False)
        with_us = bench.run(curl(origin), env=over_http(port) | IN_HASTE)
        assert (with_us.rc, with_us.out, ours(with_us.err)) == (0, without.out, [])
        assert with_us.waited < without.seconds + EXIT_FLUSH_S + 0.3


def test_deaf_collector(web, ports):
    """It accepts and never reads: the program goes on, and its end does."""
    with socket.create_server(("127.0.0.1", ports())) as deaf:
        server = web(deaf.getsockname()[1])
        for _ in range(100):
            server.ask(path="/hello/" + "p" * 900)
        server.stop()


# ---- TLS ----


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


@pytest.fixture(scope="session")
def papers(tmp_path_factory):
    """An authority, and what it vouches for: papers("localhost") -> (certificate, key)."""
    folder = tmp_path_factory.mktemp("papers")

    def key(name):
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / f"{name}.key")
        return folder / f"{name}.key"

    def make(name):
        certificate = folder / f"{name}.pem"
        if not certificate.exists():
            (folder / "ext").write_text(f"subjectAltName=DNS:{name}\n")
            openssl("req", "-new", "-key", key(name), "-subj", f"/CN={name}", "-out", folder / "csr")
            openssl("x509", "-req", "-in", folder / "csr", "-CA", folder / "ca.pem", "-CAkey",
                    folder / "ca.key", "-CAcreateserial", "-days", 2, "-extfile", folder / "ext",
                    "-out", certificate)
        return certificate, folder / f"{name}.key"

    openssl("req", "-x509", "-key", key("ca"), "-subj", "/CN=authority", "-days", 2, "-out", folder / "ca.pem")
    make.ca = folder / "ca.pem"
    return make


def server_context(papers, name="localhost", client=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*papers(name))
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(papers.ca)
    return context


def over_https(port, papers, **more):
    return over_http(f"localhost:{port}", SW_AGENT_FORCE_TLS="true",
                     SW_AGENT_SSL_TRUSTED_CA_PATH=papers.ca, **more)


def test_https(bench, origin, ports, papers):
    port = ports()
    with HttpSink(port, tls=server_context(papers)) as collector:
        bench.both(curl(origin, "a", "b"), env=over_https(port, papers))
        collector.segments(2)


def test_the_time_zone_is_the_programs(bench, origin, compiled, ports, papers):
    port = ports()
    with HttpSink(port, tls=server_context(papers)) as collector:
        result = bench.both([compiled("zones"), origin.port], env=over_https(port, papers))
        assert b"20:16 XYZ" in result.out, "01:46:40 by UTC"
        collector.segments(1)


def test_https_in_a_server(bench, ports, program, papers):
    port = ports()
    with HttpSink(port, tls=server_context(papers)) as collector:
        server = Web(bench, ports(), program, over_https(port, papers)).ask(200)
        collector.segments(200)
        for _ in range(100):
            server.ask(path="/hello/" + "p" * 900)
        collector.segments(300)
        server.stop()
        assert len(collector.all_segments()) == 300


@pytest.mark.parametrize("right", [True, False])
def test_https_with_our_own_certificate(bench, ports, program, papers, right):
    port = ports()
    chain, key = papers("program")
    own = {"SW_AGENT_SSL_CERT_CHAIN_PATH": chain, "SW_AGENT_SSL_KEY_PATH": key} if right else {}
    with HttpSink(port, tls=server_context(papers, client=True)) as collector:
        server = Web(bench, ports(), program, over_https(port, papers, **own)).ask(3)
        if right:
            collector.segments(3)
        else:
            server.stop(warnings=1)
            assert not collector.requests
            return
        server.stop()


@pytest.mark.parametrize("how", ["file", "folder", "folder and no file"])
def test_https_trusting_what_the_environment_names(bench, origin, ports, papers, tmp_path, how):
    """SSL_CERT_FILE and SSL_CERT_DIR, as with gRPC: the plug-in itself sees no environment."""
    port = ports()
    shutil.copy(papers.ca, tmp_path / "ca.pem")
    openssl("rehash", tmp_path)
    env = {"SSL_CERT_FILE": papers.ca} if how == "file" else {"SSL_CERT_DIR": f"/nonexistent:{tmp_path}"}
    if how == "folder and no file":
        env["SSL_CERT_FILE"] = "/nonexistent/ca.pem"
    with HttpSink(port, tls=server_context(papers)) as collector:
        bench.both(curl(origin), env=over_https(port, papers) | {"SW_AGENT_SSL_TRUSTED_CA_PATH": "UNSET"} | env)
        collector.segments(1)


def test_https_that_the_environment_does_not_vouch_for(bench, ports, program, papers, tmp_path):
    """An empty folder is instead of the system's, not beside it; SW_AGENT_SSL_TRUSTED_CA_PATH goes before it."""
    port = ports()
    with HttpSink(port, tls=server_context(papers)) as collector:
        env = over_https(port, papers, SSL_CERT_DIR=tmp_path)
        Web(bench, ports(), program, env, "trusting").ask(2)
        collector.segments(2)
        server = Web(bench, ports(), program, env | {"SW_AGENT_SSL_TRUSTED_CA_PATH": "UNSET"}).ask(2)
        assert b"TLS" in server.stop(warnings=1)
        collector.segments(2)


class Tunnel:
    """A proxy that connects a client through, once for each CONNECT that it grants."""

    def __init__(self, port, target, granted=b"HTTP/1.1 200 Connection established\r\n\r\n"):
        self.target, self.granted, self.heads = target, granted, []
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        try:
            while True:
                threading.Thread(target=self.serve, args=(self.listener.accept()[0],), daemon=True).start()
        except OSError:
            pass

    def serve(self, sock):
        head = b""
        with sock, socket.create_connection(("127.0.0.1", self.target)) as other:
            while b"\r\n\r\n" not in head:
                got = sock.recv(4096)
                if not got:
                    return
                head += got
            self.heads.append(head)
            sock.sendall(self.granted)
            if b" 200 " in self.granted:
                threading.Thread(target=self.pump, args=(sock, other), daemon=True).start()
                self.pump(other, sock)

    @staticmethod
    def pump(source, target):
        try:
            while got := source.recv(65536):
                target.sendall(got)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.mark.parametrize("login", [False, True])
def test_https_through_a_proxy(bench, ports, program, papers, login):
    """By CONNECT; the name is the proxy's to look up, our token and records are inside."""
    way, port = ports(), ports()
    with HttpSink(port, tls=server_context(papers)) as collector, Tunnel(way, port) as proxy:
        env = over_https(port, papers, SW_AGENT_AUTHENTICATION="s3cret",
                         SW_AGENT_COLLECTOR_PROXY=f"{'me:p@ss@' if login else ''}127.0.0.1:{way}")
        server = Web(bench, ports(), program, env).ask(20)
        collector.segments(20)
        server.stop()
        assert len(collector.all_segments()) == 20
        assert all(h.startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % port) for h in proxy.heads)
        assert all((b"Proxy-Authorization: Basic bWU6cEBzcw==" in h) == login for h in proxy.heads)
        assert not any(b"s3cret" in h for h in proxy.heads)
        assert 1 <= len(proxy.heads) <= 4, "tunnels are kept"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
                                    b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", b"what?\r\n\r\n", b""])
def test_a_proxy_that_lets_nobody_through(bench, ports, program, papers, answer):
    way, port = ports(), ports()
    with HttpSink(port, tls=server_context(papers)) as collector, Tunnel(way, port, answer) as proxy:
        env = over_https(port, papers, SW_AGENT_LOGGING_LEVEL="debug", SW_AGENT_COLLECTOR_PROXY=f"127.0.0.1:{way}")
        server = Web(bench, ports(), program, env).ask(3)
        time.sleep(2.5)
        text = server.stop(warnings=1)
        assert 1 <= len(proxy.heads) <= 12 and not collector.requests
    assert counters(text)["segment_left"] == 3


@pytest.mark.parametrize("why", ["other name", "unknown authority", "no such file", "not TLS"])
def test_https_without_trust(bench, ports, program, papers, why):
    port = ports()
    env = over_https(port, papers)
    if why == "unknown authority":
        env["SW_AGENT_SSL_TRUSTED_CA_PATH"] = "UNSET"
    if why == "no such file":
        env["SW_AGENT_SSL_TRUSTED_CA_PATH"] = "/nonexistent/ca.pem"
    context = server_context(papers, "elsewhere" if why == "other name" else "localhost")
    with HttpSink(port, tls=None if why == "not TLS" else context) as collector:
        server = Web(bench, ports(), program, env).ask(3)
        text = server.stop(warnings=1)
        assert not collector.requests and b"TLS" in text


# ---- processes ----


def test_forks_under_load(bench, origin, compiled, collector):
    """Nothing is lost, neither of the parent that reports while it forks nor of its children."""
    result = bench.run([compiled("forks"), origin.port, 200], name="forks",
                       env=over_http(collector.port), timeout=100)
    assert (result.rc, result.err) == (0, b""), result
    collector.segments(len(origin.requests), timeout=2)
    names = {s.serviceInstance for s in collector.different().values()}
    assert sum("-child(" in name for name in names) == 20
    assert all(len({s.serviceInstance for s in r.messages}) <= 1 for r in collector.of(SEGMENTS))


@pytest.mark.parametrize("tls", [False, True])
def test_a_child_does_not_use_the_parents_connection(bench, origin, ports, papers, tls):
    port, url = ports(), f"http://127.0.0.1:{origin.port}"
    script = ("import os, urllib.request as u\n"
              f"def ask(p): u.urlopen('{url}/' + p).read()\n"
              "ask('before')\nimport time; time.sleep(1.5)\n"
              "if os.fork() == 0:\n    ask('child'); os._exit(0)\n"
              "os.wait(); ask('after')\n")
    with HttpSink(port, tls=server_context(papers) if tls else None) as collector:
        env = over_https(port, papers) if tls else over_http(port)
        result = bench.both(["/usr/bin/python3", "-c", script], env=env)
        assert result.err == b""
        segments = collector.segments(3)
        by = {s.spans[0].operationName: r.connection for r in collector.of(SEGMENTS) for s in r.messages}
        assert by["/child"] not in (by["/before"], by["/after"])
        assert len({s.serviceInstance for s in segments}) == 2


@pytest.mark.parametrize("tls", [False, True])
def test_a_reporter_that_comes_and_goes(bench, origin, ports, papers, tls):
    """Newer Pythons count threads at fork, so ours leaves first: connections end, nothing is lost, and
    what was underway is not counted as lost or sent without an end."""
    port, url = ports(), f"http://127.0.0.1:{origin.port}"
    script = ("import os, sys, urllib.request as u\n"
              f"def ask(p): u.urlopen('{url}/' + p).read()\n"
              "for i in range(15):\n"
              "    ask(f'before{i}')\n"
              "    if os.fork() == 0:\n        ask(f'child{i}'); os._exit(0)\n"
              "    ask(f'after{i}')\n    os.wait()\n"
              "sys.stderr.write('done\\n')\n")
    with HttpSink(port, tls=server_context(papers) if tls else None) as collector:
        env = (over_https(port, papers) if tls else over_http(port)) | {"SW_AGENT_EXIT_FLUSH_TIMEOUT": 5000}
        result = bench.run([sys.executable, "-W", "error", "-c", script], env=env)
        assert (result.rc, result.err) == (0, b"done\n")
        names = {s.spans[0].operationName for s in collector.segments(45)}
        assert names == {f"/{when}{i}" for when in ("before", "child", "after") for i in range(15)}
        assert len(collector.all_segments()) == 45, "none came twice"


def test_a_shared_table_before_cookies(bench, ports, program, compiled, collector):
    """Whose a socket is cannot be told there: it is taken for ours."""
    port = ports()
    server = bench.start([compiled("older"), "ust", *program("web.py", port)], port, env=over_http(collector.port))
    for _ in range(5):
        get(port, "/hello")
    collector.segments(5)
    bench.stop(server)
    assert bench.output(server) == b""


@pytest.mark.parametrize("older", ["", "u", "cp", "t"])
def test_all_descriptors_closed(bench, origin, compiled, collector, older):
    """In seven ways, where ours are in a table of their own and where they share the program's: what
    gets their numbers is the program's, and what arrives is whole."""
    argv = [compiled("older"), older] if older else []
    result = compared(bench, origin, [*argv, compiled("limits"), origin.port, "close_all"], 8, said="",
                      env=over_http(collector.port))
    assert (result.rc, result.err) == (0, b"")
    found = collector.segments()
    assert {s.spans[0].operationName for s in found} <= {"/close", "/last"}
    assert len(found) == 8 or older in ("u", "cp")


def test_a_program_with_its_own_curl(bench, origin, collector):
    """A program that sets up libcurl and OpenSSL as it likes has its own."""
    argv = curl(origin, "a", "b", "c") + ["--parallel"]
    without = bench.run(argv, agent=False)
    with_us = bench.run(argv, env=over_http(collector.port))
    assert sorted(with_us.out.splitlines()) == sorted(without.out.splitlines())
    assert with_us.rc == without.rc and not ours(with_us.err)
    collector.segments(3)


def test_no_key_log(bench, origin, ports, papers, tmp_path):
    """SSLKEYLOGFILE is the program's: our keys are not written there."""
    port, log = ports(), tmp_path / "keys"
    with HttpSink(port, tls=server_context(papers)) as collector:
        bench.both(curl(origin), env=over_https(port, papers, SSLKEYLOGFILE=log))
        collector.segments(1)
    assert not log.exists() or log.read_bytes() == b""


def test_without_the_plug_in(bench, origin, collector, tmp_path):
    """Said once; the program goes on."""
    alone = shutil.copy(LIB.split(":")[-1], tmp_path / "libswagent.so")
    without = bench.run(curl(origin), agent=False)
    with_us = bench.run(curl(origin), env=over_http(collector.port, LD_PRELOAD=alone))
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert len(ours(with_us.err)) == 1 and b"libswagent-http.so" in with_us.err
    assert not collector.connections


def test_own_traffic_is_not_traced(bench, origin, ports, program, collector):
    Web(bench, ports(), program, over_http(collector.port)).ask(5)
    collector.segments(5)
    time.sleep(1.5)
    assert len(collector.segments(5)) == 5 and not origin.requests
    assert all(not r.header("sw8") for r in collector.requests)
