"""A collector of HTTP for tests: reads requests by hand, decodes their bodies with the classes of the
Python agent, and answers with the bytes that a test wants.

`HttpSink(port, *scripts)`: each script is called with a request, in the order of all requests; the
last one is for all that follow. It returns the bytes of an answer, or calls what a Request offers.
Only what was answered with 2xx counts as accepted.
"""

import json
import re
import socket
import struct
import threading
import time
import urllib.parse

from google.protobuf import json_format
from skywalking.protocol.event.Event_pb2 import Event
from skywalking.protocol.language_agent.Tracing_pb2 import SegmentObject
from skywalking.protocol.logging.Logging_pb2 import LogData
from skywalking.protocol.management.Management_pb2 import InstancePingPkg, InstanceProperties

import reader

SEGMENTS = "/v3/segments"
PROPERTIES = "/v3/management/reportProperties"
PING = "/v3/management/keepAlive"
LOGS = "/v3/logs"
EVENTS = "/v3/events"
KINDS = {SEGMENTS: SegmentObject, PROPERTIES: InstanceProperties, PING: InstancePingPkg, LOGS: LogData,
         EVENTS: Event}
LISTS = {SEGMENTS, LOGS, EVENTS}


class Gone(Exception):
    """The other side closed."""


def reply(status=200, body=b"{}", *headers, length=True):
    lines = [f"HTTP/1.1 {status} Whatever", "Content-Type: application/json", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def well(request):
    return reply()


class Request:
    def __init__(self, connection, head, number):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.path = urllib.parse.urlsplit(self.target).path
        self.headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        self.connection, self.number, self.messages = connection, number, []
        self.accepted = self.answered = False

    def __repr__(self):
        return f"<{self.path} {len(self.messages)} {'accepted' if self.accepted else 'not accepted'}>"

    def header(self, name):
        return [value for key, value in self.headers if key.lower() == name]

    def decode(self, body):
        given = json.loads(body, object_pairs_hook=reader.no_duplicates)
        assert isinstance(given, list) == (self.path in LISTS), given
        kind = KINDS[self.path]
        self.messages = [json_format.ParseDict(one, kind()) for one in
                         (given if isinstance(given, list) else [given])]
        assert self.messages

    def reset(self):
        """The connection ends by a RST."""
        sock = self.connection.sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Gone("we reset it")

    def close(self, text=b""):
        self.connection.sock.sendall(text)
        raise Gone("we close it")

    def mute(self):
        """No answer, until the other side ends it."""
        while self.connection.sock.recv(65536):
            pass
        raise Gone("they closed it")


class Connection:
    def __init__(self, sink, sock):
        self.sink, self.sock, self.buffer = sink, sock, b""

    def more(self):
        got = self.sock.recv(1 << 16)
        if not got:
            raise Gone("closed")
        self.buffer += got

    def take(self, size):
        while len(self.buffer) < size:
            self.more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def request(self):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
            if self.buffer.startswith(b"\x16"):  # TLS, which a server without it finds bad
                self.sock.sendall(reply(400))
                raise Gone("it wants TLS")
        head = self.take(self.buffer.index(b"\r\n\r\n"))
        self.take(4)
        request, script = self.sink.begun(self, head)
        if request.method == "CONNECT":
            raise Gone("not a proxy for that")
        size = request.header("content-length")
        assert request.method == "POST" and len(size) == 1 and not request.header("expect"), head
        assert request.header("content-type") == ["application/json; charset=utf-8"], head
        if getattr(script, "early", False):
            return request, script
        request.decode(self.take(int(size[0])))
        return request, script

    def serve(self):
        while True:
            request, script = self.request()
            self.sink.arrived(request)
            answer = script(request)
            # Before it is written: who has read it may look at what was accepted.
            if re.match(rb"(HTTP/1\.. 1\d\d[^\r]*\r\n([^\r]+\r\n)*\r\n)*HTTP/1\.. 2", answer):
                self.sink.accept(request)
            self.sock.sendall(answer)
            self.sink.answered(request)
            if getattr(script, "last", False):
                raise Gone("as announced")


class HttpSink:
    def __init__(self, port, *scripts, host="127.0.0.1", tls=None, token=None):
        self.port, self.scripts, self.host, self.tls = port, scripts or (well,), host, tls
        self.changed = threading.Condition()
        self.requests, self.connections, self.failures, self.heads = [], [], [], 0
        self.refused_handshakes, self.stopped = 0, False

    def __enter__(self):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.listener = socket.create_server((self.host, self.port), family=family)
        threading.Thread(target=self.listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop()
        assert not self.failures, self.failures

    def stop(self):
        """What was accepted is answered first: else it would rightly come again."""
        if self.stopped:
            return
        with self.changed:
            self.changed.wait_for(lambda: all(r.answered for r in self.requests if r.accepted), 2)
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.changed:
            self.stopped, open_ones = True, list(self.connections)
        for connection in open_ones:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def listen(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.play, args=(sock,), daemon=True).start()

    def play(self, sock):
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
        except OSError:
            self.refused_handshakes += 1
            sock.close()
            return
        connection = Connection(self, sock)
        with self.changed:
            self.connections.append(connection)
            if self.stopped:
                sock.close()
                return
        with sock:
            try:
                connection.serve()
            except (Gone, OSError):
                pass
            except Exception as failure:  # the other side broke a rule
                self.failures.append(repr(failure))

    def begun(self, connection, head):
        with self.changed:
            script = self.scripts[min(self.heads, len(self.scripts) - 1)]
            self.heads += 1
        return Request(connection, head, self.heads), script

    def arrived(self, request):
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()

    def accept(self, request):
        with self.changed:
            request.accepted = True
            self.changed.notify_all()

    def answered(self, request):
        with self.changed:
            request.answered = True
            self.changed.notify_all()

    def of(self, path, accepted=True):
        return [r for r in list(self.requests) if r.path == path and (r.accepted or not accepted)]

    def all_segments(self, accepted=True):
        return [m for r in self.of(SEGMENTS, accepted) for m in r.messages]

    def different(self):
        return {s.traceSegmentId: s for s in self.all_segments()}

    def until(self, condition, timeout=40):
        with self.changed:
            self.changed.wait_for(lambda: condition() or self.failures, timeout)
        assert not self.failures, self.failures
        return condition()

    def segments(self, count=None, timeout=40):
        """The different segments that were accepted, once there are so many."""
        if count is not None:
            self.until(lambda: len(self.different()) >= count, timeout)
        found = list(self.different().values())
        if count is not None:
            assert len(found) == count, (len(found), count, self.requests[-10:])
        for segment in found:
            reader.check(segment)
        return found

    @staticmethod
    def wait(seconds):
        """A script that waits before it answers well."""
        def script(request):
            time.sleep(seconds)
            return reply()
        return script
