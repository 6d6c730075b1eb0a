"""Post to each address that is named, one after the other on one connection, and print the answers as JSON."""

from __future__ import annotations

import json
import sys

import django

if __name__ == "__main__":
    django.setup()
    from django.test import Client

    client = Client(raise_request_exception=False)
    answers = [client.post(address) for address in sys.argv[1:]]
    told = [
        {"status": each.status_code, "headers": dict(each.items()), "body": each.content.decode()} for each in answers
    ]
    sys.stdout.write(json.dumps(told))
