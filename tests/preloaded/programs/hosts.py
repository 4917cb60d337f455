"""Things that a Python program does while it serves requests: hosts.py WHAT...

An event loop on the main thread serves some requests of its own client, and each WHAT runs amid one
of them. Prints what may not depend on us.
"""

import asyncio
import collections
import contextvars
import gc
import importlib
import importlib.util
import multiprocessing
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback

VAR = contextvars.ContextVar("var", default=None)


def said(call, *args, **keywords):
    """What it returns or raises, less addresses."""
    try:
        result = call(*args, **keywords)
        return type(result).__name__, result if isinstance(result, (int, str, list, tuple)) else ""
    except BaseException as error:
        frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        return type(error).__name__, str(error), frames, error.__context__, error.__cause__


async def nothing():
    return 1


def own_variables(context):
    """All but the one that we put there, which the program can see."""
    return sorted(var.name for var in context if var.name != "swagent")


async def errors():
    coroutine = nothing()
    task_type = asyncio.Task
    for args, keywords in [((), {}), ((1,), {}), ((coroutine, 1), {}), ((), {"coro": 3}),
                           ((coroutine,), {"wrong": 1}), ((coroutine,), {"loop": 3})]:
        print("Task", len(args), sorted(keywords), said(task_type, *args, **keywords))
    try:
        raise KeyError("outer")
    except KeyError:
        print(said(task_type, 5)[3], sys.exc_info()[0], await asyncio.ensure_future(coroutine))
    print(said(task_type.__init__, 3), said(task_type.__new__), said(task_type.__init__))
    for name, lone in ("SimpleQueue", queue.SimpleQueue()), ("deque", collections.deque()), ("lock", threading.Lock()), ("rlock", threading.RLock()):
        for method in "put", "put_nowait", "get_nowait", "append", "appendleft", "extend", "extendleft", "pop", "popleft", "acquire", "__enter__", "release", "_is_owned":
            call = getattr(lone, method, None)
            if call is None:
                continue
            print(name, method, said(call, 1, 2, 3, 4), said(call, wrong=1), said(getattr(type(lone), method), 7), said(getattr(type(lone), method)))
    print(said(contextvars.copy_context, 1), said(contextvars.copy_context, a=1))
    print(said(queue.SimpleQueue().get, timeout=-1), said(queue.SimpleQueue().get, True, 0.01), said(queue.SimpleQueue().get, False))


async def contexts():
    token = VAR.set(1)
    copied = contextvars.copy_context()
    print(own_variables(copied), copied[VAR], copied == contextvars.copy_context())

    def inside():
        inner = VAR.set(2)
        result = VAR.get(), own_variables(contextvars.copy_context())
        VAR.reset(inner)
        return result + (VAR.get(),)

    print(copied.run(inside), contextvars.Context().run(inside), VAR.get())
    VAR.reset(token)
    print(VAR.get(), said(VAR.reset, token), said(copied.run, copied.run, print))
    print(await asyncio.ensure_future(nothing()), own_variables(contextvars.Context()))


