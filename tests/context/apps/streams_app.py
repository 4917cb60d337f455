"""A server of nothing but asyncio.start_server. streams_app.py LOOP PORT"""

import asyncio
import signal
import sys

import plan
import waiting


async def serve(reader, writer):
    """One task for all requests of a connection."""
    waiting.keep(asyncio.current_task())  # before 3.10.6 asyncio itself holds it only weakly
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            status, text = await waiting.answer(head.split()[1].decode())
            writer.write(("HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s"
                          % (status, len(text), text)).encode())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    await asyncio.start_server(serve, plan.HOST, int(sys.argv[2]))
    stop = asyncio.Event()
    asyncio.get_event_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


waiting.run(main, sys.argv[1])
