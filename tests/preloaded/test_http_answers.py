"""The http protocol and strange servers: what is lawful if unusual, what is not, and what they may have got already."""

import time

import pytest

from http_sink import HttpSink, reply, well
from test_grpc import counters
from test_http import pytestmark, web  # noqa: F401  one is read by pytest, one is a fixture


BEFORE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAWFUL = {
    "no body": lambda: reply(204, length=False),
    "empty": lambda: reply(200, b""),
    "continue": lambda: BEFORE + reply(),
    "processing twice": lambda: b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" + BEFORE + reply(),
    "chunked": lambda: reply(200, b"2\r\n{}\r\n1;x=y\r\n \r\n0\r\nA: b\r\n\r\n", "Transfer-Encoding: chunked",
                             length=False),
    "long": lambda: reply(200, b" " * 3000000),
    "many headers": lambda: reply(200, b"{}", *[f"X-{i}: {'y' * 60}" for i in range(100)]),
    "bare LF": lambda: b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "no reason": lambda: b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}",
    "201": lambda: reply(201),
}
CLOSING = {
    "close": lambda: reply(200, b"{}", "Connection: close"),
    "until the end": lambda: reply(200, b"{}", length=False),
    "HTTP/1.0": lambda: b"HTTP/1.0 200 OK\r\n\r\n{}",
}


def closing(answer):
    def script(request):
        return answer()
    script.last = True
    return script


@pytest.mark.parametrize("how", [*LAWFUL, *CLOSING])
def test_lawful_answer(web, ports, how):
    script = (lambda request: LAWFUL[how]()) if how in LAWFUL else closing(CLOSING[how])
    port = ports()
    with HttpSink(port, script) as collector:
        server = web(port).ask(3)
        collector.segments(3)
        server.ask(2)
        collector.segments(5)
        server.stop()
        assert len(collector.all_segments()) == 5, "none came twice"
        assert how in CLOSING or len(collector.connections) <= 2


def early(how):
    """Before the body was read."""
    def script(request):
        return how(request)
    script.early = True
    return script


LAWLESS = {
    "garbage": lambda r: r.close(b"\x00\xff SSH-2.0-what\r\n\r\n"),
    "HTTP/0.9": lambda r: r.close(b"{}"),
    "nothing": lambda r: r.close(),
    "reset": lambda r: r.reset(),
    "half a head": lambda r: r.close(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "half a body": lambda r: r.close(reply(200, b"{}", "Content-Length: 50", length=False)),
    "bad chunk": lambda r: r.close(reply(200, b"zz\r\n", "Transfer-Encoding: chunked", length=False)),
    "bad length": lambda r: r.close(reply(200, b"{}", "Content-Length: -4", length=False)),
    "HTTP/2": lambda r: r.close(b"\0\0\0\4\0\0\0\0\0"),
    "TLS alert": lambda r: r.close(b"\x15\x03\x01\x00\x02\x02\x46"),
    "endless head": lambda r: r.close(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 2000000),
    "reset early": early(lambda r: r.reset()),
    "closed early": early(lambda r: r.close()),
}


@pytest.mark.parametrize("how", LAWLESS)
def test_lawless_answer(web, ports, how):
    """Once: it is offered again, and delivered."""
    port = ports()
    scripts = [LAWLESS[how], LAWLESS[how], well]
    with HttpSink(port, *scripts) as collector:
        server = web(port).ask(3)
        collector.segments(3)
        server.ask(1)
        collector.segments(4)
        server.stop(warnings=1)


@pytest.mark.parametrize("how", ["garbage", "nothing", "reset early"])
def test_lawless_for_ever(web, ports, how):
    port = ports()
    with HttpSink(port, LAWLESS[how]) as collector:
        server = web(port, SW_AGENT_LOGGING_LEVEL="debug").ask(5)
        time.sleep(3)
        assert collector.until(lambda: collector.heads >= 2) and collector.heads <= 12, "not without a pause"
        text = server.stop(warnings=1)
    assert counters(text)["segment_left"] == 5


def test_reset_in_mid_batch(web, ports):
    """While a long body is on its way: sent again, and known not to have been read."""
    port = ports()
    mute = early(lambda r: (time.sleep(0.5), r.reset()))
    with HttpSink(port, well, mute, mute, well) as collector:
        server = web(port, SW_AGENT_LOGGING_LEVEL="debug")
        for _ in range(150):
            server.ask(path="/hello/" + "p" * 900)
        collector.segments(150)
        text = server.stop(warnings=None)
    assert counters(text)["segment_sent"] == 150


def test_answer_before_the_body(web, ports):
    """A server that refuses by the head alone is understood."""
    port = ports()

    def refusing(request):
        request.connection.sock.sendall(reply(413, b"{}", "Connection: close"))
        time.sleep(0.5)
        request.close()
    with HttpSink(port, well, early(refusing), well) as collector:
        server = web(port, SW_AGENT_LOGGING_LEVEL="debug")
        server.ask(1)
        collector.until(lambda: collector.heads >= 2)
        time.sleep(1)
        server.ask(1)
        collector.until(lambda: collector.segments())
        text = server.stop(warnings=None)
    assert counters(text)["segment_lost"] == 1


def test_what_perhaps_arrived_twice_is_counted(web, ports):
    """A kept connection ends after a whole request came, without an answer: nobody knows."""
    port = ports()
    with HttpSink(port, well, well, lambda r: r.close(), well) as collector:
        server = web(port, SW_AGENT_LOGGING_LEVEL="debug", SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD=60).ask(1)
        collector.segments(1)
        server.ask(2)
        collector.segments(3)
        assert len(collector.all_segments(accepted=False)) == 5
        text = server.stop(warnings=None)
    assert counters(text)["resent"] == 2 and counters(text)["segment_sent"] == 3
