"""The third service of the chain: Flask under gunicorn, which asks the last one with requests.

Run by: gunicorn --worker-class gthread chain_back:app. Environment: NEXT, the URL of the last.
"""

import os
import threading
import time

import requests
from flask import Flask

NEXT = os.environ["NEXT"]
MINE = threading.local()  # a Session is for one thread

app = Flask(__name__)


@app.get("/stock/<int:number>")
def stock(number):
    if not hasattr(MINE, "session"):
        MINE.session = requests.Session()
    time.sleep(number % 2 / 100)
    answer = MINE.session.post(f"{NEXT}/items/{number}/reserve", json={"number": number},
                               timeout=20)
    return {"back": number} | answer.json()
