"""The rows compared that a stream changed since both sides were equal."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from strangler.ledger.schema import upgrade
from strangler.project import Project
from strangler.sync import changed, filling, install, verdicts
from strangler.sync.changed import Tidying
from strangler.sync.direction import Direction, Way
from strangler.sync.errors import SyncError
from strangler.sync.mapping import Key
from strangler.sync.pgoutput import lsn_text
from strangler.sync.rewriting import Wanted, rewrite
from strangler.sync.since import Proof, changes, verify_changed
from strangler.sync.verify import Kind, Progress, Verdict, Verifying
from tests.fixtures.books import Shop
from tests.fixtures.command import printed_json
from tests.fixtures.spoiling import spoil
from tests.fixtures.streams import Pair, Paired, as_a_release_before, project_of, stands_at, table
from tests.fixtures.waiting import until
from tests.integration.strangler.sync.test_stream import CLOSED

Found = TypeVar("Found")

SOURCE = """
create table item (id uuid primary key, name text not null, body text);
alter table item alter column body set storage external;
create table tag (code char(6), weight numeric(8, 2), note text, primary key (code, weight));
create table word (word varchar(40) primary key, uses integer);
create table log (id bigint primary key, said text);
"""
TARGET = """
create table thing (id uuid primary key, name text not null, body text);
create table label (code text, weight numeric, note text, primary key (weight, code));
create table term (term text primary key, uses integer);
create table line (id integer primary key, said text);
"""
MAPPINGS = (
    table("item", "thing", {"id": "id"}, {"name": "name", "body": "body"}, reverse={"name": "name", "body": "body"}),
    table("tag", "label", {"weight": "weight", "code": "code"}, {"note": "note"}, reverse={"note": "note"}),
    table("word", "term", {"term": "word"}, {"uses": "uses"}, reverse={"uses": "uses"}),
    table("log", "line", {"id": "id"}, {"said": "said"}, reverse={"said": "said"}),
)
FILL = (
    "insert into item select md5(n::text)::uuid, 'Item ' || n, repeat('b', 3000) from generate_series(1, 200) n",
    "insert into tag select 't' || n % 7, n / 2.0, 'note ' || n from generate_series(1, 200) n",
    "insert into word select 'word ' || n, n from generate_series(1, 200) n",
    "insert into word values ('', 0), (E'a\\tb', 1), (E'a\\nb', 2), (E'a\\\\tb', 3), ('é', 4)",
    "insert into log select n, 'said ' || n from generate_series(1, 200) n",
)


@dataclass
class Bed:
    """A pair of databases with a stream that is applied, and its project."""

    pair: Pair
    project: Project

    @property
    def forward(self) -> Direction:
        return self.pair.forward

    def arrive(self, *statements: str) -> str:
        """Write in the source, have it come, and return the position before all of it."""
        before = lsn_text(stands_at(self.pair))
        self.pair.source(*statements)
        filling.catch_up(self.forward)
        return before

    def known(self, since: str) -> dict[str, frozenset[Key] | None]:
        high, low = since.split("/")
        return dict(changes(self.forward, int(high, 16) << 32 | int(low, 16)).keys)

    def quick(self, since: str, **more: object) -> Proof:
        asked = Verifying(capability=self.forward.capability, **more)  # type: ignore[arg-type]
        return last_of(verify_changed(asked, since, self.project, self.pair.told.append))

    def whole(self, way: Way = Way.FORWARD) -> Verdict:
        asked = Verifying(capability=self.forward.capability, settle=lambda: None, way=way)
        return last_of(verdicts.keeping(asked, self.project, self.pair.told.append))


def last_of(steps: Generator[Progress, None, Found]) -> Found:
    """Go through all steps, and return what they found."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Found = end.value
            return found


MakeBed = Callable[..., Bed]


@pytest.fixture
def make_bed(pair: Paired, ledger_project: Project, tmp_path: Path) -> MakeBed:
    def make(*, copying: bool = False) -> Bed:
        ends = pair(SOURCE, TARGET, *MAPPINGS, begin=False)
        ends.begin(copying=copying)
        url = ledger_project.control.database.reveal()
        with psycopg.connect(url, autocommit=True) as control:
            upgrade(control)
        return Bed(ends, project_of(ends, tmp_path, url))

    return make


