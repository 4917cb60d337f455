"""Programs that serve: the same bytes to their clients, one Entry per request, and traces that join
across services."""

import http.client
import re
import sys
import threading

import pytest

import reader
from origin import call, get

VENV = sys.executable
GUNICORN = [VENV, "-m", "gunicorn", "--worker-tmp-dir", "/tmp", "--no-control-socket",
            "--graceful-timeout", "5"]
UVICORN = [VENV, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--log-level", "warning"]


def plain(answer):
    """An answer without what differs from one run to the next."""
    return re.sub(rb"(?mi)^(date|last-modified|etag):.*\r\n", b"", answer)


def head(path, *headers, method="GET", version="1.1", close=True):
    lines = [f"{method} {path} HTTP/{version}", "Host: web.test:80", *headers]
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def in_parallel(work, jobs, threads):
    """Runs work(job) for all jobs; the results in order."""
    jobs = list(enumerate(jobs))
    results, failures = {}, []

    def worker():
        while jobs:
            try:
                number, job = jobs.pop()
            except IndexError:
                return
            try:
                results[number] = work(job)
            except Exception as error:  # told to the test, which must not wait for ever
                failures.append(repr(error))

    workers = [threading.Thread(target=worker) for _ in range(threads)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    assert not failures, failures[:3]
    return [results[number] for number in sorted(results)]


# ---- http.server ----

TALKS = {
    "get": [head("/hello?a=b")],
    "head": [head("/hello", method="HEAD")],
    "post": [head("/post", "Content-Length: 5", method="POST") + b"hello"],
    "post-apart": [head("/post", "Content-Length: 5", method="POST"), b"he", b"llo"],
    "put": [head("/put", method="PUT")],
    "old": [head("/hello", version="1.0", close=False)],
    "chunks": [head("/chunks/30")],
    "404": [head("/status/404")],
    "500": [head("/status/500")],
    "none": [head("/none")],
    "pieces": [bytes([c]) for c in head("/hello")],
    "keep-alive": [head("/hello", close=False) * 2 + head("/chunks/2", close=False) + head("/hello")],
    "no-host": [b"GET /hello HTTP/1.0\r\n\r\n"],
    "long-head": [head("/hello", "Cookie: " + "c" * 30000)],
    "absolute": [head("http://web.test/hello")],
}
HOSTILE = {
    "garbage": [b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n"],
    "bare-lf": [b"GET /hello HTTP/1.1\nHost: x\nConnection: close\n\n"],
    "empty": [b""],
    "half": [b"GET /hello HT"],
    "too-long": [head("/hello", "Cookie: " + "c" * 70000)],
    "many-headers": [head("/hello", *["X: y"] * 200)],
    "version": [b"GET / HTTP/9.9\r\n\r\n"],
    "nul": [b"GET /\0 HTTP/1.1\r\nConnection: close\r\n\r\n"],
}


def talk(port, pieces):
    import socket
    with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                s.sendall(piece)
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        got = b""
        try:
            while part := s.recv(65536):
                got += part
        except ConnectionResetError:
            got += b"<reset>"
        return plain(got)


def conversations(bench, ports, program, talks, env=None):
    port = ports()
    server = bench.start(program("web.py", port), port, agent=False, env=env)
    without = {name: talk(port, pieces) for name, pieces in talks.items()}
    bench.stop(server)
    server = bench.start(program("web.py", port), port, name="web", env=env)
    with_us = {name: talk(port, pieces) for name, pieces in talks.items()}
    bench.stop(server)
    assert with_us == without


@pytest.mark.parametrize("peek", [False, True], ids=["", "peek"])
def test_http_server(bench, ports, program, peek):
    conversations(bench, ports, program, TALKS, {"PEEK": "1"} if peek else {})
    spans = reader.entries(bench.segments(len(TALKS) + 3))
    seen = sorted((s.operationName, *[t.value for t in s.tags if t.key != "http.url"], s.isError)
                  for s in spans)
    assert seen == sorted([
        ("/hello", "GET", "200", False)] * 9 + [
        ("/hello", "HEAD", "200", False), ("/post", "POST", "200", False),
        ("/post", "POST", "200", False), ("/put", "PUT", "200", False),
        ("/chunks/30", "GET", "200", False), ("/chunks/2", "GET", "200", False),
        ("/status/404", "GET", "404", True), ("/status/500", "GET", "500", True),
        ("/none", "GET", True)])
    for span in spans:
        assert [t.key for t in span.tags][:2] == ["http.method", "http.url"]
        assert re.fullmatch(r"127\.0\.0\.1:\d+", span.peer)
    urls = {reader.tags(s)["http.url"] for s in spans if s.operationName == "/hello"}
    assert urls == {"http://web.test:80/hello", "http://web.test/hello", "/hello"}


def test_http_server_hostile_input(bench, ports, program):
    conversations(bench, ports, program, HOSTILE)


def test_calls_on_behalf_of_requests(bench, ports, program, origin):
    """Threads: each request's calls are children of its Entry, and of no other's."""
    port = ports()
    server = bench.start(program("web.py", port, origin.port), port, name="web")
    in_parallel(lambda n: get(port, f"/calls/{n}"), range(1, 9), 4)
    assert get(port, "/calls/2", [f"sw8: {reader.carrier()}", "sw8-correlation: a:b"])[0] == 200
    last = origin.requests[-1]
    bench.stop(server)
    segments = bench.segments(9)
    for segment in segments:
        entry = reader.entry(segment)
        exits = reader.exits(segment)
        assert entry.operationName == f"/calls/{len(exits)}"
        assert [e.operationName for e in exits] == [f"/origin/{i}" for i in range(len(exits))]
        assert all(e.parentSpanId == 0 and e.peer == f"127.0.0.1:{origin.port}" for e in exits)
        for exit in exits:
            assert entry.startTime <= exit.startTime <= exit.endTime <= entry.endTime
    [joined] = [s for s in segments if s.traceId == "trace-1"]
    [ref] = reader.entry(joined).refs
    assert (ref.parentTraceSegmentId, ref.parentSpanId, ref.parentService,
            ref.parentServiceInstance, ref.parentEndpoint, ref.networkAddressUsedAtPeer) == \
        ("segment-1", 3, "caller", "caller-1", "/called", "127.0.0.1:80")
    carried = reader.parse_carrier(last.sw8[0].decode())
    assert (carried.trace, carried.segment, carried.span, carried.endpoint) == \
        ("trace-1", joined.traceSegmentId, 2, "/calls/2")
    assert last.correlation == [b"a:b"]


# ---- nginx ----


def nginx(bench, port, server, http_part=""):
    folder = bench.tmp / f"nginx-{port}"
    folder.mkdir(exist_ok=True)
    for name in ("body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "nginx.conf").write_text(f"""
        user root; daemon off; worker_processes 1; pid {folder}/pid; error_log stderr warn;
        events {{ worker_connections 256; }}
        http {{
            access_log off; sendfile on; tcp_nopush on;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            {http_part}
            server {{ listen 127.0.0.1:{port}; {server} }}
        }}""")
    return ["/usr/sbin/nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def test_nginx_static(bench, ports, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "small").write_bytes(b"small\n")
    (root / "big").write_bytes(bytes(range(256)) * 8000)
    requests = [head("/small"), head("/big"), head("/big", "Range: bytes=5000-9000"),
                head("/missing"), head("/big", method="HEAD"), head("/small", version="1.0"),
                head("/small", close=False) * 3 + head("/big", close=False) + head("/small"),
                head("/small", "If-None-Match: *"), b"GET /small\r\n", b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n"]
    port = ports()
    argv = nginx(bench, port, f"root {root};")
    results = []
    for agent in (False, True):
        server = bench.start(argv, port, agent=agent, name="nginx")
        answers = [plain(call(port, request)) for request in requests]
        status = bench.stop(server)
        log = re.sub(rb"(?m)^.*? \[error\] \d+#\d+: \*\d+", b"", bench.output(server))
        results.append((answers, status, log))
    assert results[0] == results[1]
    spans = reader.entries(bench.segments(12))
    assert sorted(s.operationName for s in spans) == \
        sorted(["/big"] * 4 + ["/small"] * 7 + ["/missing"])


def proxied(bench, ports, upstream, http_part="", location=""):
    port = ports()
    argv = nginx(bench, port, f"""location / {{
        proxy_pass {upstream}; proxy_http_version 1.1; proxy_set_header Connection ""; {location} }}""",
                 http_part)
    return port, argv


def test_nginx_proxy_joins(bench, ports, program):
    """curl → nginx → a web service: nginx forwards curl's lines, which are replaced by its own."""
    web = ports()
    port, argv = proxied(bench, ports, f"http://127.0.0.1:{web}")
    bench.start(program("web.py", web), web, name="web")
    bench.start(argv, port, name="nginx")
    for i in range(5):
        result = bench.run(["curl", "-sS", f"http://127.0.0.1:{port}/hello?{i}"], name="curl")
        assert result.out == b"hello\n" and result.err == b""
    bench.stop_all()
    segments = bench.segments(15)
    for curl in reader.of_service(segments, "curl"):
        [middle] = [s for s in reader.of_service(segments, "nginx")
                    if reader.called_by(s, curl, 0)]
        [exit] = reader.exits(middle)
        [last] = [s for s in reader.of_service(segments, "web") if reader.called_by(s, middle, exit.spanId)]
        assert exit.peer == f"127.0.0.1:{web}"
        assert len({curl.traceId, middle.traceId, last.traceId}) == 1


def test_nginx_proxy_wire(bench, ports, origin):
    """What the upstream gets, without and with us, by clients that carry sw8 and that do not."""
    port, argv = proxied(bench, ports, f"http://127.0.0.1:{origin.port}")
    carried = head("/c", f"sw8: {reader.carrier()}", "sw8-correlation: a:b", "X-Last: z")
    requests = [head("/plain"), carried, head("/post", "Content-Length: 30000", method="POST") +
                b"p" * 30000]
    taken = []
    for agent in (False, True):
        server = bench.start(argv, port, agent=agent, name="nginx")
        answers = [plain(call(port, request)) for request in requests]
        bench.stop(server)
        taken.append((answers, origin.taken(3)))
    (before, sent), (after, arrived) = taken
    assert after == before
    lines = re.compile(rb"sw8(-correlation)?: [^\r]*\r\n")
    assert sorted(lines.sub(b"", data) for data in arrived) == sorted(lines.sub(b"", data) for data in sent)
    [forwarded] = [data for data in arrived if data.startswith(b"GET /c ")]
    assert len(lines.findall(forwarded)) == 2, "replaced, not added"
    sw8 = re.search(rb"sw8: (.*)\r\n", forwarded)[1].decode()
    carrier = reader.parse_carrier(sw8)
    segments = bench.segments()
    [segment] = [s for s in segments if s.traceId == "trace-1"]
    assert (carrier.trace, carrier.segment, carrier.endpoint) == ("trace-1", segment.traceSegmentId, "/c")
    # Where nothing tells the request, the call is a segment of its own.
    alone = [s for s in segments if len(s.spans) == 1 and s.spans[0].spanType == reader.Exit]
    assert sorted(s.spans[0].operationName for s in alone) == ["/plain", "/post"]
    assert all(reader.tags(s.spans[0])["sw.parent"] == "none" for s in alone)
    assert len(segments) == 5


@pytest.mark.slow
def test_nginx_proxy_keeps_upstream_connections(bench, ports, program):
    web = ports()
    port, argv = proxied(bench, ports, "http://up",
                         f"upstream up {{ server 127.0.0.1:{web}; keepalive 4; }}")
    bench.start(program("web.py", web), web, name="web")
    bench.start(argv, port, name="nginx")

    def one(number):
        return get(port, f"/status/{200 + number % 3}", [
            "sw8: " + reader.carrier(trace=f"trace-{number}", segment=f"segment-{number}")])

    answers = in_parallel(one, range(60), 6)
    assert [status for status, _, _ in answers] == [200 + n % 3 for n in range(60)]
    bench.stop_all()
    segments = bench.segments(120)
    for number in range(60):
        ours = [s for s in segments if s.traceId == f"trace-{number}"]
        [middle], [last] = reader.of_service(ours, "nginx"), reader.of_service(ours, "web")
        assert reader.called_by(last, middle, reader.exits(middle)[0].spanId)


# ---- gunicorn ----


@pytest.mark.slow
@pytest.mark.parametrize("kind", [["sync"], ["gthread", "--threads", "4", "--keep-alive", "5"]],
                         ids=lambda kind: kind[0])
def test_gunicorn(bench, ports, kind):
    """Each of 50 requests: front's Entry, its two calls, and back's two Entries, joined."""
    from conftest import HERE
    front, back = ports(), ports()
    options = ["--workers", "2", "-k", *kind, "--chdir", str(HERE / "programs")]
    bench.start([*GUNICORN, *options, "-b", f"127.0.0.1:{back}", "flaskapp:back"], back, name="back")
    bench.start([*GUNICORN, *options, "-b", f"127.0.0.1:{front}", "flaskapp:front"], front,
                name="front", env={"BACK_PORT": back})

    def one(number):
        connection = http.client.HTTPConnection("127.0.0.1", front, timeout=60)
        headers = {} if number % 2 else {"sw8": reader.carrier(trace=f"trace-{number}")}
        connection.request("GET", f"/front/{number}", headers=headers)
        answer = connection.getresponse().read().decode()
        connection.close()
        return answer

    answers = in_parallel(one, range(50), 8)
    assert answers == [f"back {number} more {number}\n" for number in range(50)]
    bench.stop_all()
    segments = bench.segments(150)
    for number in range(50):
        [one] = [s for s in segments if reader.entry(s).operationName == f"/front/{number}"]
        first, second = reader.exits(one)
        assert (first.operationName, second.operationName) == \
            (f"/back/{number}", f"/back/{number}/more")
        [a] = [s for s in segments if reader.entry(s).operationName == f"/back/{number}"]
        [b] = [s for s in segments if reader.entry(s).operationName == f"/back/{number}/more"]
        assert reader.called_by(a, one, first.spanId) and reader.called_by(b, one, second.spanId)
        assert (one.traceId == f"trace-{number}") == (number % 2 == 0)
    for service in "front", "back":
        instances = {s.serviceInstance for s in reader.of_service(segments, service)}
        assert 1 <= len(instances) <= 2


def test_gunicorn_says_the_same(bench, ports):
    """Its log, its exit status, its answers; by default it also has a control socket."""
    from conftest import HERE
    outputs = []
    for agent in (False, True):
        port = 31999 if agent is None else ports()
        server = bench.start([VENV, "-m", "gunicorn", "--worker-tmp-dir", "/tmp",
                              "--control-socket", str(bench.tmp / f"{agent}.ctl"), "-w", "2",
                              "--chdir", str(HERE / "programs"), "-b", f"127.0.0.1:{port}",
                              "flaskapp:back"], port, agent=agent, name="back")
        bodies = [plain(call(port, head(f"/back/{i}"))) for i in range(5)]
        status = bench.stop(server)
        log = re.sub(rb"\[[^]]*\] |pid: ?\d+|\(\d+\)|:\d+", b"", bench.output(server))
        log = re.sub(rb"True|False", b"", log)
        outputs.append((bodies, status, sorted(log.splitlines())))
    assert outputs[0] == outputs[1]
    bench.segments(5)


# ---- uvicorn ----


def test_uvicorn(bench, ports):
    """One Entry per request, and nothing else."""
    from conftest import HERE
    port = ports()
    argv = [*UVICORN, "--app-dir", str(HERE / "programs"), "--port", str(port), "asgi:app"]
    answers = []
    for agent in (False, True):
        server = bench.start(argv, port, agent=agent, name="uvicorn")

        def many(number):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            bodies = []
            for i in range(40):
                connection.request("GET", "/hello", headers={"X-Number": str(number)})
                bodies.append(connection.getresponse().read())
            connection.close()
            return bodies

        answers.append(in_parallel(many, range(8), 8))
        answers[-1].append(bench.stop(server))
        answers[-1].append(bench.output(server))
    assert answers[0] == answers[1]
    segments = bench.segments(320)
    for segment in segments:
        assert len(segment.spans) == 1 and segment.spans[0].operationName == "/hello"


def test_uvicorn_calls_belong_to_their_requests(bench, ports, origin):
    from conftest import HERE
    port = ports()
    server = bench.start([*UVICORN, "--app-dir", str(HERE / "programs"), "--port", str(port),
                          "asgi:app"], port, name="uvicorn", env={"ORIGIN": origin.port})
    in_parallel(lambda _: get(port, "/call"), range(12), 4)
    bench.stop(server)
    segments = bench.segments(12)
    assert all({span.spanType for span in s.spans} == {reader.Entry, reader.Exit} for s in segments)
    assert all(reader.exits(s)[0].peer == "origin:80" for s in segments)
