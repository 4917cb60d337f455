"""An asyncio server (on uvloop, if asked) whose handlers hold the loop: blocks.py [uvloop] PORT
/sleep/MS sleeps, /burn/MS computes, /later/MS sleeps in a timer, /wait/N lets others go on."""

import asyncio
import sys
import time


def hold_by_sleep(ms):
    time.sleep(ms / 1000)


def hold_by_work(ms):
    end = time.monotonic() + ms / 1000
    while time.monotonic() < end:
        sum(range(1000))


async def answer(path):
    await asyncio.sleep(0)
    what, _, ms = path.strip("/").partition("/")
    if what == "sleep":
        hold_by_sleep(int(ms))
    elif what == "burn":
        hold_by_work(int(ms))
    elif what == "later":
        asyncio.get_running_loop().call_later(0.3, hold_by_sleep, int(ms))
    elif what == "wait":
        await asyncio.sleep(0.05)
    return b"done"


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await answer(head.split()[1].decode())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    except asyncio.IncompleteReadError:
        pass
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[-1]))
    async with server:
        await server.serve_forever()


if "uvloop" in sys.argv:
    import uvloop
    uvloop.install()
asyncio.run(main())
