"""Outbound calls of asynchronous handlers, one at a time, gathered, and gathered in gathers.

CLIENTS: name -> coroutine function(path) for one call. LATE: those that go on after the response.
"""

import asyncio
import random
import threading

import blocking
import plan

kept_by_loop = {}
unfinished = set()


def kept(name, make):
    """What a loop keeps between requests."""
    key = asyncio.get_event_loop(), name
    if key not in kept_by_loop:
        kept_by_loop[key] = make()
    return kept_by_loop[key]


def new_httpx():
    import httpx
    return httpx.AsyncClient(timeout=30)


async def by_httpx(path):
    plan.check(path, (await kept("httpx", new_httpx).get(plan.url(path))).text)


def new_aiohttp():
    import aiohttp
    return aiohttp.ClientSession()


async def by_aiohttp(path):
    async with kept("aiohttp", new_aiohttp).get(plan.url(path)) as response:
        plan.check(path, await response.text())


async def by_streams(path):
    """Connections are kept in a pool, or used once."""
    pool = kept("streams", list)
    reader, writer = pool.pop() if pool else await asyncio.open_connection(plan.HOST, plan.DOWN)
    writer.write(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    text = await reader.readexactly(length)
    if random.random() < 0.7:
        pool.append((reader, writer))
    else:
        writer.close()
    plan.check(path, text)


async def by_to_thread(path):
    await asyncio.to_thread(blocking.by_requests, path)


async def by_executor(path):
    loop = asyncio.get_event_loop()
    await loop.run_in_executor(None, blocking.by_requests, path)


async def by_thread(path):
    loop = asyncio.get_event_loop()
    done = loop.create_future()

    def run():
        error = None
        try:
            blocking.slept(path)
        except Exception as caught:
            error = caught
        loop.call_soon_threadsafe(done.set_result, error)

    threading.Thread(target=run).start()
    error = await done
    if error:
        raise error


async def by_blocking(path):
    """What should not be done in a loop, and is."""
    blocking.by_requests(path)


def new_redis():
    """Fewer connections than requests: each serves many, and some requests wait for one."""
    from redis import asyncio as redis
    return redis.Redis(connection_pool=redis.BlockingConnectionPool(
        host=plan.HOST, port=plan.REDIS, max_connections=16, timeout=30))


async def by_redis(path):
    """Two commands; so many does the judge expect, each with the path in it."""
    client = kept("redis", new_redis)
    await client.set(path, path, ex=60)
    await asyncio.sleep(plan.pause())
    plan.check(path, await client.get(path))


async def make_pool():
    import asyncpg
    return await asyncpg.create_pool(host=plan.HOST, port=plan.POSTGRES, user="swagent",
                                     database="postgres", ssl=False, min_size=2, max_size=16)


def new_asyncpg():
    """The first request makes it; the others wait."""
    return asyncio.ensure_future(make_pool())


async def by_asyncpg(path):
    """Two commands: the path is part of the statement, or its parameter."""
    pool = await kept("asyncpg", new_asyncpg)
    async with pool.acquire() as connection:
        plan.check(path, await connection.fetchval("SELECT '%s'" % path))
        await asyncio.sleep(plan.pause())
        plan.check(path, await connection.fetchval("SELECT $1::text", path))


CLIENTS = {
    "httpx": by_httpx,
    "aiohttp": by_aiohttp,
    "streams": by_streams,
    "to_thread": by_to_thread,
    "executor": by_executor,
    "thread": by_thread,
    "blocking": by_blocking,
    "redis.asyncio": by_redis,
    "asyncpg": by_asyncpg,
}


def anyone(path):
    """The call by httpx, aiohttp or streams, whichever the path says."""
    return (by_httpx, by_aiohttp, by_streams)[plan.shape(path) % 3](path)


def keep(task):
    """The loop itself holds tasks only weakly."""
    unfinished.add(task)
    task.add_done_callback(unfinished.discard)


async def after_response(paths, seconds):
    for path in paths:
        await asyncio.sleep(seconds)
        await anyone(path)


def fire_and_forget(paths, seconds=0.02):
    keep(asyncio.get_event_loop().create_task(after_response(paths, seconds)))


def long_after(paths):
    """When the connection has served others, or is closed."""
    fire_and_forget(paths, 0.4)


def call_later(paths):
    asyncio.get_event_loop().call_later(0.02, fire_and_forget, paths)


def thread_later(paths):
    threading.Thread(target=late_thread, args=(paths,)).start()


def late_thread(paths):
    for path in paths:
        blocking.time.sleep(0.02)
        blocking.by_requests(path)


def executor_later(paths):
    loop = asyncio.get_event_loop()
    keep(asyncio.ensure_future(loop.run_in_executor(None, late_thread, paths)))


async def serve_queue(jobs):
    while True:
        await anyone(await jobs.get())


def new_queue():
    jobs = asyncio.Queue()
    for _ in range(4):
        keep(asyncio.get_event_loop().create_task(serve_queue(jobs)))
    return jobs


def queue_lazily(paths):
    for path in paths:
        kept("queue", new_queue).put_nowait(path)


LATE = {
    "forget": fire_and_forget,
    "forget.late": long_after,
    "call_later": call_later,
    "thread.late": thread_later,
    "executor.late": executor_later,
    "queue.lazy": queue_lazily,
}


async def in_turn(call, paths):
    for path in paths:
        await asyncio.sleep(plan.pause())
        await call(path)


async def gathered(call, paths):
    async def one(path):
        await asyncio.sleep(plan.pause())
        await call(path)
    await asyncio.gather(*map(one, paths))


async def nested(call, paths):
    """The first call beside a gather of the others."""
    async def rest():
        await asyncio.sleep(plan.pause())
        await gathered(call, paths[1:])
    await asyncio.gather(call(paths[0]), rest())


async def work(client, ident):
    """Serves one request. Returns the body."""
    paths = plan.paths(client, ident)
    await asyncio.sleep(plan.pause())
    if client in LATE:
        LATE[client](paths)
    else:
        manner = (in_turn, gathered, nested)[plan.shape(ident) // 3 % 3]
        await manner(CLIENTS[client], paths)
    await asyncio.sleep(plan.pause())
    return plan.body(client, ident)


async def answer(path):
    """(status, body) for a request's path."""
    client, ident = plan.split(path)
    if client not in CLIENTS and client not in LATE:
        return (200, "pong") if path == "/ping" else (404, "no such client: %r" % path)
    return 200, await work(client, ident)


def run(main, loop):
    """Runs main() to its end on the loop that is asked for: asyncio or uvloop."""
    if loop == "uvloop":
        import uvloop
        made = uvloop.new_event_loop()
    else:
        made = asyncio.SelectorEventLoop()
    asyncio.set_event_loop(made)
    made.run_until_complete(main())
