"""uvicorn outside the main thread, which only waits. thread_app.py LOOP PORT"""

import signal
import sys
import threading

import plan
import uvicorn

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
server = uvicorn.Server(uvicorn.Config("fastapi_app:app", host=plan.HOST, port=int(sys.argv[2]),
                                       loop=sys.argv[1], log_level="warning"))
thread = threading.Thread(target=server.run)
thread.start()
signal.sigwait([signal.SIGTERM])
server.should_exit = True
thread.join()
