"""What a segment says, what is carried on, and what is not traced at all."""

import re
import time

import pytest

import reader
from origin import get, without_lines


@pytest.fixture
def web(bench, ports, program, origin):
    """web(env): a service that calls the origin. Stop it to see its segments."""

    def start(env=None):
        port = ports()
        bench.start(program("web.py", port, origin.port), port, name="web", env=env)
        return port

    return start


def suppressed(origin):
    return [(request.sw8, request.correlation) for request in origin.requests]


MARKER = ([b"1-------"], [b""])


@pytest.mark.parametrize("sw8", [
    "1-------", "garbage", "1-", "-------", "1-a-b", reader.carrier() + "-x",
    "1-dA==-cw==-x-YQ==-YQ==-YQ==-YQ==",  # the span id is no number
    "1-dA==-cw==--YQ==-YQ==-YQ==-YQ==", "1--cw==-1-YQ==-YQ==-YQ==-YQ==",
    reader.carrier(flag="0"), "1-dA==-cw==-99999999999-YQ==-YQ==-YQ==-YQ==",
    "1-d A-cw==-1-YQ==-YQ==-YQ==-YQ==", "a" * 5000,
    "1-dA==-c-1-YQ==-YQ==-YQ==-YQ==",  # base64 of nothing: the segment was lost for it
], ids=lambda sw8: sw8[:20])
def test_suppressed_and_invalid_carriers(bench, web, origin, sw8):
    """No segment, and the calls made on its behalf carry the marker on."""
    port = web()
    assert get(port, "/calls/2", [f"sw8: {sw8}"])[0] == 200
    assert suppressed(origin) == [MARKER, MARKER]
    bench.stop_all()
    assert bench.segments() == []


@pytest.mark.parametrize("name", ["sw8", "SW8", "Sw8"])
def test_valid_carrier(bench, web, origin, name):
    port = web()
    get(port, "/calls/1", [f"{name}:  {reader.carrier(trace='t' * 60)}  ",
                           "SW8-Correlation: YQ==:Yg==,x:y"])
    bench.stop_all()
    [segment] = bench.segments(1)
    assert segment.traceId == "t" * 60
    [request] = origin.requests
    assert reader.parse_carrier(request.sw8[0].decode()).trace == "t" * 60
    assert request.correlation == [b"YQ==:Yg==,x:y"]


def test_empty_carrier_is_as_none(bench, web):
    port = web()
    get(port, "/hello", ["sw8: "])
    bench.stop_all()
    [segment] = bench.segments(1)
    assert not segment.spans[0].refs


