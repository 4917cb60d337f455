"""The kafka protocol: what arrives at a broker, and that no broker disturbs a program or makes it
lose what could have been delivered. The broker is kafka_broker.Broker, by hand."""

import os
import ssl
import subprocess
import sys
import time

import pytest

import kafka_broker
import tasklist
from conftest import IN_HASTE, PATIENT
from kafka_broker import Broker
from origin import get
from test_grpc import EXIT_FLUSH_S, Web, alike, counters, curl, ours, traffic

PREFIX = "SW_KAFKA_REPORTER_CONFIG_"


def over_kafka(address, **more):
    """For env=: to this broker."""
    address = f"127.0.0.1:{address}" if isinstance(address, int) else address
    return {"SW_AGENT_PROTOCOL": "kafka", "SW_KAFKA_BOOTSTRAP_SERVERS": address,
            "SW_AGENT_COLLECTOR_HEARTBEAT_PERIOD": 1, **more}


@pytest.fixture
def broker(ports):
    with Broker(ports()) as broker:
        yield broker


@pytest.fixture
def web(bench, ports, program):
    def start(address, name="web", origin=0, **env):
        return Web(bench, ports(), program, over_kafka(address, **env), name, origin)
    return start


# ---- what arrives ----


def test_the_same_as_in_a_file(bench, origin, ports, program, broker):
    port = ports()
    traffic(bench, origin, port, program, {})
    wanted = bench.segments(9)
    traffic(bench, origin, port, program, over_kafka(broker.port))
    assert alike(broker.segments(9)) == alike(wanted)
    assert len(broker.all_segments()) == 9, "none came twice"
    assert broker.client == "swagent" and broker.acks == -1


def test_short_programs(bench, origin, broker):
    """They live for some milliseconds: their segments are there when they have ended."""
    for paths in ["a"], ["b", "c"]:
        result = bench.both(curl(origin, *paths), env=over_kafka(broker.port))
        assert result.waited < EXIT_FLUSH_S + 1
    segments = broker.segments(3, timeout=0.5)
    assert sorted(s.spans[0].operationName for s in segments) == ["/a", "/b", "/c"]
    assert len({s.serviceInstance for s in segments}) == 2
    assert len(broker.management()[0]) == 2


def test_properties_then_pings(web, broker):
    server = web(broker.port, SW_AGENT_COLLECTOR_PROPERTIES_REPORT_PERIOD_FACTOR=3).ask()
    broker.until(lambda: len(broker.of("skywalking-managements")) >= 5)
    server.stop()
    kinds = [m.key[:9] == b"register-" for m in broker.of("skywalking-managements")][:5]
    assert kinds == [True, False, False, True, False]
    [segment] = broker.segments(1)
    properties, pings = broker.management()
    for message in properties + pings:
        assert (message.service, message.serviceInstance) == ("web", segment.serviceInstance)
    values = {p.key: p.value for p in properties[0].properties}
    assert values["language"] == "python" and values["Process No."] == str(server.process.pid)


def test_names_of_topics(web, broker):
    server = web(broker.port, SW_KAFKA_NAMESPACE="shop", SW_KAFKA_TOPIC_SEGMENT="my.segments").ask(3)
    broker.segments(3, topic="shop-my.segments")
    server.stop()
    assert {m.topic for m in broker.messages} == {"shop-my.segments", "shop-skywalking-managements"}


def test_the_namespace_of_the_service_is_another(web, broker):
    server = web(broker.port, SW_AGENT_NAMESPACE="blue").ask()
    [segment] = broker.segments(1)
    server.stop()
    assert segment.service == "web|blue"


def murmur2(data):
    """Of Kafka's Java client, signed as there."""
    m, mask = 0x5bd1e995, 0xffffffff
    h = 0x9747b28c ^ len(data)
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if data[whole:]:
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7fffffff


def test_the_partition_of_a_key_is_that_of_other_agents(web, ports):
    with Broker(ports(), partitions=5) as broker:
        server = web(broker.port).ask(30)
        broker.segments(30)
        server.stop()
        assert len({m.partition for m in broker.of("skywalking-segments")}) > 1
        for message in broker.messages:
            assert message.partition == murmur2(message.key) % 5


