"""Many fetches at once by a pool of processes, for work that the interpreter's lock would hold up.

    export LD_PRELOAD=$PWD/build/libswagent.so
    python3 examples/fetch_processes.py 8080 http://127.0.0.1:8081

Its trace shows: GET /PATH, and no call below it. The calls are traces of their own, of one instance
per process: a job comes through a pipe, which does not say for which request it is.
"""

import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

DOWNSTREAM = sys.argv[2]


def fetch(url):
    with urlopen(url) as response:
        return response.read()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        urls = [f"{DOWNSTREAM}{self.path}?part={number}" for number in (1, 2, 3)]
        body = b"".join(self.server.pool.map(fetch, urls))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        with ProcessPoolExecutor(max_workers=4) as server.pool:  # they start with the first job
            print("http://127.0.0.1:%d" % server.server_port, flush=True)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            server.serve_forever()


if __name__ == "__main__":
    main()
