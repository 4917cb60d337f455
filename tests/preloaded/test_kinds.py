"""Records of all kinds over all protocols: what arrives at a collector is what was made, each kind is
accounted for, and what a protocol does not take is dropped and said once.

The library is libswagent_made.so, which queues the records of tests/proto/made.h MADE times, on our
thread and within its first turn (tests/reporter/made.c). What they say is stated once more in
tests/proto/check_messages.py.
"""

import pathlib
import re
import shutil
import sys

import grpc
import pytest
from google.protobuf import json_format
from skywalking.protocol.common.Command_pb2 import Command, Commands
from skywalking.protocol.common.Common_pb2 import KeyStringValuePair
from skywalking.protocol.language_agent.Meter_pb2 import MeterDataCollection
from skywalking.protocol.logging.Logging_pb2 import LogData

import http_sink
import kafka_broker
import reader
from conftest import BUILD, IN_HASTE, LIB, ROOT
from sink import Sink
from test_grpc import counters, curl, ours

sys.path.append(str(ROOT / "tests/proto"))
import check_messages  # noqa: E402

MADE = BUILD / "tests/libswagent_made.so"
TIMES = 3
COUNTS = {"log": 3, "meter": 4, "event": 2, "snapshot": 2}

pytestmark = pytest.mark.skipif(not MADE.exists(), reason="tests/libswagent_made.so is not built")


@pytest.fixture
def made(bench, origin, tmp_path):
    """made(env): a program that makes one call, with that library. Its result and its counters."""
    folder = tmp_path / "made"
    folder.mkdir()
    shutil.copy(MADE, folder)  # plug-ins are looked for beside it
    for plugin in pathlib.Path(LIB.split(":")[0]).parent.glob("libswagent-*.so"):
        (folder / plugin.name).symlink_to(plugin.resolve())

    def run(times=TIMES, **env):
        env |= {"LD_PRELOAD": folder / MADE.name, "MADE": times, "SW_AGENT_LOGGING_LEVEL": "debug",
                "SW_AGENT_INSTANCE_NAME": "made",
                "SW_AGENT_LOG_REPORTER_STDOUT": "false", "SW_AGENT_LOG_REPORTER_STDERR": "false"}
        result = bench.run(curl(origin, "x"), name="maker", env=env)
        assert result.rc == 0
        return result, counters(result.err)
    return run


def plugin(name):
    return pytest.mark.skipif(not (pathlib.Path(LIB.split(":")[0]).parent / f"libswagent-{name}.so").exists(),
                              reason=f"the plug-in {name} is not built")


def timeless(message):
    """The message as a dict, without the moments and the process that the maker has put in."""
    found = json_format.MessageToDict(message)
    if "uuid" in found:
        found["uuid"] = re.sub(r"(event-\d)-\d+$", r"\1", found["uuid"])
    for name in "timestamp", "startTime", "endTime", "time":
        if name in found:
            assert int(found.pop(name)) > 1600000000000
    return found


def wanted(kind):
    """What was made, once; the sender as it is here."""
    text = [check_messages.RECORDS[f"{kind}-{i}"] for i in range(COUNTS[kind])]
    found = []
    for one in text:
        message = json_format.ParseDict(one, check_messages.CLASSES[kind]())
        if kind in ("log", "meter"):
            message.service, message.serviceInstance = "maker", "made"
        if kind == "event":
            message.source.service, message.source.serviceInstance = "maker", "made"
        found.append(timeless(message) if kind != "meter" else timeless_meter(message))
    return found


def timeless_meter(message):
    """Whose it is and when, is said by the first of a stream only."""
    found = json_format.MessageToDict(message)
    for name in "service", "serviceInstance", "timestamp":
        found.pop(name, None)
    return found


def check(kind, messages, times=TIMES):
    strip = timeless_meter if kind == "meter" else timeless
    assert [strip(m) for m in messages] == wanted(kind) * times, kind


def check_stream_of_meters(messages):
    """The first one tells for all."""
    assert len(messages) == COUNTS["meter"]
    first, *rest = messages
    assert (first.service, first.serviceInstance) == ("maker", "made") and first.timestamp > 1600000000000
    assert not any(m.service or m.serviceInstance or m.timestamp for m in rest)


def check_counted(numbers, taken, fate="sent"):
    """Each record of kinds that are taken has been sent (or what `fate` says), the others dropped."""
    for kind, count in COUNTS.items():
        got = {name.split("_")[1]: n for name, n in numbers.items() if name.startswith(kind + "_")}
        all_of_it = count * TIMES
        assert got == ({"produced": all_of_it, fate: all_of_it} if kind in taken else {"dropped": all_of_it})


