"""Programs that make requests: the same output and exit status, the same bytes on the wire but for
our lines, and one segment with one Exit per request."""

import re

import pytest

import reader
from origin import Origin, plain_answer, without_lines

VENV = __import__("sys").executable


def wire(bench, origin, argv, connections=1, requests=None, **options):
    """With and without; returns the segments."""
    without = bench.run(argv, agent=False, **options)
    sent = origin.taken(connections)
    with_us = bench.run(argv, name="client", **options)
    arrived = origin.taken(connections)
    with_us.same(without)
    count = 0
    for before, after in zip(sent, arrived):
        rest, lines = without_lines(after)
        assert rest == before
        count += len(lines)
    requests = connections if requests is None else requests
    assert count == requests
    return with_us, bench.segments(requests)


def only_exit(segment, method, url, status, error=False):
    [span] = segment.spans
    peer = re.match(r"http://([^/]+)", url)[1]
    assert span.spanType == reader.Exit and span.parentSpanId == -1 and span.isError == error
    assert span.peer == peer
    assert span.operationName == url[len("http://" + peer):].split("?")[0]
    assert [(t.key, t.value) for t in span.tags] == [
        ("http.method", method), ("http.url", url.split("?")[0]), ("http.status_code", str(status))]
    assert segment.service == "client"


CURL = ["curl", "-sS", "--max-time", "20"]


def test_curl_get(bench, origin):
    url = f"http://127.0.0.1:{origin.port}/a/b?secret=1"
    _, [segment] = wire(bench, origin, [*CURL, "-i", url])
    only_exit(segment, "GET", url, 200)


def test_curl_post(bench, origin):
    url = f"http://127.0.0.1:{origin.port}/post"
    _, [segment] = wire(bench, origin, [*CURL, "-d", "a=b&" * 5000, url])
    only_exit(segment, "POST", url, 200)


def test_curl_head(bench, origin):
    url = f"http://127.0.0.1:{origin.port}/head"
    _, [segment] = wire(bench, origin, [*CURL, "-I", url])
    only_exit(segment, "HEAD", url, 200)


def test_curl_404(bench, origin):
    url = f"http://127.0.0.1:{origin.port}/404"
    result, [segment] = wire(bench, origin, [*CURL, "-f", url])
    assert result.rc == 22
    only_exit(segment, "GET", url, 404, error=True)


def test_curl_keeps_alive(bench, origin):
    urls = [f"http://127.0.0.1:{origin.port}/{name}" for name in ("one", "two", "three")]
    _, segments = wire(bench, origin, [*CURL, *urls], requests=3)
    assert sorted(s.spans[0].operationName for s in segments) == ["/one", "/three", "/two"]
    assert len({s.traceId for s in segments}) == 3


def test_curl_http_1_0(bench, origin):
    url = f"http://127.0.0.1:{origin.port}/old"
    _, [segment] = wire(bench, origin, [*CURL, "-i", "--http1.0", url])
    only_exit(segment, "GET", url, 200)


@pytest.mark.parametrize("size", [0, 5, 300000])
def test_curl_uploads_standard_input(bench, origin, size):
    url = f"http://127.0.0.1:{origin.port}/upload"
    _, [segment] = wire(bench, origin, [*CURL, "-T", "-", url], input=b"u" * size)
    only_exit(segment, "PUT", url, 200)


def test_curl_unix_socket(bench, tmp_path):
    path = str(tmp_path / "socket")
    with Origin(path) as origin:
        _, [segment] = wire(bench, origin, [*CURL, "--unix-socket", path, "http://name/a"])
    [span] = segment.spans
    assert (span.peer, span.operationName) == (f"unix:{path}", "/a")
    assert reader.tags(span)["http.url"] == "http://name/a"


def test_curl_by_name(bench, origin):
    """The peer is what the program typed, not an address."""
    _, [segment] = wire(bench, origin, [*CURL, "--resolve", f"shop.test:{origin.port}:127.0.0.1",
                                        f"http://shop.test:{origin.port}/x"])
    assert segment.spans[0].peer == f"shop.test:{origin.port}"


def test_curl_password_is_not_kept(bench, origin):
    wire(bench, origin, [*CURL, f"http://user:geheim@127.0.0.1:{origin.port}/x?token=geheim"])
    assert all(b"geheim" not in path.read_bytes() for path in bench.files())


