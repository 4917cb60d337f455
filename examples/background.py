"""Fire and forget: the answer leaves at once, and the work that it promises is done afterwards.

    LD_PRELOAD=$PWD/build/libswagent.so python3 examples/background.py 8080 http://127.0.0.1:8081

Its trace shows: GET /PATH, which is over in no time, and three calls that belong to it and begin
when it has ended, even if the next request came on the same connection by then.
"""

import asyncio
import socket
import sys

from aiohttp import ClientSession, web

DOWNSTREAM = sys.argv[2]


async def work(path):
    await asyncio.sleep(0.02)  # the answer is out by now
    async with ClientSession() as session:
        for number in (1, 2, 3):
            async with session.get(f"{DOWNSTREAM}{path}?part={number}") as response:
                await response.read()


async def handle(request):
    task = asyncio.create_task(work(request.path))
    TASKS.add(task)  # the loop itself holds no task for us
    task.add_done_callback(TASKS.discard)
    return web.Response(text="it will be done\n")


TASKS = set()

application = web.Application()
application.add_routes([web.get("/{path:.*}", handle)])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
web.run_app(application, sock=listener, print=None)
