"""Connections that live long: for each message on a websocket, a fetch.

    LD_PRELOAD=$PWD/build/libswagent.so python3 examples/websocket.py 8080 http://127.0.0.1:8081

A client that says "/x" is told what the fetch of URL/x answered: python3 -m websockets ws://...

Its trace shows: the request that opened the connection, with status 101. Messages are no requests
and have no spans. Calls made for them belong to the opening request at first, and are traces of
their own once that has been over for some seconds.
"""

import asyncio
import signal
import sys

from aiohttp import ClientSession
from websockets.asyncio.server import serve

DOWNSTREAM = sys.argv[2]


async def main():
    async with ClientSession() as session:

        async def talk(socket):
            async for message in socket:
                async with session.get(DOWNSTREAM + message) as response:
                    await socket.send(await response.text())

        async with serve(talk, "127.0.0.1", int(sys.argv[1])) as server:
            print("http://127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
            await server.wait_closed()


asyncio.run(main())
