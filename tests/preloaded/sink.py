"""A collector for tests: a gRPC server (grpcio) that takes every service of SkyWalking's protocol
with the classes of the Python agent, notes all that arrives, and misbehaves when asked to.

`sink.calls` has every call, `sink.segments(count, timeout)` the different segments of calls that
were answered with OK, `sink.properties` and `sink.pings` those messages. Switches, which may be
turned at any time:

    token, refusal     the authentication that is wanted, and the status of a call without it
    missing            services (last part of the name) that do not exist: UNIMPLEMENTED
    statuses           {service: StatusCode}: how its calls end, after all messages were read
    hasty              statuses are given before any message is read
    answers            {method: what makes its answer}; others are answered with an empty one
    delay              seconds before an answer
    tasks              profile tasks, each a dict of the arguments of its command
    deaf               messages are not read while it is set; with tiny windows the client stalls
"""

import os
import threading
import time
from concurrent import futures

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc  # noqa: E402  reads the above
from google.protobuf import message_factory  # noqa: E402
from skywalking.protocol.event import Event_pb2  # noqa: E402
from skywalking.protocol.language_agent import (ConfigurationDiscoveryService_pb2,  # noqa: E402
                                                Meter_pb2, Tracing_pb2)
from skywalking.protocol.logging import Logging_pb2  # noqa: E402
from skywalking.protocol.management import Management_pb2  # noqa: E402
from skywalking.protocol.profile import Profile_pb2  # noqa: E402

import reader  # noqa: E402

FILES = (Tracing_pb2, Management_pb2, Meter_pb2, Logging_pb2, Profile_pb2, Event_pb2,
         ConfigurationDiscoveryService_pb2)

# For Sink(options=...): what makes a client's life hard, as far as grpcio can.
OLD_AGE = (("grpc.max_connection_age_ms", 500), ("grpc.max_connection_age_grace_ms", 500))
TINY_WINDOWS = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1))
ONE_STREAM = (("grpc.max_concurrent_streams", 1),)
NO_TABLE = (("grpc.http2.hpack_table_size.decoder", 0),)


def methods():
    """{"/package.Service/method": its descriptor}"""
    return {f"/{service.full_name}/{method.name}": method
            for file in FILES for service in file.DESCRIPTOR.services_by_name.values()
            for method in service.methods}


class Call:
    """One call: `status` is None as long as there is none, or when it was cut off."""

    def __init__(self, path, metadata):
        self.path, self.peer, self.begin = path, None, time.monotonic()
        self.service, self.method = path.rsplit(".", 1)[-1].split("/")
        self.metadata = [(key, value) for key, value in metadata]
        self.messages, self.status = [], None

    def __repr__(self):
        return f"<{self.service}/{self.method} {len(self.messages)} {self.status} {self.peer}>"

    def header(self, name):
        return [value for key, value in self.metadata if key == name]


class Handler(grpc.GenericRpcHandler):
    def __init__(self, sink):
        self.sink, self.methods = sink, methods()

    def service(self, details):
        method = self.methods.get(details.method)
        if not method or method.containing_service.name in self.sink.missing:
            with self.sink.changed:
                self.sink.unknown.append(details.method)
            return None  # grpc says UNIMPLEMENTED
        kind = ("stream" if method.client_streaming else "unary") + "_" + \
            ("stream" if method.server_streaming else "unary")
        answer = message_factory.GetMessageClass(method.output_type)
        call = Call(details.method, details.invocation_metadata)
        with self.sink.changed:
            self.sink.calls.append(call)
            self.sink.changed.notify_all()

        def serve(request, context):
            self.sink.serve(call, iter(request if method.client_streaming else [request]), context)
            given = self.sink.answers.get(call.method, answer)()
            if call.method == "getProfileTaskCommands":
                self.sink.command(call.messages[-1], given)
            return iter([given]) if method.server_streaming else given

        return getattr(grpc, f"{kind}_rpc_method_handler")(
            serve, message_factory.GetMessageClass(method.input_type).FromString,
            lambda message: message.SerializeToString())


