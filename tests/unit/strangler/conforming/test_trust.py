"""What answers tell of whom a service believes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from strangler.conforming.answer import Answer, Asked, Silence
from strangler.conforming.finding import Verdict
from strangler.conforming.tokens import VALID
from strangler.conforming.trust import Place, judge_identity

NOBODY = Answer(status=200, body=b"nobody")
SOMEBODY = Answer(status=200, body=b"somebody")
REFUSED = Answer(status=401, body=b"no")
LOG_IN = Answer(status=401, body=b"log in")
AWAY = Answer(status=503)


def place(
    anonymous: Asked = NOBODY,
    false: Asked = REFUSED,
    valid: Asked | None = SOMEBODY,
    *,
    again: Asked | None = None,
    claimed: Asked | None = None,
    after: Asked | None = None,
) -> Place:
    tokens: Mapping[str, Asked] = {"forged": false} | ({} if valid is None else {VALID: valid})
    return Place(
        target="/",
        anonymous=anonymous,
        again=again or anonymous,
        tokens=tokens,
        claimed=claimed or anonymous,
        after=after,
    )


def verdict(rule: str, *places: Place) -> Verdict:
    found = {each.rule: each.verdict for each in judge_identity(places)}
    return found[rule]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([place()], Verdict.PASS),
        ([place(valid=None)], Verdict.PASS),
        ([place(false=NOBODY, valid=NOBODY), place()], Verdict.PASS),  # one route cares, another does not
        ([place(false=SOMEBODY)], Verdict.FAIL),
        ([place(false=NOBODY)], Verdict.FAIL),  # taken for nobody, where somebody is known
        ([place(false=Answer(status=500))], Verdict.FAIL),
        ([place(), place(false=SOMEBODY)], Verdict.FAIL),
        ([place(false=NOBODY, valid=NOBODY)], Verdict.INCONCLUSIVE),  # nobody is told apart
        ([place(false=NOBODY, valid=None)], Verdict.INCONCLUSIVE),
        ([place(false=AWAY, valid=AWAY)], Verdict.INCONCLUSIVE),
        ([place(anonymous=LOG_IN, false=REFUSED)], Verdict.PASS),
        ([place(anonymous=LOG_IN, false=LOG_IN, valid=LOG_IN)], Verdict.INCONCLUSIVE),
        ([place(anonymous=LOG_IN, false=SOMEBODY)], Verdict.FAIL),
        # An answer that differs each time by itself is compared by its status.
        ([place(again=SOMEBODY, false=Answer(status=200, body=b"third"), valid=NOBODY)], Verdict.INCONCLUSIVE),
    ],
)
def test_a_forgery_is_refused_believed_or_nothing_is_seen(places: list[Place], expected: Verdict) -> None:
    assert verdict("identity.refused", *places) is expected


@pytest.mark.parametrize(
    ("valid", "expected"), [(SOMEBODY, Verdict.PASS), (REFUSED, Verdict.FAIL), (AWAY, Verdict.INCONCLUSIVE)]
)
def test_a_true_one_is_let_in(valid: Asked, expected: Verdict) -> None:
    assert verdict("identity.believed", place(valid=valid)) is expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (place(), Verdict.PASS),
        (place(after=NOBODY), Verdict.PASS),
        (place(after=SOMEBODY), Verdict.FAIL),
        (place(claimed=SOMEBODY), Verdict.FAIL),
        (place(claimed=Answer(status=500)), Verdict.FAIL),
    ],
)
def test_who_shows_nothing_is_nobody(found: Place, expected: Verdict) -> None:
    assert verdict("identity.absent", found) is expected


def test_with_nothing_to_ask_nothing_is_told() -> None:
    silent = place(anonymous=Silence(why="away"))
    assert verdict("identity.refused", silent) is Verdict.INCONCLUSIVE
    assert verdict("identity.believed", place(valid=None)) is Verdict.INCONCLUSIVE
