"""A real Kafka 3.9.1 on loopback, one node without ZooKeeper, for test_kafka.py.

Its jars come by Maven into build/kafka/lib, once. Everything that it keeps is in a folder of the
test's. Needs what oap.py needs.
"""

import fcntl
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

import oap

HERE = pathlib.Path(__file__).resolve().parent
HOME = oap.HOME.parent / "kafka"
LIB = HOME / "lib"
POM = HERE / "kafka_pom.xml"
JVM = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
START_S = 60

SETTINGS = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_agent="s3cret";
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs={folder}/log
num.partitions=1
auto.create.topics.enable=true
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=20000
"""


def fetched():
    stamp = LIB / "pom.xml"
    return stamp.exists() and stamp.read_bytes() == POM.read_bytes()


def fetch():
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if fetched():
            return
        with tempfile.TemporaryDirectory(dir=HOME) as part:
            lib = pathlib.Path(part) / "lib"
            done = subprocess.run([oap.tool("mvn"), "-B", "-q", "-f", str(POM), "dependency:copy-dependencies",
                                   "-DincludeScope=runtime", f"-DoutputDirectory={lib}"],
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=oap.FETCH_S)
            if done.returncode:
                raise oap.Unavailable("Maven could not fetch Kafka's jars: " + done.stdout.decode()[-300:])
            shutil.copy(POM, lib / "pom.xml")
            shutil.rmtree(LIB, ignore_errors=True)
            lib.rename(LIB)


class Kafka:
    """One broker. The same object can be started again, on the same ports, after stop()."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.port, self.sasl, self.controller = oap.free_port(), oap.free_port(), oap.free_port()
        self.settings, self.log = self.folder / "server.properties", self.folder / "kafka.log"
        self.settings.write_text(SETTINGS.format(port=self.port, sasl=self.sasl, controller=self.controller,
                                                 folder=self.folder))
        self.java("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", self.settings,
                  "--add-scram", "SCRAM-SHA-512=[name=agent,password=s3cret]").wait(60)
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def java(self, *args):
        with open(self.log, "ab") as log:
            return subprocess.Popen([oap.tool("java"), *JVM, "-cp", f"{LIB}/*", *map(str, args)], cwd=self.folder,
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                    start_new_session=True, preexec_fn=oap.end_with_us)

    def start(self):
        said = self.log.read_bytes().count(b"Kafka Server started")
        self.process = self.java("kafka.Kafka", self.settings)
        deadline = time.monotonic() + START_S
        while self.log.read_bytes().count(b"Kafka Server started") == said:
            if self.process.poll() is not None or time.monotonic() > deadline:
                lines = self.log.read_text(errors="replace").splitlines()
                raise oap.Failed("\n".join([x for x in lines if re.search("ERROR|Exception", x)][:5] or lines[-8:]))
            time.sleep(0.1)
        return self

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
