"""The same blunder for every server: /sleep/MS holds the thread that it is called on. `app` is ASGI,
`wsgi` is WSGI; run as a program it is served by gevent: blocking.py PORT."""

import sys
import time


def hold_by_sleep(ms):
    time.sleep(ms / 1000)


def answer(path):
    what, _, ms = path.strip("/").partition("/")
    if what == "sleep":
        hold_by_sleep(int(ms))
    return b"done"


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = answer(scope["path"])
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


def wsgi(environ, start):
    body = answer(environ["PATH_INFO"])
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    from gevent.pywsgi import WSGIServer
    WSGIServer(("127.0.0.1", int(sys.argv[1])), wsgi, log=None).serve_forever()
