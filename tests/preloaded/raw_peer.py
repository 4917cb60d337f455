"""A collector played by hand: HTTP/2 frame by frame, for what no well-made server does.

Each connection is given to the next of the peer's scripts, the last of which serves all that follow.
A script is a function of a Connection; when it returns the connection is closed. Between the bytes
that it sends it calls step(), until(...) or serve(), which read frames and do what is owed:
acknowledge SETTINGS and PING, and give back the windows, unless `stingy`.
"""

import socket
import struct
import threading
import time
from collections import namedtuple

import hpack
from skywalking.protocol.language_agent.Tracing_pb2 import SegmentObject

import reader

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
TABLE_SIZE, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = 1, 3, 4, 5
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, CALM = 0, 1, 2, 7, 8, 11

COLLECT = "/skywalking.v3.TraceSegmentReportService/collect"
EMPTY = bytes(5)  # a gRPC message without content
HEAD = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]

Frame = namedtuple("Frame", "type flags stream payload")


class Gone(Exception):
    """The other side closed, or said nothing for too long."""


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + \
        struct.pack(">I", stream) + payload


def settings(**values):
    """settings(INITIAL_WINDOW=0) as a payload."""
    return b"".join(struct.pack(">HI", globals()[name], value) for name, value in values.items())


class Stream:
    """What the other side sent on a stream."""

    def __init__(self, number, headers):
        self.number, self.headers = number, headers
        self.data, self.ended, self.reset, self.answered = b"", False, None, False

    def __repr__(self):
        return f"<{self.number} {self.path} {len(self.data)} {'ended' if self.ended else 'open'}>"

    @property
    def path(self):
        return dict(self.headers).get(":path", "?")

    def segments(self):
        """The whole messages so far, when it is the stream of segments."""
        found, at = [], 0
        while self.path == COLLECT and at + 5 <= len(self.data):
            compressed, size = struct.unpack_from(">BI", self.data, at)
            assert not compressed and size, (compressed, size)
            if at + 5 + size > len(self.data):
                break
            found.append(SegmentObject.FromString(self.data[at + 5:at + 5 + size]))
            at += 5 + size
        assert not self.ended or at == len(self.data) or self.path != COLLECT, "a torn message"
        return found


