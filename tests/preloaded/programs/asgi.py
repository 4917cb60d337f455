"""An ASGI application: /hello answers, /call asks the origin without blocking the loop."""

import asyncio
import os


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await asyncio.sleep(0.001)
    body = b'{"hello":"world"}'
    if scope["path"] == "/call":
        reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["ORIGIN"]))
        writer.write(b"GET /origin HTTP/1.1\r\nHost: origin:80\r\nConnection: close\r\n\r\n")
        body = await reader.read()
        writer.close()
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"application/json"),
                            (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