def test_file(bench, made):
    _, numbers = made()
    found = reader.records(bench.records)
    for kind in COUNTS:
        check(kind, [m for _, k, m in found if k == kind])
    assert all(m.service == "maker" for _, k, m in found if k == "meter"), "a line stands alone"
    assert [m.taskId for _, k, m in found if k == "finish"] == ["made-task"] * TIMES
    check_counted(numbers, COUNTS)


@pytest.mark.usefixtures("any_engine")
@pytest.mark.usefixtures("any_loop")
def test_grpc(made, ports):
    services = {"log": ("LogReportService", "collect"), "meter": ("MeterReportService", "collect"),
                "event": ("EventService", "collect"), "snapshot": ("ProfileTask", "collectSnapshot")}
    with Sink(ports()) as sink:
        _, numbers = made(SW_AGENT_PROTOCOL="grpc", SW_AGENT_COLLECTOR_BACKEND_SERVICES=f"127.0.0.1:{sink.port}")
        for kind, (service, method) in services.items():
            check(kind, [m for call in sink.of(service, method) for m in call.messages])
        periods = sink.of("MeterReportService")
        assert len(periods) == TIMES, "one stream for each period"
        for call in periods:
            check_stream_of_meters(call.messages)
        assert len(sink.of("LogReportService")) == len(sink.of("ProfileTask", "collectSnapshot")) == 1
        done = [m for call in sink.of("ProfileTask", "reportTaskFinish") for m in call.messages]
        assert [(m.service, m.serviceInstance, m.taskId) for m in done] == [("maker", "made", "made-task")] * TIMES
        sink.segments(1)
    check_counted(numbers, COUNTS)


@pytest.mark.usefixtures("any_engine")
def test_grpc_services_that_a_collector_has_not(made, ports):
    """Their records are lost and counted; the others arrive, and nobody is told."""
    with Sink(ports()) as sink:
        sink.missing = {"EventService", "ProfileTask", "MeterReportService"}
        result, numbers = made(SW_AGENT_PROTOCOL="grpc",
                               SW_AGENT_COLLECTOR_BACKEND_SERVICES=f"127.0.0.1:{sink.port}")
        check("log", [m for call in sink.of("LogReportService") for m in call.messages])
        sink.segments(1)
    for kind, count in COUNTS.items():
        assert numbers[f"{kind}_{'sent' if kind == 'log' else 'lost'}"] == numbers[f"{kind}_produced"] \
            == count * TIMES
    assert not [line for line in ours(result.err) if b"does not know" in line]


def test_a_receiver_that_finds_fault(made, ports):
    """Its records are offered three times, soon, and lost; nobody else waits for that."""
    with Sink(ports()) as sink:
        sink.statuses = {"LogReportService": grpc.StatusCode.INTERNAL}
        result, numbers = made(SW_AGENT_PROTOCOL="grpc",
                               SW_AGENT_COLLECTOR_BACKEND_SERVICES=f"127.0.0.1:{sink.port}")
        assert len(sink.of("LogReportService", served=False)) == 3
        check("event", [m for call in sink.of("EventService") for m in call.messages])
        sink.segments(1)
    assert numbers["log_lost"] == COUNTS["log"] * TIMES and numbers["segment_sent"] == 1
    assert len([line for line in ours(result.err) if b"refuses a log batch: INTERNAL" in line]) == 1


@pytest.mark.usefixtures("any_engine")
def test_questions(made, ports):
    """Asked once at a time; the answer comes back whole, also one of many pieces."""
    args = [KeyStringValuePair(key="TaskId", value="task-1"), KeyStringValuePair(key="Filler", value="x" * 40000)]
    commands = Commands(commands=[Command(command="ProfileTaskQuery", args=args), Command(command="Other")])
    with Sink(ports()) as sink:
        sink.answers["getProfileTaskCommands"] = lambda: commands
        result, _ = made(SW_AGENT_PROTOCOL="grpc", SW_AGENT_COLLECTOR_BACKEND_SERVICES=f"127.0.0.1:{sink.port}")
        [[asked]] = [call.messages for call in sink.of("ProfileTask", "getProfileTaskCommands")]
        assert (asked.service, asked.serviceInstance, asked.lastCommandTime) == ("maker", "made", 1234)
    said = [line.split(b"made: ")[1] for line in ours(result.err) if b"made: " in line]
    assert said == [b"an answer of %d bytes" % commands.ByteSize(), b"ProfileTaskQuery task-1", b"Other task-1"]


