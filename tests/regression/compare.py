"""One request to two stacks, and every difference that a client could see."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

# Headers that may differ on every answer, and why.
ALWAYS_EXEMPT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "date": "the moment of the answer",
        "server": "names the server software; the proxy decides what clients see",
        "connection": "belongs to one hop; the proxy has its own connection with the client",
        "keep-alive": "belongs to one hop",
        "transfer-encoding": "framing of one hop; the body is compared whole",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request to both stacks. ``exempt`` are headers that may differ here, each with its reason."""

    target: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    exempt: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        said = "".join(f" {name}:{value}" for name, value in self.headers.items())
        return f"{self.method} {self.target[:80]}{said[:60]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer as it came over the wire; header names in lower case, in the order of their names."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return dict(self.headers)[name]

    def json(self) -> Any:
        return json.loads(self.body)

    def without(self, exempt: Mapping[str, str]) -> Told:
        kept = tuple((name, value) for name, value in self.headers if name not in exempt)
        return Told(status=self.status, headers=kept, body=self.body)


class Stack:
    """A stack at a port of this machine, asked under a public name that is the same for all stacks."""

    def __init__(self, port: int, *, public_name: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._public_name = public_name

    def ask(self, case: Case) -> Told:
        connection = self._connection
        connection.putrequest(case.method, case.target, skip_host=True, skip_accept_encoding=True)
        headers = {"Host": self._public_name, "User-Agent": "comparison", **case.headers}
        if case.body is not None:
            headers["Content-Length"] = str(len(case.body))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(case.body)
        response = connection.getresponse()
        pairs = sorted((name.lower(), value) for name, value in response.getheaders())
        return Told(status=response.status, headers=tuple(pairs), body=response.read())

    def close(self) -> None:
        self._connection.close()


def differences(case: Case, monolith: Told, service: Told) -> list[str]:
    """Return what differs, one line each: status, headers, body."""
    exempt = {**ALWAYS_EXEMPT, **case.exempt}
    one, other = monolith.without(exempt), service.without(exempt)
    found = []
    if one.status != other.status:
        found.append(f"status: monolith {one.status}, service {other.status}")
    mine, theirs = dict(one.headers), dict(other.headers)
    if len(mine) != len(one.headers) or len(theirs) != len(other.headers):
        found.append(f"a header came twice: monolith {one.headers}, service {other.headers}")
    found += [
        f"{name}: monolith {mine.get(name)!r}, service {theirs.get(name)!r}"
        for name in sorted({*mine, *theirs})
        if mine.get(name) != theirs.get(name)
    ]
    if one.body != other.body:
        found.append(_body_difference(one.body, other.body))
    return found


def _body_difference(one: bytes, other: bytes) -> str:
    place = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    around = slice(max(0, place - 60), place + 60)
    same_data = _data(one) == _data(other) != b""
    return (
        f"body, from byte {place}{' (same JSON otherwise)' if same_data else ''}:\n"
        f"  monolith ...{one[around]!r}\n  service  ...{other[around]!r}"
    )


def _data(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return b""
