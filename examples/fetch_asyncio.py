"""Many fetches at once in one thread: asyncio.gather inside a handler of aiohttp.

    LD_PRELOAD=$PWD/build/libswagent.so python3 examples/fetch_asyncio.py 8080 http://127.0.0.1:8081

Its trace shows: GET /PATH, and below it three calls that began together, however many requests
take turns on the thread meanwhile.
"""

import asyncio
import socket
import sys

from aiohttp import ClientSession, web

DOWNSTREAM = sys.argv[2]


async def fetch(session, url):
    async with session.get(url) as response:
        return await response.text()


async def handle(request):
    urls = [f"{DOWNSTREAM}{request.path}?part={number}" for number in (1, 2, 3)]
    bodies = await asyncio.gather(*(fetch(request.app[SESSION], url) for url in urls))
    return web.Response(text="".join(bodies))


SESSION = web.AppKey("session", ClientSession)


async def with_session(app):
    async with ClientSession() as app[SESSION]:
        yield


application = web.Application()
application.add_routes([web.get("/{path:.*}", handle)])
application.cleanup_ctx.append(with_session)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
web.run_app(application, sock=listener, print=None)