def test_many_segments_share_requests(bench, ports, program, broker):
    server = Web(bench, ports(), program, over_kafka(broker.port))
    server.ask(500)
    broker.segments(500)
    assert len(broker.all_segments()) == 500
    assert broker.requests.count(kafka_broker.PRODUCE) < 100, "far fewer requests than segments"
    server.stop()


def test_programs_without_network_connect_to_nobody(bench, broker):
    bench.both(["ls", "/"], env=over_kafka(broker.port))
    bench.both(["bash", "-c", "echo a | cat; (exit 3)"], env=over_kafka(broker.port))
    assert broker.requests == []


def test_own_traffic_is_not_traced(bench, origin, broker):
    bench.both(curl(origin, "a"), env=over_kafka(broker.port))
    for segment in broker.segments(1):
        assert not any(str(broker.port) in span.peer for span in segment.spans)


def test_several_brokers_of_which_one_is_there(web, broker, ports):
    server = web(f"127.0.0.1:{ports()},127.0.0.1:{broker.port}").ask(5)
    broker.segments(5)
    server.stop()


# ---- properties of the producer ----


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("name", ["compression_type", "COMPRESSION_CODEC", "compression.codec"])
def test_compression(bench, origin, broker, codec, name):
    """All arrive, and what is sent together is compressed by this codec: one record alone may not be worth it.
    Several are sent together: librdkafka is told to wait a moment for more."""
    more = {PREFIX + name: codec, PREFIX + "linger_ms": 300}
    result = bench.run(curl(origin, *"abcdefghij"), env=over_kafka(broker.port, **more))
    assert result.err == b""
    assert len(broker.of("skywalking-segments")) == 10
    assert {used for used, count in broker.batches if count > 1} == {codec}, broker.batches
    assert {used for used, _ in broker.batches} <= {codec, "none"}
    if codec in ("none", "gzip"):
        broker.segments(10, timeout=0)


@pytest.mark.parametrize("name, value, acks", [("acks", "1", 1), ("ACKS", "all", -1), ("acks", "0", None),
                                               ("request_required_acks", "1", 1)])
def test_acks(bench, origin, broker, name, value, acks):
    result = bench.run(curl(origin), env=over_kafka(broker.port, **{PREFIX + name: value}))
    broker.segments(1)
    assert result.err == b"" and broker.acks == acks


def test_names_of_kafka_python(bench, origin, broker):
    """Those that mean something are passed on, those that mean nothing here are no error."""
    more = {"linger_ms": "5", "batch_size": "16384", "buffer_memory": "33554432", "retries": "3",
            "max_block_ms": "60000", "api_version": "(2,0)", "client_id": "mine", "max_request_size": "1048576",
            "request_timeout_ms": "30000", "ssl_check_hostname": "False", "security_protocol": "PLAINTEXT",
            "ssl_cafile": "/x", "max_in_flight_requests_per_connection": "5", "retry_backoff_ms": "100",
            "metadata_max_age_ms": "300000", "send_buffer_bytes": "65536", "connections_max_idle_ms": "540000",
            "reconnect_backoff_ms": "50", "enable_idempotence": "False"}
    result = bench.run(curl(origin), env=over_kafka(broker.port, **{PREFIX + k: v for k, v in more.items()}))
    assert (result.rc, result.err) == (0, b"")
    broker.segments(1)
    assert broker.client == "mine"


@pytest.mark.parametrize("name, value", [
    ("no_such_thing", "1"), ("acks", "many"), ("compression_type", "best"), ("buffer_memory", "much"),
    ("bootstrap_servers", "x:1"), ("transactional_id", "t"), ("plugin.library.paths", "/x.so"), ("log_queue", "false"),
    ("internal.termination.signal", "11"), ("value_serializer", "str"), ("x" * 100, "1"), ("%s%n", "%s%n"),
    ("enable.random.seed", "true"), ("log_cb", "1"), ("opaque", "1")])
