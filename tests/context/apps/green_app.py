"""The WSGI servers of gevent and eventlet themselves. green_app.py gevent|eventlet PORT"""

import signal
import sys

if sys.argv[1] == "gevent":
    from gevent import monkey
    monkey.patch_all()
else:
    import eventlet
    eventlet.monkey_patch()

import plan  # noqa: E402
import wsgi_app  # noqa: E402


def by_gevent(port):
    import gevent
    from gevent.pywsgi import WSGIServer
    server = WSGIServer((plan.HOST, port), wsgi_app.app, log=None)
    gevent.signal_handler(signal.SIGTERM, server.stop)
    server.serve_forever()


def by_eventlet(port):
    import eventlet.wsgi
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    eventlet.wsgi.server(eventlet.listen((plan.HOST, port), backlog=1024), wsgi_app.app,
                         log_output=False)


{"gevent": by_gevent, "eventlet": by_eventlet}[sys.argv[1]](int(sys.argv[2]))
