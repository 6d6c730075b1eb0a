"""What needs no database of a service's reactions; the queue itself is in the tests on a real one."""

from __future__ import annotations

from dataclasses import fields
from types import ModuleType

import pytest

import strangler_django.reactions as in_django
from strangler.service import reacting

# What each has that the other has elsewhere, or not at all.
APART = {"_LATER", "_LOOK_S", "_AWAY_S", "DEFAULT_DB_ALIAS"}


def constants(module: ModuleType) -> dict[str, object]:
    found = {
        name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, str | int | float)
    }
    return {name: value for name, value in found.items() if name not in APART}


def test_both_runners_say_the_same_to_the_queue() -> None:
    assert constants(reacting) == constants(in_django)
    assert "_NEXT" in constants(reacting)


def test_both_runners_tell_a_change_alike() -> None:
    assert tuple(each.name for each in fields(reacting.Change)) == in_django.Change._fields
    row = (7, "books", "shelf", "book", "insert", '{"id": 1}', None, '{"price": 1.10, "at": "2026-01-01"}')
    ours, theirs = reacting._change(row), in_django._change(row)
    assert tuple(getattr(ours, each.name) for each in fields(ours)) == tuple(theirs)
    assert (ours.token, theirs.token) == ("shelf-7", "shelf-7")


def test_both_runners_rest_alike() -> None:
    tries = (1, 2, 3, 7, 8, 10_000)
    assert [reacting.pause(each) for each in tries] == [0.5, 1.0, 2.0, 32.0, 60.0, 60.0]
    assert [in_django.pause(each) for each in tries] == [reacting.pause(each) for each in tries]


@pytest.mark.parametrize(
    "error", [ValueError("no\0 she\ud800lf\nand more"), ValueError("no shelf" * 100), ValueError()]
)
def test_both_runners_keep_what_can_be_kept_of_an_error(error: Exception) -> None:
    told = reacting._line(error)
    assert told == in_django._line(error)
    assert (len(told) <= 300, told.encode()[:10], "\0" in told) == (True, b"ValueError", False)
