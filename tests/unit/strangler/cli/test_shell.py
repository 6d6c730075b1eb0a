from __future__ import annotations

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from strangler.capability import WHOLE, Data, Move, Phase, Stack, Stage, State
from strangler.cli.shell import parse_cohort, parse_duration, parse_share, show_owner, show_share


@given(st.integers(0, WHOLE))
def test_a_share_reads_back_as_it_is_shown(share: int) -> None:
    assert parse_share(show_share(share)) == share


@pytest.mark.parametrize(
    ("text", "share"), [("25%", 2_500), ("0.25 %", 25), ("100%", WHOLE), ("0%", 0), ("12.5%", 1_250)]
)
def test_a_share_is_said_in_percent(text: str, share: int) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["25", "101%", "-1%", "0.001%", "half", "", "1e2%", "٢٥%x"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="say it in percent"):
        parse_share(text)


def test_cohorts_and_durations() -> None:
    assert parse_cohort("beta=service") == ("beta", Stack.SERVICE)
    assert parse_cohort("beta=off") == ("beta", None)
    assert parse_duration("8h") == 28_800
    for text in ("beta", "beta=both", "=service"):
        with pytest.raises(typer.BadParameter):
            parse_cohort(text)
    for text in ("8", "8w", "-1h", ""):
        with pytest.raises(typer.BadParameter):
            parse_duration(text)


@pytest.mark.parametrize(
    ("phase", "shown"),
    [
        (None, "monolith"),
        (Phase.PREPARED, "monolith [yellow](to be the service)[/]"),
        (Phase.ABORTING, "monolith [yellow](going back)[/]"),
        (Phase.ABORTED, "monolith"),
    ],
)
def test_an_owner_that_is_being_moved_is_told(phase: Phase | None, shown: str) -> None:
    move = None if phase is None else Move(epoch=3, source=Stack.MONOLITH, phase=phase)
    assert show_owner(State(stage=Stage.SHADOW, data=Data.STREAMED, move=move)) == shown
