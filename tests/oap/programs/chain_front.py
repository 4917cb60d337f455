"""The first service of the chain: FastAPI under uvicorn, which asks the next one with httpx.

Run by: uvicorn chain_front:app. Environment: NEXT, the URL of the next service.
"""

import asyncio
import contextlib
import os
import time

import httpx
from fastapi import BackgroundTasks, FastAPI

NEXT = os.environ["NEXT"]
ASYNC = httpx.AsyncClient(base_url=NEXT, timeout=20)
SYNC = httpx.Client(base_url=NEXT, timeout=20)


@contextlib.asynccontextmanager
async def lifespan(app):
    async with ASYNC:
        with SYNC:
            yield


app = FastAPI(lifespan=lifespan)


async def tell(number):
    """On the loop; by now the answer is out, and the connection may have its next request."""
    await asyncio.sleep(0.03)
    (await ASYNC.get(f"/told/{number}")).raise_for_status()


def write_down(number):
    """In a thread of the pool."""
    time.sleep(0.03)
    SYNC.post(f"/written/{number}", json={"number": number}).raise_for_status()


@app.get("/orders/{number}")
async def order(number: int, background: BackgroundTasks):
    background.add_task(tell, number)
    background.add_task(write_down, number)
    await asyncio.sleep(number % 3 / 100)  # so that they overtake each other
    return {"front": number} | (await ASYNC.get(f"/prices/{number}")).json()
