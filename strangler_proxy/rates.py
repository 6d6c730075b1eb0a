"""How often a client may ask: pure, the caller brings the time.

The generic cell rate algorithm (ITU-T I.371, annex A) keeps one number a client: when its allowance will be whole
again. A request moves that by an interval, and is refused where it would lie further ahead than a burst takes. So in no
window of t seconds are there more than ``burst + t / interval`` requests, there is no edge at which a window begins
anew, and what is refused costs the client nothing.

Times are whole nanoseconds here, since "in 1.5 s" must be true when 1.5 s have passed; an interval that is none is
rounded up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from math import ceil
from typing import Final

from strangler.project.limits import By, Rate
from strangler_proxy.http1.head import RequestHead
from strangler_proxy.identity import credential_of

SECOND: Final = 1_000_000_000
# Some 12 MB a rate when full. Whoever comes from more addresses than that is not held up by counting addresses.
MOST_CLIENTS: Final = 65_536
_LONGEST: Final = 64  # an address has 45 characters; what a balancer passes on instead of one may have any number


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An interval in nanoseconds between two requests, and how many may come at once."""

    interval: int
    burst: int

    @classmethod
    def of(cls, rate: Rate) -> Policy:
        return cls(interval=ceil(rate.per * SECOND / rate.requests), burst=rate.burst or rate.requests)


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a request may come. ``whole`` is when the client's allowance is whole again, as it is after this."""

    allowed: bool
    wait: int  # nanoseconds until the next is allowed, 0 for at once
    left: int  # requests that may follow at once
    whole: int


def ask(policy: Policy, whole: int, now: int) -> Answer:
    """Return whether a request may come at ``now`` from a client whose allowance is whole again at ``whole``."""
    interval = policy.interval
    after = max(whole, now) + interval
    ahead = policy.burst * interval - (after - now)
    if ahead < 0:
        return Answer(False, -ahead, 0, whole)
    left = ahead // interval
    return Answer(True, 0 if left else interval - ahead, left, after)


class Meter:
    """One rate, and the clients that it remembers: those that came last. Whoever is forgotten begins anew."""

    __slots__ = ("_clients", "_most", "_notice", "_spent", "name", "policy", "promise", "rate")

    def __init__(self, rate: Rate, most: int = MOST_CLIENTS) -> None:
        self.rate = rate
        self.name = rate.name
        self.policy = Policy.of(rate)
        self.promise = b'"%b";q=%d;w=%d' % (rate.name.encode("ascii"), rate.requests, ceil(rate.per))
        # Since it was last taken, for those who count together.
        self._spent: dict[str, int] = {}
        self._notice: Callable[[], None] | None = None
        self._clients: dict[str, int] = {}  # the one that came last stands last
        self._most = most

    def __repr__(self) -> str:
        return f"Meter({self.promise.decode()}, clients={len(self._clients)})"

    def __len__(self) -> int:
        return len(self._clients)

    def counts(self, capability: str | None) -> bool:
        """Return whether requests of ``capability`` are counted here, as far as their method is."""
        return not self.rate.capability or self.rate.capability == capability

    def ask(self, client: str, now: int) -> Answer:
        """Return whether ``client`` may ask now; nothing changes."""
        return ask(self.policy, self._clients.get(client, 0), now)

    def spend(self, client: str, answer: Answer) -> None:
        """Note that the client did what ``answer`` allowed."""
        self._note(client, answer.whole)
        if self._notice is not None:
            self._spent[client] = self._spent.get(client, 0) + 1
            self._notice()

    def share(self, notice: Callable[[], None]) -> None:
        """Keep what clients spend to be taken, and call ``notice`` when there is something."""
        self._notice = notice

    def take(self) -> list[tuple[str, int]]:
        """Return how many requests of whom were let through since this was last asked."""
        spent, self._spent = self._spent, {}
        return list(spent.items())

    def learn(self, client: str, whole: int) -> None:
        """Note that the allowance of ``client`` is ``whole`` by what all have told, if that is later than was known.

        What was let through since it was taken, nobody else knows of yet.
        """
        whole += self._spent.get(client, 0) * self.policy.interval
        if whole > self._clients.get(client, 0):
            self._note(client, whole)

    def _note(self, client: str, whole: int) -> None:
        clients = self._clients
        clients.pop(client, None)
        clients[client] = whole
        if len(clients) > self._most:
            del clients[next(iter(clients))]


def client_of(rate: Rate, head: RequestHead, address: str, session_cookie: bytes) -> str:
    """Return what the sender of ``head`` is to ``rate``. A credential is told by its hash."""
    if rate.by is By.CREDENTIAL:
        credential = credential_of(head, session_cookie)
        if credential is not None:
            return credential.key.hex()
    address = address[:_LONGEST]
    return network_of(address) if ":" in address else address


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return the /64 of an IPv6 address: a subscriber has at least one of them (RFC 6177), and all its addresses."""
    try:
        return str(ip_network((int(IPv6Address(address.partition("%")[0])) >> 64 << 64, 64)))
    except ValueError:
        return address


def limit_lines(answers: list[tuple[Meter, Answer]], now: int) -> bytes:
    """Return the fields by which clients pace themselves (draft-ietf-httpapi-ratelimit-headers-10)."""
    policies = b", ".join([meter.promise for meter, _ in answers])
    states = b", ".join([_state(meter, answer, now) for meter, answer in answers])
    return b"RateLimit-Policy: %b\r\nRateLimit: %b\r\n" % (policies, states)


def _state(meter: Meter, answer: Answer, now: int) -> bytes:
    reset = ceil(max(0, answer.whole - now) / SECOND)
    return b'"%b";r=%d;t=%d' % (meter.name.encode("ascii"), answer.left, reset)
