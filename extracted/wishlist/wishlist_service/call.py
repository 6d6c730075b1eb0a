"""A request of somebody whom the shop knows, with its body, once it is sure that no other site made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import cookie_parser
from starlette.types import Receive

from strangler.service import csrf
from strangler.service.answer import Refused
from strangler.service.asked import Asked
from strangler.service.identity import Identity

# A form of three fields, and room for what browsers and proxies add to it.
_MOST_BYTES: Final = 16 * 1024
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read whole, and who made it."""

    asked: Asked
    visitor: Identity
    body: bytes

    @property
    def form(self) -> Mapping[str, str]:
        """The fields of a form, the last of equal names counting; nothing when the body is none."""
        if _media_type(self.asked) != _FORM:
            return {}
        return _fields(self.body)

    def data(self) -> Any:
        """Return what was sent to the API, as JSON or as a form; raises ``Refused`` for anything else."""
        sent = _media_type(self.asked)
        if sent == _FORM:
            return _fields(self.body)
        if sent not in ("application/json", "") or (sent == "" and self.body):
            text = self.asked.headers.get("content-type", "")
            raise Refused(415, {"detail": f'Unsupported media type "{text}" in request.'})
        try:
            return json.loads(self.body) if self.body else {}
        except (ValueError, RecursionError) as error:
            raise Refused(400, {"detail": f"JSON parse error - {error}"}) from error

    def guard(self, site: csrf.Site) -> None:
        """Raise ``csrf.Forged`` when a browser may have been made to send this by another site."""
        if self.visitor.via != "session":
            return
        csrf.check(
            method=self.asked.method,
            headers=self.asked.headers,
            cookies=cookies(self.asked),
            secure=self.asked.scheme == "https",
            form_token=self.form.get(csrf.FIELD, ""),
            session=self.visitor.csrf,
            site=site,
        )


def cookies(asked: Asked) -> Mapping[str, str]:
    return cookie_parser(asked.headers.get("cookie", ""))


async def body_of(receive: Receive) -> bytes:
    """Return a request's body; raises ``Refused`` when it is longer than any that makes sense here."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _MOST_BYTES:
            raise Refused(413, {"detail": f"More than {_MOST_BYTES} bytes were sent."})
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return bytes(body)


def _media_type(asked: Asked) -> str:
    return asked.headers.get("content-type", "").partition(";")[0].strip().lower()


def _fields(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise Refused(400, {"detail": "There are too many fields."}) from error