def test_curl_connection_refused(bench, port):
    without, result = (bench.run([*CURL, f"http://127.0.0.1:{port}/x"], agent=agent) for agent in (False, True))
    for one in without, result:
        one.err = re.sub(rb"after \d+ ms", b"after some ms", one.err)
    result.same(without)
    assert result.rc == 7
    assert bench.segments() == []


def test_curl_answer_cut_short(bench, origin):
    origin.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"
    talk = origin.talk
    origin.talk = lambda peer, data: talk(Once(peer), data)
    result, [segment] = wire(bench, origin, [*CURL, f"http://127.0.0.1:{origin.port}/cut"])
    assert result.rc == 18
    assert segment.spans[0].isError


class Once:
    """A peer that hangs up after its answer."""

    def __init__(self, peer):
        self.recv, self.peer = peer.recv, peer

    def sendall(self, data):
        self.peer.sendall(data)
        raise OSError


def test_curl_no_answer(bench, origin):
    origin.answer = lambda request: None
    result, [segment] = wire(bench, origin, [*CURL, f"http://127.0.0.1:{origin.port}/none"])
    assert result.rc == 52
    assert segment.spans[0].isError


def test_curl_many_at_once(bench, origin):
    """Forty requests, ten connections at a time, of one thread."""
    urls = [f"http://127.0.0.1:{origin.port}/{i}" for i in range(40)]
    argv = [*CURL, "--no-progress-meter", "-Z", "--parallel-max", "10", *urls]
    without = bench.run(argv, agent=False)
    with_us = bench.run(argv, name="client")
    assert sorted(with_us.out.splitlines()) == sorted(without.out.splitlines())
    assert with_us.rc == without.rc == 0  # its progress meter, on stderr, tells times
    segments = bench.segments(40)
    assert {s.spans[0].operationName for s in segments} == {f"/{i}" for i in range(40)}


def test_curl_interim_answers(bench, origin):
    origin.answer = lambda r: b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + plain_answer(r)
    url = f"http://127.0.0.1:{origin.port}/hints"
    _, [segment] = wire(bench, origin, [*CURL, url])
    only_exit(segment, "GET", url, 200)


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
], ids=["chunked", "204", "304", "empty"])
def test_curl_kinds_of_answers(bench, origin, answer):
    origin.answer = lambda request: answer
    urls = [f"http://127.0.0.1:{origin.port}/{i}" for i in range(3)]
    _, segments = wire(bench, origin, [*CURL, *urls], requests=3)
    assert not any(s.spans[0].isError for s in segments)


@pytest.mark.parametrize("answer", [b"\x16\x03\x01 what is this\r\n\r\n", b"HTTP/1.1 200 OK\r\n" +
                                    b"X: " + b"x" * 90000 + b"\r\n\r\n",
                                    b"HTTP/1.1 20x OK\r\nContent-Length: zz\r\n\r\n", b"\0" * 5000],
                         ids=["not-http", "long-head", "bad-status", "nuls"])
def test_curl_hostile_answers(bench, origin, answer):
    origin.answer = lambda request: answer
    talk = origin.talk
    origin.talk = lambda peer, data: talk(Once(peer), data)
    argv = [*CURL, f"http://127.0.0.1:{origin.port}/x"]
    bench.both(argv)


@pytest.mark.parametrize("arguments", [[], ["--post-data=a=b"], ["--spider"]], ids=str)
def test_wget(bench, origin, arguments):
    url = f"http://127.0.0.1:{origin.port}/file"
    wire(bench, origin, ["wget", "-q", "-O", "-", "--tries=1", *arguments, url])


def test_wget_two_files(bench, origin):
    urls = [f"http://127.0.0.1:{origin.port}/{name}" for name in "ab"]
    wire(bench, origin, ["wget", "-q", "-O", "-", *urls], requests=2)


@pytest.mark.parametrize("client", ["http.client", "urllib", "requests"])
def test_python(bench, origin, program, client):
    urls = [f"http://127.0.0.1:{origin.port}/{name}" for name in ("one", "404", "three")]
    connections = {"http.client": 1, "urllib": 3, "requests": 1}[client]
    argv = program("client.py", client, "return", *urls, python=VENV)
    _, segments = wire(bench, origin, argv, connections, requests=4 if client == "requests" else 3)
    assert sum(s.spans[0].isError for s in segments) == 1


def test_exit_alone_is_untagged_in_a_client(bench, origin):
    """A process that serves nothing has no request that could not be told."""
    _, [segment] = wire(bench, origin, [*CURL, f"http://127.0.0.1:{origin.port}/x"])
    assert "sw.parent" not in reader.tags(segment.spans[0])
