"""A server that logs for each request: logs.py PORT LAYOUT THREADS?. /p/N logs "request N" as a warning,
/t/N a traceback, /quit ends it."""

import http.server
import json
import logging
import os
import sys
import threading

PORT, LAYOUT = int(sys.argv[1]), sys.argv[2]


class Json(logging.Formatter):
    def format(self, record):
        return json.dumps({"time": record.created, "level": record.levelname, "logger": record.name,
                           "message": record.getMessage()})


def set_up():
    if LAYOUT == "default":
        logging.basicConfig(level=logging.INFO)
    elif LAYOUT == "json":
        handler = logging.StreamHandler()
        handler.setFormatter(Json())
        logging.basicConfig(level=logging.INFO, handlers=[handler])
    elif LAYOUT == "loguru":
        pass
    else:
        logging.basicConfig(level=logging.INFO, format=LAYOUT)


def log():
    if LAYOUT == "loguru":
        from loguru import logger
        return logger
    return logging.getLogger("shop.orders")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        what, _, number = self.path[1:].partition("/")
        if what == "p":
            log().warning(f"request {number} \u20ac \U0001f600")
        elif what == "i":
            log().info(f"request {number}")
        elif what == "print":
            print("printed", number, flush=True)
        elif what == "f":
            log().warning(f"before child {number}"[:6])
            child = os.fork()
            if not child:
                log().warning(f"child {number}")
                os._exit(0)
            os.waitpid(child, 0)
        elif what == "t":
            try:
                raise ValueError(number)
            except ValueError:
                log().exception("failed")
        body = b"done\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if what == "quit":
            threading.Thread(target=self.server.shutdown).start()

    def log_message(self, *args):
        pass


set_up()
http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
