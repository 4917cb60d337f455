"""Outbound calls by blocking clients, one after another or by threads, pools and greenlets.

CLIENTS: name -> function(paths) that returns when all calls are made. Libraries are imported when
first used, as each program has only some of them.
"""

import concurrent.futures
import http.client
import os
import queue
import random
import threading
import time

import plan

local = threading.local()


def by_http_client(path):
    connection = http.client.HTTPConnection(plan.HOST, plan.DOWN, timeout=30)
    try:
        connection.request("GET", path)
        plan.check(path, connection.getresponse().read())
    finally:
        connection.close()


def kept(name, make):
    """What a thread keeps between requests."""
    if not hasattr(local, name):
        setattr(local, name, make())
    return getattr(local, name)


def by_requests(path):
    import requests
    get = kept("session", requests.Session).get if random.random() < 0.5 else requests.get
    plan.check(path, get(plan.url(path), timeout=30).text)


class Shared:
    """One for all threads of a process, made when first asked for."""

    def __init__(self, make):
        self.make, self.lock, self.pid, self.thing = make, threading.Lock(), None, None

    def __call__(self):
        with self.lock:
            if self.pid != os.getpid():
                self.pid, self.thing = os.getpid(), self.make()
            return self.thing


def new_urllib3():
    import urllib3
    return urllib3.PoolManager(maxsize=8)


urllib3_pool = Shared(new_urllib3)
executor = Shared(lambda: concurrent.futures.ThreadPoolExecutor(6))


def by_urllib3(path):
    plan.check(path, urllib3_pool().request("GET", plan.url(path), timeout=30.0).data)


def in_turn(call):
    def run(paths):
        for path in paths:
            time.sleep(plan.pause())
            call(path)
    return run


def slept(path):
    time.sleep(plan.pause())
    by_requests(path)


def by_executor(paths):
    for future in [executor().submit(slept, path) for path in paths]:
        future.result()


def by_threads(paths):
    failed = []

    def call(path):
        try:
            slept(path)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=call, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def by_spawn(paths):
    import gevent
    for greenlet in gevent.joinall([gevent.spawn(slept, path) for path in paths]):
        greenlet.get()


def new_greenlet_pool():
    from gevent.pool import Pool
    return Pool(20)


def new_native_pool():
    import gevent
    return gevent.get_hub().threadpool


greenlet_pool = Shared(new_greenlet_pool)
native_pool = Shared(new_native_pool)


def by_greenlet_pool(paths):
    for greenlet in [greenlet_pool().spawn(slept, path) for path in paths]:
        greenlet.get()


def by_native_pool(paths):
    for result in [native_pool().spawn(by_http_client_natively, path) for path in paths]:
        result.get()


def by_http_client_natively(path):
    """In a thread outside gevent's loop, with the socket module as it was before patching."""
    from gevent import monkey
    real = monkey.get_original("socket", "socket")()
    real.connect((plan.HOST, plan.DOWN))
    real.sendall(("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path).encode())
    got = b""
    while True:
        piece = real.recv(65536)
        if not piece:
            break
        got += piece
    real.close()
    plan.check(path, got.partition(b"\r\n\r\n")[2])


def by_green_spawn(paths):
    import eventlet
    for thread in [eventlet.spawn(slept, path) for path in paths]:
        thread.wait()


class Workers:
    """A pool as people write it themselves: threads that take jobs from a queue.Queue."""

    def __init__(self, count=4):
        self.jobs = queue.Queue()
        for _ in range(count):
            threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            path, done = self.jobs.get()
            try:
                slept(path)
                done.put(None)
            except Exception as error:
                done.put(error)

    def run(self, paths):
        done = queue.Queue()
        for path in paths:
            self.jobs.put((path, done))
        for _ in paths:
            error = done.get()
            if error:
                raise error


def by_celery(paths):
    """Returns before the calls are made."""
    import celery_app
    celery_app.delay(paths)


early_workers = Shared(Workers)
lazy_workers = Shared(Workers)

CLIENTS = {
    "http.client": in_turn(by_http_client),
    "requests": in_turn(by_requests),
    "urllib3": in_turn(by_urllib3),
    "executor": by_executor,
    "thread": by_threads,
    "gevent.spawn": by_spawn,
    "gevent.pool": by_greenlet_pool,
    "gevent.threadpool": by_native_pool,
    "eventlet.spawn": by_green_spawn,
    "queue": lambda paths: early_workers().run(paths),
    "queue.lazy": lambda paths: lazy_workers().run(paths),
    "celery": by_celery,
}


def work(client, ident):
    """Serves one request. Returns the body."""
    time.sleep(plan.pause())
    CLIENTS[client](plan.paths(client, ident))
    time.sleep(plan.pause())
    return plan.body(client, ident)


def answer(path):
    """(status, body) for a request's path."""
    client, ident = plan.split(path)
    if client not in CLIENTS:
        return (200, "pong") if path == "/ping" else (404, "no such client: %r" % path)
    return 200, work(client, ident)