def test_nobody_there(made, ports):
    result, numbers = made(SW_AGENT_PROTOCOL="grpc", SW_AGENT_COLLECTOR_BACKEND_SERVICES=f"127.0.0.1:{ports()}",
                           **IN_HASTE)
    check_counted(numbers, COUNTS, "left")
    assert result.waited < 5


@plugin("http")
def test_http(made, ports):
    with http_sink.HttpSink(ports()) as sink:
        result, numbers = made(SW_AGENT_PROTOCOL="http",
                               SW_AGENT_COLLECTOR_BACKEND_SERVICES=f"127.0.0.1:{sink.port}")
        check("log", [m for r in sink.of(http_sink.LOGS) for m in r.messages])
        check("event", [m for r in sink.of(http_sink.EVENTS) for m in r.messages])
        sink.segments(1)
    check_counted(numbers, {"log", "event"})
    refused = [line for line in ours(result.err) if b"does not take records" in line]
    assert [line.split(b"kind ")[1].split(b";")[0] for line in refused] == [b"query", b"meter", b"snapshot",
                                                                                    b"finish"]


@plugin("kafka")
def test_kafka(made, ports):
    with kafka_broker.Broker(ports()) as broker:
        result, numbers = made(SW_AGENT_PROTOCOL="kafka", SW_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{broker.port}")
        logs = broker.of("skywalking-logs")
        check("log", [LogData.FromString(m.value) for m in logs])
        assert [m.key for m in logs] == [b"made-segment", None, None] * TIMES
        periods = broker.of("skywalking-meters")
        assert [m.key for m in periods] == [b"made"] * TIMES
        collections = [MeterDataCollection.FromString(m.value).meterData for m in periods]
        check("meter", [m for collection in collections for m in collection])
        for collection in collections:
            check_stream_of_meters(list(collection))
        assert not broker.failures
    check_counted(numbers, {"log", "meter"})
    refused = [line for line in ours(result.err) if b"does not take records" in line]
    assert len(refused) == 4, "query, event, snapshot, finish"


@plugin("kafka")
def test_kafka_collections_that_a_broker_refuses(made, ports):
    """A collection is one message: its meters are lost together, and counted one by one."""
    with kafka_broker.Broker(ports()) as broker:
        broker.errors["skywalking-meters"] = kafka_broker.TOO_LARGE
        _, numbers = made(SW_AGENT_PROTOCOL="kafka", SW_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{broker.port}")
        assert not broker.of("skywalking-meters")
    assert numbers["meter_lost"] == numbers["meter_produced"] == COUNTS["meter"] * TIMES
    assert numbers["log_sent"] == COUNTS["log"] * TIMES


@pytest.mark.parametrize("key, kind", [
    ("SW_AGENT_LOG_REPORTER_MAX_BUFFER_SIZE", "log"),
    ("SW_AGENT_METER_REPORTER_MAX_BUFFER_SIZE", "meter"),
    ("SW_AGENT_PROFILE_SNAPSHOT_TRANSPORT_BUFFER_SIZE", "snapshot"),
])
def test_limits(bench, made, key, kind):
    """So many wait; the rest is dropped, the others are whole."""
    _, numbers = made(**{key: 5})
    got = [m for _, k, m in reader.records(bench.records) if k == kind]
    assert len(got) == numbers[f"{kind}_sent"] == numbers[f"{kind}_produced"] == 5
    assert numbers[f"{kind}_dropped"] == COUNTS[kind] * TIMES - 5


def test_many(made, ports):
    """More than a batch, several times over, in order."""
    times = 1000
    with Sink(ports()) as sink:
        _, numbers = made(times, SW_AGENT_PROTOCOL="grpc", SW_AGENT_EXIT_FLUSH_TIMEOUT=20000,
                          SW_AGENT_COLLECTOR_BACKEND_SERVICES=f"127.0.0.1:{sink.port}")
        check("log", [m for call in sink.of("LogReportService") for m in call.messages], times)
        check("event", [m for call in sink.of("EventService") for m in call.messages], times)
        check("meter", [m for call in sink.of("MeterReportService") for m in call.messages], times)
    assert numbers["meter_sent"] == 4 * times and numbers["log_sent"] == 3 * times
