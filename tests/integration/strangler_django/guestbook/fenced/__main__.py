"""Post to each address that is named, one after the other on one connection, and print the answers as JSON.

An address behind ``GET`` is asked for instead, and one behind ``ASYNC`` is posted to on a loop. Behind ``FORM`` its
query is the form that a browser sends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any
from urllib.parse import parse_qs

import django

if __name__ == "__main__":
    django.setup()
    from django.test import AsyncClient, Client

    client, on_loop = Client(raise_request_exception=False), AsyncClient(raise_request_exception=False)

    def ask(words: str) -> Any:
        method, _, address = words.rpartition(" ")
        if method == "ASYNC":
            return asyncio.run(on_loop.post(address))
        if method == "FORM":
            path, _, form = address.partition("?")
            return client.post(path, parse_qs(form, keep_blank_values=True), HTTP_ACCEPT="text/html")
        return client.get(address) if method == "GET" else client.post(address)

    answers = [ask(words) for words in sys.argv[1:]]
    told = [
        {"status": each.status_code, "headers": dict(each.items()), "body": each.content.decode()} for each in answers
    ]
    sys.stdout.write(json.dumps(told))