def test_a_wrong_property(web, broker, name, value):
    """One clear warning that names it; the rest holds."""
    server = web(broker.port, **{PREFIX + name: value, PREFIX + "client_id": "mine"}).ask()
    broker.segments(1)
    text = server.stop(warnings=1)
    assert (PREFIX + name).encode() in text and broker.client == "mine"


def test_of_two_spellings_the_first_counts(bench, origin, broker):
    env = over_kafka(broker.port, **{PREFIX + "client_id": "first", PREFIX + "CLIENT.ID": "second"})
    bench.run(curl(origin), env=env)
    broker.segments(1)
    assert broker.client == "first"


# ---- who may log in ----


def login(user, password, mechanism="PLAIN", names=("sasl_plain_username", "sasl_plain_password")):
    return {PREFIX + "security_protocol": "SASL_PLAINTEXT", PREFIX + "sasl_mechanism": mechanism,
            PREFIX + names[0]: user, PREFIX + names[1]: password}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("names", [("sasl_plain_username", "sasl_plain_password"), ("SASL_USERNAME", "SASL_PASSWORD")])
def test_login(web, broker, mechanism, names):
    broker.users = {"agent": "s3cret"}
    server = web(broker.port, **login("agent", "s3cret", mechanism, names)).ask(3)
    broker.segments(3)
    server.stop()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_wrong_password(web, broker, mechanism):
    broker.users = {"agent": "s3cret"}
    server = web(broker.port, **login("agent", "wr0ng", mechanism)).ask(3)
    assert broker.until(lambda: len(broker.connections) >= 2)
    text = server.ask(3).stop(warnings=1)
    assert b"uthentication" in text and b"wr0ng" not in text and not broker.messages


def test_login_is_allowed_later(web, broker):
    broker.users = {"agent": "s3cret"}
    more = login("agent", "wr0ng") | {PREFIX + "reconnect_backoff_max_ms": "1000"}
    server = web(broker.port, **more).ask(3)
    broker.until(lambda: len(broker.connections) >= 2)
    broker.users = {"agent": "wr0ng"}
    broker.segments(3)
    server.stop(warnings=1)


def test_no_login(web, broker):
    """The broker wants one and we have none: it hangs up."""
    broker.users = {"agent": "s3cret"}
    server = web(broker.port).ask(3)
    assert broker.until(lambda: len(broker.connections) >= 2)
    server.stop(warnings=1)
    assert not broker.messages
    broker.failures.clear()


@pytest.mark.parametrize("mechanism", ["GSSAPI", None])
def test_kerberos(web, broker, mechanism):
    """Not built in; kinit must not be run."""
    more = login("a", "b", mechanism or "PLAIN")
    if not mechanism:  # librdkafka's default
        del more[PREFIX + "sasl_mechanism"]
    server = web(broker.port, **more).ask(3)
    assert b"Kerberos" in server.stop(warnings=1)
    assert not broker.connections


