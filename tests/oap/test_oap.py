"""Traces, instances and topology as a real OAP has them.

The programs are those of examples/: curl asks shop (Flask under gunicorn), which asks stock
(http.server). The first tests look at one run of them; the others start their own.
"""

import pathlib
import platform
import re
import socket
import threading
import time
import types

import pytest

from authority import Authority
from conftest import SYSTEM_PYTHON, Bench, Stored, eventually

BUY = ["/items/lamp", "/vouchers/today", "/items/lamp/reserve"]


@pytest.fixture(scope="session")
def market(oap, stored, tmp_path_factory):
    """curl, shop and stock at work, with one request for each of two things; and a mayfly."""
    bench = Bench(tmp_path_factory.mktemp("market"), oap)
    begin = time.time() - 1
    stock, stock_port = bench.stock(SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD=2)
    shop, shop_port = bench.shop(stock_port)
    answers = [bench.curl(shop_port, f"/buy/{item}") for item in ("lamp", "unicorn")]
    mayfly, mayfly_port = bench.stock("mayfly", SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD=2)
    bench.curl(mayfly_port, "/items/lamp", agent=False)
    time.sleep(1)
    bench.stop(mayfly)
    yield types.SimpleNamespace(**locals())
    bench.close()


@pytest.fixture(scope="session")
def traces(market, stored):
    """{item: spans of its trace}, once both are there whole."""

    def look():
        found = [spans for spans in stored.traces("shop", market.begin).values()
                 if services(spans) == {"curl", "shop", "stock"} and complete(spans)]
        return len(found) >= 2 and found

    found = eventually(look)
    assert found, stored.traces("shop", market.begin)
    return {item: spans for spans in found for item in ("lamp", "unicorn")
            if one(spans, "shop", "Entry")["endpointName"] == f"/buy/{item}"}


def services(spans):
    return {span["serviceCode"] for span in spans}


def complete(spans):
    """Every Exit span was served by somebody."""
    calls = [span for span in spans if span["type"] == "Exit"]
    refs = {(ref["parentSegmentId"], ref["parentSpanId"]) for span in spans for ref in span["refs"]}
    return calls and all((call["segmentId"], call["spanId"]) in refs for call in calls)


def some(spans, service, kind):
    """Those of a service that are Entry or Exit spans, in the order of their start."""
    found = [s for s in spans if s["serviceCode"] == service and s["type"] == kind]
    return sorted(found, key=lambda span: (span["startTime"], span["spanId"]))


def one(spans, service, kind):
    found = some(spans, service, kind)
    assert len(found) == 1, found
    return found[0]


def tags(span):
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def refers(span, to):
    """Whether `span` was caused by the Exit span `to`, of another process."""
    ref = {"traceId": to["traceId"], "parentSegmentId": to["segmentId"],
           "parentSpanId": to["spanId"], "type": "CROSS_PROCESS"}
    return span["refs"] == [ref] and span["traceId"] == to["traceId"] and span["parentSpanId"] == -1


def own_lines(output):
    """Lines on stderr that are the agent's."""
    return [line for line in output.decode().splitlines() if "swagent" in line]


def test_programs_work_as_ever(market):
    assert [answer.rc for answer in market.answers] == [0, 0]
    assert b'"order":4711' in market.answers[0].out
    assert market.answers[1].out == b'{"error":"no unicorn here"}\n'
    assert [answer.err for answer in market.answers] == [b"", b""]
    for program in market.stock, market.shop, market.mayfly:
        assert own_lines(market.bench.output(program)) == []


def test_services_are_listed(market, stored):
    """Not curl: an OAP lists who served or was heard of by a heartbeat, and curl is too short-lived."""
    found = eventually(lambda: stored.services() >= {"mayfly", "shop", "stock"})
    assert found, stored.services()


def test_endpoints_are_those_served(traces, stored):
    assert {"/buy/lamp", "/buy/unicorn"} <= stored.endpoints("shop")
    assert {*BUY, "/items/unicorn"} <= stored.endpoints("stock")


def test_one_trace_for_three_services(traces):
    assert set(traces) == {"lamp", "unicorn"}
    spans = traces["lamp"]
    assert len({span["traceId"] for span in spans}) == 1
    assert len(spans) == 1 + 4 + 3
    assert len({span["segmentId"] for span in spans}) == 1 + 1 + 3
    assert traces["unicorn"][0]["traceId"] != spans[0]["traceId"]


def test_every_segment_hangs_below_its_call(traces):
    for spans in traces.values():
        call, served = one(spans, "curl", "Exit"), one(spans, "shop", "Entry")
        assert call["refs"] == [] and call["parentSpanId"] == -1
        assert refers(served, call)
        calls, serves = some(spans, "shop", "Exit"), some(spans, "stock", "Entry")
        assert len(calls) == len(serves)
        for call, serve in zip(calls, serves):
            assert (call["segmentId"], call["parentSpanId"]) == (served["segmentId"], 0)
            assert refers(serve, call)
            assert serve["endpointName"] == call["endpointName"]