class Connection:
    def __init__(self, peer, sock):
        self.peer, self.sock, self.buffer = peer, sock, b""
        self.decoder, self.encoder = hpack.Decoder(), hpack.Encoder()
        self.streams, self.frames = {}, []
        self.frame_max = 16384
        self.stingy = False  # gives no window back
        self.piecewise = False  # sends byte by byte
        self.acks, self.pongs, self.goaways = 0, [], []
        self.gone = False  # there is nothing more to come
        sock.settimeout(60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # ---- sending ----

    def send_bytes(self, data):
        for piece in ([data[i:i + 1] for i in range(len(data))] if self.piecewise else [data]):
            self.sock.sendall(piece)
            if self.piecewise:
                time.sleep(0.0005)

    def send(self, kind, flags=0, stream=0, payload=b""):
        self.send_bytes(frame(kind, flags, stream, payload))

    def send_settings(self, **values):
        self.send(SETTINGS, 0, 0, settings(**values))

    def send_headers(self, stream, headers, flags=END_HEADERS):
        self.send(HEADERS, flags, stream.number, self.encoder.encode(headers))

    def ok(self, stream):
        self.send_headers(stream, HEAD)
        self.send(DATA, 0, stream.number, EMPTY)
        self.trailers(stream)

    def trailers(self, stream, headers=OK):
        self.send_headers(stream, headers, END_HEADERS | END_STREAM)
        self.done(stream, headers == OK)

    def trailers_only(self, stream, status, message="no"):
        self.send_headers(stream, [*HEAD, ("grpc-status", str(status)), ("grpc-message", message)],
                          END_HEADERS | END_STREAM)
        self.done(stream, status == 0)

    def reset(self, stream, code):
        self.send(RST_STREAM, 0, stream.number, struct.pack(">I", code))
        self.done(stream, False)

    def goaway(self, last, code=NO_ERROR, text=b""):
        self.send(GOAWAY, 0, 0, struct.pack(">II", last, code) + text)

    def window(self, stream, more):
        self.send(WINDOW_UPDATE, 0, stream, struct.pack(">I", more))

    def done(self, stream, accepted):
        """accepted: what it brought need not come again."""
        stream.answered = True
        with self.peer.changed:
            if accepted:
                self.peer.accepted += stream.segments()
            self.peer.changed.notify_all()

    # ---- reading ----

    def read(self, size):
        while len(self.buffer) < size:
            try:
                got = self.sock.recv(65536)
            except OSError as error:
                raise Gone(str(error)) from None
            if not got:
                raise Gone("closed")
            with self.peer.changed:
                self.peer.received += len(got)
                self.peer.changed.notify_all()
            self.buffer += got
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def read_frame(self):
        head = self.read(9)
        size = int.from_bytes(head[:3], "big")
        assert size <= self.frame_max, "longer than anybody allowed"
        return Frame(head[3], head[4], int.from_bytes(head[5:], "big"), self.read(size))

    def greet(self, **values):
        """The preface of both sides."""
        preface = self.read(len(PREFACE))
        assert preface == PREFACE, preface
        self.frame_max = values.get("MAX_FRAME", self.frame_max)
        self.send_settings(**values)
        return self

    def step(self):
        """Reads a frame and does what is owed for it. Returns it."""
        got = self.read_frame()
        self.frames.append(got)
        take = {DATA: self.on_data, HEADERS: self.on_headers, SETTINGS: self.on_settings,
                PING: self.on_ping, RST_STREAM: self.on_reset,
                GOAWAY: lambda f: self.goaways.append(f)}.get(got.type)
        if take:
            take(got)
        with self.peer.changed:
            self.peer.changed.notify_all()
        return got

    def on_data(self, got):
        stream = self.streams[got.stream]
        assert not stream.ended and not got.flags & PADDED
        stream.data += got.payload
        stream.ended = bool(got.flags & END_STREAM)
        if got.payload and not self.stingy:
            self.window(0, len(got.payload))
            if not stream.ended:
                self.window(got.stream, len(got.payload))

    def on_headers(self, got):
        block, last = got.payload, got
        assert not got.flags & PADDED
        while not last.flags & END_HEADERS:
            last = self.read_frame()
            assert (last.type, last.stream) == (CONTINUATION, got.stream)
            block += last.payload
        headers = self.decoder.decode(block)
        assert got.stream % 2 and got.stream > max(self.streams, default=-1), "ids only grow"
        stream = self.streams[got.stream] = Stream(got.stream, headers)
        stream.ended = bool(got.flags & END_STREAM)
        self.peer.streams.append(stream)

    def on_settings(self, got):
        if got.flags & ACK:
            self.acks += 1
        else:
            self.send(SETTINGS, ACK)

    def on_ping(self, got):
        if got.flags & ACK:
            self.pongs.append(got.payload)
        else:
            self.send(PING, ACK, 0, got.payload)

    def on_reset(self, got):
        if got.stream in self.streams:
            self.streams[got.stream].reset = int.from_bytes(got.payload, "big")

    def until(self, condition):
        """Reads on until the condition of this connection gives something. Returns that."""
        while not (found := condition()):
            self.step()
        return found

    def ended_stream(self):
        """The next stream that waits for an answer."""
        return self.until(lambda: next((s for s in self.streams.values() if s.ended and
                                        not s.answered and s.reset is None), None))

    def segment_stream(self, ended=True):
        """The next stream of segments; everything else is answered well meanwhile."""
        while True:
            stream = self.until(lambda: next((
                s for s in self.streams.values() if not s.answered and s.reset is None and
                (s.ended or (not ended and s.path == COLLECT))), None))
            if stream.path == COLLECT:
                return stream
            self.ok(stream)

    def serve(self):
        """Answers everything, as it should be."""
        while True:
            self.ok(self.ended_stream())

    def swallow(self):
        """Reads until the other side closes."""
        while True:
            self.read(1)


def well(connection):
    connection.greet().serve()


class RawPeer:
    def __init__(self, port, *scripts, tls=None, host="127.0.0.1"):
        self.port, self.scripts = port, scripts or (well,)
        self.tls = tls  # a context of ssl: the scripts speak inside TLS
        self.changed = threading.Condition()
        self.connections, self.streams, self.accepted = [], [], []
        self.received, self.failures = 0, []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family)

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        assert not self.failures, self.failures

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(self, sock)
            with self.changed:
                self.connections.append(connection)
                script = self.scripts[min(len(self.connections), len(self.scripts)) - 1]
                self.changed.notify_all()
            threading.Thread(target=self.play, args=(connection, script), daemon=True).start()

    def play(self, connection, script):
        try:
            if self.tls:
                connection.sock = self.tls.wrap_socket(connection.sock, server_side=True)
            script(connection)
        except (Gone, OSError):
            pass
        except Exception as failure:  # the other side broke a rule
            self.failures.append(repr(failure))
        finally:
            connection.sock.close()
            with self.changed:
                connection.gone = True
                self.changed.notify_all()

    def until(self, condition, timeout=40):
        with self.changed:
            self.changed.wait_for(condition, timeout)
            return condition()

    def segments(self, count, timeout=40):
        """The different segments that were accepted, once there are so many."""
        self.until(lambda: len({s.traceSegmentId for s in self.accepted}) >= count or self.failures,
                   timeout)
        found = {s.traceSegmentId: s for s in self.accepted}
        assert not self.failures, self.failures
        assert len(found) == count, (len(found), count, len(self.connections), self.streams[-10:])
        for segment in found.values():
            reader.check(segment)
        return list(found.values())
