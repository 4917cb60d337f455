"""Django: async views for the clients that wait, sync views for those that block."""

import asyncio
import os

import blocking
import plan
import waiting
from asgiref.sync import sync_to_async
from django.conf import settings

settings.configure(DEBUG=False, SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF="django_app",
                   MIDDLEWARE=["django.middleware.common.CommonMiddleware"], LOGGING_CONFIG=None)

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import re_path  # noqa: E402


def respond(status, text):
    return HttpResponse(text, status=status, content_type="text/plain")


def blocking_view(request):
    return respond(*blocking.answer(request.path))


def endpoint(request, ident):
    """A sync view: under ASGI Django calls it in a thread."""
    blocking.CLIENTS["requests"](plan.paths("endpoint", ident))
    return respond(200, plan.body("endpoint", ident))


async def in_threads(request, ident):
    paths = plan.paths("sync_to_async", ident)
    await asyncio.gather(*(sync_to_async(blocking.slept)(path) for path in paths[1:]))
    await sync_to_async(blocking.slept, thread_sensitive=False)(paths[0])
    return respond(200, plan.body("sync_to_async", ident))


async def waiting_view(request):
    return respond(*await waiting.answer(request.path))


if os.environ.get("CTX_WSGI"):
    blocking.early_workers()
    urlpatterns = [re_path("", blocking_view)]
else:
    urlpatterns = [re_path("^w/endpoint/(.*)", endpoint),
                   re_path("^w/sync_to_async/(.*)", in_threads), re_path("", waiting_view)]

asgi = get_asgi_application()
wsgi = get_wsgi_application()
