from __future__ import annotations

from dataclasses import replace

from strangler.sync.holding import OLD_S, Held, Holder, Holders

HIDDEN = Holder(
    xid=7, pid=42, gid=None, database="shop", user="app", application="web", open_s=None, state=None, query=None
)
KNOWN = replace(HIDDEN, xid=8, pid=43, open_s=99.0, state="active", query="delete from book")


def test_the_age_is_that_of_the_oldest_which_is_known() -> None:
    assert Held().oldest_s == 0.0
    assert Held(count=1, by=(HIDDEN,)).oldest_s is None
    assert Held(count=3, by=(HIDDEN, KNOWN, replace(KNOWN, open_s=40.0))).oldest_s == 99.0


def test_one_that_is_hidden_is_told_when_it_was_watched_for_long_and_each_is_told_once() -> None:
    told: list[str] = []
    holders = Holders(told.append)
    both = Held(count=2, by=(HIDDEN, KNOWN), grant="grant pg_read_all_stats to sync")
    for now in (100.0, 99.9 + OLD_S, 100.0 + OLD_S, 200.0):
        for slot in ("forward", "reverse"):
            holders.hear("monolith's database", slot, both, now)
    assert told == [
        "monolith's database: slot forward is kept back, and WAL with it, by process 43 (app, web) in shop, open for"
        " 1 min 39 s, active; to end it: select pg_terminate_backend(43); what it runs: strangler sync status",
        "monolith's database: slot forward is kept back, and WAL with it, by process 42 (app, web) in shop, since when"
        " is hidden; to end it: select pg_terminate_backend(42); to see what it does, run there: grant"
        " pg_read_all_stats to sync",
    ]


def test_what_has_ended_is_forgotten() -> None:
    told: list[str] = []
    holders = Holders(told.append)
    for found in (Held(count=1, by=(KNOWN,)), Held(), Held(count=1, by=(KNOWN,))):
        holders.hear("monolith's database", "forward", found, 0.0)
    assert len(told) == 2


def test_a_session_of_nobody_is_the_server_s_own() -> None:
    own = replace(KNOWN, user="", application="", query="autovacuum: ANALYZE book")
    assert str(own) == "process 43 (the server itself) in shop, open for 1 min 39 s, active: autovacuum: ANALYZE book"


def test_a_prepared_one_is_ended_by_its_name() -> None:
    prepared = replace(KNOWN, pid=None, gid="it's", state="prepared", query="", application="")
    assert str(prepared) == "prepared transaction it's (app) in shop, open for 1 min 39 s"
    assert prepared.cure == "commit prepared 'it''s', or rollback prepared 'it''s', in shop"
