"""Which servers, which clients behind them, and what is expected of each pair."""

from dataclasses import dataclass, field

# What is expected of a cell. Wrong is never allowed.
RIGHT = "right"  # every call
NONE = "none"    # nothing native can tell; right is welcome
ANY = "right or none"

# Clients of asynchronous handlers (apps/waiting.py).
ASYNC = {
    "httpx": RIGHT,
    "aiohttp": RIGHT,
    "streams": RIGHT,
    "to_thread": RIGHT,
    "executor": RIGHT,
    "thread": RIGHT,
    "blocking": RIGHT,
    "forget": RIGHT,         # a task that calls 20 ms after the response
    "forget.late": RIGHT,    # and one that calls 0.4 s later, when the connection may be closed
    "call_later": ANY,       # a timer that makes such a task
    "executor.late": ANY,    # a job of the executor that nobody waits for
    "thread.late": ANY,      # a thread that nobody waits for
}
FASTAPI = {**ASYNC, "endpoint": RIGHT, "background": RIGHT, "stream": RIGHT}
DJANGO = {**ASYNC, "endpoint": RIGHT, "sync_to_async": RIGHT}

# Clients of the same that ask a Redis and a PostgreSQL.
STORES = {"redis.asyncio": RIGHT, "asyncpg": RIGHT}

# Clients of blocking handlers (apps/blocking.py).
SYNC = {
    "requests": RIGHT,
    "urllib3": RIGHT,
    "http.client": RIGHT,
    "executor": RIGHT,
    "thread": RIGHT,
    "queue": NONE,           # threads started with the program take jobs from a queue.Queue
}
GEVENT = {
    "requests": RIGHT,
    "urllib3": RIGHT,
    "http.client": RIGHT,
    "thread": RIGHT,
    "executor": RIGHT,
    "gevent.spawn": RIGHT,
    "gevent.pool": RIGHT,
    "gevent.threadpool": RIGHT,
}

BLOCKING = {client: SYNC[client] for client in ("requests", "urllib3", "http.client", "thread",
                                               "executor")}
GREENLETS = {client: SYNC[client] for client in ("requests", "urllib3", "http.client", "thread")}
PROCESSES = {
    "os.fork": ANY,
    "mp.fork": ANY,
    "mp.forkserver": NONE,
    "mp.spawn": NONE,
    "subprocess": NONE,
}

# Workers started lazily in the first request keep its context: wrong with everything that follows
# contexts. Asked for by --only alone.
LIMITS = {"queue.lazy": ANY}

MIXED = "mixed"  # a last cell of each server: each request by any of those expected right

# One call at a time, in a process or in six threads: a third of the requests says as much.
SLOW = ("blocking", "executor.late")

SINCE = {"to_thread": (3, 9)}


@dataclass
class Server:
    name: str
    argv: str                     # {python}, {venv}, {port}, {side}, {apps} are filled in
    clients: dict
    groups: tuple = ("core",)
    env: dict = field(default_factory=dict)
    connections: int = 50         # at most
    since: tuple = (3, 7)
    until: tuple = (3, 99)
    system: bool = False          # needs what apt installs for Debian's Python
    extra: str = ""               # a venv of its own, made from requirements/EXTRA.txt
    quick: tuple = ()             # its clients in --quick
    needs: str = ""               # a program in PATH
    stores: bool = False          # its clients ask a Redis and a PostgreSQL; the probe is loaded
    beside: tuple = ()            # other programs: (argv, whether with the agent)
    optional: str = ""            # the option that asks for it

    def fits(self, interpreter):
        return (self.since <= interpreter.version <= self.until
                and (interpreter.system or not self.system))

    def cells(self, interpreter):
        return [client for client in self.clients
                if interpreter.version >= SINCE.get(client, (3, 7))]

    def strict(self, interpreter):
        return [client for client in self.cells(interpreter) if self.clients[client] == RIGHT]


UVICORN = "{python} -m uvicorn fastapi_app:app --port {port} --log-level warning"
HYPERCORN = "{python} -m hypercorn fastapi_app:app --bind 127.0.0.1:{port} --log-level warning"
DJANGO_ASGI = "{python} -m uvicorn django_app:asgi --port {port} --log-level warning"
GUNICORN = ("{python} -m gunicorn --bind 127.0.0.1:{port} --log-level warning --workers 2 "
            "--keep-alive 30 --graceful-timeout 5")
