"""Which service calls, as it says itself and proves: the header ``Strangler-Service``.

It is ``NAME~ISSUED~MAC``: the caller's name, Unix seconds, and an HMAC-SHA256 over both, the callee's name, the method
and the visitor's token that goes along. So it is good for half a minute, for one callee, and beside no other visitor.
The key is the caller's secret, which its callees have too: it proves to them who calls, and nothing to anybody else. A
pair of services that trusts no third has a secret of its own. The proxy lets the header through from nobody. Read
again by strangler_django.calling.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from strangler.service.errors import SettingRefused, Untrusted

HEADER: Final = "strangler-service"
MONOLITH: Final = "monolith"
"""The audience of a call to the monolith."""

LIFETIME: Final = 30
_MIN_SECRET: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_STATEMENT: Final = re.compile(r"([A-Za-z0-9_.-]{1,64})~([0-9]{1,12})~([0-9a-f]{64})")

_CURRENT: Final[ContextVar[str | None]] = ContextVar("strangler_service_calling", default=None)


def caller() -> str | None:
    """Return which service sent the request being answered; None is whoever comes through the proxy."""
    return _CURRENT.get()


@contextmanager
def calling(name: str | None) -> Iterator[None]:
    """Make ``name`` the caller inside the ``with``; the chassis does so around each request."""
    before = _CURRENT.set(name)
    try:
        yield
    finally:
        _CURRENT.reset(before)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Statement:
    """Says who we are to ``audience``: the name of a service, or ``monolith``. Raises ``SettingRefused`` when built."""

    name: str
    secret: str
    audience: str

    def __post_init__(self) -> None:
        _require(self.name, self.secret)

    def __repr__(self) -> str:
        return f"Statement({self.name!r} to {self.audience!r})"

    @classmethod
    def from_environment(cls, env: Mapping[str, str], audience: str) -> Statement | None:
        """Return it by ``STRANGLER_SERVICE`` and ``STRANGLER_SERVICE_SECRET`` (or ``..._FILE``), None without."""
        name, secret = env.get("STRANGLER_SERVICE", ""), _read(env, "STRANGLER_SERVICE_SECRET")
        return cls(name=name, secret=secret, audience=audience) if name or secret else None

    def header(self, method: str, voucher: str, now: float) -> str:
        """Return the header for a call with ``method`` for the visitor whose token is ``voucher``, empty for none."""
        issued = int(now)
        return f"{self.name}~{issued}~{_mac(self.secret, self.name, self.audience, issued, method, voucher)}"


class Callers:
    """Tells which service calls ``audience``, by the ``secrets`` of those that may; several while one is replaced."""

    def __init__(
        self, audience: str, secrets: Mapping[str, tuple[str, ...]], *, clock: Callable[[], float] = time.time
    ) -> None:
        for name, each in ((name, each) for name, found in secrets.items() for each in found):
            _require(name, each)
        self._audience = audience
        self._secrets = secrets
        self._clock = clock

    def __repr__(self) -> str:
        return f"Callers(of {self._audience!r}: {', '.join(sorted(self._secrets))})"

    @classmethod
    def from_environment(cls, env: Mapping[str, str], audience: str) -> Callers | None:
        """Return those in ``STRANGLER_CALLERS`` (or ``..._FILE``): NAME=SECRET by commas or lines, None without."""
        found: dict[str, tuple[str, ...]] = {}
        for each in re.split(r"[,\n]", _read(env, "STRANGLER_CALLERS")):
            if each.strip():
                name, _, secret = each.strip().partition("=")
                found[name] = (*found.get(name, ()), secret)
        return cls(audience, found) if found else None

    def verify(self, statement: str, method: str, voucher: str) -> str:
        """Return who sent ``statement`` with a request of ``method`` and ``voucher``. Raises ``Untrusted``."""
        match = _STATEMENT.fullmatch(statement)
        if match is None:
            raise Untrusted("what it says of the calling service is no statement")
        name, issued = match[1], int(match[2])
        macs = (_mac(each, name, self._audience, issued, method, voucher) for each in self._secrets.get(name, ()))
        if not any(hmac.compare_digest(mac, match[3]) for mac in macs):
            raise Untrusted(f"it says that {name} calls, and does not prove it")
        if abs(self._clock() - issued) > LIFETIME:
            raise Untrusted("its statement of the calling service has expired, or the clocks differ")
        return name


def _mac(secret: str, name: str, audience: str, issued: int, method: str, voucher: str) -> str:
    bound = sha256(voucher.encode("latin-1", "replace")).hexdigest()
    text = "\n".join(("strangler-service", name, audience, str(issued), method, bound))
    return hmac.new(secret.encode(), text.encode(), sha256).hexdigest()


def _require(name: str, secret: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise SettingRefused(f"a calling service is named {name!r}; write letters, digits, _ . and -, 64 at most")
    if len(secret.encode()) < _MIN_SECRET:
        found = len(secret.encode())
        raise SettingRefused(
            f"the secret of service {name} has {found} bytes; it wants at least {_MIN_SECRET} random ones"
        )


def _read(env: Mapping[str, str], name: str) -> str:
    path = env.get(f"{name}_FILE", "")
    if not path:
        return env.get(name, "")
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingRefused(f"{name}_FILE is {path!r}, and it cannot be read: {error.strerror}") from error
