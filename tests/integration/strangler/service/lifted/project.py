"""A Django project that was lifted out of another: no sessions, nobody logs in, and the chassis around it."""

from __future__ import annotations

import os
import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server

import django
from django.conf import settings

from strangler.service.django import database_check, database_position
from strangler.service.identity import Verifier
from strangler.service.wsgi import Chassis

HOST, PORT, NAME, USER, PASSWORD = sys.argv[1:]

settings.configure(
    SECRET_KEY="only for tests, and nobody else's",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="views",
    INSTALLED_APPS=["people", "django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    AUTH_USER_MODEL="people.Person",
    LOGIN_URL="/elsewhere/login/",
    MIDDLEWARE=[
        "strangler.service.django.RouteMiddleware",
        "strangler.service.django.IdentityMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [
            "strangler.service.drf.TokenIdentity",
            "rest_framework.authentication.SessionAuthentication",
        ],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": HOST,
            "PORT": PORT,
            "NAME": NAME,
            "USER": USER,
            "PASSWORD": PASSWORD,
        }
    },
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402

chassis = Chassis(
    get_wsgi_application(),
    name="lifted",
    openapi={"openapi": "3.1.0"},
    checks={"database": database_check()},
    identity=Verifier.from_environment(os.environ),
    position=database_position(),
)


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


with make_server("127.0.0.1", 0, chassis, Threads) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
