"""Whether the owner's tables are what the others may be made after."""

from __future__ import annotations

from typing import Any

import pytest

from strangler.capability import WHOLE, Data, Move, Phase, Refused, Stack, Stage, State
from strangler.sync.fence import Claim
from strangler.sync.refilling import Seen, refuse

OWNS = State(
    stage=Stage.SERVICE,
    owner=Stack.SERVICE,
    share=WHOLE,
    data=Data.STREAMED,
    epoch=9,
    move=Move(epoch=7, source=Stack.MONOLITH, phase=Phase.DONE),
)


def claim(epoch: int = 7, *, raised: bool = False) -> Claim:
    return Claim(
        capability="books", epoch=epoch, owner=Stack.SERVICE, raised_on=epoch if raised else None, observing=False
    )


def seen(service: Claim | None, monolith: Claim | None, **more: Any) -> Seen:
    values = {"applied": 100, "confirmed": 100, "leads": True, **more}
    return Seen(claims={Stack.SERVICE: service, Stack.MONOLITH: monolith}, **values)


@pytest.mark.parametrize(
    "found",
    [
        seen(claim(), claim(raised=True)),
        seen(claim(), claim(epoch=2)),  # from before the cutover, and open
        seen(claim(), None),  # a new one
        seen(claim(), claim(), confirmed=None),  # its slot went with it
        seen(claim(), claim(), confirmed=90),
        seen(claim(), claim(), leads=False),  # the owner has failed over
        seen(claim(), claim(), applied=None, begun=True),  # a refill was cut short
    ],
)
def test_whoever_does_not_own_may_be_of_any_time(found: Seen) -> None:
    refuse(OWNS, found, accept_loss=False)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (seen(claim(epoch=10), claim()), "the service's database stands at epoch 10, and the ledger at 9"),
        (seen(claim(), claim(epoch=10)), "the monolith's database stands at epoch 10, and the ledger at 9"),
        (seen(None, claim()), "its database has no fence of it"),
        (seen(claim(raised=True), claim(raised=True)), "its database is fenced"),
        (seen(claim(epoch=2), claim()), "stands at epoch 2, before the 7 of the move"),
    ],
)
def test_an_owner_that_is_not_what_it_was_is_never_followed(found: Seen, why: str) -> None:
    for accept_loss in (False, True):
        with pytest.raises(Refused, match=why):
            refuse(OWNS, found, accept_loss=accept_loss)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (seen(claim(), claim(), confirmed=101), "it knows 0/64, and its slot is at 0/65"),
        (seen(claim(), claim(), applied=None, confirmed=None), "it knows nothing"),
        (seen(claim(), claim(), confirmed=None, leads=False), "neither stream has its slot any more"),
        (seen(claim(), claim(), doubt="it ends too early"), "put back itself, as it seems: it ends too early"),
    ],
)
def test_one_that_knows_less_than_was_confirmed_is_followed_only_at_a_loss_that_is_accepted(
    found: Seen, why: str
) -> None:
    with pytest.raises(Refused, match=why):
        refuse(OWNS, found, accept_loss=False)
    refuse(OWNS, found, accept_loss=True)
