"""Asks the server under test, as many browsers at once.

Each connection asks several times with pauses of random length, none included, and some are
closed and opened again between two requests. Every third request arrives with a trace of its own.
"""

import asyncio
import base64
import random

WAIT = 60  # seconds for one answer


def carrier(ident):
    """The sw8 of a request that comes from somewhere."""
    fields = [trace_of(ident), "segment", "load", "load-1", "/browser", "127.0.0.1:1"]
    trace, segment, *rest = (base64.b64encode(field.encode()).decode() for field in fields)
    return "-".join(["1", trace, segment, "0", *rest])


def trace_of(ident):
    """The trace a request brings along, or None."""
    return f"trace.of.{ident}" if ident.endswith(("0", "3", "6", "9")) else None


class Connection:
    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    def close(self):
        if self.writer:
            self.writer.close()
        self.writer = None

    async def ask(self, path, ident):
        """(status, body)"""
        if not self.writer:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        sw8 = f"sw8: {carrier(ident)}\r\n" if trace_of(ident) else ""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Id: {ident}\r\n"
                          f"{sw8}\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        text = await self.content(head)
        if "\r\nconnection: close" in head or head.startswith("http/1.0"):
            self.close()
        return int(head.split()[1]), text.decode(errors="replace")

    async def content(self, head):
        if "content-length:" in head:
            return await self.reader.readexactly(
                int(head.split("content-length:")[1].split("\r\n")[0]))
        if "transfer-encoding: chunked" in head:
            return await self.chunks()
        return await self.reader.read()

    async def chunks(self):
        text = b""
        while True:
            size = int((await self.reader.readline()).split(b";")[0], 16)
            text += (await self.reader.readexactly(size + 2))[:-2]
            if not size:
                return text


class Load:
    """One cell's requests, each by one of the clients.

    Afterwards: expected, the paths of calls; errors, in words.
    """

    def __init__(self, port, clients, prefix, connections, requests):
        self.port, self.clients, self.prefix = port, clients, prefix
        self.connections, self.requests = connections, requests
        self.expected, self.errors = [], []

    def run(self):
        asyncio.run(self.all())

    async def all(self):
        await asyncio.gather(*map(self.one, range(self.connections)))

    async def one(self, number):
        connection = Connection(self.port)
        await asyncio.sleep(random.random() * 0.05)
        for turn in range(self.requests):
            ident = f"{self.prefix}{number}r{turn}"
            try:
                await asyncio.wait_for(self.request(connection, ident), WAIT)
            except Exception as error:
                self.errors.append(f"{ident}: {type(error).__name__}: {error}")
                connection.close()
            await asyncio.sleep(random.choice((0, 0, 0.003, 0.02, 0.06)))
            if random.random() < 0.1:
                connection.close()
        connection.close()

    async def request(self, connection, ident):
        client = random.choice(self.clients)
        status, text = await connection.ask(f"/w/{client}/{ident}", ident)
        name, _, count = text.partition(" ")
        if status != 200 or name != ident or not count.isdigit():
            self.errors.append(f"{ident}: {status} {text[:200]!r}")
            return
        self.expected += [f"/down/{client}/{ident}.{k}" for k in range(int(count))]
