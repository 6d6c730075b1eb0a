"""Whatever state a capability is in and whatever could not be looked at: what a playbook says may be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any, Final

import typer
from hypothesis import given, settings

from strangler.capability import (
    WHOLE,
    Clear,
    Command,
    CompleteSync,
    Data,
    ForceMove,
    Kill,
    Phase,
    RaiseFence,
    Refused,
    RefuseWrites,
    Retire,
    SetReads,
    Stack,
    Stage,
    StartMove,
    StartSync,
    State,
    StopSync,
    transit,
)
from strangler.cli import app
from strangler.cli.shell import parse_cohort, parse_share
from strangler.playbook import Facts, html, markdown, playbook
from tests.fixtures.playbooks import STATES, facts, healthy

ROOT: Any = typer.main.get_command(app)
_EXAMPLES = 200


def parsed(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the verb and what it is given, as the command line itself understands it, or refuses."""
    command, names = ROOT, list[str]()
    context = command.make_context("strangler", list(words))
    while hasattr(command, "commands"):
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        name, command, rest = command.resolve_command(context, rest)
        names.append(name)
        context = command.make_context(name, rest, parent=context)
    return " ".join(names), context.params


def asked(words: Sequence[str], state: State) -> Iterator[Command]:
    """Yield what a command line asks of the transition table in this state: what the verbs' own code would."""
    verb, given = parsed(words)
    if verb == "set":
        cohorts = dict(parse_cohort(each) for each in given["cohort"] or ())
        share = None if given["reads"] is None else parse_share(given["reads"])
        yield SetReads(share=share, cohorts=cohorts)
    elif verb == "kill":
        yield from _killed(given, state)
    elif verb in ("cutover", "rollback"):
        to = Stack.SERVICE if verb == "cutover" else Stack.MONOLITH
        assert state.owner is not to, f"{verb}, and the {to} owns already"
        assert state.moving is None
        yield ForceMove() if given.get("force") else StartMove()
    elif verb == "retire":
        if state.stage is not Stage.RETIRED:
            yield Retire(keep_copy=given["keep_copy"])
    elif verb == "resume":
        assert state.moving is not None or (state.move is not None and state.move.phase is Phase.BARRING)
    elif verb == "fence observe":
        assert state.is_streamed
        assert state.moving is None
    elif verb == "sync repair":
        assert state.is_streamed
        assert state.owner is Stack.MONOLITH
    else:
        yield from _PLAIN.get(verb, ())


_PLAIN: Final[Mapping[str, tuple[Command, ...]]] = {
    "sync start": (StartSync(),),
    "sync backfill": (CompleteSync(),),
    "sync remove": (StopSync(),),
    "fence raise": (RaiseFence(),),
    "sync refill": (RaiseFence(),),
}


def _killed(given: dict[str, Any], state: State) -> Iterator[Command]:
    if given["clear"]:
        yield Clear()
    elif given["read_only"]:
        yield RefuseWrites(reason="any", readers=Stack.SERVICE)
    else:
        yield Kill(reason="any")
        if state.owner is Stack.SERVICE and state.moving is None:
            yield StartMove()


def refused(found: Facts, state: State) -> list[str]:
    """Return each command of a playbook that the transition table refuses."""
    return [line for line, command in _commands(found, state) if not _passes(state, command)]


def _commands(found: Facts, state: State) -> Iterator[tuple[str, Command]]:
    for each in playbook(found).commands:
        for command in asked(shlex.split(each.line())[1:], state):
            yield each.line(), command


def _passes(state: State, command: Command) -> bool:
    try:
        transit(state, command)
    except Refused:
        return False
    return True


def test_of_no_state_at_all_a_command_is_said_that_the_transition_table_refuses() -> None:
    assert len(STATES) > 500
    assert [(state, lines) for state in STATES if (lines := refused(healthy(state), state))] == []


def test_from_every_state_that_is_not_an_end_there_is_a_command_or_a_move_to_wait_for() -> None:
    ends = [state for state in STATES if playbook(healthy(state)).step.typed is None]
    for state in ends:
        whole = state.data is Data.NONE and state.share == WHOLE
        assert whole or (state.owner is Stack.SERVICE and not state.is_streamed), state


@settings(max_examples=_EXAMPLES, deadline=None)
@given(facts())
def test_no_command_is_said_that_the_transition_table_refuses(found: Facts) -> None:
    assert found.state is None or refused(found, found.state) == []


@settings(max_examples=_EXAMPLES, deadline=None)
@given(facts())
def test_every_command_is_one_that_the_command_line_has(found: Facts) -> None:
    book = playbook(found)
    for each in book.commands:
        name, *words = shlex.split(book.line(each))
        assert (name, words[:2]) == ("strangler", ["--project", "a folder/strangler.toml"])
        _, given = parsed(words)
        assert given.get("capability") in (None, "books", ["books"])


@settings(max_examples=_EXAMPLES, deadline=None)
@given(facts())
def test_there_is_a_way_back_or_a_reason_why_there_is_none(found: Facts) -> None:
    book = playbook(found)
    assert book.back.says.strip()
    assert book.back.readers
    assert book.back.writers
    assert book.back.lost
    if book.back.typed is None:
        assert re.search(r"\b(no|none|nothing|not|already|back)\b", book.back.says), book.back.says


@settings(max_examples=_EXAMPLES, deadline=None)
@given(facts())
def test_a_next_step_says_what_it_does_and_what_can_go_wrong(found: Facts) -> None:
    book = playbook(found)
    assert book.step.title
    assert book.step.does
    assert book.signs
    if book.step.typed is None:
        assert book.step.key == "end"


@settings(max_examples=_EXAMPLES, deadline=None)
@given(facts())
def test_what_could_not_be_looked_at_is_named(found: Facts) -> None:
    book = playbook(found)
    assert [name for name, _ in book.unseen] == list(found.unseen)
    if "the ledger" in found.unseen:
        assert book.stage == "not known"
        assert {str(each.mark) for each in book.road} == {"unknown"}
        assert book.back.typed is None


class _Tags(HTMLParser):
    """Notes each element, and whatever would be loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.loaded: list[str] = []
        self.commands: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.loaded += [str(value) for name, value in attrs if name in ("src", "srcset", "data", "action")]
        if tag == "meta":
            return
        if tag == "pre":
            self.commands.append("")
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        if "pre" in self.open:
            self.commands[-1] += data

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@settings(max_examples=100, deadline=None)
@given(facts())
def test_a_page_is_whole_and_nothing_that_somebody_wrote_is_markup_in_it(found: Facts) -> None:
    book = playbook(found)
    page = html(book, "https://docs.example")
    tags = _Tags()
    tags.feed(page)
    tags.close()
    assert tags.open == []
    assert not tags.seen & {"script", "link", "img", "iframe", "object", "form"}
    assert tags.loaded == []
    assert sorted(tags.commands) == sorted(map(book.line, book.commands))
    assert not re.search(r"url\(|@import", page)


@settings(max_examples=100, deadline=None)
@given(facts())
def test_nothing_that_somebody_wrote_is_markup_in_markdown(found: Facts) -> None:
    text = markdown(playbook(found), "docs")
    assert "<script" not in text.replace("\\<script", "")
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# Playbook: books"]
    assert "\\# no heading" in text or "no heading" not in text
    assert "\n\n\n" not in text
