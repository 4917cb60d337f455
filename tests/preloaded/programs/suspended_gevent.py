"""A server of gevent's whose requests wait, each in a way of its own: /work/MS?NAME,NAME.

usage: suspended_gevent.py gevent PORT"""

import sys
import time

from gevent import monkey
monkey.patch_all()
import gevent
import gevent.event
import gevent.lock
import gevent.pywsgi
import gevent.queue


def innermost(seconds):
    time.sleep(seconds)


def middle(seconds):
    return [innermost(s) for s in (seconds,)]


def chain(seconds):
    middle(seconds)


def through_c(seconds):
    """Calls that go through C."""
    max([seconds], key=middle)


def spawned(seconds):
    gevent.spawn(middle, seconds).get()


def gathered(seconds):
    gevent.joinall([gevent.spawn(middle, seconds), gevent.spawn(chain, seconds)])


def queue(seconds):
    items = gevent.queue.Queue()
    gevent.spawn_later(seconds, items.put, 1)
    items.get()


def event(seconds):
    told = gevent.event.Event()
    gevent.spawn_later(seconds, told.set)
    told.wait()


def apart(seconds):
    for _ in range(3):
        time.sleep(seconds)


def burn(seconds):
    for _ in range(int(seconds * 200)):
        end = time.perf_counter() + 0.005
        while time.perf_counter() < end:
            sum(range(200))
        time.sleep(0.0005)


def handle(path, names):
    for name in (names or "chain").split(","):
        globals()[name](int(path.rpartition("/")[2]) / 1000)


def application(environ, start_response):
    handle(environ["PATH_INFO"], environ["QUERY_STRING"])
    start_response("200 OK", [("Content-Length", "5")])
    return [b"done\n"]


if __name__ == "__main__":
    gevent.pywsgi.WSGIServer(("127.0.0.1", int(sys.argv[2])), application, log=None).serve_forever()
