"""The server that all handlers call, and that notes whose request each call says it is.

    downstream.py PORT

GET /down/... answers with its own path after a short sleep. GET /take/PREFIX answers with what
was noted of calls whose id begins so, as JSON [[path, sw8 or null], ...], and forgets it.
"""

import asyncio
import json
import random
import re
import sys

noted = []
SW8 = re.compile(rb"\r\nsw8: *([^\r]*)\r\n", re.IGNORECASE)


def take(prefix):
    mine = [note for note in noted if note[0].split("/")[3].startswith(prefix)]
    noted[:] = [note for note in noted if not note[0].split("/")[3].startswith(prefix)]
    return json.dumps(mine)


async def down(path, head):
    sw8 = SW8.findall(head)
    noted.append((path, b" ".join(sw8).decode() if sw8 else None))
    await asyncio.sleep(random.choice((0, 0.002, 0.005, 0.015)))
    return path


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split()[1].decode()
            if path.startswith("/take/"):
                text = take(path[6:])
            else:
                text = await down(path, head)
            closing = b"\r\nconnection: close" in head.lower()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
                         b"%s\r\n%s" % (len(text), b"Connection: close\r\n" if closing else b"",
                                        text.encode()))
            await writer.drain()
            if closing:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    async with server:
        await server.serve_forever()


asyncio.run(main())
