"""The grpc protocol and peers that know no manners: frames by hand (raw_peer.RawPeer), lawful ones that are unusual,
and others. None disturbs a program, and what could have been delivered is, in the end.
"""

import signal
import socket
import struct
import time

import pytest

import raw_peer
from raw_peer import (CALM, DATA, END_HEADERS, END_STREAM, GOAWAY, HEAD, HEADERS, NO_ERROR, PADDED,
                      PING, PUSH_PROMISE, RawPeer, SETTINGS, frame, well)
from test_grpc import ours, web  # noqa: F401  web is a fixture

pytestmark = pytest.mark.usefixtures("any_engine")


def answer(how):
    """A script: greets, and does `how` to the first stream of segments, then reads on."""
    def script(connection):
        connection.greet()
        how(connection, connection.segment_stream())
        connection.serve()
    script.__name__ = getattr(how, "__name__", "how")
    return script


def early(how):
    """A script: does `how` while the first stream of segments is perhaps still open."""
    def script(connection):
        connection.greet()
        how(connection, connection.segment_stream(ended=False))
        connection.serve()
    return script


def says(data):
    """A script: these bytes, whoever is there, and the end."""
    def script(connection):
        connection.send_bytes(data)
        time.sleep(0.3)
    return script


def sends(*frames):
    """A script: these frames after a greeting, then good service."""
    def script(connection):
        connection.greet()
        for one in frames:
            connection.send_bytes(one)
        connection.serve()
    return script


def silent(connection):
    connection.swallow()


def piecewise(connection):
    connection.piecewise = True
    well(connection)


def padded(connection, stream):
    block = connection.encoder.encode(HEAD)
    connection.send(HEADERS, END_HEADERS | PADDED, stream.number, b"\x07" + block + bytes(7))
    connection.send(DATA, PADDED, stream.number, b"\x03" + raw_peer.EMPTY + bytes(3))
    connection.send(DATA, PADDED, stream.number, b"\x00")
    connection.trailers(stream)


def prioritised(connection, stream):
    block = connection.encoder.encode(HEAD)
    connection.send(HEADERS, END_HEADERS | 0x20, stream.number, struct.pack(">IB", 0, 16) + block)
    connection.send(raw_peer.PRIORITY, 0, stream.number, struct.pack(">IB", 0, 16))
    connection.trailers(stream)


def continued(connection, stream):
    block = connection.encoder.encode([*HEAD, ("x-long", "v" * 3000), ("grpc-status", "0")])
    connection.send(HEADERS, END_STREAM, stream.number, block[:1])
    for i in range(1, len(block) - 1, 500):
        connection.send(raw_peer.CONTINUATION, 0, stream.number, block[i:min(i + 500, len(block) - 1)])
    connection.send(raw_peer.CONTINUATION, END_HEADERS, stream.number, block[-1:])
    connection.done(stream, True)


def informed(connection, stream):
    connection.send_headers(stream, [(":status", "103")])
    connection.send_headers(stream, [(":status", "100")])
    connection.ok(stream)


def answered_and_reset(connection, stream):
    """The full answer before the request has ended, as RFC 9113 8.1 allows."""
    connection.ok(stream)
    if not stream.ended:
        connection.send(raw_peer.RST_STREAM, 0, stream.number, struct.pack(">I", NO_ERROR))


def binary_trailers(connection, stream):
    connection.send_headers(stream, HEAD)
    connection.trailers(stream, [("grpc-status", "0"), ("grpc-status-details-bin", "AAECAw"),
                                 ("grpc-message", "%E2%82%AC %zz"), ("x" * 100, "y" * 2000)])
    connection.done(stream, True)


def reset_with(code):
    def reset(connection, stream):
        connection.reset(stream, code)
    return reset


def status(number, message="no"):
    def trailers_only(connection, stream):
        connection.trailers_only(stream, number, message)
    return trailers_only


def headers(*fields, flags=END_HEADERS | END_STREAM):
    """An answer of these header fields alone."""
    def some_headers(connection, stream):
        connection.send_headers(stream, list(fields), flags)
        connection.done(stream, False)
    return some_headers


