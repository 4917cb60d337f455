"""Four services of four kinds in a row, and many requests at once on few connections.

FastAPI (uvicorn, uvloop) asks aiohttp with httpx, which asks Flask (gunicorn, threads) with its own
client, which asks http.server with requests. When FastAPI has answered, its background tasks,
one on the loop and one in a thread, ask aiohttp again. See programs/chain_*.py.
"""

import http.client
import json
import sys
import threading
import time
import types

import pytest

from conftest import HERE, Bench, eventually, free_port
from test_oap import complete, one, own_lines, refers, services, some, tags

AT_ONCE = 8  # connections, each with one request at a time
ROUNDS = 3
FRONT, MIDDLE, BACK, LAST = CHAIN = ["chain-fastapi", "chain-aiohttp", "chain-flask", "chain-last"]
PROGRAMS = HERE / "programs"


def start(bench):
    """({name: program}, port of the first)"""
    ports = {name: free_port() for name in CHAIN[:-1]}
    last, last_port = bench.stock(LAST)
    python = [sys.executable, "-m"]
    back = bench.start(
        [*python, "gunicorn", "--bind", f"127.0.0.1:{ports[BACK]}", "--worker-class", "gthread",
         "--threads", AT_ONCE, "--chdir", PROGRAMS, "--worker-tmp-dir", "/tmp",
         "--keep-alive", 60, "--no-control-socket", "--log-level", "warning", "chain_back:app"],
        ports[BACK], name=BACK, env={"NEXT": f"http://127.0.0.1:{last_port}"})
    middle = bench.start(
        [sys.executable, PROGRAMS / "chain_middle.py", ports[MIDDLE],
         f"http://127.0.0.1:{ports[BACK]}"], ports[MIDDLE], name=MIDDLE)
    front = bench.start(
        [*python, "uvicorn", "--loop", "uvloop", "--http", "httptools", "--app-dir", PROGRAMS,
         "--host", "127.0.0.1", "--port", ports[FRONT], "--log-level", "warning",
         "chain_front:app"],
        ports[FRONT], name=FRONT, env={"NEXT": f"http://127.0.0.1:{ports[MIDDLE]}"})
    return dict(zip(CHAIN, (front, middle, back, last))), ports