class Sink:
    def __init__(self, port, host="127.0.0.1", options=(), tls=None):
        self.port, self.host, self.options, self.server = port, host, options, None
        self.tls = tls  # server credentials of grpcio
        self.token, self.refusal = None, grpc.StatusCode.UNAUTHENTICATED
        self.missing, self.statuses, self.hasty, self.answers = set(), {}, False, {}
        self.tasks = []
        self.delay, self.deaf = 0, threading.Event()
        self.calls, self.unknown = [], []
        self.changed = threading.Condition()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.stopping = threading.Event()
        pool = futures.ThreadPoolExecutor(max_workers=32)
        self.server = grpc.server(pool, handlers=[Handler(self)],
                                  options=(("grpc.so_reuseport", 0), *self.options))
        deadline = time.monotonic() + 5
        while True:
            try:
                assert self.listen(f"{self.host}:{self.port}")
                break
            except (RuntimeError, AssertionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.server.start()
        return self

    def listen(self, address):
        if self.tls:
            return self.server.add_secure_port(address, self.tls)
        return self.server.add_insecure_port(address)

    def stop(self):
        """Cuts off every call and connection; what has arrived is kept."""
        if self.server:
            self.stopping.set()
            self.server.stop(None).wait(5)
            self.server = None

    # ---- a call, on a thread of grpc's ----

    def serve(self, call, given, context):
        call.peer = context.peer()
        status = self.status_of(call)
        if not (status and self.hasty):
            self.read(call, given)
        stopping = self.stopping
        if self.delay and stopping.wait(self.delay):
            context.abort(grpc.StatusCode.UNAVAILABLE, "the collector stops")
        with self.changed:
            call.status = status or (grpc.StatusCode.OK if context.is_active() else None)
            self.changed.notify_all()
        if status:
            context.abort(status, f"no: 100% {status.name}")

    def status_of(self, call):
        if self.token is not None and call.header("authentication") != [self.token]:
            return self.refusal
        return self.statuses.get(call.service)

    def read(self, call, given):
        stopping = self.stopping
        while True:
            while self.deaf.is_set() and not stopping.is_set():
                time.sleep(0.01)
            message = next(given, None)  # raises when the call is cut off
            if message is None:
                return
            with self.changed:
                call.messages.append(message)
                self.changed.notify_all()

    def command(self, query, reply):
        """As OAP: every task that was made after the last one that the program knows."""
        for task in self.tasks:
            if int(task["CreateTime"]) > query.lastCommandTime:
                command = reply.commands.add(command="ProfileTaskQuery")
                for key, value in task.items():
                    command.args.add(key=key, value=str(value))

    # ---- what has arrived ----

    def until(self, condition, timeout=40):
        """Waits until condition() holds; returns its last value."""
        with self.changed:
            self.changed.wait_for(condition, timeout)
            return condition()

    def of(self, service, method=None, served=True):
        return [call for call in list(self.calls) if call.service == service
                and method in (None, call.method)
                and (not served or call.status is grpc.StatusCode.OK)]

    def all_segments(self, served=True):
        """Every segment in the order of arrival, also those that came twice."""
        return [message for call in self.of("TraceSegmentReportService", "collect", served)
                for message in list(call.messages)]

    def different(self, served=True):
        return list({s.traceSegmentId: s for s in self.all_segments(served)}.values())

    def segments(self, count=None, timeout=40):
        """The different segments that were accepted; with count: waits for so many, no more."""
        if count is not None:
            self.until(lambda: len(self.different()) >= count, timeout)
        found = self.different()
        for segment in found:
            reader.check(segment)
        if count is not None:
            assert len(found) == count, (len(found), count, self.calls[-20:], self.unknown[-5:])
        return found

    @property
    def snapshots(self):
        return [m for c in self.of("ProfileTask", "collectSnapshot") for m in list(c.messages)]

    @property
    def finished(self):
        return [m for c in self.of("ProfileTask", "reportTaskFinish") for m in c.messages]

    @property
    def properties(self):
        return [m for c in self.of("ManagementService", "reportInstanceProperties") for m in c.messages]

    @property
    def pings(self):
        return [m for c in self.of("ManagementService", "keepAlive") for m in c.messages]
