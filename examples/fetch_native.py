"""A client written in C: examples/native.c makes the calls with send and recv, outside the lock.

    examples/native.sh build      # compiles it for the python3 in PATH
    PYTHONPATH=build LD_PRELOAD=$PWD/build/libswagent.so \\
        python3 examples/fetch_native.py 8080 http://127.0.0.1:8081

Its trace shows: GET /PATH, and three calls that belong to it. Who sends does not matter, an
extension, a package or the standard library; the agent sees the bytes.
"""

import asyncio
import socket
import sys
from urllib.parse import urlsplit

import native
from aiohttp import web

DOWNSTREAM = urlsplit(sys.argv[2])


def fetch(path):
    return native.get(DOWNSTREAM.hostname, DOWNSTREAM.port, path)


async def handle(request):
    jobs = (asyncio.to_thread(fetch, f"{request.path}?part={number}") for number in (1, 2, 3))
    return web.Response(body=b"".join(await asyncio.gather(*jobs)))


application = web.Application()
application.add_routes([web.get("/{path:.*}", handle)])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
web.run_app(application, sock=listener, print=None)
