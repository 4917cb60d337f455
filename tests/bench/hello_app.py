"""The application of SkyWalking's own benchmark: FastAPI, one endpoint, a millisecond of waiting.

The one addition is a counter in a shared page, so that requests served are counted where they are
served and not where they are asked for. It costs the same with and without the agent.
"""

import asyncio
import mmap
import os

from fastapi import FastAPI

with open(os.environ["BENCH_COUNTER"], "r+b") as file:
    served = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")

app = FastAPI()


@app.get("/hello")
async def hello():
    served[0] += 1
    await asyncio.sleep(0.001)
    return {"message": "hello"}
