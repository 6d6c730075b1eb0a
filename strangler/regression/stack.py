"""A stack that answers somewhere, asked over real sockets."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Final, Protocol, Self
from urllib.parse import urlsplit

from strangler.parity.compare import Answer
from strangler.regression.case import Case

_TIMEOUT_S: Final = 20.0


class Unreachable(Exception):
    """A stack does not answer. Start it, or name the address where it does."""


class Credentials(Protocol):
    """How the stack ``name`` is told who asks: headers such as a cookie, or none."""

    def __call__(self, name: str, case: Case) -> Mapping[str, str]: ...


def nobody(name: str, case: Case) -> Mapping[str, str]:
    """Know no users."""
    if case.as_user is None:
        return {}
    raise ValueError(f"{case} asks as {case.as_user!r}, and no fixture `credentials` says how {name} is told that")


class Stack:
    """A stack at ``address`` (``http://HOST:PORT``), asked under a public name that is the same for all stacks.

    Answers hold absolute links to the name that was asked for; the same name makes them the same links.
    """

    def __init__(
        self, address: str, *, name: str, public_name: str | None = None, credentials: Credentials = nobody
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{name} is at {address!r}; an address such as http://127.0.0.1:8000 is wanted")
        self.name = name
        self.address = address
        self.public_name = public_name or parts.netloc
        self._credentials = credentials
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=_TIMEOUT_S)

    def connect(self) -> None:
        """See whether anybody listens. Raises ``Unreachable``."""
        try:
            self._connection.connect()
        except OSError as exc:
            raise self._unreachable("", exc) from exc

    def ask(self, case: Case) -> Answer:
        """Send the request, and return the answer. Raises ``Unreachable``."""
        if case.unsafe:
            self.close()  # a connection that is closed meanwhile must not make it a question whether it was done
        try:
            return self._asked(case)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as exc:
            # A server may close what was idle for long.
            self.close()
            if case.unsafe:
                raise self._unreachable(f" {case}", exc) from exc
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            raise self._unreachable(f" {case}", exc) from exc
        try:
            return self._asked(case)
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            raise self._unreachable(f" {case}", exc) from exc

    def _unreachable(self, what: str, exc: Exception) -> Unreachable:
        why = str(exc) or type(exc).__name__
        return Unreachable(f"{self.name} at {self.address} does not answer{what}: {why}; is it running there?")

    def _asked(self, case: Case) -> Answer:
        connection = self._connection
        connection.putrequest(case.method, case.target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers(case).items():
            connection.putheader(name, value.encode("latin-1", "replace") if not value.isascii() else value)
        connection.endheaders(case.content)
        response = connection.getresponse()
        headers = tuple((name.lower(), value) for name, value in response.getheaders())
        return Answer(status=response.status, headers=headers, body=response.read())

    def headers(self, case: Case) -> dict[str, str]:
        """Return all that is sent before the body: what the case says counts before what the stack adds."""
        said = case.all_headers
        added = {"Host": self.public_name, "User-Agent": "comparison", **self._credentials(self.name, case)}
        if case.content is not None:
            added["Content-Length"] = str(len(case.content))
        if "Cookie" in said and "Cookie" in added:
            said["Cookie"] = f"{added['Cookie']}; {said['Cookie']}"
        named = {name.lower() for name in said}
        return {name: value for name, value in added.items() if name.lower() not in named} | said

    def __repr__(self) -> str:
        return f"Stack({self.name} at {self.address})"

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
