"""Answers a request with what writes of strange kinds gave: hostile_lines.py PORT. stdout is a pipe that
this process holds."""

import ctypes
import errno
import fcntl
import http.server
import os
import signal
import sys

libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
read_end, write_end = os.pipe()


def write(fd, data, length=None):
    got = libc.write(fd, data, len(data) if length is None else length)
    return errno.errorcode[ctypes.get_errno()] if got < 0 else str(got)


def strange():
    said = []
    os.dup2(write_end, 1)
    os.close(write_end)
    said.append("wild " + write(1, ctypes.c_void_p(64), 20))
    fcntl.fcntl(1, fcntl.F_SETFL, os.O_NONBLOCK)
    line = b"x" * 999 + b"\n"
    while (got := write(1, line)) == "1000":
        pass
    said.append("full " + got)
    whole = os.read(read_end, 1 << 20)
    lines = whole.split(b"\n")[:-1]
    assert all(one.startswith(b"x" * 999 + b" [SW_CTX: [shop,one,") and one.endswith(b",0]]") for one in lines), lines
    os.set_blocking(1, True)
    said.append("long " + write(1, b"y" * 4999 + b"\n"))
    assert os.read(read_end, 1 << 20) == b"y" * 4999 + b"\n"
    keep = os.dup(1)
    half = write(1, b"half")
    rest = write(1, b"rest\n")
    assert os.read(read_end, 1 << 20) == b"halfrest\n"
    os.close(keep)
    os.close(read_end)
    said.insert(2, "closed " + write(1, b"nobody\n"))
    return "\n".join([*said, "half " + half, "rest " + rest]) + "\n"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = strange().encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
