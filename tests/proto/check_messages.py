"""Reads what emit wrote with SkyWalking's own message classes (PyPI apache-skywalking==1.2.0).

    check_messages.py DIR

Each message must be the same from its bytes, from its JSON and from the values stated here, and
our .proto files must have the fields, numbers, types and JSON names of SkyWalking's.
"""
import pathlib
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc
from skywalking.protocol.common import Command_pb2, Common_pb2
from skywalking.protocol.event import Event_pb2
from skywalking.protocol.language_agent import Meter_pb2, Tracing_pb2
from skywalking.protocol.logging import Logging_pb2
from skywalking.protocol.management import Management_pb2
from skywalking.protocol.profile import Profile_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
THEIRS = [Command_pb2, Common_pb2, Event_pb2, Logging_pb2, Management_pb2, Meter_pb2, Profile_pb2,
          Tracing_pb2]

SEGMENT = "0123456789abcdef00000000000000ff"
SENDER = {"service": 'café "shop"\\|ns', "serviceInstance": "0123-child(7)"}


def pairs(*rows):
    return [{"key": key, "value": value} for key, value in rows]


ENTRY = {
    "parentSpanId": -1, "startTime": 1700000000000, "endTime": 1700000000200,
    "operationName": "/users", "peer": "10.0.0.1:4711", "spanType": "Entry", "spanLayer": "Http",
    "componentId": 49,
    "tags": pairs(("http.method", "GET"), ("http.url", "http://host/users"),
                  ("http.status_code", "200")),
}
EXIT_TAGS = pairs(("http.method", "POST"), ("http.url", "http://down:8080/down"),
                  ("http.status_code", "404"))
EXIT = {
    "startTime": 1700000000100, "endTime": 1700000000150, "operationName": "/down",
    "peer": "down:8080", "spanType": "Exit", "spanLayer": "Http", "componentId": 2,
    "isError": True, "tags": EXIT_TAGS,
}
ALONE = dict(EXIT, parentSpanId=-1)
REF = {
    "refType": "CrossProcess", "traceId": "trace-1", "parentTraceSegmentId": "segment-1",
    "parentSpanId": 7, "parentService": "caller", "parentServiceInstance": "caller-1",
    "parentEndpoint": "/start", "networkAddressUsedAtPeer": "callee:80",
}


def segment(*spans, trace="0123456789abcdef80000000000000ff", **more):
    return dict(SENDER, traceId=trace, traceSegmentId=SEGMENT, spans=list(spans), **more)


def labels(*rows):
    return [{"name": name, "value": value} for name, value in rows]


LABELS = labels(("loop", "1"), ("kind", '?"'))
READ = dict(SENDER, timestamp=1700000000000)
SNAPSHOT = {"taskId": "made-task", "traceSegmentId": "made-segment", "time": 1700000000000}

RECORDS = {
    "log-0": dict(SENDER, timestamp=1700000000000, endpoint="/users",
                  body={"type": "text", "text": {"text": "a line €\nand its second"}},
                  traceContext={"traceId": "made-trace", "traceSegmentId": "made-segment", "spanId": 2},
                  tags={"data": pairs(("level", "WARNING"), ("logger", "café ?"))}),
    "log-1": dict(SENDER, timestamp=1700000000001, layer="GENERAL",
                  body={"type": "json", "json": {"json": '{"message": "of no request"}'}}),
    "log-2": dict(SENDER, timestamp=1700000000002, body={"type": "text", "text": {"text": "a?b???"}}),
    "meter-0": dict(READ, singleValue={"name": "made_single", "value": 12.5}),
    "meter-1": dict(READ, singleValue={"name": "made_labelled", "labels": LABELS}),
    "meter-2": dict(READ, histogram={"name": "made_histogram", "labels": LABELS[:1], "values": [
        {"count": 3}, {"bucket": 0.5}, {"bucket": 10, "count": 2}]}),
    "meter-3": {"singleValue": {"name": "made_nothing"}},
    "meter-4": dict(READ, histogram={"name": "made_histogram", "labels": LABELS[:1], "values": [
        {"count": 3, "isNegativeInfinity": True}, {}, {"bucket": 0.5, "count": 1},
        {"bucket": 10, "count": 2**63 - 1}]}),
    "event-0": {"uuid": "made-event-1", "source": dict(SENDER, endpoint="/slow"), "name": "LoopBlocked",
                "type": "Error", "message": "a loop was blocked", "layer": "GENERAL",
                "parameters": {"thread": "main", "ms": "300?"},
                "startTime": 1700000000000, "endTime": 1700000000300},
    "event-1": {"uuid": "made-event-2", "source": SENDER, "name": "Start", "layer": "GENERAL",
                "startTime": 1700000000000},
    "snapshot-0": dict(SNAPSHOT, stack={"codeSignatures": [
        "/app/main.py.<module>: 1", "", "/app/main.py.café?: 42"]}),
    "snapshot-1": dict(SNAPSHOT, time=1700000000010, sequence=1, stack={}),
    "finish-0": dict(SENDER, taskId="made-task"),
    "query-0": dict(SENDER, lastCommandTime=-1),
}

CLASSES = {
    "log": Logging_pb2.LogData, "meter": Meter_pb2.MeterData, "event": Event_pb2.Event,
    "snapshot": Profile_pb2.ThreadSnapshot, "finish": Profile_pb2.ProfileTaskFinishReport,
    "query": Profile_pb2.ProfileTaskCommandQuery,
}

