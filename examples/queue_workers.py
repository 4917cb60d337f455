"""Worker threads of the program's own, fed by a queue of its own.

    LD_PRELOAD=$PWD/build/libswagent.so python3 examples/queue_workers.py 8080 http://127.0.0.1:8081

Its trace shows: GET /PATH, and no call below it. The calls are traces of their own, tagged
sw.parent=none: what the program puts into its queue does not say for which request it is, and
whoever guessed would be wrong.
"""

import queue
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

DOWNSTREAM = sys.argv[2]
JOBS = queue.Queue()


def worker():
    while True:
        url, answers = JOBS.get()
        with urlopen(url) as response:
            answers.put(response.read())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answers = queue.Queue()
        for number in (1, 2, 3):
            JOBS.put((f"{DOWNSTREAM}{self.path}?part={number}", answers))
        body = b"".join(sorted(answers.get() for _ in range(3)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


for _ in range(8):
    threading.Thread(target=worker, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
    print("http://127.0.0.1:%d" % server.server_port, flush=True)
    server.serve_forever()
