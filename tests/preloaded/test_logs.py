"""Log lines: each once, of the right request, with what it says of itself, and the program's bytes as
they are without us."""

import json
import os
import re
import signal
import socket
import sys
import time

import pytest

import http_sink
import reader
from conftest import BUILD, HERE, SYSTEM_PYTHON
from origin import get
from sink import Sink
from test_servers import in_parallel

VENV = sys.executable


def logs(bench, count=None, timeout=40):
    """The logs that have been written, waiting for so many."""
    deadline = time.monotonic() + timeout
    while True:
        found = [m for _, kind, m in reader.records(bench.records) if kind == "log"]
        if count is None or len(found) >= count or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if count is not None:
        assert len(found) == count, [brief(m) for m in found]
    return found


def brief(log):
    return (text(log)[:200], tags(log), log.endpoint)


def text(log):
    return log.body.text.text or log.body.json.json


def tags(log):
    return {tag.key: tag.value for tag in log.tags.data}


def belong(bench, found):
    """Each log names the segment that served its endpoint."""
    segments = {s.traceSegmentId: s for s in bench.segments()}
    for log in found:
        segment = segments[log.traceContext.traceSegmentId]
        assert log.traceContext.traceId == segment.traceId
        assert log.traceContext.spanId == 0
        assert log.endpoint == segment.spans[-1].operationName
        assert log.service == segment.service and log.serviceInstance == segment.serviceInstance


