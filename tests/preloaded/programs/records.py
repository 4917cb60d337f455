"""Says lines by logging, whose text says no level: records.py [loguru] WAYS... Serves one request first, for
lines of a process that does not are not captured. Each text is what the test expects of it:
"~level logger thread: what", in a form that no layout has; "-" where nothing is to be known."""

import io
import logging
import logging.handlers
import os
import queue
import socket
import sys
import threading
import time

MESSAGE = logging.Formatter("%(message)s")


def serve():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    caller = socket.create_connection(listener.getsockname())
    served, _ = listener.accept()
    caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    served.recv(1000)
    served.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    caller.recv(1000)
    for one in caller, served, listener:
        one.close()
    print("- - -: this tells that there are lines without a level", flush=True)
    time.sleep(0.6)


def set_up(name, handler):
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.setLevel(1)
    handler.setFormatter(MESSAGE)
    logger.addHandler(handler)
    return logger


def each_level(logger, what):
    for level in "debug", "info", "warning", "error", "critical":
        getattr(logger, level)("~%s %s MainThread: %s", level.upper(), logger.name, what)
    logger.log(35, "~Level 35 %s MainThread: %s", logger.name, what)
    logger.error("~ERROR %s MainThread: \u20ac \U0001f600 %s", logger.name, what)


def basic():
    logging.basicConfig(format="%(message)s", level=1)
    each_level(logging.getLogger(), "by basicConfig")


def out():
    each_level(set_up("to.out", logging.StreamHandler(sys.stdout)), "to stdout")


def files():
    each_level(set_up("to.file", logging.FileHandler("said.log")), "to a file")
    handler = logging.handlers.RotatingFileHandler("turns.log", maxBytes=300, backupCount=9)
    each_level(set_up("to.turns", handler), "to files that turn")


def queued():
    items = queue.Queue()
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(MESSAGE)
    listener = logging.handlers.QueueListener(items, handler)
    listener.start()
    each_level(set_up("by.queue", logging.handlers.QueueHandler(items)), "through a queue")
    listener.stop()


def threads():
    logger = set_up("of.threads", logging.StreamHandler(sys.stderr))

    def work():
        name = threading.current_thread().name
        for number in range(50):
            level = ("INFO", "ERROR")[number % 2]
            logger.log(getattr(logging, level), "~%s of.threads %s: number %d", level, name, number)

    team = [threading.Thread(target=work, name="worker-%d" % n) for n in range(8)]
    for one in team:
        one.start()
    for one in team:
        one.join()


class Broken:
    def __str__(self):
        raise ValueError("no text")


class Talks:
    """Prints while its text is made, in the middle of a record's way."""

    def __str__(self):
        print("- - -: printed by a text", flush=True)
        return "told after"


class Strange(logging.LogRecord):
    """Looking at it is noticed."""

    def __getattribute__(self, name):
        if name in ("levelname", "levelno", "threadName") and sys._getframe(1).f_code.co_name == "emit":
            print("- - -: somebody looked", flush=True)
        return super().__getattribute__(name)


class Own(logging.Handler):
    def emit(self, record):
        sys.stdout.write(self.format(record) + "\n")
        sys.stdout.flush()


def odd():
    logging.raiseExceptions = False
    logger = set_up("odd", logging.StreamHandler(sys.stdout))
    logger.error("%s", Broken())
    logger.error("~ERROR odd MainThread: %s", Talks())
    set_up("own", Own()).error("- - -: a handler of its own")
    logger.handle(logging.LogRecord(7, 40, "", 1, "~ERROR - MainThread: no name", (), None))
    logger.handle(logging.LogRecord("odd", 20.5, "", 1, "~Level 20.5 odd MainThread: no whole number", (), None))
    logger.handle(logging.LogRecord("n" * 101, 40, "", 1, "~ERROR - MainThread: a long name", (), None))
    logger.handle(logging.LogRecord("\udcff", 40, "", 1, "~ERROR - MainThread: a name of no characters", (), None))
    logger.handle(logging.LogRecord("odd", 10 ** 30, "", 1, "- - -: a level without a number or a name", (), None))
    logging.addLevelName(25, "LOUD")
    logger.log(25, "~LOUD odd MainThread: a name of its own")
    logging.setLogRecordFactory(Strange)
    logger.error("~ERROR odd MainThread: a record of its own")
    logging.setLogRecordFactory(logging.LogRecord)
    sys.stdout.write("- - -: waits in the buffer\n")
    logger.error("~ERROR odd MainThread: comes after it")
    sys.stdout.write("- - -: waits as well\n- - -: and a long record comes after it\n")
    logger.error("~ERROR odd MainThread: %s", "x" * 9000)
    logger.error("~ERROR odd MainThread: %s", "y" * 9000)
    print("- - -: nothing is left of it", flush=True)
    logger.error("~ERROR odd MainThread: one\n~ERROR odd MainThread: two")
    os.write(1, b"- - -: by the system\n")


