"""A server whose requests are profiled: /NAME/MS. `a` and `b` turn on the processor, `rest` waits on the
thread, `pause` waits on no thread (asyncio only). The rest does what a profile might be seen by: children,
threads that come and go, the end of the process, system calls that a signal would cut short.

usage: profiled.py threads|asyncio PORT"""

import asyncio
import ctypes
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def burn_a(ms):
    end = time.perf_counter() + ms / 1000
    while time.perf_counter() < end:
        sum(range(200))


def burn_b(ms):
    end = time.perf_counter() + ms / 1000
    while time.perf_counter() < end:
        sum(range(200))


def rest(ms):
    time.sleep(ms / 1000)


def forks(ms):
    burn_a(80)  # the first stacks; after a child the sampler comes back with the next request
    end = time.perf_counter() + ms / 1000
    while time.perf_counter() < end:
        burn_a(3)
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        assert os.waitpid(pid, 0)[1] == 7 << 8
        subprocess.run(["/bin/true"], check=True)


def churns(ms):
    end = time.perf_counter() + ms / 1000
    while time.perf_counter() < end:
        threads = [threading.Thread(target=burn_b, args=(1,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def ends(ms):
    """The interpreter ends under the sampler, while other threads run."""
    for _ in range(4):
        threading.Thread(target=burn_b, args=(10 ** 6,), daemon=True).start()
    burn_a(ms)
    os.kill(os.getpid(), 15)
    burn_a(10 ** 6)


def deep(n):
    return deep(n - 1) if n else burn_a(400)


def sleeps(ms):
    """Not by Python, which would sleep on after a signal."""
    libc, begin = ctypes.CDLL(None), time.perf_counter()
    for _ in range(5):
        burn_a(2)
        assert libc.usleep(ms * 200) == 0
    assert time.perf_counter() - begin >= ms / 1000


WORK = {"a": burn_a, "b": burn_b, "rest": rest, "forks": forks, "churns": churns, "ends": ends, "deep": deep,
        "sleeps": sleeps}


def handle(path):
    _, name, ms = path.split("/")
    WORK[name](int(ms))
    return b"done\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = handle(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


async def slices(name, ms):
    """In pieces, with others in between."""
    if name not in ("a", "b"):
        return WORK[name](ms)
    while ms > 0:
        WORK[name](5)
        ms -= 5
        await asyncio.sleep(0.001)


async def serve(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    _, name, ms = head.split(b" ")[1].decode().split("/")
    if name == "pause":
        await asyncio.sleep(int(ms) / 1000)
    else:
        await slices(name, int(ms))
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ndone\n")
    await writer.drain()
    writer.close()


async def main(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


def stop(*_):
    sys.exit(3)


if "ends" in sys.argv:
    import signal
    signal.signal(signal.SIGTERM, stop)
if sys.argv[1] == "threads":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
else:
    asyncio.run(main(int(sys.argv[2])))
