"""`python -m reviews_service migrate` brings the database up to date, `serve` answers requests."""

import argparse
import json
import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import OperationalError

from strangler.service.errors import ChassisError, SettingRefused
from strangler.service.log import configure
from strangler.service.serve import Listen


def main(arguments=None):
    os.environ["DJANGO_SETTINGS_MODULE"] = "reviews_service.settings"
    asked = _parser().parse_args(arguments)
    try:
        asked.verb(asked)
    except (ChassisError, ImproperlyConfigured, OperationalError) as error:
        print(f"reviews: {error}", file=sys.stderr)
        return 1
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="reviews_service", description="The reviews, as a service of their own.")
    verbs = parser.add_subparsers(required=True)
    verbs.add_parser("migrate", help="apply the migrations that the database has not seen yet").set_defaults(
        verb=_migrate
    )
    verbs.add_parser("document", help="print the OpenAPI document").set_defaults(verb=_document)
    running = verbs.add_parser("serve", help="answer requests until SIGTERM")
    running.add_argument("--listen", metavar="HOST:PORT", help="instead of REVIEWS_LISTEN")
    running.add_argument("--request-log", metavar="FILE", help="instead of REVIEWS_REQUEST_LOG; - is standard output")
    running.set_defaults(verb=_serve)
    return parser


def _migrate(asked):
    import django

    django.setup()
    call_command("migrate")


def _document(asked):
    import django

    django.setup()
    from reviews_service.pages import PAGES
    from shop.document import Generator

    document = Generator().get_schema(request=None, public=True)
    print(json.dumps({**document, "paths": {**document["paths"], **PAGES}}, indent=2, ensure_ascii=False))


def _serve(asked):
    listen = Listen.parse(asked.listen or os.environ.get("REVIEWS_LISTEN", "127.0.0.1:8102"))
    if asked.request_log:
        os.environ["REVIEWS_REQUEST_LOG"] = asked.request_log
    configure(service="reviews", level=_level(os.environ.get("LOG_LEVEL", "INFO")))
    threads = _threads(os.environ.get("REVIEWS_THREADS", "8"))
    # Here rather than in a worker: what is wrong with a setting is said once.
    from reviews_service.serving import Server
    from reviews_service.wsgi import application

    Server(application, listen, threads).run()


def _level(text):
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SettingRefused(f"LOG_LEVEL is {text!r}; write DEBUG, INFO, WARNING or ERROR")
    return text.upper()


def _threads(text):
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise SettingRefused(f"REVIEWS_THREADS is {text!r}; write a whole number from 1 to 100")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
