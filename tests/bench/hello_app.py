"""The application of SkyWalking's own benchmark: FastAPI, one endpoint, a millisecond of waiting; one
that also writes a line of log, and one that asks a second service.

The one addition is a counter in a shared page, so that requests served are counted where they are
served and not where they are asked for. It costs the same with and without the agent.
"""

import asyncio
import logging
import mmap
import os

from fastapi import FastAPI

with open(os.environ["BENCH_COUNTER"], "r+b") as file:
    served = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")

STOCK = os.environ.get("BENCH_STOCK")  # URL of the second service, for /buy
if STOCK:
    import aiohttp

LINES = os.environ.get("BENCH_LINES")  # file of /logged's lines, for /logged
if LINES:
    logging.basicConfig(filename=LINES, format="%(asctime)s %(levelname)s %(name)s %(message)s")

app = FastAPI()
log = logging.getLogger("shop")
session = None


@app.get("/hello")
async def hello():
    served[0] += 1
    await asyncio.sleep(0.001)
    return {"message": "hello"}


@app.get("/logged")
async def logged():
    served[0] += 1
    await asyncio.sleep(0.001)
    log.warning("item %d was sold to customer %s, who has paid for it already", served[0], "0815")
    return {"message": "hello"}


@app.get("/buy")
async def buy():
    global session
    session = session or aiohttp.ClientSession()  # wants a running loop
    served[0] += 1
    async with session.get(STOCK) as answer:
        return {"left": (await answer.json())["stock"] - 1}
