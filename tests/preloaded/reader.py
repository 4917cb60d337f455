"""Reads what the agent wrote with the protobuf classes of the Python agent, and checks what must
always hold of it."""

import base64
import collections
import json
import os
import stat

from google.protobuf import json_format
from skywalking.protocol.event.Event_pb2 import Event
from skywalking.protocol.language_agent.Tracing_pb2 import (CrossProcess, CrossThread, Entry, Exit,
                                                           Http, SegmentObject)
from skywalking.protocol.language_agent.Meter_pb2 import MeterData
from skywalking.protocol.logging.Logging_pb2 import LogData
from skywalking.protocol.management.Management_pb2 import InstancePingPkg, InstanceProperties
from skywalking.protocol.profile.Profile_pb2 import ProfileTaskFinishReport, ThreadSnapshot

KINDS = {"segment": SegmentObject, "properties": InstanceProperties, "ping": InstancePingPkg,
         "log": LogData, "meter": MeterData, "event": Event, "snapshot": ThreadSnapshot,
         "finish": ProfileTaskFinishReport}
ADDRESS = "networkAddressUsedAtPeer"
NEVER_EMPTY = ("traceId", "parentTraceSegmentId", "parentService", "parentServiceInstance",
               "parentEndpoint", "networkAddressUsedAtPeer")


def records(folder):
    """[(file, kind, message)] of all files in the folder."""
    found = []
    for path in sorted(folder.iterdir()):
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            continue
        assert stat.S_IMODE(mode) == 0o600, f"{path} {oct(mode)}"
        data = path.read_bytes()
        complete = data[:data.rfind(b"\n") + 1]  # a write may be under way
        for line in complete.decode("utf-8").splitlines():
            record = json.loads(line, object_pairs_hook=no_duplicates)
            kind = record["kind"]
            assert set(record) == {"kind", kind}, line
            found.append((path, kind, json_format.ParseDict(record[kind], KINDS[kind]())))
    return found


def no_duplicates(pairs):
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def read(folder):
    segments = [message for _, kind, message in records(folder) if kind == "segment"]
    twice = [id for id, n in collections.Counter(s.traceSegmentId for s in segments).items() if n > 1]
    assert not twice, f"segment ids used twice: {twice}"
    for segment in segments:
        check(segment)
    return segments


def check(segment):
    what = brief(segment)
    assert segment.traceId and segment.traceSegmentId, what
    assert segment.service and segment.serviceInstance, what
    assert len(segment.serviceInstance) <= 70, what
    ids = [span.spanId for span in segment.spans]
    assert len(set(ids)) == len(ids) and 0 in ids, what
    assert ids[-1] == 0, f"span 0 is last: {what}"
    for span in segment.spans:
        assert (span.parentSpanId == -1) == (span.spanId == 0), what
        assert span.parentSpanId < span.spanId, what
        assert span.startTime > 0 and span.endTime >= span.startTime, what
        assert span.operationName and len(span.operationName) <= 150, what
        assert span.componentId == 49 and span.spanLayer == Http, what
        assert span.spanType in (Entry, Exit), what
        assert span.peer, what
        keys = [tag.key for tag in span.tags]
        assert len(set(keys)) == len(keys), what
        assert all(tag.value for tag in span.tags), what
        for ref in span.refs:  # of an Exit: it goes on for a request that has ended
            crosses = span.spanType == Entry
            assert crosses or span.spanId == 0, what
            assert ref.refType == (CrossProcess if crosses else CrossThread), what
            assert all(getattr(ref, field) for field in NEVER_EMPTY if crosses or field != ADDRESS), what
            assert crosses or getattr(ref, ADDRESS) == "", what
            assert ref.traceId == segment.traceId, what


def tags(span):
    return {tag.key: tag.value for tag in span.tags}


def entry(segment):
    """The Entry of a segment; there must be one."""
    found = [span for span in segment.spans if span.spanType == Entry]
    assert len(found) == 1 and found[0].spanId == 0, brief(segment)
    return found[0]


def entries(segments):
    return [entry(s) for s in segments if s.spans[-1].spanType == Entry]


def exits(segment):
    return sorted((span for span in segment.spans if span.spanType == Exit),
                  key=lambda span: span.spanId)


def of_service(segments, name):
    return [s for s in segments if s.service == name]


def called_by(segment, caller, span_id):
    """True when the segment's Entry was called by that span of that segment."""
    return [(ref.parentTraceSegmentId, ref.parentSpanId, ref.traceId) for ref in entry(segment).refs] \
        == [(caller.traceSegmentId, span_id, caller.traceId)]


def brief(segment):
    return (f"<{segment.service} {segment.traceSegmentId[:8]} of {segment.traceId[:8]}: " + ", ".join(
        f"{span.spanId}<{span.parentSpanId} {'Entry' if span.spanType == Entry else 'Exit'} "
        f"{span.operationName} {tags(span).get('http.status_code')}"
        f"{' ERROR' if span.isError else ''}{' refs' if span.refs else ''}"
        for span in segment.spans) + ">")


# ---- sw8 ----

def carrier(trace="trace-1", segment="segment-1", span=3, service="caller", instance="caller-1",
            endpoint="/called", address="127.0.0.1:80", flag="1"):
    return "-".join([flag, b64(trace), b64(segment), str(span), b64(service), b64(instance),
                     b64(endpoint), b64(address)])


def b64(text):
    return base64.b64encode(text.encode()).decode()


Carried = collections.namedtuple(
    "Carried", "flag trace segment span service instance endpoint address")


def parse_carrier(text):
    fields = text.split("-")
    assert len(fields) == 8, text
    plain = [base64.b64decode(f, validate=True).decode() if i not in (0, 3) else f
             for i, f in enumerate(fields)]
    assert all(plain), text
    return Carried(*plain[:3], int(plain[3]), *plain[4:])
