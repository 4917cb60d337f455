"""The chains of suspended.py behind servers that people use: /work/MS?NAME,NAME.

usage: suspended_servers.py uvicorn|uvloop|fastapi|aiohttp PORT"""

import asyncio
import runpy
import sys

SERVER, PORT = sys.argv[1], int(sys.argv[2])
handle = runpy.run_path(__file__.replace("_servers", ""))["handle"]


async def app(scope, receive, send):
    assert scope["type"] == "http"
    await handle(scope["path"] + "?" + scope["query_string"].decode())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"done\n"})


if SERVER == "aiohttp":
    from aiohttp import web

    async def answer(request):
        await handle(request.path_qs)
        return web.Response(text="done\n")

    application = web.Application()
    application.router.add_get("/work/{ms}", answer)
    application.router.add_get("/rest/{ms}", answer)
    web.run_app(application, host="127.0.0.1", port=PORT, print=None)
else:
    import uvicorn
    if SERVER == "fastapi":
        import fastapi
        app = fastapi.FastAPI()

        @app.get("/{kind}/{ms}")
        async def answer(request: fastapi.Request):
            await handle(request.url.path + "?" + request.url.query)
    uvicorn.run(app, host="127.0.0.1", port=PORT, lifespan="off", log_level="warning",
                loop="uvloop" if SERVER == "uvloop" else "asyncio")
