"""A request that both stacks must answer alike."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from strangler.parity.exempt import Exemption, declared

_SHOWN_BODY: Final = 2000
T = TypeVar("T")


class Via(StrEnum):
    """How a user says who they are."""

    SESSION = "session"
    TOKEN = "token"  # noqa: S105 - the name of a way


@dataclass(frozen=True, slots=True)
class Json:
    """A body of JSON."""

    value: Any
    media_type: str = "application/json"

    def encoded(self) -> tuple[str, bytes]:
        """Return the content type and the bytes."""
        return self.media_type, json.dumps(self.value, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Form:
    """A form's fields as browsers send them; a sequence of pairs where a name comes twice."""

    fields: Mapping[str, str] | Sequence[tuple[str, str]]

    def encoded(self) -> tuple[str, bytes]:
        return "application/x-www-form-urlencoded", urlencode(_pairs(self.fields)).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file in a form."""

    name: str
    content: bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Multipart:
    """A form with files (RFC 7578); a sequence of pairs where a name comes twice."""

    fields: Mapping[str, str | File] | Sequence[tuple[str, str | File]]

    def encoded(self) -> tuple[str, bytes]:
        parts = [_part(name, value) for name, value in _pairs(self.fields)]
        # The same form is the same bytes, in every run: nothing random in what is compared.
        boundary = sha256(b"".join(parts)).hexdigest()[:32]
        opened = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts)
        return f"multipart/form-data; boundary={boundary}", opened + b"--%b--\r\n" % boundary.encode()


def _pairs(fields: Mapping[str, T] | Sequence[tuple[str, T]]) -> Sequence[tuple[str, T]]:
    return tuple(fields.items()) if isinstance(fields, Mapping) else fields


def _part(name: str, value: str | File) -> bytes:
    if isinstance(value, str):
        return b'Content-Disposition: form-data; name="%b"\r\n\r\n%b' % (_quoted(name), value.encode())
    return b'Content-Disposition: form-data; name="%b"; filename="%b"\r\nContent-Type: %b\r\n\r\n%b' % (
        _quoted(name), _quoted(value.name), value.media_type.encode(), value.content,
    )  # fmt: skip


def _quoted(text: str) -> bytes:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A").encode()


Body = bytes | Json | Form | Multipart


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request. ``exempt`` is what may differ between the answers to it, each with its reason.

    ``target`` is sent as it is written, path and query. ``as_user`` is who asks; how a stack is told is up to the
    ``credentials`` of the stack. None is nobody in particular.
    """

    target: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    exempt: Mapping[str, str] = field(default_factory=dict)
    as_user: str | None = None
    via: Via = Via.SESSION

    def __post_init__(self) -> None:
        if not self.target.startswith("/") and self.target != "*":
            raise ValueError(f"target {self.target!r} does not start with /")
        declared(self.exempt)

    def __str__(self) -> str:
        said = "".join(f" {name}:{value}" for name, value in self.headers.items())
        by = f" as {self.as_user}" if self.as_user else ""
        return f"{self.method} {self.target[:80]}{by}{said[:60]}"

    @property
    def exemptions(self) -> tuple[Exemption, ...]:
        return declared(self.exempt)

    @property
    def unsafe(self) -> bool:
        """Whether it may change something (RFC 9110, section 9.2.1)."""
        return self.method not in ("GET", "HEAD", "OPTIONS", "TRACE")

    @property
    def content(self) -> bytes | None:
        """The body's bytes."""
        return self.body if self.body is None or isinstance(self.body, bytes) else self.body.encoded()[1]

    @property
    def all_headers(self) -> dict[str, str]:
        """The headers, with the content type of the body where none is given."""
        named = {name.lower() for name in self.headers}
        if self.body is None or isinstance(self.body, bytes) or "content-type" in named:
            return dict(self.headers)
        return {"Content-Type": self.body.encoded()[0], **self.headers}

    def curl(self, address: str, extra: Mapping[str, str] | None = None) -> str:
        """Return the command that asks the same of ``address``; nothing secret belongs in ``extra``."""
        words = ["curl", "-i", "--path-as-is"]
        words += ["-I"] if self.method == "HEAD" else ["-X", self.method] if self.method != "GET" else []
        for name, value in {**(extra or {}), **self.all_headers}.items():
            words += ["-H", f"{name}: {value}" if value else f"{name};"]
        if self.content is not None:
            words += ["--data-binary", self.content[:_SHOWN_BODY].decode("utf-8", "backslashreplace")]
        return shlex.join([*words, f"{address.rstrip('/')}{self.target}"])
