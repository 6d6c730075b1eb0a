"""``python -m catalog_service migrate`` brings the database up to date, ``serve`` answers requests."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.resources import files

import psycopg

from catalog_service import app, settings
from strangler.service.calling import Callers
from strangler.service.database import Database
from strangler.service.errors import ChassisError
from strangler.service.log import RequestLog, configure
from strangler.service.schema import upgrade
from strangler.service.serve import Listen, serve


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        own = settings.read(os.environ)
        if asked.verb == "migrate":
            _migrate(own)
        else:
            _serve(own, asked)
    except (ChassisError, psycopg.OperationalError) as error:
        print(f"catalog: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="catalog_service", description="The catalog, as a service of its own.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("migrate", help="apply the SQL files that the database has not seen yet")
    running = verbs.add_parser("serve", help="answer requests until SIGTERM")
    running.add_argument("--listen", metavar="HOST:PORT", help="instead of CATALOG_LISTEN")
    running.add_argument("--request-log", metavar="FILE", help="instead of CATALOG_REQUEST_LOG; - is standard output")
    return parser


def _migrate(own: settings.Settings) -> None:
    applied = upgrade(own.database, files("catalog_service").joinpath("sql"))
    for name in applied:
        print(f"applied {name}")
    if not applied:
        print("nothing to apply")


def _serve(own: settings.Settings, asked: argparse.Namespace) -> None:
    configure(service="catalog", level=own.log_level)
    requests = RequestLog.opened(asked.request_log or own.request_log, service="catalog")
    database = Database(own.database, application="catalog", size=own.pool)
    callers = Callers.from_environment(os.environ, app.NAME)
    built = app.build(database, own.site, requests, callers)
    serve(built, Listen.parse(asked.listen) if asked.listen else own.listen)


if __name__ == "__main__":
    sys.exit(main())
