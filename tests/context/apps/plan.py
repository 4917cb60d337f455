"""What a handler does: sleeps and outbound calls, as many and so nested as the request's id says.

Every program under test answers GET /w/CLIENT/ID with "ID COUNT", where COUNT is how many calls
GET /down/CLIENT/ID.K it makes, or will soon have made, by that client.
"""

import os
import random
import zlib

HOST = "127.0.0.1"
DOWN, REDIS, POSTGRES = (int(os.environ.get(name, "0"))
                         for name in ("CTX_DOWN", "CTX_REDIS", "CTX_POSTGRES"))


def split(path):
    """The client and the id of a request's path, ("", "") if it is not ours."""
    words = path.split("?")[0].split("/")
    return (words[2], words[3]) if len(words) == 4 and words[1] == "w" else ("", "")


def paths(client, ident):
    """One to three calls."""
    return ["/down/%s/%s.%d" % (client, ident, k) for k in range(1 + shape(ident) % 3)]


def shape(ident):
    return zlib.crc32(ident.encode())


def url(path):
    return "http://%s:%d%s" % (HOST, DOWN, path)


def pause():
    """Seconds to sleep: often nothing but a turn of the loop."""
    return random.choice((0, 0.001, 0.005, 0.02))


def body(client, ident):
    return "%s %d" % (ident, len(paths(client, ident)))


def check(path, text):
    """Downstream answers with the path it was asked for."""
    if isinstance(text, bytes):
        text = text.decode()
    if text != path:
        raise RuntimeError("asked for %s, got %r" % (path, text))
