"""The password of a sync's role is changed while its streams run."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import scalar_row

from strangler.local import Postgres
from tests.fixtures.books import ALL, Shop
from tests.fixtures.moving import ADD, in_shadow, same
from tests.fixtures.waiting import until

ENDED = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = %s and pid <> pg_backend_pid()"


def test_streams_go_on_and_who_reads_the_new_one_misses_nothing(shop: Shop, postgres: Postgres) -> None:
    url = shop.pair.forward.source_url
    role = str(conninfo_to_dict(url)["user"])
    with psycopg.connect(postgres.url(), autocommit=True, row_factory=scalar_row) as administrator:
        with psycopg.connect(url, autocommit=True) as application, in_shadow(shop):
            administrator.execute(f"alter role \"{role}\" password 'another'")
            application.execute(ADD.format(600, 600).encode())
            until(
                lambda: (600,) in shop.pair.target("select id from book where id >= 600"), "its session is open still"
            )
        assert "password authentication failed" in " ".join(shop.say("sync", "status")[1].split())
        env = shop.file.parent / "env"
        env.write_text(env.read_text().replace(url, renewed(url)))
        with shop.running(), psycopg.connect(renewed(url), autocommit=True) as application:
            application.execute(ADD.format(601, 601).encode())
            until(lambda: (601,) in shop.pair.target("select id from book where id >= 600"), "it goes on")
            administrator.execute(ENDED, [role])
            with psycopg.connect(renewed(url), autocommit=True) as again:
                again.execute(ADD.format(602, 602).encode())
            until(lambda: (602,) in shop.pair.target("select id from book where id >= 600"), "it begins anew", 20)
        administrator.execute(f"alter role \"{role}\" password 'tests only'")
    same(shop, ALL)


def renewed(url: str) -> str:
    return url.replace("tests%20only", "another")
