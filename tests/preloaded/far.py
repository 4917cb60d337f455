"""A way to a server that takes its time: Far(port, target, seconds) passes connections on to the port
`target` of this machine, and each byte is so much later, in each direction, as if that were far away."""

import queue
import socket
import threading
import time


class Far:
    def __init__(self, port, target, seconds):
        self.target, self.seconds = target, seconds
        self.listener = socket.create_server(("127.0.0.1", port))

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def accept(self):
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.join, args=(sock,), daemon=True).start()

    def join(self, sock):
        time.sleep(self.seconds)  # its SYN
        try:
            other = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            sock.close()
            return
        for source, target in (sock, other), (other, sock):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            under_way = queue.Queue()
            threading.Thread(target=self.take, args=(source, under_way), daemon=True).start()
            threading.Thread(target=self.bring, args=(target, under_way), daemon=True).start()

    def take(self, source, under_way):
        got = True
        while got:
            try:
                got = source.recv(65536)
            except OSError:
                got = b""
            under_way.put((time.monotonic() + self.seconds, got))

    def bring(self, target, under_way):
        got = True
        while got:
            due, got = under_way.get()
            time.sleep(max(0, due - time.monotonic()))
            try:
                target.sendall(got) if got else target.shutdown(socket.SHUT_WR)
            except OSError:
                got = b""
        if got == b"":
            time.sleep(0.1)  # its last words may still be under way in the other direction