def raw_block(block):
    def bad_block(connection, stream):
        connection.send(HEADERS, END_HEADERS | END_STREAM, stream.number, block)
        connection.done(stream, False)
    return bad_block


def goodbye(code, last=None):
    """GOAWAY before the answer; `last` None: the stream is still served."""
    def goes(connection, stream):
        connection.goaway(stream.number if last is None else last, code, b"because")
        if last is None:
            connection.ok(stream)
        connection.swallow()
    return goes


def gentle_goodbye(connection, stream):
    """As grpc-go and grpc-java leave: first with the greatest number, then with the last one."""
    connection.goaway(2**31 - 1)
    connection.send(PING, 0, 0, b"goodbye!")
    connection.until(lambda: connection.pongs)
    connection.goaway(stream.number)
    connection.ok(stream)


def pings(connection, stream):
    for number in range(50):
        connection.send(PING, 0, 0, struct.pack(">Q", number))
    connection.until(lambda: len(connection.pongs) == 50)
    assert connection.pongs == [struct.pack(">Q", n) for n in range(50)]
    connection.ok(stream)


def closed_after(count):
    """Closes when so many bytes have come."""
    def closes(connection):
        connection.send_settings()
        connection.read(count)
    return closes


def reset_connection(connection, stream):
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.sock.close()


def window_steps(connection):
    """100 bytes, then windows are taken away and given in mid-stream."""
    connection.greet(INITIAL_WINDOW=100)
    connection.stingy = True
    stream, most = connection.segment_stream(ended=False), 100
    acks = lambda: sum(f.type == SETTINGS and f.flags for f in connection.frames)  # noqa: E731
    for size in 100, 0, 150, 0, 70, 300, 299, 301:
        before = acks()
        connection.send_settings(INITIAL_WINDOW=size)
        connection.until(lambda: acks() > before)
        most = max(most, size)
        connection.until(lambda: len(stream.data) >= min(size, most))
        assert len(stream.data) <= most, "more than the window"
    connection.send_settings(INITIAL_WINDOW=65535)
    connection.stingy = False
    connection.serve()


def window_of_nothing(connection):
    """No stream may send a byte until it is given one by one."""
    connection.greet(INITIAL_WINDOW=0)
    connection.stingy = True
    stream = connection.segment_stream(ended=False)
    for _ in range(30):
        before = len(stream.data)
        connection.window(stream.number, 1)
        connection.until(lambda: len(stream.data) > before)
        assert len(stream.data) == before + 1
    connection.send_settings(INITIAL_WINDOW=65535)
    connection.stingy = False
    connection.serve()


def connection_window(connection):
    """The connection's own window ends; the streams' are wide."""
    connection.greet(INITIAL_WINDOW=2**31 - 1)
    connection.stingy = True
    received = lambda: sum(len(s.data) for s in connection.streams.values())  # noqa: E731
    connection.until(lambda: received() == 65535 or any(s.ended for s in connection.streams.values()))
    connection.window(0, 2**31 - 1 - 65535)
    connection.serve()


def one_at_a_time(connection):
    connection.greet(MAX_STREAMS=0)
    connection.until(lambda: connection.acks)
    early = set(connection.streams)  # who has not read our greeting yet may begin some
    time.sleep(0.3)
    connection.send_settings(MAX_STREAMS=1)
    while True:
        stream = connection.ended_stream()
        assert sum(not s.answered for s in connection.streams.values() if s.number not in early) <= 1
        connection.ok(stream)


def other_sizes(connection):
    connection.greet(TABLE_SIZE=0, MAX_FRAME=16777215)
    connection.ok(connection.ended_stream())
    for size in 0, 64:  # acknowledged: from now on the other side keeps to it
        connection.decoder.max_allowed_table_size = size
        connection.ok(connection.ended_stream())
        connection.send_settings(TABLE_SIZE=64)
        connection.decoder.max_allowed_table_size = 64
    connection.serve()


HTTP_400 = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<h1>no</h1>"