# ---- TLS ----


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """ca.pem, and server.pem and client.pem with their keys, signed by it."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=tests", "-keyout", "ca.key", "-out", "ca.pem")
    for name in "server", "client":
        (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "ext", "-out", f"{name}.pem")
    return folder


@pytest.fixture
def tls_broker(authority, ports):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem", authority / "server.key")
    with Broker(ports(), tls=context) as broker:
        broker.context = context
        yield broker


def over_tls(authority, **more):
    return {PREFIX + "security_protocol": "SSL", PREFIX + "ssl_cafile": authority / "ca.pem",
            **{PREFIX + k: v for k, v in more.items()}}


def test_tls(web, tls_broker, authority):
    server = web(tls_broker.port, **over_tls(authority)).ask(5)
    tls_broker.segments(5)
    server.stop()


def test_the_time_zone_is_the_programs(bench, origin, compiled, tls_broker, authority):
    result = bench.both([compiled("zones"), origin.port],
                        env=over_kafka(tls_broker.port, **over_tls(authority)))
    assert b"20:16 XYZ" in result.out, "01:46:40 by UTC"
    tls_broker.segments(1)


def test_mutual_tls(web, tls_broker, authority):
    tls_broker.context.verify_mode = ssl.CERT_REQUIRED
    tls_broker.context.load_verify_locations(authority / "ca.pem")
    server = web(tls_broker.port, **over_tls(authority, ssl_certfile=authority / "client.pem",
                                             ssl_keyfile=authority / "client.key")).ask(5)
    tls_broker.segments(5)
    server.stop()


def test_tls_and_scram(web, tls_broker, authority):
    tls_broker.users = {"agent": "s3cret"}
    more = login("agent", "s3cret", "SCRAM-SHA-512") | {PREFIX + "security_protocol": "SASL_SSL",
                                                        PREFIX + "ssl_cafile": authority / "ca.pem"}
    server = web(tls_broker.port, **more).ask(5)
    tls_broker.segments(5)
    server.stop()


def test_unknown_authority(web, tls_broker):
    server = web(tls_broker.port, **{PREFIX + "security_protocol": "SSL"}).ask(3)
    assert b"certificate verify failed" in server.stop(warnings=1)
    assert not tls_broker.messages


def test_certificate_of_another(web, tls_broker, authority):
    """The name is checked, unless it is asked not to be."""
    server = web(f"127.0.0.2:{tls_broker.port}", **over_tls(authority)).ask(3)
    server.stop(warnings=1)
    assert not tls_broker.messages


def test_no_such_certificate_file(web, broker):
    server = web(broker.port, **{PREFIX + "security_protocol": "SSL", PREFIX + "ssl_cafile": "/no/such.pem"}).ask(3)
    assert b"/no/such.pem" in server.stop(warnings=1)


# ---- brokers that are away ----


def test_nobody_listens(web, ports):
    server = web(ports(), SW_AGENT_LOGGING_LEVEL="debug").ask(20)
    time.sleep(1.5)
    text = server.ask(5).stop(warnings=1)
    assert b"refused" in text
    assert counters(text)["segment_produced"] == counters(text)["segment_left"] == 25
    assert counters(text).get("segment_sent", 0) == 0


def test_nobody_listens_and_the_program_is_short(bench, origin, ports):
    """Neither its start nor its end waits."""
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env=over_kafka(ports()) | IN_HASTE)
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert len(ours(with_us.err)) == 1
    assert with_us.waited < without.seconds + 0.4


def test_unknown_host_in_a_server(web):
    server = web("no-such-host.invalid:9092").ask(3)
    time.sleep(1.5)
    server.ask(3).stop(warnings=1)


@pytest.mark.parametrize("address", ["", ",", ":", "host:99999", "[::1", "x" * 500])
def test_bad_address(bench, origin, address):
    without = bench.run(curl(origin, "a", "b"), agent=False)
    with_us = bench.run(curl(origin, "a", "b"), env=over_kafka(address) | IN_HASTE)
    assert (with_us.rc, with_us.out) == (without.rc, without.out)
    assert len(ours(with_us.err)) <= 1 and len(with_us.err) < 2000, with_us.err
    assert with_us.waited < without.seconds + EXIT_FLUSH_S + 1


def test_start_of_a_program(bench, origin, ports, black_hole):
    """A broker that nobody reaches is not waited for: not at the start, nor by a request. Who does
    wait, waits for seconds; how fast it is else is the bench's matter."""
    script = ("import time; a = time.monotonic(); import urllib.request as u\n"
              f"u.urlopen('http://127.0.0.1:{origin.port}/').read()\n"
              "open('took', 'w').write(str(time.monotonic() - a))\n")
    took = {}
    for who, env in (("without", None), ("away", over_kafka(ports()) | IN_HASTE),
                     ("hole", over_kafka(black_hole) | IN_HASTE)) * 3:
        result = bench.run(["/usr/bin/python3", "-c", script], agent=env is not None, env=env)
        spent = float((bench.tmp / "took").read_text())
        if env:  # less what was waited for the machine
            spent -= result.seconds - result.waited
        took[who] = min(took.get(who, 9), spent)
    assert max(took.values()) < took["without"] + 1, took


def test_nobody_accepts(web, black_hole):
    server = web(black_hole).ask(5)
    time.sleep(1)
    server.ask(5)
    server.stop(warnings=len(ours(server.output())))