class Windows:
    """What is done within began with a window of 3 s, and was over in `count` of them: one, but on a busy machine."""

    def __enter__(self):
        time.sleep(3.05 - time.monotonic() % 3)
        self.begin = time.monotonic() // 3
        return self

    def __exit__(self, *_):
        self.count = 1 + int(time.monotonic() // 3 - self.begin)


def test_unsampled(bench, web, origin):
    """Two new traces in 3 s; the others carry the marker; a caller's decision is honoured."""
    port = web({"SW_SAMPLE_N_PER_3_SECS": 2})
    with Windows() as windows:
        for _ in range(8):
            get(port, "/calls/1")
    for i in range(5):
        get(port, "/calls/1", [f"sw8: {reader.carrier(trace=f'trace-{i}')}"])
    carried = suppressed(origin)
    bench.stop_all()
    segments = bench.segments()
    assert {f"trace-{i}" for i in range(5)} < {s.traceId for s in segments}
    assert 2 <= len(segments) - 5 <= 2 * windows.count
    assert carried.count(MARKER) == 8 - (len(segments) - 5)


def test_sampling_by_its_other_name(bench, web):
    port = web({"SW_AGENT_SAMPLE": 1})
    with Windows() as windows:
        for _ in range(5):
            get(port, "/hello")
    bench.stop_all()
    assert 1 <= len(bench.segments()) <= windows.count


@pytest.mark.parametrize("env, paths, traced", [
    ({}, ["/x.png", "/x.PNG", "/.png", "/a/x.html", "/x.png?a=b", "/hello"], ["/x.PNG", "/hello"]),
    ({"SW_AGENT_IGNORE_SUFFIX": " .txt , .md"}, ["/x.png", "/x.txt", "/x.md"], ["/x.png"]),
    ({"SW_AGENT_IGNORE_SUFFIX": ""}, ["/x.png"], ["/x.png"]),
    ({"SW_AGENT_TRACE_IGNORE_PATH": "/health/**,/a/*/c,/q?"},
     ["/health/", "/health/a/b", "/health", "/a/b/c", "/a/b/b/c", "/q1", "/q12"],
     ["/health", "/a/b/b/c", "/q12"]),
    ({"SW_AGENT_TRACE_IGNORE_PATH": "/**/x"}, ["/x", "/a/x", "/a/b/x", "/ax"], ["/ax"]),
    ({"SW_PLUGIN_HTTP_IGNORE_METHOD": "options, Head"}, ["OPTIONS /o", "HEAD /h", "GET /g"], ["/g"]),
], ids=["suffix", "suffixes", "no-suffix", "paths", "deep-path", "methods"])
def test_filters(bench, web, env, paths, traced):
    port = web(env)
    for path in paths:
        method, _, path = path.rpartition(" ")
        get(port, path, method=method or "GET")
    bench.stop_all()
    segments = bench.segments(len(traced))
    assert sorted(reader.entry(s).operationName for s in segments) == sorted(traced)


def test_calls_of_an_ignored_request_carry_the_marker(bench, web, origin):
    port = web({"SW_AGENT_TRACE_IGNORE_PATH": "/calls/*"})
    get(port, "/calls/2")
    assert suppressed(origin) == [MARKER, MARKER]
    bench.stop_all()
    assert bench.segments() == []


def test_ignored_call_of_a_traced_request(bench, web, origin):
    """Only that call is suppressed, and what it calls."""
    port = web({"SW_AGENT_TRACE_IGNORE_PATH": "/origin/1"})
    get(port, "/calls/3")
    carried = suppressed(origin)
    bench.stop_all()
    [segment] = bench.segments(1)
    assert [e.operationName for e in reader.exits(segment)] == ["/origin/0", "/origin/2"]
    assert [c == MARKER for c in carried] == [False, True, False]


@pytest.mark.parametrize("key", ["SW_AGENT_SPAN_LIMIT_PER_SEGMENT", "SW_AGENT_SPAN_LIMIT"])
def test_span_limit(bench, web, origin, key):
    port = web({key: 3})
    get(port, "/calls/5")
    carried = suppressed(origin)
    get(port, "/calls/2")
    bench.stop_all()
    segments = bench.segments(2)
    assert sorted((len(s.spans), s.isSizeLimited) for s in segments) == [(3, False), (3, True)]
    assert [c == MARKER for c in carried] == [False, False, True, True, True]


def test_names(bench, web):
    port = web({"SW_AGENT_NAME": "shop", "SW_AGENT_NAMESPACE": "test",
                "SW_AGENT_INSTANCE_NAME": "shop-1"})
    get(port, "/hello")
    bench.stop_all()
    [segment] = bench.segments(1)
    assert (segment.service, segment.serviceInstance) == ("shop|test", "shop-1")


def test_names_by_default(bench, origin):
    bench.run(["curl", "-s", f"http://127.0.0.1:{origin.port}/"])
    [segment] = bench.segments(1)
    assert segment.service == "curl"
    assert re.fullmatch("[0-9a-f]{32}", segment.serviceInstance)


def test_properties(bench, web):
    import os
    import socket
    port = web({"SW_AGENT_INSTANCE_NAME": "shop-1", "SW_AGENT_NAMESPACE": "test",
                "SW_AGENT_INSTANCE_PROPERTIES_JSON": '{"zone":"a\\u00e9"}'})
    get(port, "/hello")
    process = bench.running[0]
    bench.stop_all()
    bench.segments(1)
    properties = [m for _, kind, m in reader.records(bench.records) if kind == "properties"]
    assert len(properties) >= 1
    [message] = properties[:1]
    found = [(p.key, p.value) for p in message.properties]
    assert (message.service, message.serviceInstance) == ("web|test", "shop-1")
    assert found[0][0] == "language"
    assert dict(found)["Process No."] == str(process.pid)
    assert dict(found)["hostname"] == socket.gethostname()
    assert dict(found)["OS Name"]
    assert dict(found)["namespace"] == "test" and dict(found)["zone"] == "a\u00e9"
    assert os.path.basename(bench.files()[0]).endswith(f"-{process.pid}.jsonl")


@pytest.mark.slow
def test_heartbeat(bench, web):
    port = web({"SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD": 1,
                "SW_AGENT_COLLECTOR_PROPERTIES_REPORT_PERIOD_FACTOR": 2})
    get(port, "/hello")
    time.sleep(5.5)
    bench.stop_all()
    kinds = [kind for _, kind, _ in reader.records(bench.records) if kind != "segment"]
    assert kinds[0] == "properties"
    assert 2 <= kinds.count("ping") <= 6 and 2 <= kinds.count("properties") <= 4


def test_params(bench, web):
    for env, expected in [({}, None), ({"SW_PLUGIN_HTTP_COLLECT_HTTP_PARAMS": "true"}, "a=1&b=%20"),
                          ({"SW_PLUGIN_FLASK_COLLECT_HTTP_PARAMS": "True",
                            "SW_PLUGIN_HTTP_HTTP_PARAMS_LENGTH_THRESHOLD": 3}, "a=1")]:
        port = web(env)
        get(port, "/hello?a=1&b=%20")
        bench.stop_all()
        for file in bench.files():
            segments = [s for s in reader.read(bench.records)]
        assert reader.tags(segments[0].spans[0]).get("http.params") == expected
        keys = [t.key for t in segments[0].spans[0].tags]
        assert keys == ["http.method", "http.url", *(["http.params"] if expected else []),
                        "http.status_code"]
        for file in bench.files():
            file.unlink()


@pytest.mark.parametrize("path", ["/" + "p" * 3000, "/%C3%BC/\u00fc", "/\u00e4" * 100,
                                  "/q\"uo\\te", "/a\xff\xfe"], ids=["long", "utf-8", "cut", "quote",
                                                                  "not-utf-8"])
def test_odd_operations(bench, web, path):
    """Whatever the path, the record can be read, and names are cut between characters."""
    port = web()
    import origin as o
    text = path.encode("latin-1" if "\xff" in path else "utf-8")
    answer = o.call(port, b"GET " + text + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    bench.stop_all()
    [segment] = bench.segments(1)
    operation = segment.spans[0].operationName
    assert operation.startswith(path[:2]) and (len(path) > 150 or len(operation) >= len(path))


def test_times(bench, web):
    port = web()
    begin = time.time() * 1000
    get(port, "/slow/0.3")
    end = time.time() * 1000
    bench.stop_all()
    [segment] = bench.segments(1)
    [span] = segment.spans
    assert begin - 2 <= span.startTime <= span.endTime <= end + 2
    assert 298 <= span.endTime - span.startTime <= end - begin + 2


def test_client_that_hangs_up(bench, web):
    """The request began and never got its answer."""
    import socket
    port = web()
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"GET /slow/0.2 HTTP/1.1\r\nHost: h\r\n")
        s.sendall(b"\r\n")
    with socket.create_connection(("127.0.0.1", port)):
        pass  # a health check: no segment
    bench.segments(1)
    bench.stop_all()
    [segment] = bench.segments(1)
    assert segment.spans[0].operationName == "/slow/0.2"


def test_unsampled_client_carries_the_marker(bench, origin):
    """A client's calls are new traces of their own, and sampled as such."""
    argv = ["curl", "-sS", *[f"http://127.0.0.1:{origin.port}/{i}" for i in range(4)]]
    with Windows() as windows:
        bench.run(argv, env={"SW_SAMPLE_N_PER_3_SECS": 1})
    carried = [c == MARKER for c in suppressed(origin)]
    assert not carried[0] and len(carried) == 4 and carried.count(False) <= windows.count
    [data] = origin.taken(1)
    assert len(without_lines(data)[1]) == 4
    bench.segments(carried.count(False))
