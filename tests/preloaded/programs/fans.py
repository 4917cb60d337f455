"""Threads that a request makes for itself, and what they take locks for: fans.py KIND PORT ORIGIN

One makes two calls, the other one. None is told by anybody what to do, so all are the request's.
green:KIND has greenlets for threads, by gevent.
"""

import sys

KIND, ORIGIN = sys.argv[1].rpartition(":")[2], sys.argv[3]
if sys.argv[1] != KIND:
    from gevent import monkey
    monkey.patch_all()

import importlib
import os
import signal
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

MODULES = ["colorsys", "mailbox", "tabnanny", "cmd", "wave"]


def plainly(url):
    with urlopen(url) as response:
        return response.read()


def importing(url):
    """All threads import the same modules at once, at first."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    return plainly(url)


def keeping(url):
    """The library's own locks around its caches."""
    time.strptime("2026", "%Y")
    tempfile.gettempdir()
    return plainly(url)


def pooled(url):
    """One connection pool for all threads."""
    return SESSION.get(url).content


def reusing(url):
    """Locks lie where conditions and others' locks were."""
    condition = threading.Condition()
    with condition:
        condition.notify()
    del condition
    locks = [threading.RLock() for _ in range(20)]
    for lock in locks:
        with lock:
            pass
    return plainly(url)


FETCH = {"plain": plainly, "imports": importing, "keeps": keeping, "session": pooled, "reuses": reusing}[KIND]
if KIND == "session":
    import requests
    SESSION = requests.Session()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def fan(self, parts, answers):
        for part in parts:
            answers[part - 1] = FETCH(f"{ORIGIN}{self.path}?part={part}")

    def do_GET(self):
        answers = [b""] * 3
        threads = [threading.Thread(target=self.fan, args=(parts, answers)) for parts in ((1, 2), (3,))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        body = b"".join(answers)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


# gevent does not like SystemExit amid its loop: now and then a greenlet complains of its timeout.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if ":" in sys.argv[1] else sys.exit(0))
with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler) as server:
    server.daemon_threads = True
    server.serve_forever()