# Nothing is wrong with these: one connection is enough.
LAWFUL = {
    "well": well, "piecewise": piecewise, "padded": answer(padded), "priority": answer(prioritised),
    "continuation": answer(continued), "1xx": answer(informed), "pings": answer(pings),
    "binary-trailers": answer(binary_trailers),
    "trailers-only-ok": answer(status(0, "")), "window-steps": window_steps,
    "window-of-nothing": window_of_nothing, "connection-window": connection_window,
    "one-at-a-time": one_at_a_time, "other-sizes": other_sizes,
    "unknown-frames": sends(frame(0xfa, 0xff, 0, b"?" * 100), frame(0xfb, 0xff, 1, b"")),
    "unknown-settings": sends(frame(SETTINGS, 0, 0, struct.pack(">HIHI", 0xff, 1, 0, 2))),
    "many-settings": sends(*[frame(SETTINGS)] * 50),
    "push-switched-on": sends(frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 0))),
    "reserved-bit": sends(frame(PING, 0, 1 << 31, bytes(8))),
}

# A connection may end over these, the records must not.
LAWLESS = {
    **{f"status-{n}": answer(status(n)) for n in (1, 2, 4, 8, 10, 13, 14, 15, 17, 99)},
    "status-in-words": answer(headers(*HEAD, ("grpc-status", "fine"))),
    "no-status": answer(headers(*HEAD)),
    "html": answer(headers((":status", "200"), ("content-type", "text/html"))),
    **{f"http-{n}": answer(headers((":status", n))) for n in ("400", "429", "503", "xyz")},
    "no-http-status": answer(headers(("content-type", "application/grpc"))),
    **{f"reset-{n}": answer(reset_with(n)) for n in (*range(14), 99)},
    **{f"early-reset-{n}": early(reset_with(n)) for n in (0, 7, 8, 11)},
    "goaway-served": answer(goodbye(NO_ERROR)), "goaway-none": answer(goodbye(NO_ERROR, 0)),
    "goaway-calm": answer(goodbye(CALM, 0)), "goaway-calm-served": answer(goodbye(CALM)),
    "goaway-gentle": answer(gentle_goodbye), "goaway-early": early(goodbye(NO_ERROR, 0)),
    "goaway-at-once": sends(frame(GOAWAY, 0, 0, bytes(8))),
    "goaway-short": sends(frame(GOAWAY, 0, 0, bytes(3))),
    "tcp-reset": answer(reset_connection), "tcp-reset-early": early(reset_connection),
    **{f"closed-after-{n}": closed_after(n) for n in (0, 1, 24, 33, 60, 100, 300, 1000)},
    "garbage": says(bytes(range(256)) * 20), "zeros": says(bytes(5000)), "one-byte": says(b"x"),
    "http-400": says(HTTP_400), "tls-alert": says(b"\x15\x03\x01\x00\x02\x02\x0a"),
    "ssh": says(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "huge-frame": sends(b"\xff\xff\xff" + bytes(6) + bytes(20000)),
    "frame-of-16385": sends(frame(0xfa, 0, 0, bytes(16385))),
    "settings-of-5": sends(frame(SETTINGS, 0, 0, bytes(5))),
    "settings-on-a-stream": sends(frame(SETTINGS, 0, 1, bytes(6))),
    "settings-window-too-wide": sends(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31))),
    "settings-frame-too-small": sends(frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 100))),
    "ping-of-7": sends(frame(PING, 0, 0, bytes(7))),
    "window-0": sends(frame(raw_peer.WINDOW_UPDATE, 0, 0, bytes(4))),
    "window-too-wide": sends(*[frame(raw_peer.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")] * 2),
    "idle-stream": sends(frame(HEADERS, END_HEADERS, 99, b"\x88")),
    "data-on-idle-stream": sends(frame(DATA, 0, 99, b"x")),
    "even-stream": sends(frame(HEADERS, END_HEADERS, 2, b"\x88")),
    "data-on-stream-0": sends(frame(DATA, 0, 0, b"x")),
    "push": answer(lambda c, s: (c.send(PUSH_PROMISE, END_HEADERS, s.number, bytes(4) + b"\x88"), c.ok(s))),
    "bad-index": answer(raw_block(b"\xff\xff\xff\xff\xff\x7f")),
    "index-0": answer(raw_block(b"\x80")), "bad-huffman": answer(raw_block(b"\x40\x81\xff\x81\xff")),
    "cut-block": answer(raw_block(b"\x40\x85abc")), "table-too-large": answer(raw_block(b"\x3f\xff\xff\x7f")),
    "padding-too-long": early(lambda c, s: c.send(DATA, PADDED, s.number, b"\xff123")),
    "data-without-headers": answer(lambda c, s: c.send(DATA, END_STREAM, s.number, raw_peer.EMPTY)),
    "interrupted-continuation": answer(lambda c, s: (c.send(HEADERS, 0, s.number, b"\x88"),
                                                     c.send(PING, 0, 0, bytes(8)))),
    "continuation-alone": sends(frame(raw_peer.CONTINUATION, END_HEADERS, 1, b"\x88")),
    "endless-continuation": answer(lambda c, s: (
        c.send(HEADERS, 0, s.number, b"\x88"),
        [c.send(raw_peer.CONTINUATION, 0, s.number, b"\x00\x01a\x7f\x00" + b"v" * 127) for _ in range(5000)])),
    "twice": answer(lambda c, s: (c.ok(s), c.send_headers(s, HEAD))),
    "long-message": answer(lambda c, s: (
        c.send_headers(s, HEAD), c.send(DATA, 0, s.number, b"\0\xff\xff\xff\xff"),
        [c.send(DATA, 0, s.number, bytes(16000)) for _ in range(4)], c.trailers(s))),
}


# What C core 1.51 does not take: padded DATA, answers before the answer; and calls that wait for a
# stream are begun with the next one only.
NOT_BY_CORE = "padded", "1xx", "one-at-a-time"


@pytest.mark.parametrize("trick", [pytest.param(t, marks=pytest.mark.native) if t in NOT_BY_CORE else t
                                   for t in LAWFUL])
def test_lawful_peer(web, ports, trick):
    with RawPeer(ports(), LAWFUL[trick]) as peer:
        server = web(peer.port)
        for _ in range(60):
            server.ask(path="/hello/" + "p" * 900)
        peer.segments(60)
        assert len(peer.connections) == 1
        server.ask()
        peer.segments(61)
        server.stop()
    assert max(len(c.streams) for c in peer.connections) >= 2


def test_answer_before_the_end(web, ports):
    """OK while the request is still on its way ends the call, and nothing else."""
    with RawPeer(ports(), early(answered_and_reset)) as peer:
        server = web(peer.port)
        for _ in range(60):
            server.ask(path="/hello/" + "p" * 900)
        peer.until(lambda: peer.streams)
        time.sleep(1)
        before = len({s.traceSegmentId for s in peer.accepted})
        server.ask(5)
        peer.segments(before + 5)
        server.stop()
    assert len(peer.connections) == 1


@pytest.mark.parametrize("number", [404, 12])
def test_no_such_method_at_a_peer(web, ports, number):
    """Perhaps for ever: it is said at most once, and the program goes on."""
    unknown = answer(headers((":status", "404")) if number == 404 else status(12))
    with RawPeer(ports(), unknown) as peer:
        server = web(peer.port).ask(3)
        assert peer.until(lambda: any(s.answered and s.path == raw_peer.COLLECT for s in peer.streams))
        server.ask(3)
        server.stop(warnings=None)
    assert len(ours(server.output())) <= 1


def test_properties_come_first(web, ports):
    """Also after a time without collector: streams are numbered in the order of what is sent."""
    port = ports()
    server = web(port).ask(3)
    time.sleep(0.5)
    with RawPeer(port) as peer:
        peer.segments(3)
        assert peer.streams[0].path.endswith("/reportInstanceProperties")
        server.stop(warnings=1)


@pytest.mark.parametrize("trick", LAWLESS)
def test_lawless_peer(web, ports, trick):
    """Once; the peer is good from its second connection on (or its second stream)."""
    with RawPeer(ports(), LAWLESS[trick], well) as peer:
        server = web(peer.port).ask(5)
        peer.segments(5)
        server.ask()
        peer.segments(6)
        assert len(peer.connections) <= 3
        text = server.output()
        server.stop(warnings=len(ours(text)))
    assert len(ours(text)) <= 1, text


@pytest.mark.usefixtures("any_loop")
@pytest.mark.parametrize("bad", ["garbage", "http-400", "closed-after-0", "reset-11", "goaway-calm",
                                 "settings-of-5", "status-14", "bad-index"])
def test_never_good(web, ports, bad):
    """No flood of connections, and the program does not feel it."""
    with RawPeer(ports(), LAWLESS[bad]) as peer:
        if bad in ("reset-11", "goaway-calm", "status-14", "bad-index"):
            peer.scripts = (again_and_again(LAWLESS[bad]),)
        server = web(peer.port)
        for _ in range(3):
            server.ask(5)
            time.sleep(1)
        assert len(peer.connections) <= 8, "it waits between attempts"
        text = server.stop(warnings=None)
    assert len(ours(text)) <= 1, text


def again_and_again(script):
    """Also on the connections, and for all their streams, that follow."""
    def play(connection):
        connection.serve = lambda: None
        script(connection)
    return play


@pytest.mark.usefixtures("any_loop")
def test_silence(web, ports):
    """It accepts, and never says a word."""
    with RawPeer(ports(), silent) as peer:
        server = web(peer.port).ask(5)
        assert peer.until(lambda: peer.received)
        time.sleep(1.5)
        server.ask(5)
        assert len(peer.connections) == 1
        text = server.output()
        server.stop(warnings=len(ours(text)))
    assert len(ours(text)) <= 1, text


@pytest.mark.usefixtures("any_loop")
def test_nobody_accepts(web, black_hole):
    server = web(black_hole).ask(5)
    time.sleep(1)
    server.ask(5)
    server.stop(warnings=None)


@pytest.mark.usefixtures("any_loop")
def test_goaway_in_the_middle_of_several_streams(web, ports):
    """Streams up to the last are answered, the others come again on the next connection."""
    seen = []

    def middle(connection):
        connection.greet()
        for _ in range(2):  # properties, first ping or segments: leave them open
            connection.until(lambda: sum(s.ended for s in connection.streams.values()) >= 3)
        first, *others = sorted(connection.streams.values(), key=lambda s: s.number)
        seen.append((first, others))
        connection.goaway(first.number)
        connection.ok(first)
        connection.swallow()

    with RawPeer(ports(), middle, well) as peer:
        server = web(peer.port)
        for _ in range(6):
            server.ask(5)
            time.sleep(0.25)
        peer.segments(30)
        server.stop()
    assert seen and len(peer.connections) == 2


def test_no_ping_and_no_push_from_us(web, ports):
    """Stock collectors mind PINGs on idle connections."""
    with RawPeer(ports()) as peer:
        server = web(peer.port).ask(3)
        peer.segments(3)
        time.sleep(2)
        server.stop()
    [connection] = peer.connections
    assert not [f for f in connection.frames if f.type == PING and not f.flags]
    first = next(f for f in connection.frames if f.type == SETTINGS)
    values = dict(struct.unpack_from(">HI", first.payload, i) for i in range(0, len(first.payload), 6))
    assert values.get(2, 0) == 0, "no pushes, please"
    for stream in connection.streams.values():
        fields = dict(stream.headers)
        assert fields[":method"] == "POST" and fields[":scheme"] == "http"
        assert fields["te"] == "trailers" and fields["content-type"].startswith("application/grpc")
        assert fields[":authority"] == f"127.0.0.1:{peer.port}"


@pytest.mark.usefixtures("any_loop")
def test_killed_program_leaves_a_whole_stream(web, ports):
    """SIGKILL in mid-work: what the collector has is whole messages and an end."""
    with RawPeer(ports()) as peer:
        server = web(peer.port).ask(20)
        peer.segments(20)
        server.ask(20)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        assert peer.until(lambda: peer.connections[0].gone)
        assert 20 <= sum(len(stream.segments()) for stream in peer.streams) <= 40
