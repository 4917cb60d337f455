"""The second service of the demo, on Python's own http.server: examples/stock.py PORT

An ordinary program; it knows nothing of tracing.
"""

import json
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ITEMS = {"lamp": {"price": 29, "pieces": 3}, "chair": {"price": 79, "pieces": 8}}


class Stock(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        time.sleep(0.002)  # a look into a drawer
        item = ITEMS.get(self.path.removeprefix("/items/"))
        if item:
            self.answer(200, item)
        else:
            self.answer(404, {"error": "not here"})

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(0.005)  # a walk to the shelf
        self.answer(200, {"order": 4711})

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Stock).serve_forever()
