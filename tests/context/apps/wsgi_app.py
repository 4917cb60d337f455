"""A plain WSGI application. The own workers of "queue" start with it, outside any request."""

import os

import blocking

if not os.environ.get("CTX_PRELOAD"):  # threads do not survive a fork
    blocking.early_workers()


def app(environ, start_response):
    status, text = blocking.answer(environ["PATH_INFO"])
    start_response("%d X" % status, [("Content-Type", "text/plain"),
                                     ("Content-Length", str(len(text)))])
    return [text.encode()]
