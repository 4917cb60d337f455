"""The kafka protocol by a real Kafka 3.9.1: what its log holds, and what a real OAP stores that
fetches from it.
"""

import signal
import time

import pytest

import kafka_server
import made
import oap as oap_module
from conftest import Bench, Stored, eventually

PREFIX = "SW_KAFKA_REPORTER_CONFIG_"


@pytest.fixture(scope="module")
def kafka(jars, tmp_path_factory):
    try:
        kafka_server.fetch()
    except oap_module.Unavailable as why:
        pytest.skip("no Kafka here: " + str(why).split("\n")[0])
    kafka = kafka_server.Kafka(tmp_path_factory.mktemp("kafka")).start()
    yield kafka
    kafka.stop()


@pytest.fixture(scope="module")
def fetching(kafka, new_oap):
    return new_oap(kafka=kafka.address)


@pytest.fixture
def begin():
    return time.time()


class KafkaBench(Bench):
    def __init__(self, tmp, oap, address):
        super().__init__(tmp, oap)
        self.address = address

    def env(self, agent=True, name=None, env=None):
        ours = {"SW_AGENT_PROTOCOL": "kafka", "SW_KAFKA_BOOTSTRAP_SERVERS": self.address} if agent else {}
        return super().env(agent, name, ours | (env or {}))


@pytest.fixture
def bench(tmp_path, fetching, kafka):
    with_programs = KafkaBench(tmp_path, fetching, kafka.address)
    yield with_programs
    with_programs.close()


def stored_traces(fetching, service, begin, count):
    stored = Stored(fetching.http)
    found = eventually(lambda: len(stored.traces(service, begin)) >= count and stored.traces(service, begin), 60)
    assert found, stored.services()
    return found


def test_chain(bench, fetching, begin):
    """curl asks shop, which asks stock: one trace of three services, and who they are."""
    _, stock = bench.stock("kstock")
    _, shop = bench.shop(stock, "kshop")
    bench.curl(shop, "/buy/lamp")
    traces = stored_traces(fetching, "kshop", begin, 1)
    assert {span["serviceCode"] for spans in traces.values() for span in spans} == {"curl", "kshop", "kstock"}
    instances = eventually(lambda: Stored(fetching.http).instances("kstock", begin))
    [attributes] = instances.values()
    assert attributes["language"] == "PYTHON" and attributes["Process No."]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compression(bench, fetching, begin, codec):
    name = f"k-{codec}"
    server, port = bench.stock(name, **{PREFIX + "compression_type": codec})
    for i in range(10):
        bench.run(["curl", "-sS", f"http://127.0.0.1:{port}/items/lamp?{i}"], agent=False)
    stored_traces(fetching, name, begin, 10)
    assert bench.output(server) == b""


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_login(bench, kafka, fetching, begin, mechanism):
    name = f"k-{mechanism.lower()}"
    _, port = bench.stock(name, SW_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{kafka.sasl}",
                          **{PREFIX + "security_protocol": "SASL_PLAINTEXT", PREFIX + "sasl_mechanism": mechanism,
                             PREFIX + "sasl_plain_username": "agent", PREFIX + "sasl_plain_password": "s3cret"})
    bench.run(["curl", "-sS", f"http://127.0.0.1:{port}/items/lamp"], agent=False)
    stored_traces(fetching, name, begin, 1)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_broker_goes_and_comes_back(bench, kafka, fetching, begin, how):
    """Every request of the time without a broker is stored in the end, once."""
    name = f"k-away-{how}"
    _, port = bench.stock(name)

    def ask(count):
        for _ in range(count):
            bench.run(["curl", "-sS", f"http://127.0.0.1:{port}/items/lamp"], agent=False)

    ask(3)
    stored_traces(fetching, name, begin, 3)
    kafka.stop(how)
    ask(5)
    time.sleep(3)
    kafka.start()
    ask(3)
    traces = stored_traces(fetching, name, begin, 11)
    assert len(traces) == 11


def test_logs_and_meters(bench, fetching, begin):
    made.make(bench, "k-maker")
    made.check_logs(Stored(fetching.http), "k-maker", begin - 1)
    made.check_meters(Stored(fetching.http), "k-maker", begin - 1)


def test_meters(bench, fetching, begin):
    """A collection a period; Python's gauges as over gRPC."""
    _, port = bench.stock("k-measured", SW_AGENT_METER_REPORTER_PERIOD=1)
    bench.run(["curl", "-sS", f"http://127.0.0.1:{port}/items/lamp"], agent=False)
    stored = Stored(fetching.http)
    for name in "meter_instance_pvm_thread_active_count", "meter_instance_pvm_gc_g0":
        found = eventually(lambda: stored.readings(name, "k-measured", begin), 60)
        assert found[()] >= 1
    waiting = eventually(lambda: stored.readings("meter_swagent_waiting", "k-measured", begin), 60)
    assert ("segment",) in waiting
