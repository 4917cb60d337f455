"""The same application under the agents that a Python service has today, each as its manual says.

    skywalking        sw-python run, apache-skywalking 1.2.0, reporting by threads (the default)
    skywalking async  the same with SW_AGENT_ASYNCIO_ENHANCEMENT=true, and without its plugin for grpc,
                      which otherwise breaks its own reporter (seen with grpcio 1.85.1)
    opentelemetry     opentelemetry-instrument with the instrumentations of fastapi and aiohttp, spans
                      by OTLP over gRPC, every request sampled, no metrics and no logs
    ddtrace           ddtrace-run, every request sampled, to an agent that answers {} to everything;
                      no telemetry of its own, no runtime metrics, no remote configuration

SkyWalking's and OpenTelemetry's collector is a sink as ours; Datadog's agent is stock.c. All on core
1, all otherwise with their defaults.
"""

import mmap
import time
from pathlib import Path

from common import (BENCH, Failed, compiled, free_port, plain_env, start, wait_for_port)
from load import Kind, venv
from sink import Sink


class Arrived:
    """What came to a sink, as load.py wants it."""

    def __init__(self, sink):
        self.sink = sink

    def counts(self):
        return self.sink.settled()


class DummyAgent:
    """Datadog's agent: counts requests, and knows nothing of what is in them."""

    def __init__(self, folder):
        self.port, file = free_port(), Path(folder) / "dummy.counts"
        file.write_bytes(bytes(16))
        with open(file, "r+b") as shared:
            self.numbers = memoryview(mmap.mmap(shared.fileno(), 16)).cast("Q")
        self.process = start([compiled("stock", folder), self.port, file], cpu=1)
        if not wait_for_port(self.process, self.port):
            raise Failed("the dummy agent does not come up")

    def counts(self):
        time.sleep(0.2)
        return {"others": self.numbers[0], "other_bytes": self.numbers[1]}


def programs(name):
    return venv(f"venv-bench-{name}", BENCH / "peers" / f"{name}.txt")


def skywalking(folder, name, **more):
    bin, sink = programs("skywalking"), Sink(folder)
    env = {"SW_AGENT_COLLECTOR_BACKEND_SERVICES": f"127.0.0.1:{sink.port}", "SW_AGENT_NAME": "bench"}
    return Kind(name, bin / "python", plain_env() | env | more, (bin / "sw-python", "run"), Arrived(sink),
                foreign=True)


def opentelemetry(folder):
    bin, sink = programs("opentelemetry"), Sink(folder)
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.port}", "OTEL_SERVICE_NAME": "bench",
           "OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
           "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    return Kind("opentelemetry", bin / "python", plain_env() | env, (bin / "opentelemetry-instrument",),
                Arrived(sink), foreign=True)


def ddtrace(folder):
    bin, agent = programs("ddtrace"), DummyAgent(folder)
    env = {"DD_TRACE_AGENT_URL": f"http://127.0.0.1:{agent.port}", "DD_SERVICE": "bench",
           "DD_TRACE_SAMPLE_RATE": "1", "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
           "DD_REMOTE_CONFIGURATION_ENABLED": "false", "DD_TRACE_STARTUP_LOGS": "false"}
    return Kind("ddtrace", bin / "python", plain_env() | env, (bin / "ddtrace-run",), agent, foreign=True)


def kinds(folder):
    return [skywalking(folder, "skywalking"),
            skywalking(folder, "skywalking async", SW_AGENT_ASYNCIO_ENHANCEMENT="true",
                       SW_AGENT_DISABLE_PLUGINS="sw_grpc"),
            opentelemetry(folder), ddtrace(folder)]
