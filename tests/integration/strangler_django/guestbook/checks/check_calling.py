# mypy: disable-error-code="misc"
# ruff: noqa: PT009, PT027 -- run by Django's own runner, whose asserts explain what they found
from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

from django.core.exceptions import PermissionDenied
from django.test import RequestFactory, SimpleTestCase, override_settings

from strangler_django.calling import call

SECRET = "a secret of at least thirty-two bytes"


def voucher(expires: float) -> str:
    claims = json.dumps({"sub": "7", "exp": int(expires)}).encode()
    return f"e30.{urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


def statement(token: str, at: float, audience: str = "monolith", secret: str = SECRET) -> str:
    bound = sha256(token.encode()).hexdigest()
    text = f"strangler-service\nreviews\n{audience}\n{int(at)}\nGET\n{bound}"
    return f"reviews~{int(at)}~{hmac.new(secret.encode(), text.encode(), sha256).hexdigest()}"


def request(said: str | None, token: str = "") -> Any:
    headers = {"HTTP_STRANGLER_IDENTITY": token} if token else {}
    return RequestFactory().get("/", **{**headers, **({"HTTP_STRANGLER_SERVICE": said} if said is not None else {})})


@override_settings(STRANGLER_CALLERS={"reviews": SECRET})
class Calling(SimpleTestCase):
    def test_a_service_is_known_and_so_is_its_visitor(self) -> None:
        now = time.time()
        token = voucher(now + 30)
        self.assertEqual(call(request(statement(token, now), token)), ("reviews", "7"))
        self.assertEqual(call(request(statement("", now))), ("reviews", ""))
        self.assertIsNone(call(request(None, token)))

    def test_whoever_proves_nothing_is_refused(self) -> None:
        now = time.time()
        token, late = voucher(now + 30), voucher(now - 10)
        for said, shown in (
            ("", ""),
            ("nonsense", ""),
            (statement(token, now), ""),
            (statement("", now), token),
            (statement(token, now - 40), token),
            (statement(token, now, audience="lists"), token),
            (statement(token, now, secret="x" * 32), token),
            (statement(token, now).replace("reviews", "wishlist"), token),
            (statement(late, now), late),
            (statement("x", now), "x"),
        ):
            with self.assertRaises(PermissionDenied):
                call(request(said, shown))
