"""Many fetches at once by a pool of threads that all requests share.

    LD_PRELOAD=$PWD/build/libswagent.so python3 examples/fetch_threads.py 8080 http://127.0.0.1:8081

Its trace shows: GET /PATH, and three calls that belong to it, though other threads made them: each
is a segment of its own that continues the request's.
"""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

DOWNSTREAM = sys.argv[2]
POOL = ThreadPoolExecutor(max_workers=8)


def fetch(url):
    with urlopen(url) as response:
        return response.read()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        urls = [f"{DOWNSTREAM}{self.path}?part={number}" for number in (1, 2, 3)]
        body = b"".join(POOL.map(fetch, urls))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with POOL, ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    print("http://127.0.0.1:%d" % server.server_port, flush=True)
    server.serve_forever()
