"""The front of the demo: a Flask application that asks another service, examples/stock.py.

An ordinary program; it knows nothing of tracing. Run by: gunicorn --chdir examples shop:app
"""

import http.client
import json
import os

from flask import Flask, jsonify

app = Flask(__name__)
STOCK = os.environ.get("STOCK_ADDRESS", "127.0.0.1:8081")


def ask_stock(method, path, body=None):
    connection = http.client.HTTPConnection(STOCK, timeout=5)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    response = connection.getresponse()
    answer = json.load(response)
    connection.close()
    return response.status, answer


@app.get("/buy/<item>")
def buy(item):
    status, found = ask_stock("GET", f"/items/{item}")
    if status != 200:
        return jsonify(error=f"no {item} here"), 404
    _, hint = ask_stock("GET", "/vouchers/today")
    status, order = ask_stock("POST", f"/items/{item}/reserve", {"pieces": 1})
    return jsonify(item=item, price=found["price"], order=order["order"],
                   voucher=hint.get("code")), 201
