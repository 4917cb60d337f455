"""Flask's development server, a thread for each connection. flask_app.py PORT"""

import logging
import sys

import blocking
import plan
from flask import Flask

app = Flask(__name__)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
blocking.early_workers()


@app.route("/<path:rest>")
def handle(rest):
    status, text = blocking.answer("/" + rest)
    return text, status, {"Content-Type": "text/plain"}


if __name__ == "__main__":
    app.run(plan.HOST, int(sys.argv[1]), threaded=True)