def ask(port, numbers, answers):
    """One request after the other on one connection, while background tasks are still at work."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for number in numbers:
        connection.request("GET", f"/orders/{number}")
        response = connection.getresponse()
        answers[number] = response.status, json.load(response)
    connection.close()


def ask_all(port, first=0, rounds=ROUNDS):
    """{number: (status, answer)}"""
    answers = {}
    together = [threading.Thread(target=ask, args=(
        port, range(first + at, first + AT_ONCE * rounds, AT_ONCE), answers))
        for at in range(AT_ONCE)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    return answers


@pytest.fixture(scope="module")
def chain(oap, tmp_path_factory):
    """The chain at work, with AT_ONCE * ROUNDS requests behind it."""
    bench = Bench(tmp_path_factory.mktemp("chain"), oap)
    try:
        begin = time.time() - 1
        programs, ports = start(bench)
        answers = ask_all(ports[FRONT])
        yield types.SimpleNamespace(**locals())
    finally:
        bench.close()


@pytest.fixture(scope="module")
def orders(chain, stored):
    """{number: spans of its trace}, once all are there, and whole."""
    wanted = len(chain.answers)

    def look():
        found = [stored.spans(id) for id in trace_ids(stored, chain, FRONT)]
        whole = [s for s in found if complete(s) and services(s) == set(CHAIN)
                 and len(some(s, MIDDLE, "Entry")) == 3]
        return len(whole) >= wanted and found

    found = eventually(look)
    assert found, shapes(map(stored.spans, trace_ids(stored, chain, FRONT)))
    return {int(one(spans, FRONT, "Entry")["endpointName"].split("/")[-1]): spans
            for spans in found}


def trace_ids(stored, chain, name):
    """An OAP counts the segments that it lists: there are three of a service in each trace."""
    return stored.trace_ids(chain.begin, name, count=10 * AT_ONCE * ROUNDS)


def shapes(traces):
    """For the message of a failed test: who said what, in each."""
    return [[(s["serviceCode"], s["type"], s["endpointName"]) for s in spans] for spans in traces]


def late(spans):
    """The calls of background tasks, each in a segment of its own."""
    entry = one(spans, FRONT, "Entry")
    return [s for s in some(spans, FRONT, "Exit") if s["segmentId"] != entry["segmentId"]]


def test_chain_answers(chain):
    assert chain.answers == {
        number: (200, {"front": number, "middle": number, "back": number, "order": 4711})
        for number in range(AT_ONCE * ROUNDS)}
    for name, program in chain.programs.items():
        assert program.poll() is None
        assert chain.bench.output(program) == b"", name


def test_every_request_is_one_trace(chain, orders, stored):
    assert set(orders) == set(chain.answers)
    assert len({spans[0]["traceId"] for spans in orders.values()}) == len(orders)
    for number, spans in orders.items():
        assert len({span["traceId"] for span in spans}) == 1
        assert len(spans) == 4 + 4 + 2 + 1, shapes([spans])
        assert len({span["segmentId"] for span in spans}) == 3 + 3 + 1 + 1
        assert {span["endpointName"] for span in spans} == {
            f"/orders/{number}", f"/prices/{number}", f"/stock/{number}",
            f"/items/{number}/reserve", f"/told/{number}", f"/written/{number}"}
        assert not [span for span in spans if span["isError"]]
    for name in CHAIN:  # and nothing is a trace beside them
        assert set(trace_ids(stored, chain, name)) == {
            spans[0]["traceId"] for spans in orders.values()}


def test_each_entry_is_below_the_call_of_the_one_before(orders):
    for number, spans in orders.items():
        first = one(spans, FRONT, "Entry")
        assert first["refs"] == [] and first["parentSpanId"] == -1
        for name, after, path in ((FRONT, MIDDLE, f"/prices/{number}"),
                                  (MIDDLE, BACK, f"/stock/{number}"),
                                  (BACK, LAST, f"/items/{number}/reserve")):
            call = named(spans, name, "Exit", path)
            assert (call["segmentId"], call["parentSpanId"], call["refs"]) == (
                first["segmentId"], first["spanId"], [])
            assert tags(call)["http.status_code"] == "200"
            first = named(spans, after, "Entry", path)
            assert refers(first, call)


def named(spans, service, kind, endpoint):
    return one([span for span in spans if span["endpointName"] == endpoint], service, kind)


def test_background_tasks_belong_to_the_request_that_is_over(orders):
    for number, spans in orders.items():
        over = one(spans, FRONT, "Entry")
        assert {call["endpointName"] for call in late(spans)} == {
            f"/told/{number}", f"/written/{number}"}
        for call in late(spans):
            assert call["refs"] == [{"traceId": over["traceId"], "parentSegmentId":
                                     over["segmentId"], "parentSpanId": over["spanId"],
                                     "type": "CROSS_THREAD"}]
            assert (call["spanId"], call["parentSpanId"]) == (0, -1)
            assert call["startTime"] >= over["endTime"]
            served = named(spans, MIDDLE, "Entry", call["endpointName"])
            assert refers(served, call)
            assert len([s for s in spans if s["segmentId"] == served["segmentId"]]) == 1


def test_tasks_ran_while_their_connection_served_the_next(orders):
    """Else the tests above would prove less than they say."""
    times = {number: (one(spans, FRONT, "Entry"), late(spans)) for number, spans in orders.items()}
    overlaps = [number for number, (entry, _) in times.items()
                for call in times.get(number - AT_ONCE, (None, []))[1]
                if entry["startTime"] <= call["startTime"] <= entry["endTime"]]
    assert overlaps


def test_topology_has_the_chain(chain, orders, stored):
    """The OAP learns whose an address is from the first requests, so there must be later ones."""
    both = {edge: ["CLIENT", "SERVER"] for edge in zip(CHAIN, CHAIN[1:])}

    def look():
        ask_all(chain.ports[FRONT], first=1000, rounds=1)
        edges, _ = stored.edges(chain.begin)
        return both.items() <= edges.items()

    assert eventually(look, 60, 1.5), stored.edges(chain.begin)
    edges, guessed = stored.edges(chain.begin)
    assert not set(CHAIN) & guessed
    assert {edge for edge in edges if set(edge) <= set(CHAIN)} == set(both)


def test_chain_ends(chain):
    for name, program in chain.programs.items():
        chain.bench.stop(program)
        assert own_lines(chain.bench.output(program)) == [], name
