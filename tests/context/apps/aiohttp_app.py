"""aiohttp's server: one task serves all requests of a connection. aiohttp_app.py LOOP PORT"""

import asyncio
import signal
import sys

import plan
import waiting
from aiohttp import web


async def handle(request):
    status, text = await waiting.answer(request.path)
    return web.Response(status=status, text=text)


async def main():
    app = web.Application()
    app.router.add_get("/{rest:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, plan.HOST, int(sys.argv[2])).start()
    stop = asyncio.Event()
    asyncio.get_event_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


waiting.run(main, sys.argv[1])
