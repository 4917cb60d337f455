"""A server that lives for some seconds and is busy for a part of them: measured.py SECONDS [fork]

Serves one request, so that our thread starts, makes garbage, and prints what CPython itself knows:
{"pid", "threads", "lived", "rss", "runs": collections by generation, "callbacks"}, as JSON.
"""

import gc
import http.server
import json
import os
import resource
import socket
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve_one():
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    with socket.create_connection(server.server_address) as sock:
        sock.sendall(b"GET /one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while sock.recv(65536):
            pass


def spend(seconds):
    end = time.time() + seconds
    while time.time() < end:
        kept = [[i] for i in range(20000)]
        kept.append(kept)
        time.sleep(0.01)


def say():
    pages = int(open("/proc/self/statm").read().split()[1]) if os.path.exists("/proc/self/statm") else 0
    said = json.dumps({
        "pid": os.getpid(), "threads": threading.active_count(), "rss": pages * resource.getpagesize(),
        "lived": time.time() - born, "callbacks": len(gc.callbacks),
        "runs": [one["collections"] for one in gc.get_stats()]})
    os.write(1, f"{said}\n".encode())  # whole, though a child says the same at the same moment


born = time.time()
ballast = b"x" * (64 << 20)  # most of the memory stays as it is
serve_one()
if sys.argv[2:] == ["fork"]:
    spend(float(sys.argv[1]))
    child = os.fork()
    if not child:
        serve_one()
spend(float(sys.argv[1]))
say()
if sys.argv[2:] == ["fork"] and child:
    os.waitpid(child, 0)
