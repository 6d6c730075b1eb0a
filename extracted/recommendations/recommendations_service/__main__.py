"""``python -m recommendations_service serve`` answers requests; there is no database to ``migrate``."""

from __future__ import annotations

import argparse
import os
import sys

from recommendations_service import app, settings
from strangler.service.client import Client
from strangler.service.errors import ChassisError
from strangler.service.identity import Verifier
from strangler.service.log import RequestLog, configure
from strangler.service.serve import Listen, serve


def main(arguments: list[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        if asked.verb == "migrate":
            print("nothing to apply")
        else:
            _serve(settings.read(os.environ), asked)
    except ChassisError as error:
        print(f"recommendations: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="recommendations_service", description="Products like another one.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("migrate", help="do nothing: there is no database")
    running = verbs.add_parser("serve", help="answer requests until SIGTERM")
    running.add_argument("--listen", metavar="HOST:PORT", help="instead of RECOMMENDATIONS_LISTEN")
    running.add_argument("--request-log", metavar="FILE", help="instead of RECOMMENDATIONS_REQUEST_LOG")
    return parser


def _serve(own: settings.Settings, asked: argparse.Namespace) -> None:
    configure(service="recommendations", level=own.log_level)
    requests = RequestLog.opened(asked.request_log or own.request_log, service="recommendations")
    client = Client(own.catalog, caller="recommendations")
    chassis = app.build(client, own.site, requests, Verifier.from_environment(os.environ))
    serve(chassis, Listen.parse(asked.listen) if asked.listen else own.listen)


if __name__ == "__main__":
    sys.exit(main())