def replaced():
    kept = sys.stdout
    sys.stdout = io.StringIO()
    set_up("to.nowhere", logging.StreamHandler(sys.stdout)).error("not to be seen")
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding="utf-8", newline="\r\n")
    set_up("to.other", logging.StreamHandler(sys.stdout)).error("- - -: with other ends of lines")
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding="latin-1")
    logger = set_up("to.latin", logging.StreamHandler(sys.stdout))
    logger.error("~ERROR to.latin MainThread: as it is")
    logger.error("- - -: \u00fc")
    sys.stdout = kept


def traced():
    """As a debugger would see it: no variable, no call of ours."""
    seen = []

    def trace(frame, event, arg):
        if frame.f_code.co_filename.endswith("logging/__init__.py"):
            seen.append((frame.f_code.co_name, event, sorted(frame.f_locals)))
        return trace

    logger = set_up("traced", logging.StreamHandler(sys.stdout))
    sys.settrace(trace)
    logger.error("~ERROR traced MainThread: while it is traced")
    sys.settrace(None)
    print("- - -:", len(seen), hash(str(seen)) and len(str(seen)), flush=True)


def json():
    logger = set_up("in.json", logging.StreamHandler(sys.stdout))
    logger.error('{"level": "INFO", "what": "~INFO in.json MainThread: its own level"}')
    logger.error('{"what": "~ERROR in.json MainThread: no level"}')


def signals():
    """Handlers that log while a record is on its way, hundreds of times."""
    import signal

    logging.raiseExceptions = False  # streams refuse to be entered twice
    outer = set_up("outer", logging.StreamHandler(sys.stdout))
    inner = set_up("inner", logging.StreamHandler(sys.stdout))
    met = []

    def again():  # from the end of one to the next, or a slow machine would run one inside the other for ever
        if len(met) < 500:
            signal.setitimer(signal.ITIMER_REAL, 0.0007)

    def amid(*args):
        met.append(args)
        inner.warning("~WARNING inner MainThread: amid it")
        again()

    signal.signal(signal.SIGALRM, amid)
    again()
    while len(met) < 500:
        outer.error("~ERROR outer MainThread: %s", "z" * 100)


def forks():
    logger = set_up("forks", logging.StreamHandler(sys.stdout))
    for number in range(3):
        sys.stdout.flush()
        child = os.fork()
        if not child:
            logger.error("~ERROR forks MainThread: child %d", number)
            os._exit(0)
        os.waitpid(child, 0)
        logger.info("~INFO forks MainThread: parent %d", number)


class Late:
    def __del__(self, log=logging.getLogger("late")):
        log.error("- - -: at the end")


def late():
    global last
    set_up("late", logging.StreamHandler(sys.stderr))
    last = Late()


def loguru():
    from loguru import logger

    logger.remove()
    for sink in sys.stdout, sys.stderr, "guru.log":
        logger.add(sink, format="{message}", level=0, colorize=False)
    for level in "trace", "debug", "info", "success", "warning", "error", "critical":
        getattr(logger, level)("~%s __main__ MainThread: by loguru" % level.upper())
    logger.error("~ERROR __main__ MainThread: \u20ac")


serve()
for way in sys.argv[1:]:
    globals()[way]()
print("- - -: end", flush=True)
time.sleep(0.3)