def test_no_more_than_the_queue_waits(web, ports):
    port = ports()
    server = web(port, SW_AGENT_TRACE_REPORTER_MAX_BUFFER_SIZE=10, SW_AGENT_LOGGING_LEVEL="debug", **PATIENT).ask(10)
    time.sleep(0.5)
    server.ask(40)
    time.sleep(0.5)
    with Broker(port) as broker:
        broker.segments(10)
        text = server.ask(5).stop(warnings=1)
        broker.segments(15)
    assert counters(text)["segment_dropped"] == 40, text


def test_broker_appears(web, ports):
    port = ports()
    server = web(port).ask(30)
    time.sleep(1)
    with Broker(port) as broker:
        broker.segments(30)
        assert broker.until(lambda: broker.management()[0])
        server.stop(warnings=1)


def test_broker_goes_and_comes_back(web, broker):
    server = web(broker.port, SW_AGENT_LOGGING_LEVEL="debug").ask(10)
    broker.segments(10)
    for i in range(2):
        broker.stop()
        server.ask(10)
        time.sleep(1)
        server.ask(10)
        broker.start()
        server.ask(10)
        broker.segments(40 + 30 * i)
    text = server.stop(warnings=1)
    assert counters(text)["segment_sent"] == counters(text)["segment_produced"] == 70


def test_no_answer_means_again(web, broker):
    """A broker that took the messages and hung up without a word: they come again."""
    broker.cut = 3
    server = web(broker.port).ask(20)
    assert broker.until(lambda: broker.cut == 0)
    broker.segments(20)
    server.stop(warnings=len(ours(server.output())))


def test_the_end_does_not_wait_for_ever(web, broker):
    """A broker that answers nothing: the end of a program waits for its bound and no longer."""
    broker.deaf = True
    server = web(broker.port).ask(3)
    assert broker.until(lambda: broker.refused)
    server.stop()


@pytest.mark.parametrize("milliseconds", [0, 200, 1500])
def test_flush_timeout(bench, origin, broker, milliseconds):
    broker.deaf = True
    result = bench.run(curl(origin), env=over_kafka(broker.port, SW_AGENT_EXIT_FLUSH_TIMEOUT=milliseconds))
    without = bench.run(curl(origin), agent=False)
    assert (result.rc, result.out, result.err) == (without.rc, without.out, without.err)
    assert result.waited < without.seconds + milliseconds / 1000 + 0.5


# ---- what a broker may say ----


def test_too_large(web, broker):
    """One that is too large for the broker is lost and counted, alone; those beside it arrive."""
    broker.largest = 800
    server = web(broker.port, SW_AGENT_LOGGING_LEVEL="debug").ask(10)
    server.ask(path="/hello/" + "p" * 900)
    server.ask(10)
    broker.segments(20)
    text = server.stop(warnings=1)
    assert counters(text)["segment_sent"] == 20 and counters(text)["segment_lost"] == 1, text
    assert b"too large" in text.lower()


def test_too_large_for_the_client(web, broker, origin):
    server = web(broker.port, origin=origin.port, SW_AGENT_LOGGING_LEVEL="debug", **{PREFIX + "max_request_size": "1500"}).ask(10)
    assert get(server.port, "/calls/20")[0] == 200
    server.ask(10)
    broker.segments(20)
    text = server.stop(warnings=1)
    assert counters(text)["segment_sent"] == 20 and counters(text)["segment_lost"] == 1, text


def test_a_topic_that_is_made_later(web, broker):
    """As when OAP, which makes the topics, is started last."""
    broker.missing = {"skywalking-segments", "skywalking-managements"}
    server = web(broker.port, **{PREFIX + "topic.metadata.propagation.max.ms": "1000"}).ask(5)
    time.sleep(3)
    broker.missing = set()
    broker.segments(5)
    server.stop(warnings=1)


