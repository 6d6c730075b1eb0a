"""After a whole life and what the page says nothing is left; a ledger of the release before is brought up to date."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from redis import Redis

from strangler.local import Postgres
from tests.fixtures.books import ALL, Shop
from tests.fixtures.moving import WHY, in_shadow, same, write
from tests.fixtures.runbook import Section, Typed, runs, sections
from tests.fixtures.waiting import until

PAGE: Final = "upgrade-uninstall"
CLAIMED: Final[set[Section]] = set()
SERVERS: Final = """
select (select count(*) from pg_replication_slots where database = current_database()),
  (select count(*) from pg_replication_origin where roname like 'strangler_books%')
"""


@pytest.fixture
def typed(request: pytest.FixtureRequest) -> Iterator[Typed]:
    """A person at a terminal, who is to type every command of the sections that the test has claimed."""
    found = Typed(request.param)
    yield found
    assert found.left == []


def schema(server: Postgres, url: str) -> str:
    """Return all that is defined in a database."""
    name = str(conninfo_to_dict(url)["dbname"])
    dump = [server.program("pg_dump"), "--schema-only", server.url(name)]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    return re.sub(r"^\\(un)?restrict .*$", "", text, flags=re.MULTILINE)  # a word that differs each time


def both(shop: Shop, server: Postgres) -> tuple[str, str]:
    return schema(server, shop.pair.forward.source_url), schema(server, shop.pair.forward.target_url)


@runs(CLAIMED, (PAGE, "Uninstall"))
def test_nothing_is_left_but_what_was_there(shop: Shop, postgres: Postgres, typed: Typed) -> None:
    before = both(shop, postgres)
    rollback, reads, remove, status = typed.of(PAGE, "Uninstall")
    with in_shadow(shop):
        assert shop.say("set", "books", "--reads", "10%", *WHY)[0] == 0
        assert shop.say("fence", "observe", "books")[0] == 0
        until(lambda: shop.say("cutover", "books", "--unobserved", *WHY)[0] == 0, "the owner moves")
        write(shop, 600)
        same(shop, ALL)
        for command in (rollback, reads, remove):
            assert typed(shop, command)[0] == 0, command
    assert "not begun" in typed(shop, status)[1]
    assert both(shop, postgres) == before
    assert shop.pair.source(SERVERS) == shop.pair.target(SERVERS) == [(0, 0)]
    _the_rest(shop)


def _the_rest(shop: Shop) -> None:
    control, redis = shop.project.control.database.reveal(), shop.project.control.redis.reveal()
    assert control is not None
    assert redis is not None
    [drop] = re.findall(r"^drop schema .*$", sections(PAGE)["Uninstall"], flags=re.MULTILINE)
    with psycopg.connect(control) as connection:
        connection.execute(drop.encode())
        assert connection.execute("select nspname from pg_namespace where nspname ~ 'strangler'").fetchall() == []
    with Redis.from_url(redis) as client:
        for key in client.scan_iter("strangler:*"):
            client.delete(key)
        assert [key for key in client.scan_iter() if b"strangler" in key] == []


@runs(CLAIMED, (PAGE, "Upgrade"))
def test_a_ledger_of_the_release_before_goes_on_and_is_brought_up_to_date(shop: Shop, typed: Typed) -> None:
    publish, check, status = typed.of(PAGE, "Upgrade")
    control = shop.project.control.database.reveal()
    assert control is not None
    with psycopg.connect(control, autocommit=True) as connection:
        connection.execute("drop table strangler.proposal")
        connection.execute("delete from strangler.upgrade where name = '0008_approvals.sql'")
        with in_shadow(shop):
            assert typed(shop, status)[0] == 0
            until(lambda: shop.say("cutover", "books", *WHY)[0] == 0, "the owner moves")
            code, _, refused = shop.say("retire", "books", *WHY)
            assert (code, "or one of a release before; run: strangler publish" in refused) == (1, True)
            before = shop.state
            assert typed(shop, publish)[0] == 0
            assert shop.state == before
            assert shop.say("retire", "books", *WHY)[0] == 0
        assert connection.execute("select count(*) from strangler.proposal").fetchone() == (1,)
    typed(shop, check)
