"""A person who types what each playbook says next, one command after the other, from a ledger that is not there."""

from __future__ import annotations

import re
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fixtures.books import ALL, Shop
from tests.fixtures.command import printed_json
from tests.fixtures.moving import same

_PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "playbook.md"
_WEEK_LATER = "update strangler.observation set began_at = began_at - interval '8 days'"
_ROAD = [
    "publish --reason 'the files of books'",
    "sync start books --reason 'its tables are mapped'",
    "sync run",
    "sync backfill books --inline",
    "fence observe books --for 7d",
    "set books --reads 1% --reason '1 % of the readers'",
    "set books --reads 10% --reason '10 % of the readers'",
    "set books --reads 50% --reason '50 % of the readers'",
    "set books --reads 100% --reason '100 % of the readers'",
    "cutover books --reason 'its service has answered every reader well'",
    "retire books --reason 'nobody wants to go back any more'",
    "retire books --confirm",
]


@pytest.mark.slow
def test_each_next_command_succeeds_as_written_and_they_lead_to_the_end(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    control = shop.project.control.database.reveal()
    _run(control, "drop schema strangler cascade")
    typed: list[str] = []
    page = ""
    with ExitStack() as running:
        while (command := _next(shop)["command"]) is not None:
            assert len(typed) < 2 * len(_ROAD), typed
            if " cutover " in command:
                page = shop.say("playbook", "books")[1].replace(f" --project {shop.file}", "")
            typed.append(_type(shop, command, running))
            if typed[-1].startswith("fence observe"):
                _run(control, _WEEK_LATER)
            if typed[-1].startswith("cutover"):
                same(shop, ALL)
            monkeypatch.setenv("STRANGLER_WHO", "bob" if typed[-1].startswith("retire") else "ann")
    # A stream that has just begun is waited for: that is to look again, and no step of the road.
    assert [each for each in typed if each != "sync status books"] == _ROAD
    assert shop.stage == "retired"
    examples = re.findall(r"```markdown\n(.*?)```", _PAGE.read_text(), flags=re.DOTALL)
    assert [each for each in examples if _timeless(each) not in _timeless(page)] == [], page
    assert len(examples) == 2


def _timeless(text: str) -> str:
    """Return a page without its numbers and times."""
    return re.sub(r"\d[\d,.]*", "0", re.sub(r"(\d+ (d|h|min|s) ?)+ago", "0 s ago", text))


def _next(shop: Shop) -> Any:
    return printed_json(shop.say("playbook", "books", "--json"))["next"]


def _type(shop: Shop, command: str, running: ExitStack) -> str:
    """Type a command line as it is written; return what of it does not belong to this installation alone."""
    name, option, file, *words = shlex.split(command)
    assert (name, option, file) == ("strangler", "--project", str(shop.file))
    if words == ["sync", "run"]:
        running.enter_context(shop.running())
    else:
        said = shop.say(*words)
        assert said[0] == 0, (command, said)
    return shlex.join(words)


def _run(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())