UVICORN_WORKER = GUNICORN + " -k uvicorn.workers.UvicornWorker fastapi_app:app"
GTHREAD = GUNICORN + " -k gthread --threads 16"
UWSGI = ("uwsgi --plugin python3 --http11-socket 127.0.0.1:{port} --master --die-on-term "
         "--disable-logging --enable-threads --virtualenv {venv} --wsgi-file {apps}/wsgi_app.py "
         "--callable app --listen 100")
HTTP_SERVER = "{python} {apps}/http_server_app.py"
REDIS = "redis-server --port {side} --bind 127.0.0.1 --save '' --loglevel warning"
CELERY = "{python} -m celery -A celery_app worker --pool prefork -c 2 --loglevel warning"
PRELOAD = {"CTX_PRELOAD": "1"}

SERVERS = [
    Server("uvicorn asyncio httptools", UVICORN + " --loop asyncio --http httptools", FASTAPI,
           quick=("httpx", "to_thread", "thread", "forget", "background")),
    Server("uvicorn asyncio h11", UVICORN + " --loop asyncio --http h11", FASTAPI),
    Server("uvicorn uvloop httptools", UVICORN + " --loop uvloop --http httptools", FASTAPI,
           quick=("aiohttp", "endpoint", MIXED)),
    Server("uvicorn uvloop h11", UVICORN + " --loop uvloop --http h11", FASTAPI),
    Server("uvicorn asyncio --reset-contextvars", UVICORN + " --loop asyncio --reset-contextvars",
           FASTAPI, since=(3, 10)),
    Server("uvicorn uvloop --reset-contextvars", UVICORN + " --loop uvloop --reset-contextvars",
           FASTAPI, since=(3, 10)),
    Server("uvicorn --workers 2", UVICORN + " --workers 2", FASTAPI),
    Server("uvicorn in a thread, asyncio", "{python} {apps}/thread_app.py asyncio {port}", FASTAPI,
           quick=("httpx",)),
    Server("uvicorn in a thread, uvloop", "{python} {apps}/thread_app.py uvloop {port}", FASTAPI),
    Server("aiohttp asyncio", "{python} {apps}/aiohttp_app.py asyncio {port}", ASYNC,
           quick=("httpx", "forget", MIXED)),
    Server("aiohttp uvloop", "{python} {apps}/aiohttp_app.py uvloop {port}", ASYNC),
    Server("start_server asyncio", "{python} {apps}/streams_app.py asyncio {port}", ASYNC),
    Server("start_server uvloop", "{python} {apps}/streams_app.py uvloop {port}", ASYNC,
           quick=("streams", "executor")),
    Server("hypercorn asyncio", HYPERCORN + " --worker-class asyncio", FASTAPI,
           ("core", "hypercorn")),
    Server("hypercorn uvloop", HYPERCORN + " --worker-class uvloop", FASTAPI,
           ("core", "hypercorn")),
    Server("sanic", "{python} {apps}/sanic_app.py {port}", ASYNC, ("core", "sanic")),
    Server("Django ASGI, uvicorn asyncio", DJANGO_ASGI + " --loop asyncio", DJANGO,
           ("core", "django")),
    Server("Django ASGI, uvicorn uvloop", DJANGO_ASGI + " --loop uvloop", DJANGO,
           ("core", "django")),
    Server("gunicorn uvicorn", UVICORN_WORKER, FASTAPI, ("core", "gunicorn")),
    Server("gunicorn uvicorn --preload", UVICORN_WORKER + " --preload", FASTAPI,
           ("core", "gunicorn")),
    Server("gunicorn asgi", GUNICORN + " -k asgi fastapi_app:app", FASTAPI, ("core", "gunicorn"),
           since=(3, 10)),
    Server("gunicorn gthread", GTHREAD + " wsgi_app:app", SYNC, ("core", "gunicorn"),
           quick=("requests", "executor", "queue")),
    Server("gunicorn gthread --preload", GTHREAD + " --preload wsgi_app:app", SYNC,
           ("core", "gunicorn"), PRELOAD),
    Server("gunicorn sync", GUNICORN + " -k sync wsgi_app:app", SYNC, ("core", "gunicorn"),
           connections=8),
    Server("gunicorn gevent", GUNICORN + " -k gevent wsgi_app:app", GEVENT,
           ("core", "gunicorn", "gevent")),
    Server("gunicorn gevent --preload", GUNICORN + " -k gevent --preload wsgi_app:app", GEVENT,
           ("core", "gunicorn", "gevent"), PRELOAD),
    Server("gevent.pywsgi", "{python} {apps}/green_app.py gevent {port}", GEVENT,
           ("core", "gevent")),
    Server("eventlet.wsgi", "{python} {apps}/green_app.py eventlet {port}",
           {**GREENLETS, "eventlet.spawn": RIGHT}, ("core", "eventlet")),
    Server("Django WSGI, gunicorn gthread", GTHREAD + " django_app:wsgi", SYNC,
           ("core", "gunicorn", "django"), {"CTX_WSGI": "1"}),
    Server("Flask", "{python} {apps}/flask_app.py {port}", SYNC, ("core", "flask")),
    Server("http.server threading", HTTP_SERVER + " threading {port}", SYNC),
    Server("http.server forking", HTTP_SERVER + " forking {port}", BLOCKING, connections=12),
    Server("http.server, os.fork", HTTP_SERVER + " os.fork {port}", SYNC),
    Server("http.server, multiprocessing fork", HTTP_SERVER + " fork {port}", SYNC),
    Server("http.server, multiprocessing forkserver", HTTP_SERVER + " forkserver {port}", SYNC),
    Server("http.server, multiprocessing spawn", HTTP_SERVER + " spawn {port}", SYNC),
    Server("http.server starting processes", HTTP_SERVER + " threading {port}", PROCESSES,
           connections=4),
    Server("uWSGI processes", UWSGI + " --processes 4", SYNC, system=True, needs="uwsgi",
           connections=8),
    Server("uWSGI threads", UWSGI + " --processes 2 --threads 16 --lazy-apps", SYNC, system=True,
           needs="uwsgi", connections=24),
    Server("gunicorn gthread, celery prefork", GTHREAD + " wsgi_app:app", {"celery": NONE},
           ("core", "gunicorn", "celery"), needs="redis-server", connections=10,
           beside=((REDIS, False), (CELERY, True))),
    *(Server(f"{name}, Redis and PostgreSQL", argv, STORES, ("core", "stores"), stores=True,
             quick=quick) for name, argv, quick in (
        ("uvicorn asyncio", UVICORN + " --loop asyncio", tuple(STORES)),
        ("uvicorn uvloop", UVICORN + " --loop uvloop", ()),
        ("aiohttp asyncio", "{python} {apps}/aiohttp_app.py asyncio {port}", ()),
        ("aiohttp uvloop", "{python} {apps}/aiohttp_app.py uvloop {port}", ()))),
]


def old_uvloop(version, python):
    """The servers that a user of an older uvloop has."""
    own = dict(groups=("core", f"uvloop=={version}"), extra=f"-uvloop-{version}", since=python,
               until=python, optional="old_uvloop")
    return [
        Server(f"uvicorn uvloop {version}", UVICORN + " --loop uvloop --http httptools", FASTAPI,
               **own),
        Server(f"aiohttp uvloop {version}", "{python} {apps}/aiohttp_app.py uvloop {port}", ASYNC,
               **own),
        Server(f"start_server uvloop {version}", "{python} {apps}/streams_app.py uvloop {port}",
               ASYNC, **own),
        Server(f"uvicorn uvloop {version}, Redis and PostgreSQL", UVICORN + " --loop uvloop",
               STORES, **{**own, "groups": ("core", "stores", f"uvloop=={version}")}, stores=True),
    ]


OLD_UVLOOP = {"0.14.0": (3, 8), "0.15.3": (3, 8), "0.17.0": (3, 8), "0.18.0": (3, 12),
              "0.21.0": (3, 12), "0.22.1": (3, 12)}
for version, python in OLD_UVLOOP.items():
    SERVERS += old_uvloop(version, python)
