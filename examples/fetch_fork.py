"""A process for each connection, and in it one for each fetch: fork, and no threads.

    LD_PRELOAD=$PWD/build/libswagent.so python3 examples/fetch_fork.py 8080 http://127.0.0.1:8081

Its trace shows: GET /PATH without calls; the three calls are traces of their own, of three more
instances. A worker that a pool forks in the midst of a request looks the same, and serves others.
"""

import multiprocessing
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ForkingMixIn
from urllib.request import urlopen

DOWNSTREAM = sys.argv[2]
FORK = multiprocessing.get_context("fork")


def fetch(url, end):
    with urlopen(url) as response:
        end.send_bytes(response.read())


def start(url):
    ours, theirs = FORK.Pipe(duplex=False)
    child = FORK.Process(target=fetch, args=(url, theirs))
    child.start()
    theirs.close()
    return child, ours


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        children = [start(f"{DOWNSTREAM}{self.path}?part={number}") for number in (1, 2, 3)]
        body = b"".join(end.recv_bytes() for _, end in children)
        for child, _ in children:
            child.join()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ForkingMixIn, HTTPServer):
    block_on_close = False  # connections may stay open for long


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with Server(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    print("http://127.0.0.1:%d" % server.server_port, flush=True)
    server.serve_forever()
