"""Tasks that make the calls, in the processes of a celery worker; redis is between."""

import os

import blocking
from celery import Celery

app = Celery("celery_app", broker="redis://127.0.0.1:%s/0" % os.environ.get("CTX_SIDE"))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task
def call(paths):
    for path in paths:
        blocking.slept(path)


def delay(paths):
    """One task for each call."""
    for path in paths:
        call.delay([path])
