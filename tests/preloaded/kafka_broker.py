"""A Kafka broker for tests, by hand: what a producer asks of one, and misbehaviour when asked for.

It knows ApiVersions, Metadata, Produce (record batches of version 2), SaslHandshake and
SaslAuthenticate (PLAIN, SCRAM), plain or by TLS, and makes every topic that it is asked for.

`broker.messages` has what was accepted, in order: Message(topic, partition, key, value).
Switches, which may be turned at any time:

    errors      {topic: code}: how Produce is answered; nothing is kept
    largest     bytes of the longest value; a request with a longer one is refused whole
    missing     topics that do not exist
    deaf        Produce is read and never answered; nothing is kept
    cut         so many Produce requests are kept and the connection is closed instead of an answer
    delay       seconds before an answer to Produce
    leaders     {partition: what is said of its leader: a node's number, -1 there is none}; node 1 is this
                broker, others are on `elsewhere`, a port where nobody needs to be
    identity    error code of an answer to InitProducerId, of which there are `nameless`
    users       {name: password}: who may log in; None: nobody needs to

SkyWalking's classes are imported where they are needed: tests/bench counts without them.
"""

import base64
import hashlib
import hmac
import os
import socket
import struct
import threading
import time
import zlib
from collections import namedtuple

PRODUCE, FETCH, METADATA, COORDINATOR, HANDSHAKE, VERSIONS, AUTHENTICATE, IDENTITY = \
    0, 1, 3, 10, 17, 18, 36, 22
# By Fetch and FindCoordinator, which nobody asks for, librdkafka knows what codecs there are.
KNOWN = {PRODUCE: (0, 7), FETCH: (0, 10), METADATA: (0, 2), COORDINATOR: (0, 0), HANDSHAKE: (0, 1),
         VERSIONS: (0, 3), AUTHENTICATE: (0, 0), IDENTITY: (0, 1)}
TOO_LARGE, UNKNOWN_TOPIC, NOT_ENOUGH_REPLICAS, INVALID_RECORD, POLICY, NO_LEADER = 10, 3, 19, 87, 44, 5
DENIED_TOPIC, DENIED_CLUSTER, BAD_MECHANISM, DENIED_LOGIN = 29, 31, 33, 58
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]

Message = namedtuple("Message", "topic partition key value")


class Gone(Exception):
    """The other side closed."""


class Input:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, size):
        assert 0 <= size <= len(self.data) - self.at, (size, self.at, len(self.data))
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, form):
        return struct.unpack(">" + form, self.bytes(struct.calcsize(form)))[0]

    def text(self):
        size = self.number("h")
        return None if size < 0 else self.bytes(size).decode()

    def blob(self):
        size = self.number("i")
        return None if size < 0 else self.bytes(size)

    def varint(self):
        n, shift = 0, 0
        while True:
            byte = self.bytes(1)[0]
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n >> 1 ^ -(n & 1)

    def varblob(self):
        size = self.varint()
        return None if size < 0 else self.bytes(size)

    def left(self):
        return len(self.data) - self.at


def text(value):
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value.encode()


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


