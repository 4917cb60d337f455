"""Can the judge say no? Run before every run."""

import base64

import judge
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


def test():
    for number, (expected, sw8, segments) in enumerate(CASES):
        counts, _, errors = judge.judge([[DOWN, sw8]], [DOWN], segments)
        assert counts == {expected: 1} and not errors, (number, expected, counts, errors)
    notes, segments = [[DOWN, carrier(W)]], written([EXIT, entry(W)])
    assert judge.judge([], [DOWN], segments)[2] and judge.judge(notes * 2, [DOWN], segments)[2]
    brought = f"/down/a/{BROUGHT}.0"
    for expected, trace in ("wrong", "t"), ("right", trace_of(BROUGHT)):
        sw8 = carrier(judge.inbound(brought), trace)
        assert judge.by_header(brought, sw8)[0] == expected
