"""A kill while the owner moves and after it has moved, by the command line."""

from __future__ import annotations

import sys

import pytest
import typer

from strangler.capability import Stack
from strangler.cutover import conductor
from strangler.cutover.conductor import Performed
from strangler.cutover.protocol import End, Step
from strangler.ledger import Publisher
from strangler.routing.hold import Hold
from strangler.routing.table import unseal
from strangler.sync.syncing import Asked
from tests.fixtures.books import ALL, Shop
from tests.fixtures.command import Said
from tests.fixtures.moving import ADD, WHY, in_shadow, may, owners, same


def hold(shop: Shop) -> Hold | None:
    """Return what the routing table in force has the proxies do with writes."""
    with Publisher.open(shop.project) as publisher:
        newest = publisher.ledger.newest()
    assert newest is not None
    return unseal(newest.sealed, shop.project.control.keys().table).capabilities[0].hold


def stands(shop: Shop) -> tuple[str, int, str | None]:
    state = shop.state
    return state["owner"], state["share"], state["killed"]


@pytest.mark.parametrize("last", [Step.FENCE, Step.SWITCH])
def test_a_kill_during_a_cutover_leaves_the_monolith_as_the_owner(shop: Shop, last: Step) -> None:
    asked, said = Asked(capability="books", who="ann", reason="trying"), list[Said]()

    def told(step: Performed) -> None:
        if step.step is last and not said:
            said.append(shop.say("kill", "books", "--yes", "--reason", "smoke"))

    with in_shadow(shop), Publisher.open(shop.project) as publisher:
        moved = conductor.move(asked, shop.project, publisher, told=told)
        assert said[0][0] == 0, said
        assert moved.end is End.OVERTAKEN
        assert (owners(shop), *stands(shop)) == (["monolith"], "monolith", 0, "smoke")
        assert may(shop, Stack.MONOLITH, ADD.format(600, 600))
        same(shop, ALL)
        assert shop.say("kill", "books", "--clear", *WHY)[0] == 0
        assert shop.say("cutover", "books", *WHY)[0] == 0


def test_a_kill_after_a_cutover_asks_and_goes_back_with_all_that_was_written(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert shop.say("set", "books", "--reads", "50%", *WHY)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        code, out, err = shop.say("kill", "books", *WHY)
        assert (code, "A kill goes back: writes wait for 2 s at most" in out, "say --yes" in err) == (1, True, True)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr(typer, "confirm", lambda _: False)
        assert shop.say("kill", "books", *WHY)[0] == 1
        assert stands(shop) == ("service", 5_000, None)
        monkeypatch.setattr(typer, "confirm", lambda _: True)
        code, out, err = shop.say("kill", "books", *WHY)
        assert (code, err) == (0, "")
        assert "locks at the" not in out, "what is about comfort is not looked at"
        assert (owners(shop), *stands(shop)) == (["monolith"], "monolith", 0, "trying")
        same(shop, ALL)
        assert shop.pair.source("select id from book where id = 600") == [(600,)]


def test_a_kill_that_cannot_go_back_says_what_is_left_and_writes_can_be_refused(shop: Shop) -> None:
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
    code, _, err = shop.say("kill", "books", "--yes", *WHY)
    assert code == 1
    assert "books stays with its service: stream: nobody applies it" in err
    assert "strangler kill books --read-only" in err
    assert (hold(shop), stands(shop)) == (None, ("service", 10_000, None))
    assert "say one of --clear, --read-only and --force" in shop.say("kill", "books", "--read-only", "--clear", *WHY)[2]
    assert shop.say("kill", "books", "--read-only", "--yes", "--reason", "disk full")[0] == 0
    assert (hold(shop), stands(shop)) == (Hold(id=shop.state["epoch"], count=0), ("service", 10_000, None))
    assert "takes no writes: disk full" in shop.say("status")[1]
    assert "it takes no writes (disk full)" in shop.say("set", "books", "--reads", "50%", *WHY)[2]
    assert shop.say("kill", "books", "--clear", *WHY)[0] == 0
    assert (hold(shop), shop.state.get("read_only")) == (None, None)


def test_a_kill_of_what_the_monolith_owns_needs_neither_force_nor_a_copy_that_follows(shop: Shop) -> None:
    assert "a kill needs no force" in shop.say("kill", "books", "--force", *WHY)[2]
    assert "without --force nothing is lost" in shop.say("kill", "books", "--accept-loss", *WHY)[2]
    assert "writes cannot be refused in stage monolith" in shop.say("kill", "books", "--read-only", "--yes", *WHY)[2]
    assert shop.say("kill", "books", *WHY)[0] == 0
    assert stands(shop) == ("monolith", 0, "trying")