@pytest.fixture
def bed(make_bed: MakeBed) -> Bed:
    found = make_bed()
    found.pair.keep()
    found.arrive(*FILL)
    return found


def test_rows_that_changed_in_whatever_way_are_compared_and_no_others(bed: Bed) -> None:
    since = bed.arrive(
        "update item set name = 'x' where id = md5('1')::uuid",  # its long value does not come
        "delete from item where id = md5('2')::uuid",
        "update item set id = md5('new')::uuid where id = md5('3')::uuid",
        "insert into tag values ('n', 1.50, 'new')",
        "update tag set note = 'y' where weight = 4",
        "update word set uses = uses + 1 where word ~ '^[^w]' or word = ''",
        "delete from word where word = 'word 9'",
    )
    known = bed.known(since)
    assert known["label"] == frozenset({("1.50", "n     "), ("4.00", "t1    ")})
    assert known["term"] == frozenset({("",), ("a\tb",), ("a\nb",), ("a\\tb",), ("é",), ("word 9",)})
    assert {key: len(known[key] or ()) for key in known} == {"thing": 4, "label": 2, "term": 6}
    proof = bed.quick(since)
    assert (proof.verdict.equal, proof.compared) == (True, {"thing": 4, "label": 2, "term": 6, "line": 0})
    assert [(each.target, each.monolith_rows, each.service_rows) for each in proof.verdict.tables] == [
        ("thing", 2, 2),
        ("label", 2, 2),
        ("term", 5, 5),
    ]
    assert proof.until > proof.since
    assert bed.quick(since, tables=("tag",)).compared == {"label": 2}
    assert bed.quick(lsn_text(proof.until)).compared == {"thing": 0, "label": 0, "term": 0, "line": 0}
    assert bed.pair.told == []


@pytest.mark.parametrize(
    ("change", "spoiled", "kind"),
    [
        ("insert into word values ('new', 1)", "delete from term where term = 'new'", Kind.MISSING),
        ("delete from word where word = 'word 5'", "insert into term values ('word 5', 5)", Kind.EXTRA),
        ("update word set uses = 0 where word = E'a\\tb'", "update term set uses = 9 where uses = 0", Kind.DIFFERING),
        ("update tag set note = '' where weight = 2.5", "update label set note = '?' where note = ''", Kind.DIFFERING),
        ("update tag set code = 'z' where weight = 3", "update label set code = 't6' where code = 'z'", Kind.MISSING),
        ("update item set name = 'x' where name = 'Item 7'", "update thing set body = '' where name = 'x'", None),
    ],
)
def test_a_changed_row_that_differs_is_found(bed: Bed, change: str, spoiled: str, kind: Kind | None) -> None:
    since = bed.arrive(change)
    assert bed.quick(since).verdict.equal
    spoil(bed.pair, spoiled)
    [found] = [each for each in bed.quick(since).verdict.tables if not each.equal]
    assert found.differences[0].kind is (kind or Kind.DIFFERING)


def test_what_nobody_changed_at_the_source_is_found_by_comparing_all_rows_alone(bed: Bed) -> None:
    since = bed.arrive("update word set uses = 0 where word = 'word 3'")
    spoil(bed.pair, "update term set uses = 99 where term = 'word 4'", "delete from thing where name = 'Item 9'")
    assert bed.quick(since).verdict.equal
    assert not bed.whole().equal


def test_a_table_that_was_truncated_is_compared_whole(bed: Bed) -> None:
    since = bed.arrive("truncate log", "insert into log values (1, 'again')", "delete from word where uses = 7")
    assert bed.known(since) == {"line": None, "term": frozenset({("word 7",)})}
    proof = bed.quick(since)
    assert (proof.verdict.equal, proof.compared) == (True, {"thing": 0, "label": 0, "term": 1, "line": None})
    spoil(bed.pair, "insert into line values (150, 'left')")
    assert not bed.quick(since).verdict.equal


