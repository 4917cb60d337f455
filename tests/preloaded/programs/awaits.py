"""Three calls for each request, from one event loop, with the standard library alone:
awaits.py KIND PORT ORIGIN"""

import asyncio
import contextvars
import signal
import sys
import threading

KIND, PORT = sys.argv[1], int(sys.argv[2])
ORIGIN_PORT = int(sys.argv[3].rpartition(":")[2])
SHARED = contextvars.Context()
USERS = contextvars.ContextVar("users")


class Derived(asyncio.Task):
    def __init__(self, *args, **keywords):
        super().__init__(*args, **keywords)


class Plain(asyncio.tasks._PyTask):
    def __init__(self, *args, **keywords):
        super().__init__(*args, **keywords)


async def fetch(path):
    reader, writer = await asyncio.open_connection("127.0.0.1", ORIGIN_PORT)
    writer.write(b"GET %s HTTP/1.0\r\nHost: origin\r\n\r\n" % path)
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


async def gathered(paths):
    return await asyncio.gather(*map(fetch, paths))


async def grouped(paths):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fetch(path)) for path in paths]
    return [task.result() for task in tasks]


async def given(paths, context):
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*(loop.create_task(fetch(path), context=context()) for path in paths))


async def run_inside(paths):
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*(contextvars.copy_context().run(loop.create_task, fetch(path))
                                  for path in paths))


async def reset(paths):
    token = USERS.set(paths)
    answers = await gathered(paths)
    USERS.reset(token)
    return answers


async def idle(paths):
    await asyncio.sleep(0)
    return [b"none"]


async def in_greenlets(paths):
    """As SQLAlchemy does it: code that seems to block is in a greenlet, and its loop is the parent."""
    import greenlet

    def blocking(path):
        return greenlet.getcurrent().parent.switch(fetch(path))

    async def spawn(path):
        child = greenlet.greenlet(blocking)
        child.gr_context = greenlet.getcurrent().gr_context
        waited = child.switch(path)
        while not child.dead:
            waited = child.switch(await waited)
        return waited

    return await asyncio.gather(*map(spawn, paths))


WAYS = {"idle": idle, "greenlets": in_greenlets,
        "copies": lambda paths: given(paths, contextvars.copy_context),
        "empties": lambda paths: given(paths, contextvars.Context),
        "shared": lambda paths: given(paths, lambda: SHARED),
        "groups": grouped, "runs": run_inside, "resets": reset}
FACTORIES = {"derived": Derived, "plain": Plain}
way = WAYS.get(KIND, gathered)


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data, self.tasks = transport, b"", set()

    def data_received(self, data):
        self.data += data
        while b"\r\n\r\n" in self.data:
            head, _, self.data = self.data.partition(b"\r\n\r\n")
            loop = asyncio.get_running_loop()
            work = self.answer(head.split()[1])
            # as uvicorn does it; "roots": with a context that all requests share
            task = loop.create_task(work, context=SHARED) if KIND == "roots" else loop.create_task(work)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def answer(self, path):
        body = b"".join(await way([b"%s?part=%d" % (path, number) for number in (1, 2, 3)]))
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def main():
    loop = asyncio.get_running_loop()
    if KIND in FACTORIES:
        loop.set_task_factory(lambda loop, work, **rest: FACTORIES[KIND](work, loop=loop, **rest))
    if KIND == "eager":
        loop.set_task_factory(asyncio.eager_task_factory)
    server = await loop.create_server(Server, "127.0.0.1", PORT)
    stop = loop.create_future()
    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGTERM, stop.set_result, None)
    await stop
    server.close()

if KIND == "thread":  # the main thread sleeps in C
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
    while True:
        signal.pause()
asyncio.run(main())
