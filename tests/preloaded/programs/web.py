"""A threaded web service on http.server: web.py PORT [ORIGIN]

/hello          an answer          /calls/N       asks the origin N times, one after the other
/peek           as /hello          /status/N      answers with status N
/spawn/N        runs /bin/true     /threads       how many threads this process has
/chunks/N       N chunks           /slow/SECONDS  answers late
/none           closes without an answer
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ORIGIN = int(sys.argv[2]) if len(sys.argv) > 2 else 0


class Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one_request(self):
        if os.environ.get("PEEK"):  # a look at the first bytes is not a request
            self.connection.recv(100, socket.MSG_PEEK)
        super().handle_one_request()

    def answer(self, body, status=200):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(f"got {len(body)} bytes\n")

    def do_GET(self):
        what, _, argument = self.path.split("?")[0].strip("/").partition("/")
        getattr(self, "on_" + what, self.on_hello)(argument)

    do_HEAD = do_PUT = do_OPTIONS = do_GET

    def on_hello(self, _):
        self.answer("hello\n")

    def on_calls(self, count):
        got = []
        for i in range(int(count)):
            connection = http.client.HTTPConnection("127.0.0.1", ORIGIN, timeout=10)
            connection.request("GET", f"/origin/{i}")
            got.append(connection.getresponse().read().decode())
            connection.close()
        self.answer("".join(got))

    def on_status(self, status):
        self.answer("status\n", int(status))

    def on_spawn(self, count):
        codes = [subprocess.run(["/bin/true"]).returncode for _ in range(int(count) // 2)]
        codes += [subprocess.run("exit 3", shell=True, close_fds=False).returncode
                  for _ in range(int(count) // 2)]
        self.answer(repr(codes))

    def on_threads(self, _):
        self.answer(str(len(os.listdir("/proc/self/task"))))

    def on_chunks(self, count):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(int(count)):
            self.wfile.write(b"%x\r\n%s\r\n" % (i + 1, b"c" * (i + 1)))
        self.wfile.write(b"0\r\n\r\n")

    def on_slow(self, seconds):
        time.sleep(float(seconds))
        self.answer("late\n")

    def on_none(self, _):
        self.close_connection = True

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    asked_to_end = False

    def service_actions(self):
        if self.asked_to_end:
            sys.exit(0)


def ask_to_end(*_):
    """An exception in here would be lost where it comes amid a callback of a weak reference: of the
    thread that has just served, as it happens."""
    server.asked_to_end = True


server = Server(("127.0.0.1", int(sys.argv[1])), Web)
if not os.environ.get("DIE"):
    signal.signal(signal.SIGTERM, ask_to_end)
server.serve_forever(poll_interval=0.05)
