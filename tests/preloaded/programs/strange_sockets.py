"""Sends a request over sockets that nobody saw connecting."""

import ctypes
import os
import socket
import sys

port = int(sys.argv[1])
REQUEST = b"GET /strange HTTP/1.1\r\nHost: h:80\r\nConnection: close\r\n\r\n"
libc = ctypes.CDLL(None, use_errno=True)
SYS_DUP2, SYS_CONNECT, SYS_SOCKET = 33, 42, 41


def read_all(fd):
    while got := os.read(fd, 65536):
        print(got)


def address():
    return (2).to_bytes(2, "little") + port.to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)


def inherited():
    if len(sys.argv) > 2:
        fd = int(sys.argv[2])
        os.write(fd, REQUEST)
        read_all(fd)
        return
    s = socket.create_connection(("127.0.0.1", port))
    os.set_inheritable(s.fileno(), True)
    pid = os.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, __file__, str(port), str(s.fileno())])
    os.waitpid(pid, 0)


def replaced():
    """The number belonged to a connection that we saw; a raw call put another one there."""
    seen = socket.create_connection(("127.0.0.1", port))
    raw = open_raw()
    assert raw_call(SYS_DUP2, raw, seen.fileno()) == seen.fileno()
    os.write(seen.fileno(), REQUEST)
    read_all(seen.fileno())
    os.close(raw)


def open_raw():
    fd = raw_call(SYS_SOCKET, socket.AF_INET, socket.SOCK_STREAM, 0)
    buffer = ctypes.create_string_buffer(address())
    assert raw_call(SYS_CONNECT, fd, ctypes.addressof(buffer), 16) == 0
    return fd


def make_raw_call():
    """System calls by instructions of our own (x86-64): no libc function takes part."""
    import mmap
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # rax = rdi; rdi, rsi, rdx = the next three; syscall; ret
    code.write(bytes.fromhex("4889f84889f74889d64889ca0f05c3"))
    at = ctypes.addressof(ctypes.c_char.from_buffer(code))
    call = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long,
                            ctypes.c_long)(at)
    return lambda number, a=0, b=0, c=0, keep=code: call(number, a, b, c)


def pair():
    a, b = socket.socketpair()
    a.send(REQUEST)
    print(b.recv(65536))
    r, w = os.pipe()
    os.write(w, REQUEST)
    print(os.read(r, 65536))


raw_call = make_raw_call()
inherited()
if len(sys.argv) == 2:
    replaced()
    pair()
