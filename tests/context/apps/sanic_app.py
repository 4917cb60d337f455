"""sanic, on the loop of its choice. sanic_app.py PORT"""

import sys

import plan
import waiting
from sanic import Sanic, __version__
from sanic.response import text

app = Sanic("context")


@app.get("/<rest:path>")
async def handle(request, rest):
    status, body = await waiting.answer(request.path)
    return text(body, status=status)


if __name__ == "__main__":
    options = {} if __version__ < "22.9" else {"single_process": True}
    app.run(host=plan.HOST, port=int(sys.argv[1]), access_log=False, motd=False, **options)