@pytest.mark.parametrize("code, times", [(kafka_broker.NOT_ENOUGH_REPLICAS, 1), (kafka_broker.DENIED_TOPIC, 1)])
def test_an_error_that_passes(web, broker, code, times):
    broker.errors = {"skywalking-segments": code}
    server = web(broker.port).ask(5)
    assert broker.until(lambda: broker.refused >= times)
    broker.errors = {}
    broker.segments(5)
    server.stop(warnings=len(ours(server.output())))


def test_an_error_that_stays(web, broker):
    """The broker finds fault with the records themselves: three times, then they are lost."""
    broker.errors = {"skywalking-segments": kafka_broker.POLICY}
    server = web(broker.port, SW_AGENT_LOGGING_LEVEL="debug").ask(5)
    time.sleep(6)
    text = server.stop(warnings=len([line for line in ours(server.output()) if b"warning" in line]))
    assert counters(text)["segment_lost"] == 5, text


def test_idempotence(web, broker):
    server = web(broker.port, **{PREFIX + "enable_idempotence": "True"}).ask(5)
    broker.segments(5)
    assert kafka_broker.IDENTITY in broker.requests
    server.stop()


def test_a_producer_that_cannot_go_on(web, broker):
    """librdkafka gives it up for good; another one takes its place."""
    broker.identity = kafka_broker.DENIED_CLUSTER
    server = web(broker.port, **{PREFIX + "enable_idempotence": "True"}).ask(5)
    assert broker.until(lambda: broker.nameless >= 1)
    time.sleep(1.5)
    broker.identity = 0
    broker.segments(5)
    server.stop(warnings=1)


@pytest.mark.parametrize("leader", ["none", "another broker, which is not there"])
def test_a_partition_whose_leader_is_gone(web, ports, leader):
    """Records of the other partition arrive. Those of this one wait, are offered again, and arrive once it
    has a leader; the program is not kept waiting meanwhile."""
    with Broker(ports(), partitions=2) as broker:
        broker.elsewhere = ports()
        broker.leaders = {0: -1 if leader == "none" else 2}
        server = web(broker.port, SW_AGENT_LOGGING_LEVEL="debug",
                     **{PREFIX + "metadata_max_age_ms": 1000, PREFIX + "retry_backoff_ms": 100}).ask(40)
        assert broker.until(lambda: broker.different())
        time.sleep(2)
        assert 0 < len(broker.different()) < 40 and {m.partition for m in broker.of("skywalking-segments")} == {1}
        broker.leaders = {}
        broker.segments(40)
        text = server.stop(warnings=None)
    assert counters(text)["segment_sent"] == 40, text
    assert len([line for line in ours(text) if b"warning" in line]) <= 1, text


def test_a_partition_whose_leader_stays_away(web, ports):
    """What it was to take is left at the end, which does not wait for it."""
    with Broker(ports(), partitions=2) as broker:
        broker.leaders = {0: -1}
        server = web(broker.port, SW_AGENT_LOGGING_LEVEL="debug").ask(40)
        assert broker.until(lambda: broker.different())
        numbers = counters(server.stop(warnings=None))
        arrived = len(broker.different())
    assert 0 < arrived < 40 and numbers["segment_sent"] == arrived and numbers["segment_left"] == 40 - arrived, numbers


# ---- forks ----


def test_workers(bench, workers, broker):
    """Each worker is an instance of its own."""
    server, port = workers(over_kafka(broker.port))
    count = 0
    while len({s.serviceInstance for s in broker.different()}) < 3 and count < 200:
        get(port, "/back/1")
        count += 1
        time.sleep(0.02)
    segments = broker.segments(count)
    assert len({s.serviceInstance for s in segments}) == 3
    assert {p.serviceInstance for p in broker.management()[0]} >= {s.serviceInstance for s in segments}
    bench.stop(server)
    assert bench.output(server) == b""


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_forks_under_load(bench, origin, compiled, broker, tls_broker, authority, secure):
    """Nothing is lost, neither of the parent that reports while it forks nor of its children."""
    broker = tls_broker if secure else broker
    more = over_tls(authority) if secure else {}
    result = bench.run([compiled("forks"), origin.port, 200], name="forks",
                       env=over_kafka(broker.port, **more), timeout=100)
    assert (result.rc, result.err) == (0, b""), result
    broker.segments(len(origin.requests), timeout=2)
    assert sum("-child(" in s for s in {s.serviceInstance for s in broker.different()}) == 20


