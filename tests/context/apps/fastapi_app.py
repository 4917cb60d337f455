"""FastAPI: routes for every client, and two ways of its own."""

import asyncio

import blocking
import plan
import waiting
from fastapi import BackgroundTasks, FastAPI, Response
from fastapi.responses import StreamingResponse

app = FastAPI()


def respond(status, text):
    return Response(text, status, media_type="text/plain")


@app.get("/ping")
async def ping():
    return respond(200, "pong")


@app.get("/w/endpoint/{ident}")
def endpoint(ident):
    """A sync function: Starlette calls it in anyio's pool of threads."""
    blocking.CLIENTS["requests"](plan.paths("endpoint", ident))
    return respond(200, plan.body("endpoint", ident))


async def later(paths):
    for path in paths:
        await asyncio.sleep(plan.pause())
        await waiting.anyone(path)


def later_in_thread(paths):
    for path in paths:
        blocking.slept(path)


@app.get("/w/background/{ident}")
async def background(ident, tasks: BackgroundTasks):
    paths = plan.paths("background", ident)
    await asyncio.sleep(plan.pause())
    tasks.add_task(later, paths[:1])
    tasks.add_task(later_in_thread, paths[1:])
    return Response(plan.body("background", ident), media_type="text/plain", background=tasks)


async def parts(client, ident):
    """The first part of the body is sent before the calls are made."""
    text = plan.body(client, ident)
    yield text[:3].encode()
    await waiting.gathered(waiting.anyone, plan.paths(client, ident))
    yield text[3:].encode()


@app.get("/w/stream/{ident}")
async def stream(ident):
    return StreamingResponse(parts("stream", ident), media_type="text/plain")


@app.get("/w/{client}/{ident}")
async def anything(client, ident):
    return respond(*await waiting.answer("/w/%s/%s" % (client, ident)))
