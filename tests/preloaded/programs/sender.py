"""Sends bytes by exactly the calls that a plan on standard input tells; prints what they gave.

Each step: [call, arguments...]. Text stands for bytes (latin-1).
"""

import ctypes
import json
import os
import select
import socket
import sys
import time

plan = json.load(sys.stdin)
where = plan["where"]
libc = ctypes.CDLL(None, use_errno=True)


def data(text):
    return text.encode("latin-1")


def connect():
    if isinstance(where, str):
        s = socket.socket(socket.AF_UNIX)
    else:
        s = socket.socket()
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if "buffer" in plan:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, plan["buffer"])
    s.settimeout(None)
    if not plan.get("fastopen"):
        s.connect(where if isinstance(where, str) else ("127.0.0.1", where))
    return s


def push(send, text, edge=False):
    """All of it, on a socket that does not block: waits when the kernel takes nothing."""
    rest = memoryview(data(text))
    poller = select.epoll()
    poller.register(s, select.EPOLLOUT | (select.EPOLLET if edge else 0))
    while rest:
        try:
            rest = rest[send(rest):]
        except BlockingIOError:
            # An edge-triggered waiter is told once: who is told EAGAIN without reason sleeps on.
            if not poller.poll(2):
                sys.exit(f"stuck with {len(rest)} bytes")
    return "all"


def in_pieces(text, size):
    text = data(text)
    return [text[i:i + size] for i in range(0, len(text), size)]


def step(call, *args):
    if call == "send":
        return s.send(data(args[0]), *args[1:])
    if call == "sendto":
        return s.sendto(data(args[0]), args[1], ("127.0.0.1", where))
    if call == "write":
        return os.write(s.fileno(), data(args[0]))
    if call == "sendmsg":
        return s.sendmsg(in_pieces(args[0], args[1]), [], *args[2:])
    if call == "sendmsg-rights":
        return s.sendmsg([data(args[0])], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"\0\0\0\0")])
    if call == "writev":
        return os.writev(s.fileno(), in_pieces(args[0], args[1]))
    if call == "syscall-write":
        return libc.syscall(1, s.fileno(), data(args[0]), len(args[0]))
    if call == "dribble":  # so many bytes at a time, each call its own
        return sum(s.send(piece) for piece in in_pieces(args[0], args[1]))
    if call == "push":
        s.setblocking(False)
        return push(s.send, args[0])
    if call == "push-writev":
        s.setblocking(False)
        return push(lambda rest: os.writev(s.fileno(), [rest[:40], rest[40:]]), args[0])
    if call == "push-edge":
        s.setblocking(False)
        return push(s.send, args[0], edge=True)
    if call == "sendall":
        return s.sendall(data(args[0]))
    if call == "sendfile":
        with open(args[0], "rb") as file:
            return os.sendfile(s.fileno(), file.fileno(), 0, os.fstat(file.fileno()).st_size)
    if call == "sleep":
        return time.sleep(args[0])
    if call == "dup":
        s2 = s.dup()
        s2.sendall(data(args[0]))
        s2.close()
        return "dup"
    if call == "read":  # so many answers, each with a Content-Length
        s.setblocking(True)
        s.settimeout(4)
        got = b""
        for _ in range(args[0]):
            while b"\r\n\r\n" not in got:
                got += s.recv(65536) or sys.exit(f"closed after {got}")
            head, _, rest = got.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            while len(rest) < length:
                rest += s.recv(65536) or sys.exit(f"closed after {got}")
            print(head + b"\r\n\r\n" + rest[:length])
            got = rest[length:]
        s.settimeout(None)
        return "read"
    if call == "read-all":
        s.settimeout(4)
        got = b""
        while part := s.recv(65536):
            got += part
        return repr(got)
    raise SystemExit(f"no step {call}")


for connection in plan["connections"]:
    s = connect()
    for item in connection:
        try:
            print(item[0], step(*item))
        except OSError as error:
            print(item[0], error)
    s.close()
