"""The same programs over the REST port: what a real OAP makes of the http protocol."""

import time

from conftest import eventually
from test_oap import complete, one, own_lines, refers, services, some


def test_traces_over_http(bench, oap, stored):
    """curl asks shop, shop asks stock: one trace of three services, from JSON."""
    over = {"SW_AGENT_PROTOCOL": "http", "SW_AGENT_COLLECTOR_BACKEND_SERVICES": oap.http,
            "SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD": 2}
    begin = time.time() - 1
    stock, stock_port = bench.stock("rest-stock", **over)
    shop, shop_port = bench.shop(stock_port, name="rest-shop", **over)
    for _ in range(3):
        answer = bench.curl(shop_port, "/buy/lamp", env=over)
        assert (answer.rc, answer.err) == (0, b"") and b'"order":4711' in answer.out

    def look():
        found = [spans for spans in stored.traces("rest-shop", begin).values()
                 if services(spans) == {"curl", "rest-shop", "rest-stock"} and complete(spans)]
        return len(found) == 3 and found

    found = eventually(look)
    assert found, stored.traces("rest-shop", begin)
    for spans in found:
        called, served = one(spans, "curl", "Exit"), one(spans, "rest-shop", "Entry")
        assert refers(served, called) and served["endpointName"] == "/buy/lamp"
        calls, answers = some(spans, "rest-shop", "Exit"), some(spans, "rest-stock", "Entry")
        assert len(calls) == 3 and all(map(refers, answers, calls))

    # Properties and heartbeats came, too.
    [(name, values)] = eventually(lambda: stored.instances("rest-stock", begin)).items()
    assert values["language"] == "PYTHON" and values["Process No."] == str(stock.pid), (name, values)
    for program in shop, stock:
        assert bench.stop(program) == 0 and own_lines(bench.output(program)) == []