LAYOUTS = {
    "default": ("WARNING:shop.orders:request {} \u20ac \U0001f600", "shop.orders", None),
    "%(asctime)s - %(name)s - %(levelname)s - %(message)s": (None, "shop.orders", None),
    "%(asctime)s [%(threadName)s] %(levelname)s %(name)s - %(message)s": (None, "shop.orders", True),
    "%(asctime)s | %(levelname)-8s | %(name)s:%(funcName)s:%(lineno)d - %(message)s": (None, "shop.orders", None),
    "[%(asctime)s] [%(process)d] [%(levelname)s] %(message)s": (None, None, None),
    "json": (None, "shop.orders", None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_python_logging(bench, port, program, layout):
    line, logger, thread = LAYOUTS[layout]
    server = bench.start(program("logs.py", port, layout), port=port, name="shop")
    in_parallel(lambda n: get(port, f"/p/{n}"), range(40), 8)
    get(port, "/i/5")  # below the level
    found = logs(bench, 40)
    bench.segments(41)
    belong(bench, found)
    for log in found:
        number = log.endpoint.rsplit("/")[-1]
        assert f"request {number} " in text(log)
        assert tags(log)["level"] == "WARNING"
        assert tags(log).get("logger") == logger
        assert ("thread" in tags(log)) == bool(thread)
        assert abs(log.timestamp / 1000 - time.time()) < 60
        if line:
            assert text(log) == line.format(number)
        if layout == "json":
            assert json.loads(log.body.json.json)["level"] == "WARNING" and log.body.type == "json"
    assert bench.stop(server, signal.SIGTERM) == -signal.SIGTERM
    assert bench.output(server).count(b"\n") == 41


def test_traceback_is_one_record(bench, port, program):
    bench.start(program("logs.py", port, "default"), port=port, name="shop")
    get(port, "/t/7")
    found = logs(bench, 1)
    assert text(found[0]).startswith("ERROR:shop.orders:failed\nTraceback (most recent call last):\n  File ")
    assert text(found[0]).endswith("\nValueError: 7")
    bench.segments(1)
    belong(bench, found)


def test_print_has_no_level(bench, port, program):
    """It counts as information: not sent unless that is asked for."""
    bench.start(program("logs.py", port, "default"), port=port, name="shop",
                env={"SW_AGENT_LOG_REPORTER_LEVEL": "info"})
    get(port, "/print/7")
    get(port, "/i/8")
    found = logs(bench, 2)
    assert {(text(m), tags(m).get("level")) for m in found} == {("printed 7", None),
                                                                 ("INFO:shop.orders:request 8", "INFO")}


# ---- how they leave ----


def received(bench, sink, port, program, of, **env):
    server = bench.start(program("logs.py", port, "default"), port=port, name="shop",
                         env=env | {"SW_AGENT_COLLECTOR_BACKEND_SERVICES": f"127.0.0.1:{sink.port}"})
    in_parallel(lambda n: get(port, f"/p/{n}"), range(20), 4)
    deadline = time.monotonic() + 40
    while len(found := of()) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    bench.stop(server)
    assert {(text(m), m.endpoint) for m in found} == \
        {(f"WARNING:shop.orders:request {n} \u20ac \U0001f600", f"/p/{n}") for n in range(20)}
    assert len(found) == 20 and all(m.traceContext.traceId and m.service == "shop" for m in found)


def test_over_grpc(bench, port, ports, program):
    with Sink(ports()) as sink:
        received(bench, sink, port, program,
                 lambda: [m for call in sink.of("LogReportService") for m in call.messages],
                 SW_AGENT_PROTOCOL="grpc")


def test_over_http(bench, port, ports, program):
    if not (BUILD / "libswagent-http.so").exists():
        pytest.skip("the plug-in is not built")
    with http_sink.HttpSink(ports()) as sink:
        received(bench, sink, port, program, lambda: [m for r in sink.of(http_sink.LOGS) for m in r.messages],
                 SW_AGENT_PROTOCOL="http")


# ---- C programs ----

ALL = {"SW_AGENT_LOG_REPORTER_LEVEL": "debug", "SW_AGENT_LOG_REPORTER_RATE": "0"}


def said(bench, argv, env=ALL, **options):
    """The program without us and with us: the same bytes. Its result and the texts of its logs."""
    result = bench.both(argv, env=dict(env), **options)
    return result, [text(m) for m in logs(bench)]


def lines(data):
    return sorted(line for line in data.decode("utf-8", "replace").split("\n") if line)


@pytest.mark.parametrize("buffer", ["full", "line", "none"])
def test_c_says_lines_by_every_way(bench, compiled, origin, buffer):
    result, found = said(bench, [compiled("says"), origin.port, "many", buffer])
    assert sorted(found) == lines(result.out + result.err)


@pytest.mark.parametrize("buffer", ["full", "line", "none"])
def test_eight_threads_of_c(bench, compiled, origin, buffer):
    argv = [compiled("says"), origin.port, "threads", buffer]
    without = bench.run(argv, agent=False)
    result = bench.run(argv, env=ALL)
    assert lines(result.out) == lines(without.out)  # their order is their own
    found = [text(m) for m in logs(bench)]
    assert sorted(found) == lines(result.out)


def test_children_of_a_fork(bench, compiled, origin):
    """Each line is intact and comes once. The parent does not serve, so that children which do no
    network work have no thread of ours, and what they say is not sent."""
    argv = [compiled("says"), origin.port, "children"]
    without = bench.run(argv, agent=False)
    result = bench.run(argv, env=ALL)
    assert lines(result.out) == lines(without.out)
    found = [text(m) for m in logs(bench)]
    assert sorted(found) == [line for line in lines(result.out) if line.startswith("parent")]


def test_children_of_a_server(bench, port, program):
    """They are of the service, whatever they do; of no request that their parent serves."""
    bench.start(program("logs.py", port, "default"), port=port, name="shop")
    for number in range(3):
        get(port, f"/f/{number}")
    found = [m for m in logs(bench, 6) if "child" in text(m)]
    assert len(found) == 3
    for log in found:
        assert "-child(" in log.serviceInstance and not log.traceContext.traceId and not log.endpoint


@pytest.mark.parametrize("buffer", ["full", "line", "none"])
def test_odd_ways(bench, compiled, origin, buffer):
    result, found = said(bench, [compiled("says"), origin.port, "odd", buffer])
    assert sorted(found) == [line for line in lines(result.out + result.err) if "\0" not in line]


@pytest.mark.parametrize("way", ["wide", "closed", "full", "half"])
def test_programs_see_what_they_would(bench, compiled, origin, way):
    said(bench, [compiled("says"), origin.port, way])


def test_a_limit_of_file_sizes(bench, compiled, origin):
    """It is ours too: what cannot be written is lost."""
    bench.both([compiled("says"), origin.port, "limited"], env=ALL | {"SW_AGENT_LOGGING_LEVEL": "off"})


def test_a_number_that_is_reused_is_no_log(bench, compiled, origin):
    result, found = said(bench, [compiled("says"), origin.port, "reopened"])
    assert not any("data" in line for line in found), found
    assert {"to the pipe", "to the file", "reopened"} <= set(found)


def test_signal_handlers_that_write(bench, compiled, origin):
    argv = [compiled("says"), origin.port, "signals"]
    result = bench.run(argv, env=ALL)
    out = lines(result.out)
    assert result.rc == 0
    assert sorted(out) == sorted(f"line {n} amid signals" for n in range(len(out)))
    found = [text(m) for m in logs(bench)]
    assert [line for line in found if line.startswith("line")] == [f"line {n} amid signals" for n in range(len(out))]
    assert 150 < found.count("alarm") <= 210


def test_cancelled_threads(bench, compiled, origin):
    result = bench.run([compiled("says"), origin.port, "cancels"], env=ALL)
    assert result.rc == 0 and result.out.endswith(b"all cancelled\n")


def test_syslog(bench, compiled, origin):
    result, _ = said(bench, [compiled("says"), origin.port, "syslog"])
    found = [(text(m), tags(m).get("level")) for m in logs(bench)]
    assert ("syslog 5: No such file or directory", "ERROR") in found
    assert ("debug", "DEBUG") in found


def test_files_by_name(bench, compiled, origin, tmp_path):
    _, found = said(bench, [compiled("says"), origin.port, "files"],
                    env=ALL | {"SW_AGENT_LOG_REPORTER_FILES": "*.log"})
    assert sorted(found) == ["ERROR by file 1", "WARNING by descriptor", "WARNING by its duplicate"]
    _, found = said(bench, [compiled("says"), origin.port, "files"])
    assert len(found) == 3  # those of before


def test_a_line_of_a_mebibyte(bench, compiled, origin):
    result, found = said(bench, [compiled("says"), origin.port, "long"])
    assert len(result.out) == (1 << 20) + 15
    assert found[-1] == "ERROR after it"
    assert set("".join(found[:-1])) == {"L"} and len("".join(found[:-1])) == 65536


def test_binary(bench, compiled, origin):
    _, found = said(bench, [compiled("says"), origin.port, "binary"])
    assert len(found) < 4000


def test_nothing_is_captured_without_network(bench, compiled):
    bench.both(["/bin/sh", "-c", "echo ERROR; echo ERROR >&2; ls /; printf 'ERROR %s' x"], env=ALL)
    assert not bench.files()


def test_lines_alone_start_no_thread(bench, compiled):
    """A program that connects to something that we do not know, and complains."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        script = (f"import socket, os\nsocket.create_connection(('127.0.0.1', {port})).send(b'x')\n"
                  "os.write(2, b'ERROR it is so\\n')\nassert len(os.listdir('/proc/self/task')) == 1\n")
        bench.both([SYSTEM_PYTHON, "-c", script], env=ALL)
    assert not bench.files()


def test_terminals_are_left_alone(bench, compiled, origin):
    script = ["script", "-qec", f"{compiled('says')} {origin.port} many", "/dev/null"]
    bench.run(script, env=ALL)
    assert not logs(bench)
    bench.run(script, env=ALL | {"SW_AGENT_LOG_REPORTER_TERMINAL": "true"})
    assert len(logs(bench)) == 300


# ---- sockets of logs ----


class Places:
    """What is bound where the machine's log would be; where it is, the test is not for this machine."""

    def __init__(self):
        self.sockets = []
        for path in "/dev/log", "/run/systemd/journal/socket":
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                one.bind(path)
            except OSError as error:
                pytest.skip(f"{path}: {error}")
            self.sockets.append((path, one))

    def close(self):
        for path, one in self.sockets:
            one.close()
            os.unlink(path)


def test_syslog_and_journald_by_socket(bench, program, origin):
    places = Places()
    try:
        result = bench.run(program("sockets.py", origin.port), env=ALL)
    finally:
        places.close()
    assert result.rc == 0, result
    found = {(text(m), tags(m)["level"], tags(m).get("logger")) for m in logs(bench)}
    assert found == {("by syslog 5", "ERROR", "shop"), ("two\nlines", "WARNING", "shop"),
                     ("in pieces", "ERROR", None)}


# ---- servers ----

INFO = {"SW_AGENT_LOG_REPORTER_LEVEL": "info"}


def asgi(bench, port, *options, **env):
    argv = [VENV, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", *options, "--app-dir",
            str(HERE / "programs"), "--port", str(port), "logasgi:app"]
    return bench.start(argv, port, name="uvicorn", env={"SW_AGENT_LOOP_BLOCKED": 0} | env)  # which is a record, too


@pytest.mark.parametrize("loguru", ["", "text", "json"])
def test_interleaved_requests_of_asyncio(bench, port, loguru):
    """Fifty at once on one thread, and threads of the executor: each line names its own request."""
    if loguru:
        pytest.importorskip("loguru")
    asgi(bench, port, "--log-level", "critical", LOGURU=loguru or "UNSET")
    in_parallel(lambda n: get(port, f"/{n}"), range(50), 25)
    found = logs(bench, 150)
    bench.segments(50)
    belong(bench, found)
    for log in found:
        what = text(log)
        if loguru == "json":
            what = json.loads(what)["text"]
        what, number = what.split()[-2:]
        assert log.endpoint == f"/{number}"
        assert tags(log)["level"] == ("ERROR" if what == "end" else "WARNING")
        assert tags(log)["logger"] == ("logasgi" if loguru else "app.web")


def test_uvicorn_logs(bench, port):
    """Its lines from the first request on; the access line is of the request that it tells of."""
    asgi(bench, port, **INFO)
    get(port, "/5")
    found = logs(bench, 4)
    assert {tags(m)["level"] for m in found} == {"INFO", "WARNING", "ERROR"}
    [access] = [m for m in found if '"GET /5 HTTP/1.1" 200' in text(m)]
    bench.segments(1)
    belong(bench, [access])


def test_gunicorn_logs(bench, port):
    argv = [VENV, "-m", "gunicorn", "--worker-tmp-dir", "/tmp", "--no-control-socket", "--access-logfile", "-",
            "--chdir", str(HERE / "programs"), "-b", f"127.0.0.1:{port}", "flaskapp:back"]
    server = bench.start(argv, port, name="gunicorn", env=INFO)
    for number in range(3):
        get(port, f"/back/{number}")
    bench.stop(server)
    found = {text(m): tags(m) for m in logs(bench)}
    access = [line for line in found if '"GET /back/' in line]
    assert len(access) == 3 and all(found[line]["level"] == "INFO" for line in access)
    assert any("Worker exiting" in line and found[line]["level"] == "INFO" for line in found)


def test_nginx_logs(bench, port, origin):
    folder = bench.tmp / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(f"""
        user root; daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log info;
        events {{ worker_connections 64; }}
        http {{ access_log {folder}/access.log; client_body_temp_path {folder}; proxy_temp_path {folder};
               fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
               server {{ listen 127.0.0.1:{port}; root {folder}; }} }}""")
    server = bench.start(["/usr/sbin/nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e",
                          str(folder / "error.log")], port, name="nginx",
                         env=INFO | {"SW_AGENT_LOG_REPORTER_FILES": "access.log,**/error.log"})
    get(port, "/missing")
    found = logs(bench, 2)
    bench.stop(server)
    [error] = [m for m in found if "open()" in text(m)]
    [access] = [m for m in found if '"GET /missing HTTP/1.1" 404' in text(m)]
    assert tags(error)["level"] == "ERROR" and tags(access)["level"] == "INFO"
    written = (folder / "error.log").read_text() + (folder / "access.log").read_text()
    assert text(error) in written and text(access) in written
    bench.segments(1)
    belong(bench, [m for m in found if m.traceContext.traceId])


# ---- the ids in the program's own lines ----

INJECT = {"SW_AGENT_LOG_INJECT_CONTEXT": "true", "SW_AGENT_INSTANCE_NAME": "one"}


@pytest.mark.parametrize("layout", ["default", "json"])
def test_injected_context(bench, port, program, layout):
    """Each line names the request that it was written for; less that it is as it would be."""
    outputs = []
    for agent in (False, True):
        server = bench.start(program("logs.py", port, layout), port=port, name="shop", agent=agent,
                             env=INJECT if agent else None)
        in_parallel(lambda n: get(port, f"/p/{n}"), range(40), 8)
        get(port, "/t/7")
        bench.segments(41 if agent else 0)  # SIGTERM ends it at once
        logs(bench, 41 if agent else 0)
        bench.stop(server)
        outputs.append(bench.output(server).decode())
    pattern = (r',"SW_CTX":"\[shop,one,([0-9a-f]{32}),([0-9a-f]{32}),0\]"' if layout == "json" else
               r" \[SW_CTX: \[shop,one,([0-9a-f]{32}),([0-9a-f]{32}),0\]\]")
    segments = {s.traceSegmentId: s for s in bench.segments(41)}
    for line in outputs[1].splitlines():
        found = re.findall(pattern, line)
        assert len(found) == ("request" in line or "failed" in line), line
        if layout == "json":
            assert json.loads(line)["SW_CTX"].startswith("[shop,one,")
        for trace, segment in found:
            assert segments[segment].traceId == trace
            operation = segments[segment].spans[-1].operationName
            assert operation == "/t/7" or f"request {operation[3:]} " in line

    def without_times(text):
        return sorted(re.sub(r'"time": [0-9.]+', "", re.sub(pattern, "", text)).splitlines())

    assert without_times(outputs[0]) == without_times(outputs[1])
    assert all("SW_CTX" not in text(m) for m in logs(bench))


@pytest.mark.parametrize("way", ["many", "odd", "wide", "closed", "full", "half", "long", "reopened"])
def test_nothing_is_injected_for_no_request(bench, compiled, origin, way):
    said(bench, [compiled("says"), origin.port, way], env=ALL | INJECT)


def test_injection_survives_what_cannot_be_read_or_written(bench, port, program):
    server = bench.start(program("hostile_lines.py", port), port=port, name="shop", env=INJECT)
    answer = get(port, "/")
    assert b"wild EFAULT\nfull EAGAIN\nclosed EPIPE\nlong 5000\nhalf 4\nrest 5\n" in answer, answer
    bench.stop(server)


@pytest.mark.parametrize("inject", ["false", "true"])
@pytest.mark.parametrize("what", ["nothing", "wild", "reopened", "own", "masked"])
def test_what_a_second_look_must_not_break(bench, compiled, what, inject):
    """Wild pointers, streams of nothing, functions of the program's that print, numbers that libc has
    closed, a mask of syslog's: as without us, and nothing is sent that was not written to a log."""
    bench.both([compiled("printing"), what], env=ALL | {"SW_AGENT_LOG_INJECT_CONTEXT": inject})
    assert not [log for log in logs(bench) if "CRITICAL" in text(log)]
