# mypy: disable-error-code="misc"
# ruff: noqa: PT009, PT027 -- run by Django's own runner, whose asserts explain what they found
"""Calls to an owner, against a server that does as it is told: each answer is one of a script, or none."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings

from strangler_django.calling import LIFETIME
from strangler_django.seam import OwnerRefused, OwnerUnreachable, call

SECRET = "a secret of at least thirty-two bytes"
FENCED = (503, {"capability": "books", "detail": "moves"}, {"Retry-After": "2"})
BUSY = (503, {"detail": "no database"}, {"Retry-After": "1"})
DONE: Any = (200, {"done": True}, {})
SILENT = None


class Script(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.asked.append((self.command, self.path, dict(self.headers.items()), body))
        step = server.script.pop(0)
        if step is SILENT:
            server.over.wait(20)
            self.close_connection = True
            return
        status, data, headers = step
        content = json.dumps(data).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_PUT = do_POST = do_GET = answer  # noqa: N815 -- the names that the server calls

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self.script: list[Any] = []
        self.asked: list[Any] = []
        self.over = threading.Event()
        super().__init__(*arguments)


class User:
    pk = 7


class Seam(SimpleTestCase):
    def setUp(self) -> None:
        self.server: Any = Server(("127.0.0.1", 0), Script)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.addCleanup(self.server.over.set)
        told = {"url": f"http://127.0.0.1:{self.server.server_port}/base/", "secret": SECRET}
        owned = override_settings(STRANGLER_OWNERS={"books": told, "nobody": {**told, "url": self.nobody()}})
        owned.enable()
        self.addCleanup(owned.disable)

    def nobody(self) -> str:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{sock.getsockname()[1]}"

    def ask(self, *script: Any, method: str = "PUT", **more: Any) -> Any:
        self.server.script[:] = script
        self.server.asked.clear()
        return call("books", method, "/internal/books/1/", json={"title": "Ü"}, **{"deadline_s": 1.0, **more})

    def test_a_call_says_who_makes_it_for_whom_and_until_when(self) -> None:
        self.assertEqual(self.ask(DONE, user=User(), key="rating-7"), (200, {"done": True}))
        [(method, path, headers, body)] = self.server.asked
        self.assertEqual((method, path, json.loads(body)), ("PUT", "/base/internal/books/1/", {"title": "Ü"}))
        self.assertEqual((headers["Strangler-Acting"], headers["Idempotency-Key"]), ("7", "rating-7"))
        self.assertTrue(0 < int(headers["Strangler-Deadline"]) <= 1000)
        name, issued, mac = headers["Strangler-Service"].split("~")
        self.assertEqual((name, len(mac)), ("monolith", 64))
        self.assertTrue(abs(time.time() - int(issued)) < LIFETIME)
        self.ask(DONE)
        self.assertNotIn("Strangler-Acting", self.server.asked[0][2])

    def test_what_was_refused_is_told_in_the_service_s_words(self) -> None:
        with self.assertRaises(OwnerRefused) as found:
            self.ask((409, {"detail": "there is one already"}, {}))
        self.assertEqual((found.exception.status, found.exception.problem), (409, {"detail": "there is one already"}))
        self.assertEqual(
            str(found.exception), "books's service answered 409 to PUT /internal/books/1/: there is one already"
        )
        with self.assertRaises(OwnerRefused):  # and never followed
            self.ask((302, {}, {"Location": "/elsewhere"}))

    def test_while_the_owner_moves_it_is_tried_again_with_the_same_key(self) -> None:
        for method in ("PUT", "POST"):
            self.assertEqual(self.ask(FENCED, DONE, method=method, deadline_s=5.0).status, 200)
            first, second = self.server.asked
            self.assertEqual(first[2]["Idempotency-Key"], second[2]["Idempotency-Key"])
        with self.assertRaises(OwnerRefused):
            self.ask(*[FENCED] * 20)

    def test_what_may_be_done_already_is_not_done_again(self) -> None:
        with self.assertRaises(OwnerRefused):
            self.ask(BUSY, DONE, method="POST")
        self.assertEqual(len(self.server.asked), 1)
        with self.assertRaises(OwnerUnreachable) as found:
            self.ask(SILENT, DONE, method="POST", deadline_s=0.3)
        self.assertEqual((len(self.server.asked), found.exception.maybe_done), (1, True))
        self.assertEqual(self.ask(BUSY, DONE, deadline_s=5.0).status, 200)
        self.assertEqual(self.ask(BUSY, DONE, method="POST", idempotent=True, deadline_s=5.0).status, 200)

    def test_nobody_who_listens_has_done_nothing(self) -> None:
        began = time.monotonic()
        with self.assertRaises(OwnerUnreachable) as found:
            call("nobody", "POST", "/", deadline_s=0.5)
        self.assertFalse(found.exception.maybe_done)
        self.assertTrue(time.monotonic() - began < 5)

    def test_what_is_amiss_with_the_settings_is_said(self) -> None:
        with tempfile.NamedTemporaryFile("w") as kept:
            kept.write("too short\n")
            kept.flush()
            for told, said in (
                ({}, "STRANGLER_OWNERS does not say how books's service is reached; there: none"),
                ({"books": {"url": "books:1", "secret": SECRET}}, "['url'] is 'books:1'; an address such as"),
                ({"books": {"url": "http://books:1"}}, "has a secret of 0 bytes; it wants at least 32"),
                ({"books": {"url": "http://books:1", "secret_file": kept.name}}, "has a secret of 9 bytes"),
                ({"books": {"url": "http://books:1", "secret_file": "/none"}}, "names /none, which cannot be read"),
            ):
                with override_settings(STRANGLER_OWNERS=told), self.assertRaises(ImproperlyConfigured) as found:
                    call("books", "GET", "/")
                self.assertIn(said, str(found.exception))
        for method, path in (("get", "/"), ("GET", "books"), ("GET", "/a b"), ("GET", "/\r\n")):
            with self.assertRaises(ValueError):
                call("books", method, path)
