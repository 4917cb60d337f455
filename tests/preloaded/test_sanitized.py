"""Real programs under a library built with AddressSanitizer and UBSan; run by tests/run alone.

The sanitizers' own libraries are loaded first. Some programs cannot bear that at all (curl hangs in
setlocale under ASan, with and without us), so these are Python programs.
"""

import os
import re
import subprocess

import pytest

from conftest import LIB

pytestmark = pytest.mark.skipif(not os.environ.get("SW_SANITIZED"), reason="not a sanitized library")

SERVE = """
import http.server, os, signal, socket, subprocess, threading, time, urllib.request
class H(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
port = server.server_address[1]
threading.Thread(target=server.serve_forever, daemon=True).start()
def get(path="/", **more):
    return urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", **more), timeout=20).read()
"""

PROGRAMS = {
    "requests": "for i in range(40): get()\nassert get('/p', data=b'x' * 100000) == b'x' * 100000\n",
    "threads": "ts = [threading.Thread(target=lambda: [get() for _ in range(10)]) for _ in range(8)]\n"
               "[t.start() for t in ts]; [t.join() for t in ts]\n",
    "forks": "for i in range(20):\n"
             "    get()\n"
             "    pid = os.fork()\n"
             "    if pid == 0:\n        get(); os._exit(0)\n"
             "    assert os.waitpid(pid, 0)[1] == 0\n",
    "subprocesses": "get()\nfor i in range(10): subprocess.run(['/bin/true'], env={}, check=True)\n",
    "garbage": "for junk in (b'\\0' * 70000, b'GET / HTTP/1.1\\r\\nA: ' + b'a' * 80000, b'GET ' * 9000):\n"
               "    s = socket.create_connection(('127.0.0.1', port)); s.sendall(junk)\n"
               "    s.shutdown(socket.SHUT_WR)\n"
               "    try:\n        s.recv(100000)\n    except OSError: pass\n"
               "    s.close()\nget()\n",
    "closes-all": "get()\nos.closerange(3, 1024)\nos._exit(0)\n",
    "exits": "get()\nos._exit(0)\n",
}


def library(name):
    return subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True,
                          text=True).stdout.strip()


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_complaint(name, tmp_path):
    program = SERVE + PROGRAMS[name]
    env = dict(os.environ, SW_AGENT_PROTOCOL="file", SW_AGENT_FILE_PATH=str(tmp_path / "%p.jsonl"),
               LD_PRELOAD=" ".join([library("libasan.so"), library("libubsan.so"), str(LIB)]),
               ASAN_OPTIONS="detect_leaks=0,verify_asan_link_order=0", UBSAN_OPTIONS="print_stacktrace=1")
    if name == "subprocesses":
        program = program.replace("env={}", "env={'PATH': '/bin'}")
    done = subprocess.run(["/usr/bin/python3", "-c", program], env=env, capture_output=True,
                          text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"Sanitizer|runtime error", done.stderr), done.stderr
    assert list(tmp_path.glob("*.jsonl"))
