"""The second service of the chain: aiohttp, which asks the next one with its own client.

    chain_middle.py PORT URL
"""

import asyncio
import sys

from aiohttp import ClientSession, web

SESSION = web.AppKey("session", ClientSession)


async def session(app):
    async with ClientSession(sys.argv[2]) as app[SESSION]:
        yield


async def price(request):
    number = int(request.match_info["number"])
    await asyncio.sleep(number % 5 / 100)
    async with request.app[SESSION].get(f"/stock/{number}") as response:
        return web.json_response({"middle": number} | await response.json())


async def note(request):
    await request.read()
    return web.Response(text="noted\n")


app = web.Application()
app.cleanup_ctx.append(session)
app.add_routes([web.get("/prices/{number}", price), web.get("/told/{number}", note),
                web.post("/written/{number}", note)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
