"""A mistake that one often meets: a handler on an event loop that waits without `await`.

    LD_PRELOAD=$PWD/build/libswagent.so python3 examples/blocking.py 8080 http://127.0.0.1:8081

Its trace shows: GET /PATH, and below it three calls one after the other. With more clients at once
there still is never more than one call: the others' requests begin late, that is after a gap below
the span of their client, or begin and do nothing until the loop is free.
"""

import socket
import sys
from urllib.request import urlopen

from aiohttp import web

DOWNSTREAM = sys.argv[2]


def fetch(url):
    with urlopen(url) as response:  # the whole loop waits here
        return response.read()


async def handle(request):
    bodies = [fetch(f"{DOWNSTREAM}{request.path}?part={number}") for number in (1, 2, 3)]
    return web.Response(body=b"".join(bodies))


application = web.Application()
application.add_routes([web.get("/{path:.*}", handle)])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
web.run_app(application, sock=listener, print=None)
