"""Outbound calls by processes that a handler starts and waits for.

CLIENTS: name -> function(paths).
"""

import multiprocessing
import os
import subprocess
import sys

import blocking
import plan


def call_all(paths):
    for path in paths:
        blocking.slept(path)


def by_os_fork(paths):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            call_all(paths)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the child failed")


def by_multiprocessing(way):
    def run(paths):
        child = multiprocessing.get_context(way).Process(target=call_all, args=(paths,))
        child.start()
        child.join()
        # 255 of a forkserver: start() in another thread polled all children, and read the status
        # that join() was to read (CPython, with and without us).
        if child.exitcode and (way, child.exitcode) != ("forkserver", 255):
            raise RuntimeError("the child ended with %r" % child.exitcode)
    return run


def by_subprocess(paths):
    code = "import processes, sys; processes.call_all(sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, *paths], check=True)


CLIENTS = {
    "os.fork": by_os_fork,
    "mp.fork": by_multiprocessing("fork"),
    "mp.forkserver": by_multiprocessing("forkserver"),
    "mp.spawn": by_multiprocessing("spawn"),
    "subprocess": by_subprocess,
}


def answer(path):
    """(status, body) for a request's path; None if it asks for none of these clients."""
    client, ident = plan.split(path)
    if client not in CLIENTS:
        return None
    CLIENTS[client](plan.paths(client, ident))
    return 200, plan.body(client, ident)