def test_a_comparison_of_all_rows_makes_what_was_recorded_before_it_needless(bed: Bed) -> None:
    before = bed.arrive("update log set said = 'x' where id < 10")
    stood = lsn_text(stands_at(bed.pair))
    assert bed.whole().equal
    assert bed.pair.target(f"select count(*) from strangler_sync.changed where lsn <= '{stood}'") == [(0,)]
    with pytest.raises(SyncError, match=f"since {before} is not known any more, but since"):
        bed.quick(before)
    since = bed.arrive("delete from log where id = 3")
    assert bed.known(since) == {"line": frozenset({("3",)})}
    assert bed.quick("last").compared["line"] == 1
    spoil(bed.pair, "delete from line where id = 5")
    assert not bed.whole().equal
    assert bed.known(since) == {"line": frozenset({("3",)})}  # it proved nothing
    with pytest.raises(SyncError, match="some differed, and others may have changed since"):
        bed.quick("last")


def test_what_comes_while_all_rows_are_compared_is_compared_again(bed: Bed) -> None:
    asked = Verifying(capability=bed.forward.capability, settle=lambda: None)
    steps = verdicts.keeping(asked, bed.project, bed.pair.told.append)
    next(steps)
    bed.arrive("update log set said = 'meanwhile' where id = 4")
    assert last_of(steps).equal
    assert bed.quick("last").compared["line"] == 1


def test_a_row_is_never_there_without_its_record(bed: Bed) -> None:
    since = lsn_text(stands_at(bed.pair))
    bed.pair.target("alter table strangler_sync.changed add constraint never check (false) not valid")
    bed.pair.source("insert into log values (1000, 'first')")
    until(lambda: any("never" in each for each in bed.pair.told), "the stream is stopped by it")
    assert bed.pair.target("select from line where id = 1000") == []
    assert lsn_text(stands_at(bed.pair)) == since or bed.known(since) == {}
    bed.pair.target("alter table strangler_sync.changed drop constraint never")
    bed.pair.equal("select * from line order by id", "select * from log order by id")
    assert bed.known(since) == {"line": frozenset({("1000",)})}


def test_no_key_is_lost_when_sessions_break_off(bed: Bed) -> None:
    since, chance, keys = lsn_text(stands_at(bed.pair)), random.Random(7), set[Key]()
    for number in range(12):
        some = chance.sample(range(1, 201), 5)
        keys |= {(str(each),) for each in some}
        bed.pair.source(f"update log set said = '{number}' where id = any(array{some})")
        (bed.pair.source if number % 2 else bed.pair.target)(CLOSED)
    bed.pair.equal("select * from line order by id", "select * from log order by id")
    filling.catch_up(bed.forward)
    assert bed.known(since) == {"line": frozenset(keys)}
    assert bed.quick(since).verdict.equal


def test_a_large_transaction_is_recorded_whole_though_it_is_applied_in_parts(bed: Bed) -> None:
    since = bed.arrive("insert into log select n, 'x' from generate_series(1001, 46000) n")
    assert bed.known(since) == {"line": frozenset((str(number),) for number in range(1001, 46001))}
    proof = bed.quick(since)
    assert (proof.verdict.equal, proof.compared["line"]) == (True, 45000)


def test_nothing_is_recorded_while_tables_are_copied(make_bed: MakeBed) -> None:
    bed = make_bed(copying=True)
    bed.pair.keep()
    since = bed.arrive("insert into log values (1, 'x')")
    assert bed.pair.target("select * from strangler_sync.changed") == []
    with pytest.raises(SyncError, match="being copied, and are all compared at the end"):
        bed.quick(since)


def test_what_applied_without_recording_is_noticed(bed: Bed) -> None:
    """A release before sets the watermark and nothing else."""
    before = bed.arrive("delete from log where id = 1")
    bed.pair.stop()
    name = bed.forward.name
    bed.pair.target(f"update strangler_sync.stream set lsn = lsn + 1 where name = '{name}'")
    at = lsn_text(stands_at(bed.pair))
    with pytest.raises(SyncError, match="start strangler sync run of this release"):
        bed.known(before)
    bed.pair.keep()
    since = bed.arrive("delete from log where id = 2")
    with pytest.raises(SyncError, match=f"since {before} is not known any more, but since {at}"):
        bed.known(before)
    assert bed.known(since) == {"line": frozenset({("2",)})}


