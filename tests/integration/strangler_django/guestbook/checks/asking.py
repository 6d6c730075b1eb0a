"""How the proxy asks, written down a second time: what it sends is part of the contract."""

from __future__ import annotations

import hmac
import json
import time
from hashlib import sha256
from typing import Any

SECRET = b"only for tests, and at least thirty-two bytes"
NONCE = "0123456789abcdef0123456789abcdef"
PATH = "/.strangler/identity/"


def signed(body: bytes, secret: bytes = SECRET, at: float | None = None, nonce: str = NONCE) -> dict[str, str]:
    """Return the headers of a question, as WSGI spells them."""
    seconds = str(int(time.time() if at is None else at))
    text = f"strangler-identity\nquestion\n{seconds}\n{nonce}\n{sha256(body).hexdigest()}"
    return {
        "HTTP_STRANGLER_ASKED_AT": seconds,
        "HTTP_STRANGLER_NONCE": nonce,
        "HTTP_STRANGLER_SIGNATURE": hmac.new(secret, text.encode(), sha256).hexdigest(),
    }


def post(client: Any, body: bytes, headers: dict[str, str]) -> Any:
    return client.post(PATH, body, content_type="application/json", **headers)


def ask(client: Any, session: str = "", authorization: str = "", permissions: tuple[str, ...] = ()) -> Any:
    """Return the identity that the monolith answers, having checked the answer's signature."""
    body = json.dumps({"session": session, "authorization": authorization, "permissions": permissions}).encode()
    response = post(client, body, signed(body))
    assert response.status_code == 200, response.content
    text = f"strangler-identity\nanswer\n\n{NONCE}\n{sha256(response.content).hexdigest()}"
    assert response["Strangler-Signature"] == hmac.new(SECRET, text.encode(), sha256).hexdigest()
    assert response["Cache-Control"] == "no-store"
    return response.json()["identity"]
