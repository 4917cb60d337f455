"""An HTTP server of the tests' own, in this process and so never under the agent. It notes every
byte that arrives and answers by rules that a test can change."""

import re
import socket
import threading
import time

HEAD = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]\r\n")
# Our two lines, which end a head.
LINES = re.compile(rb"sw8: ([^\r\n]*)\r\nsw8-correlation: ([^\r\n]*)\r\n(?=\r\n)")


def without_lines(data):
    """The bytes less our lines, and [(sw8, correlation)] of the lines. They stand before the final
    CRLF of a head; the look-ahead sees to that, and what is left must have none."""
    found = [(a.decode(), b.decode()) for a, b in LINES.findall(data)]
    rest = LINES.sub(b"", data)
    assert b"sw8" not in rest.lower(), rest
    return rest, found


class Request:
    def __init__(self, method, path, head, body):
        self.method, self.path, self.head, self.body = method, path, head, body
        self.sw8 = re.findall(rb"(?mi)^sw8: ?(.*?)\r\n", head)
        self.correlation = re.findall(rb"(?mi)^sw8-correlation: ?(.*?)\r\n", head)


def plain_answer(request):
    body = b"answer to %s %s of %d bytes\n" % (request.method, request.path, len(request.body))
    status = b"404 Not Found" if request.path.startswith(b"/404") else b"200 OK"
    head = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
    return head + (b"" if request.method == b"HEAD" else body)


class Origin:
    """`answer` gives the bytes for a Request; None closes the connection. `slow` reads one byte at
    a time; `first` runs on each new connection before anything is read."""

    def __init__(self, where, answer=plain_answer, slow=0, receive_buffer=None):
        self.where, self.answer, self.slow = where, answer, slow
        self.connections, self.requests = [], []
        self.first, self.open = None, 0
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(where if isinstance(where, str) else ("127.0.0.1", where))
        self.listener.listen(256)
        self.port = where

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            data = bytearray()
            with self.lock:
                self.connections.append(data)
                self.open += 1
            threading.Thread(target=self.serve, args=(peer, data), daemon=True).start()

    def serve(self, peer, data):
        with peer:
            try:
                if self.first:
                    self.first(peer)
                self.talk(peer, data)
            except (OSError, EOFError):
                pass
        with self.lock:
            self.open -= 1

    def talk(self, peer, data):
        at = 0

        def more():
            if self.slow:
                time.sleep(self.slow)
            got = peer.recv(1 if self.slow else 65536)
            if not got:
                raise EOFError
            data.extend(got)

        while True:
            while (end := data.find(b"\r\n\r\n", at)) < 0:
                more()
            head = bytes(data[at:end + 4])
            at = end + 4
            match = HEAD.match(head)
            if not match:  # not HTTP as we know it: take everything
                while True:
                    more()
            if re.search(rb"(?i)\r\nExpect: *100-continue", head):
                peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body, at = self.body(head, data, at, more)
            request = Request(match[1], match[2], head, body)
            with self.lock:
                self.requests.append(request)
            answer = self.answer(request)
            if answer is None:
                return
            peer.sendall(answer)
            if re.search(rb"(?i)\r\nConnection: *close", head) or \
                    (b" HTTP/1.0\r\n" in head and not re.search(rb"(?i)keep-alive", head)):
                return

    @staticmethod
    def body(head, data, at, more):
        length = re.search(rb"(?i)\r\nContent-Length: *(\d+)", head)
        if length:
            end = at + int(length[1])
            while len(data) < end:
                more()
            return bytes(data[at:end]), end
        if not re.search(rb"(?i)\r\nTransfer-Encoding: *chunked", head):
            return b"", at
        body = b""
        while True:
            while (line := data.find(b"\r\n", at)) < 0:
                more()
            size = int(data[at:line].split(b";")[0], 16)
            at = line + 2
            while len(data) < at + size + 2:
                more()
            body += data[at:at + size]
            at += size + 2
            if size == 0:
                return body, at

    def taken(self, connections=1, timeout=30):
        """[what it sent] of the connections since the last call, all of which must be over."""
        deadline = time.monotonic() + timeout
        while (len(self.connections) < connections or self.open) and time.monotonic() < deadline:
            time.sleep(0.005)
        with self.lock:
            result = [bytes(data) for data in self.connections]
            self.connections, self.requests = [], []
        assert len(result) == connections, result
        return result


def call(port, data, timeout=30, pieces=None):
    """Sends raw bytes (or pieces) to a server and returns all that it answers until it closes."""
    family = socket.AF_UNIX if isinstance(port, str) else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(timeout)
        s.connect(port if isinstance(port, str) else ("127.0.0.1", port))
        for piece in pieces or [data]:
            s.sendall(piece)
        got = b""
        while True:
            part = s.recv(65536)
            if not part:
                return got
            got += part


def get(port, path, headers=(), method="GET", body=b"", timeout=30):
    """One request on a connection of its own. Returns (status, head, body)."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: close", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    answer = call(port, "\r\n".join(lines).encode() + b"\r\n\r\n" + body, timeout)
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, rest
