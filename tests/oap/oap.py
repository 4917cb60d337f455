#!/usr/bin/python3
"""A real SkyWalking OAP on loopback, for tests and for examples/demo.

    tests/oap/oap.py fetch             its jars, by Maven, into build/oap/lib; once
    tests/oap/oap.py run [options]     in the foreground until SIGINT or SIGTERM

`run` prints one line when it answers: ready grpc=HOST:PORT http=HOST:PORT pid=N. It keeps nothing:
storage is in memory. Needs Java 17 or later and, to fetch, Maven; .ci/prepare oap installs both.
Only the standard library.
"""

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
RULES = HERE.parent.parent / "examples" / "oap" / "swagent.yaml"
HOME = pathlib.Path(os.environ.get("SW_BUILD", HERE.parent.parent / "build")) / "oap"
LIB = HOME / "lib"
MAIN = "org.apache.skywalking.oap.server.starter.OAPServerStartUp"
# Small and soon ready: it lives for a minute, so the second compiler would never earn its time.
JVM = ["-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.timezone=UTC"]
START_S = 90
FETCH_S = 540
PR_SET_PDEATHSIG = 1


class Unavailable(Exception):
    """It cannot be had here: no Java, no Maven, no jars. Tests skip with this text."""


class Failed(Exception):
    """It is there and did not start."""


def tool(name):
    path = shutil.which(name)
    if not path:
        raise Unavailable(f"{name} is not installed (.ci/prepare oap does that)")
    return path


def fetched():
    stamp = LIB / "pom.xml"
    return stamp.exists() and stamp.read_bytes() == (HERE / "pom.xml").read_bytes()


