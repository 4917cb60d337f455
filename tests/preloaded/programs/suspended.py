"""A server whose requests wait, each in a way of its own: /work/MS?NAME,NAME. For 3.7 to 3.13.

usage: suspended.py asyncio|uvloop PORT [streams|tasks] [derived|eager]

streams: a connection's task handles its requests; tasks: each request has its own, as in uvicorn."""

import asyncio
import contextvars
import sys
import time


def burn_here(ms):
    end = time.perf_counter() + ms / 1000
    while time.perf_counter() < end:
        sum(range(200))


async def innermost(seconds):
    await asyncio.sleep(seconds)


async def middle(seconds):
    await innermost(seconds)


async def chain(seconds):
    await middle(seconds)


async def gather(seconds):
    await asyncio.gather(short(seconds), middle(seconds))


async def short(seconds):
    """Ends long before; what is left is the other."""
    await asyncio.sleep(seconds / 20)


async def task(seconds):
    await asyncio.ensure_future(middle(seconds))


async def values(seconds):
    await innermost(seconds)
    yield 1


async def asyncgen(seconds):
    async for _ in values(seconds):
        pass


async def comprehension(seconds):
    return [x async for x in values(seconds)]


async def asend(seconds):
    await values(seconds).asend(None)


class Context:
    def __init__(self, seconds):
        self.seconds = seconds

    async def __aenter__(self):
        await innermost(self.seconds)

    async def __aexit__(self, *_):
        pass


async def asyncwith(seconds):
    async with Context(seconds):
        pass


class Awaitable:
    def __init__(self, seconds):
        self.seconds = seconds

    def __await__(self):
        for _ in (1, 2):  # there is an iterator on the stack
            yield from innermost(self.seconds / 2).__await__()


async def dunder(seconds):
    await Awaitable(seconds)


class Yields:
    """A generator that yields while another, which it does not wait for, is on its stack."""
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def __await__(self):
        for _ in self.others():
            yield

    def others(self):
        while time.monotonic() < self.end:
            yield 1
            time.sleep(0.001)


async def yields(seconds):
    await Yields(seconds)


async def wait_for(seconds):
    await asyncio.wait_for(innermost(seconds), seconds * 9)


async def wait(seconds):
    await asyncio.wait([asyncio.ensure_future(innermost(seconds))])


async def shield(seconds):
    await asyncio.shield(asyncio.ensure_future(innermost(seconds)))


async def group(seconds):
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(innermost(seconds))


async def queue(seconds):
    items = asyncio.Queue()
    asyncio.get_event_loop().call_later(seconds, items.put_nowait, 1)
    await items.get()


async def event(seconds):
    told = asyncio.Event()
    asyncio.get_event_loop().call_later(seconds, told.set)
    await told.wait()


async def lock(seconds):
    one = asyncio.Lock()
    await one.acquire()
    asyncio.get_event_loop().call_later(seconds, one.release)
    async with one:
        pass


async def future(seconds):
    one = asyncio.get_event_loop().create_future()
    asyncio.get_event_loop().call_later(seconds, one.set_result, 1)
    await one


async def executor(seconds):
    await asyncio.get_event_loop().run_in_executor(None, time.sleep, seconds)


async def behind(seconds):
    """Leaves a task behind that waits elsewhere."""
    asyncio.ensure_future(other(seconds))
    await innermost(seconds)


async def other(seconds):
    await asyncio.sleep(seconds)


async def recursion(seconds, n=300):
    await (recursion(seconds, n - 1) if n else innermost(seconds))


async def burn(seconds):
    """In pieces, with others in between."""
    for _ in range(int(seconds * 200)):
        burn_here(5)
        await asyncio.sleep(0.0005)


async def starved(seconds):
    """Something of nobody's turns on the loop, when what this waits for is there."""
    one = asyncio.get_event_loop().create_future()

    def both():
        one.set_result(1)
        burn_here(seconds * 1000)
    asyncio.get_event_loop().call_later(0.01, both, context=contextvars.Context())
    await one


async def handle(path):
    path, _, names = path.partition("?")
    for name in (names or "chain").split(","):
        await globals()[name](int(path.rpartition("/")[2]) / 1000)


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ndone\n"


async def serve(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    await handle(head.split(b" ")[1].decode())
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


class Protocol(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.got = transport, b""

    def data_received(self, data):
        self.got += data
        if self.got.endswith(b"\r\n\r\n"):
            self.task = asyncio.get_event_loop().create_task(self.cycle(self.got.split(b" ")[1].decode()))

    async def cycle(self, path):
        await handle(path)
        self.transport.write(ANSWER)
        self.transport.close()


class Derived(asyncio.Task):
    pass


FACTORIES = {"derived": lambda loop, coro, **options: Derived(coro, loop=loop, **options),
             "eager": getattr(asyncio, "eager_task_factory", None)}


async def main(port, tasks):
    loop = asyncio.get_event_loop()
    for name in set(sys.argv) & set(FACTORIES):
        loop.set_task_factory(FACTORIES[name])
    if tasks:
        await loop.create_server(Protocol, "127.0.0.1", port)
    else:
        await asyncio.start_server(serve, "127.0.0.1", port)
    await loop.create_future()


if __name__ == "__main__":
    if sys.argv[1] == "uvloop":
        import uvloop
        uvloop.install()
    asyncio.run(main(int(sys.argv[2]), "tasks" in sys.argv))
