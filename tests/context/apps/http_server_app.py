"""http.server in several ways: http_server_app.py WAY PORT

threading, forking: of socketserver. fork, forkserver, spawn: so started by multiprocessing, two
processes with threads. os.fork: two children.
"""

import http.server
import multiprocessing
import os
import signal
import socketserver
import sys
import threading

import blocking
import plan
import processes


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        status, text = processes.answer(self.path) or blocking.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


class Threading(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024


class Forking(socketserver.ForkingMixIn, http.server.HTTPServer):
    request_queue_size = 1024


def take_over(server):
    """In a child: serves what the parent listens on."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    blocking.early_workers()
    server.serve_forever()


def take_over_socket(sock):
    """In a child that multiprocessing made."""
    server = Threading((plan.HOST, 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = sock
    server.server_name, server.server_port = plan.HOST, 0
    take_over(server)


def forked(server):
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            take_over(server)
        children.append(child)
    return children, lambda child: os.waitpid(child, 0)


def multiprocessed(server):
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=take_over_socket, args=(server.socket,)) for _ in range(2)]
    for child in children:
        child.start()
    by_pid = {child.pid: child for child in children}
    return list(by_pid), lambda pid: by_pid[pid].join()


def parent(start, server):
    """Only waits."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    children, wait = start(server)
    signal.sigwait([signal.SIGTERM])
    for child in children:
        os.kill(child, signal.SIGTERM)
    for child in children:
        wait(child)


def alone(_, server):
    blocking.early_workers()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()


WAYS = {"threading": (Threading, alone, None), "forking": (Forking, alone, None),
        "os.fork": (Threading, parent, forked), "fork": (Threading, parent, multiprocessed),
        "forkserver": (Threading, parent, multiprocessed),
        "spawn": (Threading, parent, multiprocessed)}

if __name__ == "__main__":
    kind, serve, start = WAYS[sys.argv[1]]
    serve(start, kind((plan.HOST, int(sys.argv[2])), Handler))
