"""A pool of threads that the first request starts: pools.py KIND PORT ORIGIN

green:KIND has greenlets for threads, by gevent.

Each request hands over three jobs, one call each, and waits for them. No job waits long for a
worker, so workers often take the next one without a pause.
"""

import sys

KIND, ORIGIN = sys.argv[1].rpartition(":")[2], sys.argv[3]
if sys.argv[1] != KIND:
    from gevent import monkey
    monkey.patch_all()

import collections
import queue
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen


class Listed:
    """Condition and list"""

    def __init__(self):
        self.condition, self.jobs = threading.Condition(), []

    def put(self, job):
        with self.condition:
            self.jobs.append(job)
            self.condition.notify()

    def get(self):
        with self.condition:
            while not self.jobs:
                self.condition.wait()
            return self.jobs.pop(0)


class Crowded(Listed):
    """Among more locks than anybody remembers"""

    def put(self, job):
        super().put(job)
        self.locks = [threading.Lock() for _ in range(5000)]


class Counted:
    """Semaphore and list"""

    def __init__(self):
        self.semaphore, self.jobs = threading.Semaphore(0), []

    def put(self, job):
        self.jobs.append(job)
        self.semaphore.release()

    def get(self):
        self.semaphore.acquire()
        return self.jobs.pop(0)


class Raw:
    """Two bare locks, as if they were semaphores: one job at a time"""

    def __init__(self):
        self.full, self.empty = threading.Lock(), threading.Lock()
        self.full.acquire()

    def put(self, job):
        self.empty.acquire()
        self.job = job
        self.full.release()

    def get(self):
        self.full.acquire()
        job = self.job
        self.empty.release()
        return job


class Polled:
    """A list, and a nap"""

    def __init__(self):
        self.jobs, self.lock, self.nap = [], threading.Lock(), threading.Event()

    def put(self, job):
        with self.lock:
            self.jobs.append(job)

    def get(self):
        while True:
            with self.lock:
                if self.jobs:
                    return self.jobs.pop(0)
            self.nap.wait(0.002)


class Keyword(queue.SimpleQueue):
    """A subclass, and names of arguments"""

    def put(self, job):
        super().put(item=job, block=True)

    def get(self):
        while True:
            try:
                return super().get(block=True, timeout=0.01)
            except queue.Empty:
                pass


class Popped:
    """A deque of its own, taken from the other end"""

    def __init__(self):
        self.jobs, self.ready = collections.deque(), threading.Semaphore(0)

    def put(self, job):
        self.jobs.append(job)
        self.ready.release()

    def get(self):
        self.ready.acquire()
        return self.jobs.pop()


class Ranked(queue.PriorityQueue):
    number = 0

    def put(self, job):
        Ranked.number += 1
        super().put((Ranked.number, id(job), job))

    def get(self):
        return super().get()[2]


def greens(name):
    def make():
        import gevent.queue
        return getattr(gevent.queue, name)()
    return make


KINDS = {"Queue": greens("Queue"), "JoinableQueue": greens("JoinableQueue"),
         "SimpleQueue": greens("SimpleQueue"), "queue": queue.Queue, "lifo": queue.LifoQueue, "priority": Ranked, "simple": queue.SimpleQueue,
         "listed": Listed, "crowded": Crowded, "counted": Counted, "raw": Raw, "polled": Polled, "keyword": Keyword,
         "popped": Popped}
JOBS = KINDS[KIND]()
STARTED, LOCK = [], threading.Lock()


class Job:
    def __init__(self, url):
        self.url, self.done = url, threading.Event()


def worker():
    while True:
        job = JOBS.get()
        with urlopen(job.url) as response:
            job.answer = response.read()
        job.done.set()


def start_pool():
    with LOCK:
        while len(STARTED) < 4:
            STARTED.append(threading.Thread(target=worker, daemon=True))
            STARTED[-1].start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        todo = [Job(f"{ORIGIN}{self.path}?part={number}") for number in (1, 2, 3)]
        jobs = list(todo)
        if KIND != "raw":  # which has room for one alone
            JOBS.put(jobs.pop())
            time.sleep(0 if STARTED else 0.1)  # others put theirs before there is a worker
        start_pool()
        for job in jobs:
            JOBS.put(job)
        for job in todo:
            job.done.wait()
        body = b"".join(job.answer for job in todo)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler) as server:
    server.daemon_threads = True
    server.serve_forever()