def test_a_stream_that_a_release_before_has_begun_is_recorded_from_now_on(bed: Bed) -> None:
    bed.pair.stop()
    as_a_release_before(bed.pair)
    with pytest.raises(SyncError, match="start strangler sync run of this release, then compare all rows"):
        bed.known("0/1")
    assert bed.whole().equal
    bed.pair.keep()
    bed.arrive("delete from log where id = 2")
    assert bed.quick("last").compared["line"] == 1
    assert bed.pair.told == []


def test_what_this_release_keeps_is_made_beside_whoever_lays_tombstones(bed: Bed) -> None:
    bed.pair.stop()
    as_a_release_before(bed.pair)
    tombstone = "insert into strangler_sync.tombstone values (%s, 'line', '{1}', true, '{}')"
    url = bed.forward.target_url
    with (
        psycopg.connect(url) as applier,
        psycopg.connect(url, autocommit=True) as other,
        ThreadPoolExecutor(1) as hand,
    ):
        applier.execute("select from strangler_sync.stream for no key update")
        upgrade_ends = hand.submit(install.bring_up, other)
        waits = "select 1 from pg_locks where relation = 'strangler_sync.stream'::regclass and not granted"
        until(lambda: bed.pair.target(waits) != [], "it waits")
        applier.execute(tombstone, [bed.forward.name])
        applier.commit()
        upgrade_ends.result(20)
    assert bed.pair.target("select * from strangler_sync.changed") == []


def test_an_upgrade_names_what_it_waits_for_and_comes_about_when_that_has_ended(bed: Bed) -> None:
    bed.pair.stop()
    as_a_release_before(bed.pair)
    database = conninfo_to_dict(bed.forward.target_url)
    # No right to make a schema is needed for it.
    bed.pair.target(f'revoke create on database "{database["dbname"]}" from "{database["user"]}", public')
    with psycopg.connect(bed.forward.target_url, application_name="night job") as other:
        other.execute("select from strangler_sync.stream")
        bed.pair.keep()
        until(lambda: bed.pair.told != [], "it is told", 20)
        assert re.fullmatch(
            rf"{bed.forward.name}: strangler_sync.stream is to have what this release keeps there, and waited 3 s for"
            rf" process {other.info.backend_pid} \(.*, night job\) for [0-9:]+; let them end, .*",
            bed.pair.told[0],
        )
    bed.arrive("delete from log where id = 2")
    assert bed.whole().equal
    assert len(bed.pair.told) == 1


def test_rows_that_repair_wrote_are_compared_too(bed: Bed) -> None:
    since = lsn_text(stands_at(bed.pair))
    spoil(bed.pair, "update label set note = '?' where code = 't3'", "insert into term values ('odd', 1)")
    wanted: Wanted = {"label": [(f"{n / 2:g}", f"t{n % 7}") for n in (3, 10)], "term": [("odd",)]}
    assert sum((each.rows for each in rewrite(bed.forward, wanted)), 0) == 3
    assert bed.known(since) == {
        "label": frozenset({("1.5", "t3"), ("5", "t3")}),
        "term": frozenset({("odd",)}),
    }
    assert bed.quick(since).verdict.equal
    spoil(bed.pair, "delete from label where weight = 5")
    assert not bed.quick(since).verdict.equal


def test_on_the_way_back_it_is_the_monolith_s_rows_that_are_proved(bed: Bed) -> None:
    back = bed.pair.back
    bed.pair.open_back()
    bed.pair.keep(back)
    filling.catch_up(back)
    assert bed.whole(Way.REVERSE).equal
    bed.pair.stop()
    bed.pair.keep(back)
    since = "last"
    bed.pair.target(
        "update thing set name = 'back' where id = md5('1')::uuid",
        "insert into term values ('new', 1)",
        "delete from label where weight = 1.5",
        "update label set note = 'back' where weight = 2",
    )
    proof = bed.quick(since, way=Way.REVERSE)
    assert (proof.verdict.equal, proof.compared) == (True, {"thing": 1, "label": 2, "term": 1, "line": 0})
    assert {(each.source, each.target) for each in proof.verdict.tables} == {
        ("item", "thing"),
        ("tag", "label"),
        ("word", "term"),
    }
    spoil(Pair(forward=back, back=bed.forward), "delete from word where word = 'new'")
    [found] = [each for each in bed.quick(since, way=Way.REVERSE).verdict.tables if not each.equal]
    assert (found.target, found.extra, found.differences[0].kind) == ("term", 1, Kind.EXTRA)
    assert (found.monolith_rows, found.service_rows) == (0, 1)