CASTAGNOLI = []
for number in range(256):
    for _ in range(8):
        number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
    CASTAGNOLI.append(number)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CASTAGNOLI[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def records(data):
    """(codec, [(key, value)]) of one record batch; only `none` and `gzip` are opened."""
    whole = Input(data)
    whole.number("q")
    size = whole.number("i")
    assert size == whole.left(), "one batch in a request for a partition"
    whole.number("i")
    assert whole.number("b") == 2
    crc = whole.number("I")
    assert crc == crc32c(data[whole.at:])
    codec = CODECS[whole.number("h") & 7]
    whole.bytes(4 + 8 + 8 + 8 + 2 + 4)
    count = whole.number("i")
    body = whole.bytes(whole.left())
    if codec == "gzip":
        body = zlib.decompress(body, 31)
    elif codec != "none":
        return codec, [(None, None)] * count
    body, found = Input(body), []
    for _ in range(count):
        record = Input(body.varblob())
        record.bytes(1)
        record.varint(), record.varint()
        found.append((record.varblob(), record.varblob()))
    assert not body.left()
    return codec, found


class Scram:
    """RFC 5802, the server's side."""

    def __init__(self, name, users):
        self.hash, self.users = name.split("-", 1)[1].replace("-", ""), users
        self.first = None

    def step(self, given):
        """(answer, done), or None: denied."""
        fields = dict(part.split("=", 1) for part in given.decode().removeprefix("n,,").split(","))
        if self.first is None:
            self.user = fields["n"]
            self.nonce = fields["r"] + base64.b64encode(os.urandom(12)).decode()
            salt = os.urandom(12)
            self.key = hashlib.pbkdf2_hmac(self.hash, self.users.get(self.user, os.urandom(8).hex()).encode(),
                                           salt, 4096)
            answer = f"r={self.nonce},s={base64.b64encode(salt).decode()},i=4096"
            self.first = given.decode().removeprefix("n,,") + "," + answer
            return answer.encode(), False
        message = (self.first + "," + given.decode().rsplit(",p=", 1)[0]).encode()
        client = self.mac(self.key, b"Client Key")
        signature = self.mac(hashlib.new(self.hash, client).digest(), message)
        proof = base64.b64decode(fields["p"])
        # As Kafka does: librdkafka before 2.6.1 puts its own half of the nonce twice.
        if not fields["r"].endswith(self.nonce) or bytes(a ^ b for a, b in zip(signature, proof)) != client:
            return None
        verifier = self.mac(self.mac(self.key, b"Server Key"), message)
        return b"v=" + base64.b64encode(verifier), True

    def mac(self, key, data):
        return hmac.new(key, data, self.hash).digest()


class Plain:
    def __init__(self, _, users):
        self.users = users

    def step(self, given):
        _, user, password = given.decode().split("\0")
        return (b"", True) if self.users.get(user) == password else None


class Connection:
    def __init__(self, broker, sock):
        self.broker, self.sock = broker, sock
        self.login, self.allowed = None, broker.users is None

    def read(self, size):
        data = b""
        while len(data) < size:
            got = self.sock.recv(size - len(data))
            if not got:
                raise Gone
            data += got
        return data

    def serve(self):
        while True:
            size = struct.unpack(">i", self.read(4))[0]
            request = Input(self.read(size))
            api, version, correlation = request.number("h"), request.number("h"), request.number("i")
            self.broker.client = request.text()
            with self.broker.changed:
                self.broker.requests.append(api)
            assert api in KNOWN and KNOWN[api][0] <= version <= KNOWN[api][1], (api, version)
            assert self.allowed or api in (VERSIONS, HANDSHAKE, AUTHENTICATE), "not logged in"
            answer = {PRODUCE: self.produce, METADATA: self.metadata, HANDSHAKE: self.handshake,
                      VERSIONS: self.versions, AUTHENTICATE: self.authenticate,
                      IDENTITY: self.identity}[api](request, version)
            if answer is not None:
                self.sock.sendall(struct.pack(">ii", len(answer) + 4, correlation) + answer)

    def versions(self, request, version):
        flexible = version >= 3
        rows = [struct.pack(">hhh", api, *span) + (b"\0" if flexible else b"") for api, span in KNOWN.items()]
        if not flexible:
            return struct.pack(">h", 0) + array(rows) + (struct.pack(">i", 0) if version else b"")
        return struct.pack(">hB", 0, len(rows) + 1) + b"".join(rows) + struct.pack(">iB", 0, 0)

    def metadata(self, request, version):
        count = request.number("i")
        topics = [request.text() for _ in range(count)]
        broker = self.broker
        nodes = [struct.pack(">i", 1) + text(broker.host) + struct.pack(">i", broker.port) + text(None)]
        if broker.elsewhere:
            nodes.append(struct.pack(">i", 2) + text(broker.host) + struct.pack(">i", broker.elsewhere) + text(None))
        answer = array(nodes) + text("tests") + struct.pack(">i", 1)
        return answer + array([self.about(topic) for topic in topics])

    def about(self, topic):
        missing = topic in self.broker.missing
        one = struct.pack(">ii", 1, 1)
        leaders = [self.broker.leaders.get(i, 1) for i in range(self.broker.partitions)]
        partitions = [] if missing else [struct.pack(">hii", NO_LEADER if leader < 0 else 0, i, leader) + one + one
                                         for i, leader in enumerate(leaders)]
        return struct.pack(">h", UNKNOWN_TOPIC if missing else 0) + text(topic) + b"\0" + array(partitions)

    def produce(self, request, version):
        assert version >= 3
        assert request.text() is None, "no transaction"
        acks = request.number("h")
        request.number("i")
        answers, broker = [], self.broker
        for _ in range(request.number("i")):
            topic, parts = request.text(), []
            for _ in range(request.number("i")):
                partition, data = request.number("i"), request.blob()
                parts.append(struct.pack(">ihqq", partition, broker.take(topic, partition, data), 0, -1) +
                             (struct.pack(">q", 0) if version >= 5 else b""))
            answers.append(text(topic) + array(parts))
        time.sleep(broker.delay)
        if broker.deaf or acks == 0:
            return None
        with broker.changed:
            broker.acks = acks
            if broker.cut:
                broker.cut -= 1
                raise Gone
        return array(answers) + struct.pack(">i", 0)

    def identity(self, request, version):
        error = self.broker.identity
        self.broker.nameless += error != 0
        return struct.pack(">ihqh", 0, error, -1 if error else 7, 0)

    def handshake(self, request, version):
        name = request.text()
        known = name in self.broker.mechanisms and self.broker.users is not None
        if known:
            self.login = (Plain if name == "PLAIN" else Scram)(name, self.broker.users)
        return struct.pack(">h", 0 if known else BAD_MECHANISM) + array([text(m) for m in self.broker.mechanisms])

    def authenticate(self, request, version):
        answer = self.login.step(request.blob())
        if answer is None:
            return struct.pack(">h", DENIED_LOGIN) + text("Authentication failed") + struct.pack(">i", 0)
        self.allowed = answer[1]
        return struct.pack(">h", 0) + text(None) + struct.pack(">i", len(answer[0])) + answer[0]


class Broker:
    def __init__(self, port, host="127.0.0.1", partitions=1, tls=None):
        self.port, self.host, self.partitions, self.tls = port, host, partitions, tls
        self.errors, self.largest, self.missing, self.deaf, self.cut = {}, None, set(), False, 0
        self.identity, self.nameless, self.delay = 0, 0, 0
        self.leaders, self.elsewhere = {}, None
        self.users, self.mechanisms = None, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
        self.messages, self.batches, self.requests, self.connections = [], [], [], []
        self.refused, self.failures, self.client, self.acks = 0, [], None, None
        self.changed = threading.Condition()
        self.listener = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        assert not self.failures, self.failures

    def start(self):
        self.listener = socket.create_server((self.host, self.port))
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        """Cuts off every connection; what has arrived is kept."""
        if not self.listener:
            return
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.listener = None
        self.hang_up()

    def hang_up(self):
        for connection in self.connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.play, args=(sock,), daemon=True).start()

    def play(self, sock):
        try:
            with self.tls.wrap_socket(sock, server_side=True) if self.tls else sock as sock:
                connection = Connection(self, sock)
                with self.changed:
                    self.connections.append(connection)
                    self.changed.notify_all()
                connection.serve()
        except (Gone, OSError):
            pass
        except Exception as failure:  # the other side broke a rule
            self.failures.append(repr(failure))

    def take(self, topic, partition, data):
        codec, found = records(data)
        with self.changed:
            error = self.errors.get(topic, UNKNOWN_TOPIC if topic in self.missing else 0)
            if self.largest and any(len(value) > self.largest for _, value in found):
                error = TOO_LARGE
            if error or self.deaf:
                self.refused += 1
                self.changed.notify_all()
                return error
            self.batches.append((codec, len(found)))
            self.messages += [Message(topic, partition, key, value) for key, value in found]
            self.changed.notify_all()
            return 0

    # ---- what arrived ----

    def until(self, condition, timeout=40):
        with self.changed:
            self.changed.wait_for(condition, timeout)
            return condition()

    def of(self, topic):
        return [message for message in list(self.messages) if message.topic == topic]

    def all_segments(self, topic="skywalking-segments"):
        from skywalking.protocol.language_agent.Tracing_pb2 import SegmentObject
        found = []
        for message in self.of(topic):
            segment = SegmentObject.FromString(message.value)
            assert message.key == segment.traceSegmentId.encode()
            found.append(segment)
        return found

    def different(self, topic="skywalking-segments"):
        return list({s.traceSegmentId: s for s in self.all_segments(topic)}.values())

    def segments(self, count, timeout=40, topic="skywalking-segments"):
        """The different segments, once there are so many; not more."""
        import reader
        deadline = time.monotonic() + timeout
        while len(found := self.different(topic)) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not self.failures, self.failures
        assert len(found) == count, (len(found), count, self.requests[-20:])
        for segment in found:
            reader.check(segment)
        return found

    def management(self, topic="skywalking-managements"):
        """(properties, pings), their keys checked."""
        from skywalking.protocol.management.Management_pb2 import InstancePingPkg, InstanceProperties
        properties, pings = [], []
        for message in self.of(topic):
            if message.key.startswith(b"register-"):
                properties.append(InstanceProperties.FromString(message.value))
                assert message.key == b"register-" + properties[-1].serviceInstance.encode()
            else:
                pings.append(InstancePingPkg.FromString(message.value))
                assert message.key == pings[-1].serviceInstance.encode()
        return properties, pings