def test_forks_while_nobody_listens(bench, origin, compiled, ports):
    result = bench.run([compiled("forks"), origin.port, 20], env=over_kafka(ports()) | IN_HASTE, timeout=60)
    assert result.rc == 0 and len(ours(result.err)) <= 3, result


def test_a_child_of_its_own(bench, origin, broker):
    url = f"http://127.0.0.1:{origin.port}"
    script = ("import os, urllib.request as u\n"
              f"def ask(p): u.urlopen('{url}/' + p).read()\n"
              "ask('before')\nimport time; time.sleep(1.5)\n"
              "if os.fork() == 0:\n    ask('child'); os._exit(0)\n"
              "os.wait(); ask('after')\n")
    result = bench.both(["/usr/bin/python3", "-c", script], env=over_kafka(broker.port))
    assert result.err == b""
    segments = broker.segments(3)
    assert len({s.serviceInstance for s in segments}) == 2


# ---- what the program could notice ----


def test_threads_and_descriptors(web, broker):
    """Its threads have our table of descriptors, block all signals, and are known by their names."""
    server = web(broker.port).ask(3)
    broker.segments(3)
    pid = server.process.pid
    names = tasklist.names(pid)
    assert "swagent" in names and "rdk:main" in names, names
    program = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    assert not any("eventfd" in name for name in program), program
    for status, descriptors in tasklist.each(pid, tasklist.status_and_descriptors):
        if status["Name"].startswith(("swagent", "rdk:")):
            assert tasklist.blocks_all(status), status
            assert descriptors >= 4
    server.stop()


def test_no_plugin(bench, origin, broker):
    """The library without the file beside it."""
    alone = bench.tmp / "alone.so"
    alone.write_bytes(open(bench.env()["LD_PRELOAD"], "rb").read())
    env = over_kafka(broker.port, LD_PRELOAD=alone)
    without = bench.run(curl(origin), agent=False)
    result = bench.run(curl(origin), env=env)
    assert (result.rc, result.out) == (without.rc, without.out)
    assert len(ours(result.err)) == 1 and b"kafka" in result.err
    assert result.waited < without.seconds + 0.4


@pytest.mark.parametrize("what", ["u", "uf", "c", "cf"])
def test_tables_of_descriptors(bench, origin, compiled, broker, what):
    """Where ours cannot have one of its own librdkafka's numbers would be in the program's way."""
    argv = [compiled("older"), what, *curl(origin)]
    without = bench.run(argv, agent=False)
    result = bench.run(argv, env=over_kafka(broker.port))
    assert (result.rc, result.out) == (without.rc, without.out)
    alone = "f" not in what
    broker.segments(alone, timeout=5 if alone else 0)
    assert len(ours(result.err)) == (not alone) and bool(broker.requests) == alone, result


@pytest.mark.parametrize("threads", "xyz")
def test_no_more_threads(bench, origin, compiled, broker, threads):
    """A limit of its user's (RLIMIT_NPROC) leaves room for none of ours, for our own, for that and
    librdkafka's main one. The program is not harmed, and is told once why nothing arrives (not in the
    first case, for it is our thread that tells). Its stderr is a file: another user's pipe cannot be opened
    from a table of descriptors of our own."""
    log = bench.tmp / "err"
    argv = ["sh", "-c", f'exec "$@" 2> {log}', "sh", compiled("older"), threads, *curl(origin, *"abc")]
    without = bench.run(argv, agent=False, cwd="/")
    result = bench.run(argv, env=over_kafka(broker.port) | IN_HASTE, cwd="/")
    assert (result.rc, result.out) == (without.rc, without.out) and without.rc == 0, result
    said = log.read_bytes().splitlines()
    assert said == ours(log.read_bytes()) and len(said) == (threads != "x"), said
    assert all(b"thread" in line for line in said) and not broker.messages
    assert result.waited < without.seconds + EXIT_FLUSH_S + 0.5


