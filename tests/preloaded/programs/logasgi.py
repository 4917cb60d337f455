"""An ASGI application that logs before and after it has waited, in the request and in a thread:
/N logs "begin N", "thread N", "end N"."""

import asyncio
import logging
import os
import random
import sys

if os.environ.get("LOGURU"):
    from loguru import logger
    if os.environ["LOGURU"] == "json":
        logger.remove()
        logger.add(sys.stderr, serialize=True)
else:
    logger = logging.getLogger("app.web")
    logger.addHandler(logging.StreamHandler())
    logger.handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    number = scope["path"][1:]
    logger.warning(f"begin {number}")
    await asyncio.sleep(random.random() / 20)
    await asyncio.to_thread(lambda: logger.warning(f"thread {number}"))
    await asyncio.sleep(random.random() / 20)
    logger.error(f"end {number}")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