def test_spans_say_what_happened(traces, market):
    spans = traces["lamp"]
    call, served = one(spans, "curl", "Exit"), one(spans, "shop", "Entry")
    assert call["peer"] == f"127.0.0.1:{market.shop_port}"
    assert re.fullmatch(r"127\.0\.0\.1:\d+", served["peer"])
    for span in call, served:
        assert span["endpointName"] == "/buy/lamp" and span["layer"] == "Http"
        assert span["component"] == "http" and not span["isError"]
        assert tags(span)["http.method"] == "GET" and tags(span)["http.status_code"] == "201"
        assert tags(span)["http.url"] == f"http://127.0.0.1:{market.shop_port}/buy/lamp"
    calls = some(spans, "shop", "Exit")
    assert [span["endpointName"] for span in calls] == BUY
    assert {span["peer"] for span in calls} == {f"127.0.0.1:{market.stock_port}"}
    assert [tags(span)["http.method"] for span in calls] == ["GET", "GET", "POST"]
    assert [tags(span)["http.status_code"] for span in calls] == ["200", "404", "200"]
    assert [span["isError"] for span in calls] == [False, True, False]


def test_times_are_inside_each_other(traces):
    """One clock here, though each of two times may have lost a millisecond to rounding."""
    for spans in traces.values():
        by_id = {(span["segmentId"], span["spanId"]): span for span in spans}
        for span in spans:
            assert abs(span["startTime"] / 1000 - time.time()) < 600
            assert span["startTime"] <= span["endTime"]
            for ref in span["refs"]:
                # Not the end: the caller may have read the answer before `send` has returned.
                caller = by_id[ref["parentSegmentId"], ref["parentSpanId"]]
                assert caller["startTime"] - 1 <= span["startTime"] <= caller["endTime"] + 1
            if span["parentSpanId"] >= 0:
                parent = by_id[span["segmentId"], span["parentSpanId"]]
                assert parent["startTime"] - 1 <= span["startTime"]
                assert span["endTime"] <= parent["endTime"] + 1


def test_instances_describe_their_process(traces, market, stored):
    mine = {span["serviceCode"]: span["serviceInstanceName"] for span in traces["lamp"]}
    pids = {"stock": {market.stock.pid}, "shop": set(children(market.shop.pid))}
    for service in "shop", "stock":
        found = eventually(lambda: stored.instances(service, market.begin).get(mine[service]))
        assert found, (mine, stored.instances(service, market.begin))
        assert int(found["Process No."]) in pids[service]
        assert found["hostname"] == socket.gethostname()
        assert re.fullmatch(r"\d+(\.\d+){3}(,\d+(\.\d+){3})*", found["ipv4s"])
        assert found["OS Name"]
        assert found["language"] == "PYTHON"
        assert found["python_version"] == platform.python_version()


ASKS_AND_SLEEPS = """
import http.client, sys, time
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("GET", "/items/chair")
assert connection.getresponse().read()
time.sleep(60)
"""


def test_client_is_listed_by_its_heartbeat(bench, market, stored):
    """Who serves nothing is a service to the OAP by keep-alive only."""
    client = bench.start([SYSTEM_PYTHON, "-c", ASKS_AND_SLEEPS, market.stock_port], name="client",
                         env={"SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD": 1})
    assert eventually(lambda: "client" in stored.services()), stored.services()
    found = stored.instances("client", market.begin)
    assert [attributes["Process No."] for attributes in found.values()] == [str(client.pid)]
    assert bench.output(client) == b""


def test_topology_has_the_edges_from_both_sides(market, stored):
    """The OAP learns whose an address is from the first requests, so there must be later ones."""
    both = {("curl", "shop"): ["CLIENT", "SERVER"], ("shop", "stock"): ["CLIENT", "SERVER"]}

    def look():
        market.bench.curl(market.shop_port, "/buy/lamp")
        edges, _ = stored.edges(market.begin)
        return both.items() <= edges.items()

    assert eventually(look, 60, 1.5), stored.edges(market.begin)
    edges, guessed = stored.edges(market.begin)
    assert not {"curl", "shop", "stock"} & guessed
    assert not [edge for edge in edges if edge[0] in ("shop", "stock") and edge[1] == "shop"]


def test_requests_are_counted(market, stored):
    assert eventually(lambda: stored.metric("service_cpm", "stock", market.begin))
    success = stored.metric("service_sla", "stock", market.begin)  # in 1/100 of a percent
    assert 0 < success < 10000


def children(pid):
    found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in found.split()]


def test_forked_workers_are_instances_of_their_own(bench, stored):
    begin = time.time() - 1
    _, stock_port = bench.stock("fork-stock")
    shop, port = bench.shop(stock_port, name="fork-shop", workers=2)
    workers = set(map(str, eventually(lambda: len(children(shop.pid)) == 2
                                      and children(shop.pid))))

    def serving():
        """{instance: process} of those that served. The kernel chooses who accepts."""
        together = [threading.Thread(target=bench.curl, args=(port, "/buy/lamp")) for _ in range(6)]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
        names = {span["serviceInstanceName"] for spans in stored.traces("fork-shop", begin).values()
                 for span in some(spans, "fork-shop", "Entry")}
        known = stored.instances("fork-shop", begin)
        found = {name: known.get(name, {}).get("Process No.") for name in names}
        return set(found.values()) == workers and found

    found = eventually(serving, 60, 2)
    assert found and len(found) == 2, (workers, stored.instances("fork-shop", begin))