def test_main_thread_leaves(bench, origin, compiled, broker):
    """The process ends with its last thread, though librdkafka has some."""
    result = bench.run([compiled("leave_main"), origin.port], env=over_kafka(broker.port), timeout=20)
    assert (result.rc, result.err) == (0, b"") and result.waited < 5
    broker.segments(2)


SLOW_NAMES = """
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	sleep(20);
	return EAI_AGAIN;
}
"""


def test_a_dead_name_server(bench, tmp_path, origin):
    """librdkafka's threads are in the resolver: neither a fork nor an end waits for them."""
    (tmp_path / "slow.c").write_text(SLOW_NAMES)
    slow = tmp_path / "slow.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", slow, tmp_path / "slow.c"], check=True)
    script = (tasklist.HERE + "import socket\n"
              "def ask():\n"
              f"    s = socket.socket(); s.connect(('127.0.0.1', {origin.port}))\n"
              "    s.send(b'GET /a HTTP/1.1\\r\\nHost: h\\r\\nConnection: close\\r\\n\\r\\n')\n"
              "    while s.recv(4096): pass\n"
              "def there(): return any('rdk' in name for name in tasklist.names())\n"
              "ask(); end = time.monotonic() + 20\n"
              "while not there() and time.monotonic() < end: time.sleep(0.05)\n"
              "print(there())\n"
              "took = []\n"
              "for i in range(5):\n"
              "    begin = time.monotonic(); pid = os.fork()\n"
              "    if not pid: os._exit(0)\n"
              "    took.append(time.monotonic() - begin); os.waitpid(pid, 0); ask()\n"
              "print(sorted(took)[1] < 2)\n")
    lib = bench.env()["LD_PRELOAD"]
    for python in {"/usr/bin/python3", sys.executable}:
        result = bench.run([python, "-c", script], env=over_kafka("broker.invalid:9092", LD_PRELOAD=f"{lib} {slow}") | IN_HASTE)
        assert result.rc == 0 and result.out == b"True\nTrue\n", result
        assert result.waited < 8


def test_unshare(bench, origin, broker):
    """Fails in a process of several threads: ours and librdkafka's must be gone."""
    script = ("import ctypes, os, urllib.request as u\n"
              f"u.urlopen('http://127.0.0.1:{origin.port}/a').read()\n"
              "import time; time.sleep(0.5)\n"
              "print(ctypes.CDLL(None, use_errno=True).unshare(0x10000000), ctypes.get_errno())\n")
    bench.both(["/usr/bin/python3", "-c", script], env=over_kafka(broker.port))
    broker.segments(1)


@pytest.mark.parametrize("how", ["prctl", "seccomp", "strict"])
def test_a_program_that_seals_itself(bench, origin, compiled, broker, how):
    """Not killed for a call of ours or of librdkafka's; what was before is reported."""
    result = bench.both([compiled("sealed"), origin.port, how], env=over_kafka(broker.port))
    assert (result.rc, result.out, result.err) == (0, b"done\n", b"")
    broker.segments(2)


@pytest.mark.parametrize("how", ["clone", "syscall", "clone3", "vm"])
def test_children_past_fork(bench, origin, compiled, broker, how):
    result = bench.both([compiled("clones"), origin.port, how], env=over_kafka(broker.port))
    assert (result.rc, result.out, result.err) == (0, b"done\n", b"")
    broker.segments(2 if how == "vm" else 3)


@pytest.mark.parametrize("python", ["/usr/bin/python3", sys.executable])
@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "os._exit(4)", "os.abort()", "1/0", "os.execv('/bin/true', ['x'])"])
def test_ends(bench, origin, tls_broker, authority, python, end):
    """With OpenSSL inside us, and the program's own: the same end, and everything arrives."""
    script = f"import os, ssl, sys, urllib.request as u; u.urlopen('http://127.0.0.1:{origin.port}/').read(); {end}"
    result = bench.both([python, "-c", script], env=over_kafka(tls_broker.port, **over_tls(authority)))
    tls_broker.segments(1)
    assert result.waited < EXIT_FLUSH_S + 2