def fetch(say=lambda text: None):
    """Fills build/oap/lib, unless it was filled from the same pom.xml."""
    if fetched():
        return
    HOME.mkdir(parents=True, exist_ok=True)
    with open(HOME / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if fetched():  # by whoever held the lock
            return
        mvn = tool("mvn")
        say("fetches the OAP's jars with Maven (about 80 MB, once)")
        # Into another folder first: one that exists is complete.
        with tempfile.TemporaryDirectory(dir=HOME) as part:
            lib = pathlib.Path(part) / "lib"
            copy_jars(mvn, lib)
            shutil.copy(HERE / "pom.xml", lib)
            shutil.rmtree(LIB, ignore_errors=True)
            lib.rename(LIB)


def copy_jars(mvn, lib):
    log = HOME / "fetch.log"
    with open(log, "wb") as out:
        try:
            done = subprocess.run(
                [mvn, "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies",
                 "-DincludeScope=runtime", f"-DoutputDirectory={lib}", "-Dstyle.color=never",
                 "-Dorg.slf4j.simpleLogger.log.org.apache.maven.cli.transfer=warn"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, timeout=FETCH_S)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"Maven did not finish within {FETCH_S} s; see {log}") from None
    if done.returncode or not list(lib.glob("server-starter-*.jar")):
        errors = re.findall(r"ERROR\] (.*(?:[Cc]ould not|Cannot|rror:).*)", log.read_text(errors="replace"))
        raise Unavailable("Maven could not fetch the OAP's jars. Is Maven Central within reach?\n"
                          + "\n".join(errors[:1] or [f"see {log}"]))


def free_port():
    """Below 32768, where no outgoing connection takes it before the OAP does."""
    while True:
        number = random.randrange(15000, 32000)
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", number))
                return number


def end_with_us():
    """In the child, before exec: however we end, no Java is left behind."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


libc = ctypes.CDLL(None)


class Oap:
    """One OAP. The same object can be started again, on the same ports, after stop() or kill()."""

    def __init__(self, grpc_port=None, http_port=None, token="", kafka="", log=None, tls=None):
        self.grpc_port = grpc_port or free_port()
        self.http_port = http_port or free_port()
        self.token = token
        self.kafka = kafka
        self.tls = tls  # PEM files: certificate and those behind it, key, authority
        self.log = pathlib.Path(log) if log else HOME / f"oap-{self.grpc_port}.log"
        self.process = None

    @property
    def grpc(self):
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def http(self):
        return f"127.0.0.1:{self.http_port}"

    def env(self):
        """conf/application.yml names these. Nothing else of ours: no LD_PRELOAD, no SW_*."""
        result = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8",
                  "OAP_GRPC_PORT": str(self.grpc_port), "OAP_HTTP_PORT": str(self.http_port)}
        if self.token:
            result["OAP_TOKEN"] = self.token
        if self.kafka:
            result |= {"OAP_KAFKA": "default", "OAP_KAFKA_SERVERS": self.kafka}
        if self.tls:
            names = "OAP_TLS_CHAIN", "OAP_TLS_KEY", "OAP_TLS_CA"
            result |= {"OAP_TLS": "true", **dict(zip(names, map(str, self.tls)))}
        return result

    def start(self):
        """Returns when it answers queries."""
        if not fetched():
            raise Unavailable("its jars are not there (tests/oap/oap.py fetch)")
        for port in self.grpc_port, self.http_port:
            if not usable(port):
                raise Failed(f"port {port} is taken, or not ours to take")
        self.launch()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def configured(self):
        """Its configuration: ours for tests, with the rules that we give to users."""
        folder = self.log.with_suffix(".conf")
        shutil.copytree(HERE / "conf", folder, dirs_exist_ok=True)
        shutil.copy(RULES, folder / "meter-analyzer-config")
        return folder

    def launch(self):
        argv = [tool("java"), *JVM, "-cp", f"{self.configured()}:{LIB}/*", MAIN]
        with open(self.log, "ab") as log:
            # A session of its own: an interrupt from the terminal is for us, who then stop it.
            self.process = subprocess.Popen(argv, env=self.env(), cwd=HOME,
                                            stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True,
                                            preexec_fn=end_with_us)

    def wait_ready(self):
        deadline = time.monotonic() + START_S
        while self.version() is None:
            if self.process.poll() is not None:
                raise Failed(f"the OAP ended with status {self.process.returncode}\n"
                             + self.complaints())
            if time.monotonic() > deadline:
                raise Failed(f"the OAP did not answer within {START_S} s; see {self.log}")
            time.sleep(0.1)

    def version(self):
        """What `{version}` says, or None while nobody answers."""
        request = urllib.request.Request(f"http://{self.http}/graphql", b'{"query": "{version}"}',
                                         {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=5) as answer:
                return json.load(answer)["data"]["version"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def complaints(self):
        """The first error in its log, with what caused it; else the last lines."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [line for line in lines if re.search(r" ERROR |^Caused by|^Error", line)]
        return "\n".join(found[:8] or lines[-8:])

    def stop(self):
        """As an administrator would. What it has not stored by then is gone, and so is the rest."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def memory_kib(self):
        """The most that it had in memory."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s*(\d+)", status)[1])

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def usable(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def say(text):
    print(f"oap: {text}", file=sys.stderr, flush=True)


def run(args):
    fetch(say)
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        if signal.getsignal(number) != signal.SIG_IGN:  # as a shell's background jobs have SIGINT
            signal.signal(number, lambda *_: sys.exit(0))  # through __exit__, which stops it
    with Oap(args.grpc_port, args.http_port, args.token, args.kafka, args.log) as oap:
        print(f"ready grpc={oap.grpc} http={oap.http} pid={oap.process.pid}", flush=True)
        status = oap.process.wait()
    raise Failed(f"the OAP ended by itself with status {status}; see {oap.log}")


def port(text):
    if not 0 < int(text) < 65536:
        raise ValueError(text)  # argparse says the rest
    return int(text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="only fetch its jars")
    run = commands.add_parser("run", help="run it until SIGINT or SIGTERM")
    run.add_argument("--grpc-port", type=port, metavar="P", help="for agents (default: a free one)")
    run.add_argument("--http-port", type=port, metavar="P", help="for GraphQL (default: a free one)")
    run.add_argument("--token", default="", help="agents must send it as `authentication`")
    run.add_argument("--kafka", default="", metavar="HOST:PORT", help="fetch from this broker too")
    run.add_argument("--log", metavar="FILE", help="its output (default: build/oap/oap-PORT.log)")
    return parser.parse_args()


def main():
    args = arguments()
    try:
        if args.command == "fetch":
            fetch(say)
        else:
            run(args)
    except Unavailable as error:
        say(error)
        sys.exit(3)
    except Failed as error:
        say(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