def serve_some(bench, name, **env):
    """A service of that name, three requests old, ended. What it wrote to stderr."""
    program, port = bench.stock(name, **env)
    for _ in range(3):
        got = bench.run(["curl", "-sS", "--max-time", "10", f"http://127.0.0.1:{port}/items/lamp"],
                        agent=False)
        assert (got.rc, got.out, got.err) == (0, b'{"price": 29, "pieces": 3}', b"")
        time.sleep(0.7)  # a batch each, so that the same refusal could be said thrice
    assert bench.stop(program) == 0
    return bench.output(program)


def test_token_opens(new_oap, tmp_path):
    oap = new_oap(token="open sesame")
    bench, stored, begin = Bench(tmp_path, oap), Stored(oap.http), time.time() - 1
    try:
        wrong = serve_some(bench, "wrong", SW_AGENT_AUTHENTICATION="open barley")
        missing = serve_some(bench, "missing")
        right = serve_some(bench, "right", SW_AGENT_AUTHENTICATION="open sesame")
        # That it came, though sent last, shows that what is missing is not just late.
        assert eventually(lambda: len(stored.traces("right", begin)) == 3)
        assert stored.services() == {"right"}
        assert own_lines(right) == []
        for output in wrong, missing:
            assert len(own_lines(output)) == 1, output
            assert b"open barley" not in output
    finally:
        bench.close()
        oap.stop()


def test_tls(new_oap, tmp_path):
    """By netty's own TLS, with a token inside; who does not trust it, or speaks in the clear, says so."""
    authority = Authority(tmp_path)
    identity = authority.issue("oap")
    oap = new_oap(token="open sesame", tls=(identity.chain, identity.key, authority.path))
    bench, stored, begin = Bench(tmp_path, oap), Stored(oap.http), time.time() - 1
    env = {"SW_AGENT_AUTHENTICATION": "open sesame"}
    try:
        clear = serve_some(bench, "clear", **env)
        doubting = serve_some(bench, "doubting", **env, SW_AGENT_FORCE_TLS="true")
        right = serve_some(bench, "right", **env, SW_AGENT_SSL_TRUSTED_CA_PATH=authority.path)
        assert eventually(lambda: len(stored.traces("right", begin)) == 3)
        assert stored.services() == {"right"}
        assert own_lines(right) == []
        assert len(own_lines(clear)) == 1, clear
        [line] = own_lines(doubting)
        assert "no TLS with the collector" in line and "its certificate is refused" in line
    finally:
        bench.close()
        oap.stop()


def test_restarted_oap_gets_what_it_missed(new_oap, tmp_path):
    """Killed and started again, with another request each time: nothing asked meanwhile is lost."""
    oap = new_oap()
    bench, stored, begin = Bench(tmp_path, oap), Stored(oap.http), time.time() - 1
    stock, port = bench.stock("lasting")

    def ask(what):
        got = bench.run(["curl", "-sS", "--max-time", "10", f"http://127.0.0.1:{port}/{what}"],
                        agent=False)
        assert (got.rc, got.out, got.err) == (0, b'{"error": "not here"}', b"")

    def asked():
        """What the OAP has; its memory began anew with it."""
        return {one(spans, "lasting", "Entry")["endpointName"]
                for spans in stored.traces("lasting", begin).values()}

    try:
        ask("before")
        assert eventually(lambda: asked() == {"/before"})
        oap.kill()
        for number in range(5):
            ask(f"away/{number}")
            time.sleep(0.3)
        oap.start()
        ask("after")
        expected = {"/after", *(f"/away/{number}" for number in range(5))}
        assert eventually(lambda: asked() == expected, 70, 1), asked()
        assert bench.stop(stock) == 0
        assert len(own_lines(bench.output(stock))) == 1  # that it went
    finally:
        bench.close()
        oap.stop()


def test_zz_idle_instance_stays_alive(market, traces, stored):
    """Heartbeats alone keep stock alive into the next minute; last, because it waits for it."""
    served = [span["endTime"] / 1000 for spans in stored.traces("stock", market.begin).values()
              for span in spans]
    next_minute = max(served) // 60 * 60 + 60
    known = stored.instances("stock", market.begin)
    assert len(known) == 1 and len(stored.instances("mayfly", market.begin)) == 1
    time.sleep(max(0, next_minute + 1 - time.time()))
    # An instance counts as alive for another whole minute, so: who is going to be?
    assert eventually(lambda: set(stored.instances("stock", next_minute + 60)) == set(known), 20)
    assert not stored.instances("mayfly", next_minute + 60)
    assert not stored.traces("stock", next_minute)
    assert market.bench.stop(market.stock) == 0
