"""Can the judge say no? Run before every run."""

import base64

import judge
import probe
from load import trace_of

IDENT, OTHER, BROUGHT = "s1t1c1r1", "s1t1c1r2", "s1t1c1r3"


def carrier(endpoint, trace="t"):
    fields = [trace, "segment", "ctx", "ctx-1", endpoint, "127.0.0.1:1"]
    trace, segment, *rest = (base64.b64encode(field.encode()).decode() for field in fields)
    return "-".join(["1", trace, segment, "1", *rest])


def span(ident, kind, name, **more):
    return {"spanId": ident, "spanType": kind, "operationName": name, **more}


def entry(name):
    return {"parentSpanId": -1, "operationName": name}  # 0 and Entry are left out


def written(*segments):
    result = judge.Segments(None)
    for number, spans in enumerate(segments):
        result.put({"traceSegmentId": f"segment{number}", "spans": list(spans)})
    return result


W, DOWN = f"/w/a/{IDENT}", f"/down/a/{IDENT}.0"
W_OTHER = f"/w/a/{OTHER}"
EXIT = span(1, "Exit", DOWN)
ALONE = span(0, "Exit", DOWN, parentSpanId=-1)
ACROSS = span(0, "Exit", DOWN, parentSpanId=-1, refs=[
    {"refType": "CrossThread", "parentTraceSegmentId": "segment0"}])

CASES = [
    ("right", carrier(W), written([EXIT, entry(W)])),
    ("right", carrier(W), written([entry(W)], [ACROSS])),
    ("right", carrier(DOWN), written([entry(W)], [ACROSS])),
    ("wrong", carrier(W_OTHER), written([EXIT, entry(W_OTHER)])),
    ("wrong", carrier(W_OTHER), written([EXIT, entry(W)])),
    ("wrong", carrier(W), written([EXIT, entry(W_OTHER)])),
    ("wrong", carrier(DOWN), written([entry(W_OTHER)], [ACROSS])),
    ("wrong", carrier(W), written([EXIT, entry(W)], [EXIT, entry(W)])),
    ("wrong", carrier(W), written([ALONE])),
    ("none", carrier(DOWN), written([ALONE])),
    ("none", carrier(DOWN), written()),
    ("lost", carrier(W), written()),
    ("bare", None, written([EXIT, entry(W)])),
    ("bare", "1-------", written([ALONE])),
]


def note(kind, handle, text, process=1):
    return f"{kind} {process:016x} {1:016x} {1:016x} {handle:016x} {text.encode().hex()}"


def answer(handle, ident, **more):
    return note("A", handle, f"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{ident} 1", **more)


def commands(*handles, **more):
    """Those of IDENT's one call."""
    return [note("C", handle, f"*3\r\n$3\r\nSET\r\n{DOWN} {DOWN}", **more) for handle in handles]


ANSWERS = [answer(7, IDENT), answer(8, OTHER)]
PROBED = [
    ({"right": 2}, [*ANSWERS, *commands(7, 7)], False),
    ({"right": 2}, [*commands(7, 7), *ANSWERS], False),
    ({"right": 1, "wrong": 1}, [*ANSWERS, *commands(7, 8)], False),
    ({"right": 1, "none": 1}, [*ANSWERS, *commands(7, 0)], False),
    ({"wrong": 2}, [*ANSWERS, *commands(9, 9)], False),              # no request is known by it
    ({"wrong": 2}, [*ANSWERS, *commands(7, 7, process=2)], False),   # another process's 7
    ({"wrong": 2}, [*ANSWERS, answer(7, OTHER), *commands(7, 7)], False),  # stands for two
    ({"wrong": 2}, commands(7, 7), True),                            # its answer was not seen
    ({"none": 2}, [answer(0, IDENT), *commands(0, 0)], True),
    ({"right": 1}, [*ANSWERS, *commands(7)], True),                  # one command is missing
    ({"right": 3}, [*ANSWERS, *commands(7, 7, 7)], True),            # or was sent twice
    ({}, ANSWERS, True),
]


def probe_test():
    for number, (expected, lines, bad) in enumerate(PROBED):
        seen = probe.Probe(None)
        for line in lines:
            seen.add(line)
        counts, _, errors = seen.judge("s1t1c", [DOWN])
        assert counts == expected and bool(errors) == bad, (number, expected, counts, errors)


def test():
    probe_test()
    for number, (expected, sw8, segments) in enumerate(CASES):
        counts, _, errors = judge.judge([[DOWN, sw8]], [DOWN], segments)
        assert counts == {expected: 1} and not errors, (number, expected, counts, errors)
    notes, segments = [[DOWN, carrier(W)]], written([EXIT, entry(W)])
    assert judge.judge([], [DOWN], segments)[2] and judge.judge(notes * 2, [DOWN], segments)[2]
    brought = f"/down/a/{BROUGHT}.0"
    for expected, trace in ("wrong", "t"), ("right", trace_of(BROUGHT)):
        sw8 = carrier(judge.inbound(brought), trace)
        assert judge.by_header(brought, sw8)[0] == expected
