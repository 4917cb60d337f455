"""Makes requests with one of Python's clients: client.py CLIENT END URL...

CLIENT: http.client, urllib, requests. END: what the process does after the last answer.
"""

import ctypes
import http.client
import os
import signal
import sys
import urllib.parse
import urllib.request


def ask_http_client(urls):
    """One connection for all, kept alive; the last request is a POST."""
    where = urllib.parse.urlsplit(urls[0])
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    for i, url in enumerate(urls):
        if i and i == len(urls) - 1:
            connection.request("POST", urllib.parse.urlsplit(url).path, b"x" * 20000)
        else:
            connection.request("GET", urllib.parse.urlsplit(url).path)
        response = connection.getresponse()
        print(response.status, sorted(response.getheaders()), response.read())


def ask_urllib(urls):
    for url in urls:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                print(response.status, response.read())
        except urllib.error.HTTPError as error:
            print(error.code, error.read())


def ask_requests(urls):
    import requests
    with requests.Session() as session:
        for url in urls:
            response = session.get(url, timeout=10)
            print(response.status_code, response.text)
        print(session.post(urls[0], data={"a": "b"}, timeout=10).text)


def end(how):
    sys.stdout.flush()
    if how == "_exit":
        os._exit(3)
    if how == "exit":
        sys.exit(4)
    if how == "sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGINT if len(sys.argv) < 3 else signal.SIGHUP)
        signal.pause()
    if how == "pthread_kill":
        import threading
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        signal.pause()
    if how == "abort":
        os.abort()
    if how == "quick_exit":
        ctypes.CDLL(None).quick_exit(5)
    if how == "_Exit":
        ctypes.CDLL(None)._Exit(6)
    if how == "libc-exit":
        ctypes.CDLL(None).exit(7)
    if how == "exec":
        os.execv("/bin/sh", ["/bin/sh", "-c", "echo after; exit 8"])
    if how == "execl":
        libc = ctypes.CDLL(None)
        libc.execl(b"/bin/sh", b"sh", b"-c", b"echo after; exit 9", None)
    if how == "failed-exec":
        try:
            os.execv("/nonexistent/program", ["program"])
        except OSError as error:
            print(error)
    if how == "caught":  # a handler of its own: the process goes on
        signal.signal(signal.SIGTERM, lambda *_: print("caught"))
        signal.raise_signal(signal.SIGTERM)
    if how == "thread-exit":  # another thread ends the process
        import threading
        threading.Thread(target=lambda: os._exit(10)).start()
        signal.pause()


if __name__ == "__main__":
    globals()["ask_" + sys.argv[1].replace(".", "_")](sys.argv[3:])
    end(sys.argv[2])
