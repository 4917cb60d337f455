"""Many fetches at once by greenlets: blocking calls that gevent makes take turns on one thread.

    LD_PRELOAD=$PWD/build/libswagent.so python3 examples/fetch_gevent.py 8080 http://127.0.0.1:8081

Its trace shows: GET /PATH, and below it three calls that began together. A greenlet belongs to the
request whose greenlet spawned it.
"""

from gevent import monkey

monkey.patch_all()

import signal  # noqa: E402
import sys  # noqa: E402
from urllib.request import urlopen  # noqa: E402

import gevent  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

DOWNSTREAM = sys.argv[2]


def fetch(url):
    with urlopen(url) as response:
        return response.read()


def application(environ, start_response):
    urls = [f"{DOWNSTREAM}{environ['PATH_INFO']}?part={number}" for number in (1, 2, 3)]
    jobs = [gevent.spawn(fetch, url) for url in urls]
    body = b"".join(job.get() for job in jobs)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


server = WSGIServer(("127.0.0.1", int(sys.argv[1])), application, log=None)
server.start()
print("http://127.0.0.1:%d" % server.server_port, flush=True)
gevent.signal_handler(signal.SIGTERM, server.stop, timeout=0)
server.serve_forever()