def test_what_one_way_has_proved_is_not_forgotten_the_other_way(bed: Bed) -> None:
    back = bed.pair.back
    bed.pair.open_back()
    bed.pair.keep(back)
    filling.catch_up(back)
    assert bed.whole(Way.REVERSE).equal
    bed.pair.target("update thing set name = 'back' where id = md5('1')::uuid")
    filling.catch_up(back)
    recorded = "select target, number from strangler_sync.changed"
    assert bed.pair.source(recorded) == [("item", 1)]
    assert bed.whole().equal
    assert bed.pair.source(recorded) == [("item", 1)]
    assert bed.quick("last", way=Way.REVERSE).compared["thing"] == 1
    assert bed.whole(Way.REVERSE).equal
    assert bed.pair.source(recorded) == []


@pytest.mark.parametrize(("each", "batches", "kept"), [(1, 1_001, 1), (40_000, 3, 40_000), (40_001, 3, None)])
def test_the_record_of_a_table_is_bounded(bed: Bed, each: int, batches: int, kept: int | None) -> None:
    """Of a few keys each is kept once; of too many, that any row may have changed."""
    name = bed.forward.name
    for number in range(batches) if each > 1 else range(1):
        first = 50_000 * number if kept is None else 0
        bed.pair.target(
            "insert into strangler_sync.changed"
            f" select '{name}', 'toy', '9/1'::pg_lsn + {number} + series, {each},"
            f" (select string_agg(E'\\t' || n, E'\\n') from generate_series({first}, {first + each - 1}) n)"
            f" from generate_series(1, {1 if each > 1 else batches}) series"
        )
    with psycopg.connect(bed.forward.target_url, autocommit=True) as target:
        Tidying(name).after(target, [])
        query = "select lsn::text, number, keys is null from strangler_sync.changed where target = 'toy'"
        assert target.execute(query).fetchall() == [(lsn_text((9 << 32) + 1 + batches), kept or 0, kept is None)]
        keys = changed.since(target, name, 9 << 32)["toy"]
    assert (None if keys is None else len(keys)) == kept


def test_a_terminal_is_told_since_when_how_many_and_what_differs(shop: Shop) -> None:
    code, _, err = shop("verify", "--changed-since", "last")
    assert (code, "no comparison of all rows of books is known" in err) == (2, True)
    shop("verify")
    code, _, err = shop("verify", "--changed-since", "last")
    assert (code, "some differed" in err) == (2, True)
    code, _, err = shop("verify", "--changed-since", "0/1")
    assert (code, "books is not streamed" in err) == (2, True)
    shop("start")
    with shop.running() as told:
        shop("backfill", "--inline")
        shop.pair.source("update book set title = title || '!' where id < 4", "insert into author values (77, 'New')")
        code, out, err = shop("verify", "--changed-since", "last")
        assert (code, err) == (0, "")
        assert "author 1 key, book 3 keys" in out
        assert "books: equal, 4 rows in" in out
        code, out, _ = shop("verify", "--changed-since", "last", "--json")
        found = printed_json((code, out, ""))
        assert (code, found["compared"], found["equal"]) == (0, {"author": 1, "book": 3}, True)
        assert f"changed since {found['since']}, up to " in shop("verify", "--changed-since", found["since"])[1]
        assert f"4 rows (changed since {found['since']}) in" in shop.say("sync", "status")[1]
        spoil(shop.pair, "update book set title = 'wrong' where id = 2")
        code, out, _ = shop("verify", "--changed-since", "last")
        assert (code, "wrong" in out, "books: different in book" in out) == (1, True, True)
        for position, words in (
            ("yesterday", "'yesterday' is neither a position in the WAL"),
            ("FFFFFFFF/0", "FFFFFFFF/0 is still to come: the stream stands at"),
            ("0/1", "what was changed since 0/1 is not known any more, but since"),
        ):
            code, _, err = shop("verify", "--changed-since", position)
            assert (code, words in err) == (2, True), err
        assert told == []
    code, _, err = shop("verify", "--changed-since", "last")
    assert (code, "nobody applies the stream of books" in err) == (2, True)
    assert "nothing of its streams is left" in shop("remove")[1]
