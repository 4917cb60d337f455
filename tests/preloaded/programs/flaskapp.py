"""Two services for gunicorn: front calls back. Ids in the paths tell requests apart."""

import http.client
import os
import time

from flask import Flask

front = Flask("front")
back = Flask("back")


@front.get("/front/<int:number>")
def on_front(number):
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["BACK_PORT"]), timeout=20)
    connection.request("GET", f"/back/{number}")
    first = connection.getresponse().read().decode()
    connection.request("POST", f"/back/{number}/more", b"body")
    second = connection.getresponse().read().decode()
    connection.close()
    return first + second


@back.get("/back/<int:number>")
def on_back(number):
    time.sleep(0.002)
    return f"back {number} "


@back.post("/back/<int:number>/more")
def on_more(number):
    return f"more {number}\n"
