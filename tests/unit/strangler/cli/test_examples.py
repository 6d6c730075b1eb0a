from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from strangler.cli import app
from strangler.cli.examples import EXAMPLES, PANELS

ROOT: Any = typer.main.get_command(app)


def leaves(command: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each verb, with its group's name before it."""
    for word, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from leaves(inner, f"{above}{word} ")
        else:
            yield f"{above}{word}", inner


VERBS = dict(leaves(ROOT))


def test_every_verb_has_an_example_and_a_place() -> None:
    assert set(EXAMPLES) == set(VERBS)
    assert set(PANELS) == set(ROOT.commands)


@pytest.mark.parametrize(("verb", "example"), [(verb, each) for verb, lines in EXAMPLES.items() for each in lines])
def test_an_example_is_what_its_verb_takes(verb: str, example: str) -> None:
    assert f"{example} ".startswith(f"{verb} ")
    with ROOT.make_context("strangler", ["status"]) as root:
        VERBS[verb].make_context(verb, shlex.split(example.removeprefix(verb)), parent=root)


def test_an_option_that_no_verb_takes_would_be_noticed() -> None:
    with ROOT.make_context("strangler", ["status"]) as root, pytest.raises(Exception, match="No such option: --chunk"):
        VERBS["sync status"].make_context("sync status", ["--chunk"], parent=root)


@pytest.mark.parametrize("verb", list(VERBS))
def test_an_argument_is_named_in_one_pair_of_brackets(verb: str) -> None:
    with ROOT.make_context("strangler", ["status"]) as root:
        context = VERBS[verb].make_context(verb, [], parent=root, resilient_parsing=True)
        usage = VERBS[verb].get_usage(context)
    assert "[[" not in usage
    assert "......" not in usage
    assert usage == usage.replace("[capability]", "")