EXPECTED = RECORDS | {
    "entry": segment(ENTRY),
    "joined": segment(
        dict(EXIT, spanId=1),
        dict(EXIT, spanId=2, spanLayer="Cache", isError=False,
             tags=EXIT_TAGS[:2] + pairs(("sw.unfinished", "true"))),
        dict(ENTRY, refs=[REF]), trace="trace-1", isSizeLimited=True),
    "alone": segment(ALONE),
    "alone-serving": segment(dict(ALONE, tags=EXIT_TAGS + pairs(("sw.parent", "none")))),
    "odd": segment(dict(
        ENTRY, operationName='/ü😀?"\\\n\x7f', startTime=2**63 - 1, endTime=-2**63,
        componentId=0, spanLayer="Unknown",
        tags=ENTRY["tags"][:2] + pairs(("http.params", "a?b???")) + ENTRY["tags"][2:])),
    "properties": dict(SENDER, properties=pairs(("language", "c"), ("OS Name", "linux?"),
                                                ("ipv4", ""))),
    "ping": SENDER,
    "sample-empty": {},
    "sample-text": {"textChoice": ""},
    "sample-inner": {"innerChoice": {"name": "x"}},
    "sample-full": {
        "small": -1, "smallZigzag": -2**31, "smallFixed": 2**31 - 1, "wide": -2**63,
        "wideZigzag": -2, "wideFixed": -5, "count": 2**32 - 1, "countFixed": 7,
        "longCount": 2**64 - 1, "longCountFixed": 8, "single": 0.1, "twice": 0.1, "yes": True,
        "colour": "DeepBlue", "text": '\x01"\\/€', "raw": "AP9hCg==", "inner": {},
        "smalls": [0, -2**31], "wides": [0, -2**63, 2**63 - 1],
        "doubles": [0.1, -0.0, 1 / 3, 1e21, 5e-324, 1.7976931348623157e308, -1e-7, 1e15, 1e16,
                    123456.789, 2.0**53, "NaN", "Infinity", "-Infinity"],
        "flags": [True, False], "colours": [1, 0, 5], "texts": ["", "x"], "raws": ["", "+w=="],
        "inners": [{"name": "x"}, {}], "numberChoice": 0, "camelCase": 1, "withDigit2After": 2,
    },
}


def our_files():
    """Our .proto files and the sample's, compiled by Google's compiler."""
    names = [*sorted(str(path.relative_to(ROOT)) for path in (ROOT / "proto").glob("*.proto")),
             "tests/proto/sample.proto"]
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/set"
        assert protoc.main(["protoc", f"-I{ROOT}", f"--descriptor_set_out={out}", *names]) == 0
        return descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out).read_bytes())


def shape(descriptor):
    """All that decides the wire and the JSON of a message."""
    return sorted((f.number, f.type, f.label, f.json_name or f.name, f.type_name, f.proto3_optional)
                  for f in descriptor.field)


def their_descriptors():
    messages, enums = {}, {}
    for module in THEIRS:
        proto = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(proto)
        assert proto.package == "skywalking.v3" and proto.syntax == "proto3"
        messages.update((m.name, m) for m in proto.message_type)
        enums.update((e.name, e) for e in proto.enum_type)
    return messages, enums


def camel(name):
    head, *tail = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in tail)


def check_schema(files):
    messages, enums = their_descriptors()
    count = 0
    for file in files:
        if file.package != "skywalking.v3":
            continue
        for ours in file.message_type:
            for field in ours.field:
                field.json_name = field.json_name or camel(field.name)
            assert shape(ours) == shape(messages[ours.name]), ours.name
            count += 1
        for ours in file.enum_type:
            assert list(ours.value) == list(enums[ours.name].value), ours.name
            count += 1
    return count


def sample_class(files):
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        if file.package == "sw.sample":
            pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("sw.sample.Sample"))


def class_of(name, sample):
    if name.startswith("sample-"):
        return sample
    return {"properties": Management_pb2.InstanceProperties,
            "ping": Management_pb2.InstancePingPkg,
            **CLASSES}.get(name.split("-")[0], Tracing_pb2.SegmentObject)


def wire(message):
    """Compared in place of the message: a NaN is not equal to itself."""
    return message.SerializeToString(deterministic=True)


def check_message(path, cls):
    text = path.with_suffix(".json").read_bytes().decode()
    from_bytes = cls.FromString(path.read_bytes())
    from_json = json_format.Parse(text, cls())
    assert wire(from_bytes) == wire(from_json), f"{path}\n{text}"
    assert "\n" not in text
    if path.stem in EXPECTED:
        expected = json_format.ParseDict(EXPECTED[path.stem], cls())
        assert wire(from_bytes) == wire(expected), f"{path}\n{from_bytes}\n{expected}"


def main(folder):
    files = our_files().file
    types = check_schema(files)
    sample = sample_class(files)
    paths = sorted(pathlib.Path(folder).glob("*.pb"))
    missing = set(EXPECTED) - {path.stem for path in paths}
    assert not missing, f"not written: {missing}"
    for path in paths:
        check_message(path, class_of(path.stem, sample))
    print(f"{types} types agree, {len(paths)} messages read alike from bytes and JSON, "
          f"{len(EXPECTED)} as expected")


if __name__ == "__main__":
    main(sys.argv[1])
