"""Plug-ins beside a program's own libraries: each carries its OpenSSL, libcurl or librdkafka inside, on
every interpreter of the machine, through forks and to a clean end, and in programs that bring other and
newer copies of the same libraries. What is in the file is tests/rules/plugins.py's."""

import pathlib
import subprocess
import sys

import pytest

from conftest import SYSTEM_PYTHON
from kafka_broker import Broker
from test_contract import FOLDER, Papers, WAYS
from test_python import PYENV

PLUGINS = {"grpc": "tls", "core": "grpc", "http": "http", "kafka": "kafka"}  # by TLS: who does it
PYTHONS = [pathlib.Path(SYSTEM_PYTHON), *sorted(path / "bin" / "python" for path in PYENV.glob("[23].*"))]
BROUGHT = ["cryptography", "pycurl", "confluent_kafka"]

# For Python 2.7, too. What it prints is the same without us: also which objects are in the process, but for
# ours and for libm, which the interpreter may not have needed yet.
OWN = r"""
import hashlib, os, socket, ssl, sys, time
port, end = int(sys.argv[1]), sys.argv[2]

def ask(path):
    to = socket.create_connection(("127.0.0.1", port))
    to.sendall(("GET /%s HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n" % path).encode())
    got = b""
    while True:
        more = to.recv(4096)
        if not more:
            break
        got += more
    to.close()
    sys.stdout.write("%s %d\n" % (path, len(got)))

def work():
    ssl.SSLContext(ssl.PROTOCOL_SSLv23).set_ciphers("ECDHE")
    ssl.RAND_status()
    sys.stdout.write(hashlib.sha256(b"x" * 100).hexdigest() + " " + ssl.OPENSSL_VERSION + "\n")
    sys.stdout.flush()

def objects():
    found = set(line.split(None, 5)[5].strip() for line in open("/proc/self/maps") if ".so" in line)
    return sorted(name for name in found if "libswagent" not in name and "/libm" not in name)

ask("before")
time.sleep(0.7)
work()
child = os.fork()
if not child:
    ask("child")
    work()
    sys.exit(5)
sys.stdout.write("child %d\n" % os.waitpid(child, 0)[1])
work()
ask("after")
sys.stdout.write(" ".join(objects()) + "\n")
sys.stdout.flush()
{"return": lambda: None, "exit": lambda: sys.exit(3), "_exit": lambda: os._exit(4)}[end]()
"""


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(params=PLUGINS)
def reporting(request, ports, papers):
    """(its collector, the environment): by TLS, so that a plug-in has work."""
    if not (FOLDER / f"libswagent-{PLUGINS[request.param]}.so").exists():
        pytest.skip(f"the plug-in {PLUGINS[request.param]} is not built")
    way, port = WAYS[request.param], ports()
    with way.server(port, papers, "tls", "up") as server:
        env = way.env(port, papers, "tls")
        if request.param == "core":  # which says once that a child does without it
            env["SW_AGENT_LOGGING_LEVEL"] = "error"
        yield server, env


def arrived(server, count):
    segments = server.segments(count)
    return {s.spans[0].operationName for s in segments}, {s.serviceInstance for s in segments}


@pytest.mark.parametrize("python", PYTHONS, ids=lambda p: p.parent.parent.name)
def test_every_interpreter(bench, origin, reporting, python):
    """Its own OpenSSL, of whatever version, works before, during and after; nothing but ours is mapped; a child
    of a fork, which reports itself, ends by the interpreter's own end, and so does the parent."""
    server, env = reporting
    result = bench.both([python, "-W", "ignore", "-c", OWN, origin.port, "return"], env=env)
    assert result.rc == 0 and result.err == b"" and b"child 1280\n" in result.out, result
    operations, instances = arrived(server, 3)
    assert operations == {"/before", "/child", "/after"} and len(instances) == 2


@pytest.mark.parametrize("end, status", [("exit", 3), ("_exit", 4)])
def test_ends(bench, origin, reporting, end, status):
    server, env = reporting
    assert bench.both([SYSTEM_PYTHON, "-c", OWN, origin.port, end], env=env).rc == status
    arrived(server, 3)


# Libraries from wheels, each with copies of its own of what is also inside our plug-ins.
BRINGS = r"""
import os, socket, sys, time
port, broker, when, authority = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]

def ask(path):
    with socket.create_connection(("127.0.0.1", port)) as to:
        to.sendall(b"GET /%s HTTP/1.1\r\nHost: o\r\nConnection: close\r\n\r\n" % path)
        while to.recv(4096):
            pass

def bring():
    global cryptography, pycurl, confluent_kafka, backend, Fernet, x509
    import confluent_kafka
    import cryptography
    import pycurl
    from cryptography import x509
    from cryptography.fernet import Fernet
    from cryptography.hazmat.backends.openssl import backend
    print(backend.openssl_version_text(), confluent_kafka.libversion(), pycurl.version, flush=True)

def encrypt():
    box = Fernet(Fernet.generate_key())
    assert box.decrypt(box.encrypt(b"whatever")) == b"whatever"
    print(x509.load_pem_x509_certificate(open(authority, "rb").read()).subject.rfc4514_string())

def fetch(path):
    got, easy = [], pycurl.Curl()
    easy.setopt(pycurl.URL, f"http://127.0.0.1:{port}/{path}")
    easy.setopt(pycurl.WRITEFUNCTION, got.append)
    easy.perform()
    print(path, easy.getinfo(pycurl.RESPONSE_CODE), b"".join(got).decode().strip())
    easy.close()

def produce():
    said = []
    producer = confluent_kafka.Producer({"bootstrap.servers": broker})
    producer.produce("theirs", b"value", b"key", on_delivery=lambda error, message: said.append(error))
    print("left", producer.flush(10), said)

def work(turn):
    encrypt()
    fetch(f"theirs-{turn}")
    produce()
    sys.stdout.flush()

if when == "first":
    bring()
ask(b"before")
time.sleep(0.7)
if when == "later":
    bring()
work(0)
child = os.fork()
if not child:
    encrypt()
    fetch("theirs-child")
    sys.exit(5)
print("child", os.waitpid(child, 0)[1], flush=True)
work(1)
ask(b"after")
"""


@pytest.mark.parametrize("when", ["first", "later"])
def test_a_program_that_brings_its_own(bench, ports, origin, reporting, papers, when):
    """Newer copies of OpenSSL, libcurl and librdkafka, from wheels, before ours are loaded or after."""
    has = subprocess.run([sys.executable, "-c", "import " + ", ".join(BROUGHT)], capture_output=True)
    if has.returncode:
        pytest.skip("tests/requirements.txt is not installed: " + has.stderr.decode().splitlines()[-1])
    server, env = reporting
    with Broker(ports()) as theirs:
        result = bench.both([sys.executable, "-W", "ignore", "-c", BRINGS, origin.port, f"127.0.0.1:{theirs.port}", when,
                             papers.authority.path], env=env)
        assert len(theirs.of("theirs")) == 4, "two without us, two with us"
    assert result.rc == 0 and result.err == b"" and b"child 1280\n" in result.out, result
    operations, instances = arrived(server, 5)
    assert operations == {"/before", "/theirs-0", "/theirs-child", "/theirs-1", "/after"} and len(instances) == 2
