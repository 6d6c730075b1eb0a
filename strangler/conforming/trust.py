"""Whether a service believes the proxy alone, judged by answers to the same request with and without an identity.

A service may not care who asks. Then nothing it answers differs, and whether it would believe a forgery cannot be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from strangler.conforming.answer import Answer, Asked
from strangler.conforming.finding import Finding, failed, passed, untold
from strangler.conforming.tokens import HEADER, VALID

CLAIMS: Final[Mapping[str, str]] = {
    "Remote-User": "admin",
    "X-Remote-User": "admin",
    "X-Forwarded-User": "admin",
    "X-Authenticated-User": "admin",
    "X-User": "admin",
    "X-User-Id": "1",
}
"""By which something in front says who asks elsewhere; the proxy lets them through from anybody."""
_CLOSED: Final = (401, 403)
_VERIFY = f"verify {HEADER} by the keys at /jwks.json, and answer 401 when it does not hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What was answered at ``target``: to nobody, twice; with each token; with ``CLAIMS``; and after a visitor."""

    target: str
    anonymous: Asked
    again: Asked
    tokens: Mapping[str, Asked]
    claimed: Asked
    after: Asked | None = None

    def same(self, came: Asked) -> bool:
        """Return whether ``came`` is what nobody is answered; bodies count where they do not change by themselves."""
        usual, again = self.anonymous, self.again
        if not (isinstance(usual, Answer) and isinstance(again, Answer) and isinstance(came, Answer)):
            return False
        return usual.status == came.status and (usual.body == came.body or not usual.is_like(again))

    @property
    def knows(self) -> bool:
        """Whether a visitor is answered otherwise than nobody."""
        valid = self.tokens.get(VALID)
        return isinstance(valid, Answer) and valid.status not in (401, 503) and not self.same(valid)


def judge_identity(places: Sequence[Place]) -> Iterator[Finding]:
    """Say of each token whether it is refused, or believed, as it should be."""
    asked = [each for each in places if isinstance(each.anonymous, Answer) and isinstance(each.again, Answer)]
    if not asked:
        yield untold("identity.refused", "nothing", "there is no GET to ask with", "document one")
        return
    kinds = list(asked[0].tokens)
    yield from _together({kind: _judge_false(kind, asked) for kind in kinds if kind != VALID}, asked)
    if VALID in kinds:
        yield _judge_true(asked)
    else:
        told = "the installation's secret, or the package joserfc, is not here"
        yield untold("identity.believed", "nothing", told, "run it where strangler.toml's secret can be read")
    yield _judge_absent(asked)


def _together(found: Mapping[str, Finding], places: Sequence[Place]) -> Iterator[Finding]:
    """Yield one finding for all kinds of token that fared alike."""
    alike: dict[Finding, list[str]] = {}
    for kind, finding in found.items():
        alike.setdefault(finding, []).append(kind)
    for finding, kinds in alike.items():
        yield replace(finding, asked=f"{_shown(places)} with an identity that is {', or '.join(kinds)}")


def _judge_false(kind: str, places: Sequence[Place]) -> Finding:
    rule, asked = "identity.refused", ""
    came = [(each, each.tokens[kind]) for each in places]
    for place, answer in came:
        if isinstance(answer, Answer) and answer.status >= 500 and answer.status != 503:
            return failed(rule, asked, f"{answer} at {place.target}", _VERIFY)
        if _is_believed(place, answer):
            return failed(rule, asked, f"{answer} at {place.target}, where nobody gets {place.anonymous}", _VERIFY)
    if any(_is_refused(place, answer) for place, answer in came):
        return passed(rule, asked, "401")
    if any(isinstance(answer, Answer) and answer.status == 503 for _, answer in came):
        return untold(rule, asked, "503: it has no keys to verify with", "let STRANGLER_JWKS name the proxy's keys")
    if any(place.knows for place in places):
        return failed(rule, asked, "it is taken for nobody", _VERIFY)
    return untold(rule, asked, "as nobody is answered: no answer here depends on who asks")


def _shown(places: Sequence[Place]) -> str:
    return f"{len(places)} GETs (such as {places[0].target})"


def _is_believed(place: Place, answer: Asked) -> bool:
    return isinstance(answer, Answer) and answer.status not in (401, 403, 503) and not place.same(answer)


def _is_refused(place: Place, answer: Asked) -> bool:
    if not isinstance(answer, Answer) or answer.status != 401:
        return False
    return _status(place.anonymous) != 401 or _status(place.tokens.get(VALID)) not in (None, 401)


def _status(came: Asked | None) -> int | None:
    return came.status if isinstance(came, Answer) else None


def _judge_true(places: Sequence[Place]) -> Finding:
    rule, asked = "identity.believed", f"{places[0].target} with an identity that the proxy's key signed"
    statuses = [_status(each.tokens[VALID]) for each in places]
    if all(status == 401 for status in statuses):
        return failed(rule, asked, "401 everywhere", "let it have the proxy's public keys: STRANGLER_JWKS")
    if 503 in statuses:
        return untold(rule, asked, "503: it has no keys to verify with", "let STRANGLER_JWKS name the proxy's keys")
    return passed(rule, asked, "it is let in")


def _judge_absent(places: Sequence[Place]) -> Finding:
    rule = "identity.absent"
    asked = f"{_shown(places)} without an identity, and with {', '.join(CLAIMS)}"
    for place in places:
        if not place.same(place.claimed):
            told = f"{place.claimed} at {place.target}, where nobody gets {place.anonymous}"
            return failed(rule, asked, told, f"believe {HEADER} alone")
        if place.after is not None and not place.same(place.after):
            told = f"{place.after} at {place.target} on a connection that a visitor's request came on before"
            return failed(rule, asked, told, "ask each request who sent it: the proxy's connections carry everybody's")
    return passed(rule, asked, "nobody is a visitor")