async def queues():
    q, got = queue.SimpleQueue(), []

    def worker():
        for item in iter(q.get, None):
            got.append(item)

    threads = [threading.Thread(target=worker) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(3000):
        q.put(n)
        q.put(item="same")
        q.put((), timeout=None)
    for thread in threads:
        q.put(None)
    for thread in threads:
        thread.join()
    print(len(got), sum(item for item in got if isinstance(item, int)))


async def leaks():
    item, q, loop = object(), queue.SimpleQueue(), asyncio.get_running_loop()
    lock, rlock, line = threading.Lock(), threading.RLock(), collections.deque()

    async def round(count):
        for _ in range(count):
            q.put(item)
            q.get()
            q.put_nowait(item=item)
            q.get_nowait()
            line.append(item)
            line.popleft()
            line.append(item)
            line.pop()
            with lock, rlock:
                contextvars.copy_context()
            try:
                q.get_nowait()
            except queue.Empty:
                pass
        for _ in range(count // 10):
            await loop.create_task(nothing())
        for _ in range(count // 100):
            thread = threading.Thread(target=len, args=((),))
            thread.start()
            thread.join()

    await round(2000)
    gc.collect()
    before = sys.getrefcount(item), sys.getallocatedblocks(), len(gc.get_objects())
    await round(50000)
    gc.collect()
    after = sys.getrefcount(item), sys.getallocatedblocks(), len(gc.get_objects())
    print(after[0] - before[0], after[1] - before[1] < 500, after[2] - before[2] < 100)


async def forks():
    for where in "here", "thread":
        def fork():
            child = os.fork()
            if not child:
                contextvars.copy_context()
                q = queue.SimpleQueue()
                threading.Thread(target=q.put, args=(1,)).start()
                os._exit(q.get())
            print(where, os.waitpid(child, 0)[1])

        if where == "here":
            fork()
        else:
            thread = threading.Thread(target=fork)
            thread.start()
            thread.join()


def square(n):
    return n * n


async def processes():
    method = "fork" if sys.version_info < (3, 12) else "spawn"
    with multiprocessing.get_context(method).Pool(2) as pool:
        print(pool.map(square, range(5)))


async def reloads():
    import _queue
    for name in "queue", "contextvars", "collections":
        importlib.reload(importlib.import_module(name))
    for name in "_queue", "_asyncio", "_contextvars", "_collections":
        kept = sys.modules.pop(name)
        try:
            fresh = importlib.import_module(name)
        except ImportError as error:
            print(name, error)
        sys.modules[name] = kept
    fresh = queue.SimpleQueue()
    fresh.put(1)
    print(fresh.get(), await asyncio.ensure_future(nothing()))


async def signals():
    count = []
    signal.signal(signal.SIGALRM, lambda *_: count.append(contextvars.copy_context() and queue.SimpleQueue().put(1)))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        await asyncio.get_running_loop().create_task(nothing())
        a, b = socket.socketpair()
        a.send(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        b.recv(100)
        a.close(), b.close()
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(len(count) > 10)


async def interpreters():
    try:
        import _xxsubinterpreters as module
    except ImportError:
        module = importlib.util.find_spec("_interpreters") and importlib.import_module("_interpreters")
    if not module:
        return
    code = "import _queue, _collections; q = _queue.SimpleQueue(); q.put(None); q.get(); _collections.deque([1]).popleft()"
    for _ in range(3):
        one = module.create()
        module.run_string(one, code) if hasattr(module, "run_string") else module.exec(one, code)
        module.destroy(one)
    one = module.create()
    for _ in range(20):
        await asyncio.get_running_loop().create_task(nothing())
    print(await asyncio.get_running_loop().run_in_executor(None, square, 3))
    module.destroy(one)


async def many():
    """1000 variables in a context, some with colliding hashes."""
    def inside():
        kept = [contextvars.ContextVar("v%d" % n) for n in range(1000)]
        tokens = [var.set(n) for n, var in enumerate(kept)]
        contextvars.copy_context()
        for var, token in zip(kept, tokens):
            var.reset(token)
        return len(own_variables(contextvars.copy_context()))
    print(contextvars.copy_context().run(inside))


async def daemons():
    """They are in recv, in get and in acquire when the interpreter ends."""
    pairs = [socket.socketpair() for _ in range(4)]
    q, lock = queue.SimpleQueue(), threading.Lock()
    lock.acquire()

    def receive(one):
        while True:
            one.recv(100)
            contextvars.copy_context()

    def send(one):
        while True:
            one.send(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")

    for call in [lambda one=b: receive(one) for _, b in pairs] + [lambda one=a: send(one) for a, _ in pairs] + [q.get, lock.acquire]:
        threading.Thread(target=call, daemon=True).start()
    await asyncio.sleep(0.05)
    print("daemons")


async def loops():
    """Event loops of daemon threads are serving when the interpreter ends."""
    port = asyncio.get_running_loop().create_future()

    async def serve(tell):
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        tell(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    async def ask(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")

    main = asyncio.get_running_loop()
    threading.Thread(target=asyncio.run, args=(serve(lambda n: main.call_soon_threadsafe(port.set_result, n)),), daemon=True).start()
    threading.Thread(target=asyncio.run, args=(ask(await port),), daemon=True).start()
    await asyncio.sleep(0.1)
    print("loops")


async def held():
    """recv with the GIL held, as extensions may do it, on this thread and on others."""
    import ctypes
    recv = ctypes.PyDLL(None, use_errno=True).recv

    def receive():
        a, b = socket.socketpair()
        data = ctypes.create_string_buffer(100)
        for n in range(200):
            a.send(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
            if recv(b.fileno(), data, 100, 0) != 28:
                print("recv", ctypes.get_errno())
            b.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            a.recv(100)
        a.close(), b.close()

    thread = threading.Thread(target=receive)
    thread.start()
    receive()
    thread.join()
    await asyncio.get_running_loop().run_in_executor(None, receive)


async def late():
    for name in "greenlet", "uvloop", "gevent":
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    import greenlet
    here = greenlet.getcurrent()

    def child(value):
        value = here.switch(value + 1)
        contextvars.copy_context()
        return value

    one = greenlet.greenlet(child)
    print(one.switch(1), one.switch(5), one.dead, said(greenlet.greenlet, 1, 2, 3), said(greenlet.greenlet.__new__, int))

    class Sub(greenlet.greenlet):
        def __new__(cls, *args):
            return super().__new__(cls)

        def run(self):
            return contextvars.copy_context().run(VAR.get)

    print(Sub().switch(), await asyncio.ensure_future(nothing()), sys.getrefcount(one) - 1)
    fresh = [greenlet.greenlet(lambda: None) for _ in range(1000)]
    del fresh
    never = greenlet.greenlet(child)
    never.gr_context = contextvars.copy_context()
    print(never.switch(1), never.throw(KeyError) if False else never.dead)


async def answer(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def handle(reader, writer, what):
    await answer_one(reader, writer, None)
    await answer_one(reader, writer, what)
    writer.close()


async def answer_one(reader, writer, what):
    await reader.readuntil(b"\r\n\r\n")
    for name in what or ():
        print("--", name)
        await globals()[name]()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def main(what):
    done = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().slow_callback_duration = 60  # in debug mode it says so

    async def one(reader, writer):
        try:
            await handle(reader, writer, what)
        except BaseException:
            traceback.print_exc()
            writer.close()
        if not done.done():
            done.set_result(None)

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for n in range(2):
        writer.write(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n)
        await reader.readuntil(b"\r\n\r\n")
    await done
    writer.close()
    server.close()

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
