"""The collectors of the benchmarks, counting on core 1: sink.c for gRPC (also through TLS), sink_http.c, kafka_sink.py."""

import mmap
import signal
import subprocess
import sys
import time
from pathlib import Path

from common import (Failed, agent_env, compiled, core_env, count_segments, cpu_ns, ended, free_port, grpc_env,
                    http_env, kafka_env, output_of, start, wait_for_port)

# As in counts.h.
FIELDS = ("segments", "segment_bytes", "segment_calls", "others", "other_bytes", "other_calls",
          "answered", "cut", "torn", "connections", "broken", "received", "reads")


class Sink:
    """Listens when made, or when started later. Its counts survive its end."""

    def __init__(self, folder, delay_ms=0, port=None, begin=True):
        self.program = self.make_program(folder)
        self.port, self.delay_ms = port or free_port(), delay_ms
        self.file = Path(folder) / f"sink-{self.port}.counts"
        self.file.write_bytes(bytes(8 * len(FIELDS)))
        with open(self.file, "r+b") as file:
            self.numbers = memoryview(mmap.mmap(file.fileno(), 8 * len(FIELDS))).cast("Q")
        self.process = None
        if begin:
            self.start()

    def start(self):
        self.process = start(self.command(), cpu=1, stdout=subprocess.DEVNULL)
        if not wait_for_port(self.process, self.port):
            raise Failed("the sink does not come up")

    def make_program(self, folder):
        return compiled("sink", folder, "-lnghttp2", "-lssl", "-lcrypto")

    def command(self):
        return [self.program, self.port, self.file, self.delay_ms]

    def counts(self):
        return dict(zip(FIELDS, self.numbers))

    def settled(self, seconds=5):
        """The counts, once nothing has come for a moment."""
        deadline, before = time.monotonic() + seconds, None
        while (now := self.counts()) != before and time.monotonic() < deadline:
            before = now
            time.sleep(0.2)
        return now

    def cpu_ns(self):
        return cpu_ns(self.process.pid)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(5)
            ended(self.process)
            self.process = None
        return self.counts()


class HttpSink(Sink):
    def make_program(self, folder):
        return compiled("sink_http", folder)

    def command(self):
        return [self.program, self.port, self.file]


def certified(folder):
    """A certificate for 127.0.0.1 that vouches for itself, and its key: two paths."""
    chain, key = Path(folder) / "sink.pem", Path(folder) / "sink.key"
    if not chain.exists():
        output_of(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                   "-nodes", "-days", "1", "-subj", "/CN=sink", "-addext", "subjectAltName=IP:127.0.0.1",
                   "-out", chain, "-keyout", key])
    return chain, key


class TlsSink(Sink):
    def make_program(self, folder):
        self.identity = certified(folder)
        return super().make_program(folder)

    def command(self):
        return [*super().command(), *self.identity]


class KafkaSink(Sink):
    def make_program(self, folder):
        return Path(__file__).parent / "kafka_sink.py"

    def command(self):
        return [sys.executable, self.program, self.port, self.file]


SINKS = {"grpc": (Sink, grpc_env), "grpc+tls": (TlsSink, grpc_env), "core": (Sink, core_env),
         "core+tls": (TlsSink, core_env), "http": (HttpSink, http_env),
         "kafka": (KafkaSink, kafka_env)}


class Place:
    """Where the agent's segments go: a sink, with TLS or without, or a file."""

    def __init__(self, folder, lib, protocol):
        self.protocol = protocol
        sink, env = SINKS.get(protocol, (None, None))
        self.sink = sink(folder) if sink else None
        self.file = Path(folder) / "segments.jsonl"
        self.env = env(lib, self.sink.port) if sink else agent_env(lib, self.file)
        if protocol.endswith("+tls"):
            self.env["SW_AGENT_SSL_TRUSTED_CA_PATH"] = str(self.sink.identity[0])

    def counts(self):
        if self.sink:
            return self.sink.settled()
        size = self.file.stat().st_size if self.file.exists() else 0
        return dict.fromkeys(FIELDS, 0) | {"segments": count_segments(self.file)[0], "segment_bytes": size}

    def sink_ns(self):
        return self.sink.cpu_ns() if self.sink else 0

    def close(self):
        if self.sink:
            self.sink.stop()
