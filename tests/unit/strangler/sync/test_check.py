"""What stands in the way of streams, judged from facts alone."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.capability import Stack
from strangler.project import OnDelete, Referred, TableMapping
from strangler.sync import catalogue
from strangler.sync.check import Finding, Level, Role, Room, Server, Side, Table, judge
from strangler.sync.check.shape import Constraint, Reference, Shape
from strangler.sync.check.trip import Loss, Trip, judge_trip
from strangler.sync.mapping import Projection
from strangler.sync.referring import Declared, Incoming, Relation

SERVER = Server(
    system="1",
    version=180_006,
    standby=False,
    wal_level="logical",
    slots=Room(setting="max_replication_slots", places=10, free=10),
    senders=Room(setting="max_wal_senders", places=10, free=10),
    origins=Room(setting="max_active_replication_origins", places=10, free=10),
    slot_keeps_mb=1024,
)
ROLE = Role(
    name="sync",
    database="shop",
    replicates=True,
    creates=True,
    stages=True,
    origins_missing=(),
    relaxes=True,
    sees=True,
)
TABLE = Table(
    name=("public", "book"),
    published=True,
    written=True,
    copied=True,
    conditional=False,
    owner="shop",
    acts_as_owner=True,
    owner_creates=True,
    rights_missing=(),
    sequences=(),
    key=frozenset({"id"}),
    columns=frozenset({"title"}),
    identity=frozenset({"id"}),
    whole=False,
    primary=frozenset({"id"}),
    virtual=False,
    long=False,
    constrained=True,
    shape=Shape(),
)
PAGES = Relation(schema="public", name="page", visible=True)
FOREIGN = Incoming(name="fk", table=PAGES, columns=("book_id",), to=("id",), rule="c")
SIDE = Side(
    what="monolith's database", begun=False, publishes=True, origins=1, server=SERVER, role=ROLE, tables=(TABLE,)
)


def found(side: Side, *others: Side) -> list[tuple[Level, str | None]]:
    return [(each.level, each.statement) for each in judge((side, *others))]


def server(**changes: Any) -> Side:
    return replace(SIDE, server=replace(SERVER, **changes))


def table(**changes: Any) -> Side:
    return replace(SIDE, tables=(replace(TABLE, **changes),))


def test_nothing_is_said_of_databases_that_lack_nothing() -> None:
    assert judge((SIDE, SIDE)) == []


def test_a_server_without_logical_decoding_is_told_with_its_statement_and_its_restart() -> None:
    assert judge((server(wal_level="replica"),)) == [
        Finding(
            level=Level.STOP,
            where="monolith's database",
            found="wal_level is replica: changes are not in the WAL as rows",
            statement="""alter system set "wal_level" = 'logical'""",
            restart=True,
        )
    ]


@pytest.mark.parametrize(
    ("side", "level", "statement"),
    [
        (server(version=140_000), Level.STOP, None),
        (server(version=190_000), Level.WARN, None),
        (server(slot_keeps_mb=-1), Level.WARN, """alter system set "max_slot_wal_keep_size" = '50GB'"""),
        (server(refusal="no"), Level.STOP, None),
        (server(standby=True), Level.STOP, None),
        (table(owner="sync"), Level.WARN, 'create role "sync_sync" login replication in role "sync"'),
        (
            replace(SIDE, role=replace(ROLE, others=("gunicorn",))),
            Level.WARN,
            'create role "sync_sync" login replication',
        ),
        (table(owner="nobody", acts_as_owner=False), Level.STOP, 'grant "nobody" to "sync"'),
        (table(owner_creates=False), Level.STOP, 'grant create on database "shop" to "shop"'),
        (table(identity=frozenset()), Level.STOP, 'alter table "public"."book" replica identity default'),
        (
            table(identity=frozenset(), primary=frozenset()),
            Level.STOP,
            'alter table "public"."book" replica identity full',
        ),
        (table(whole=True, virtual=True), Level.STOP, 'alter table "public"."book" replica identity default'),
        (table(long=True, conditional=True), Level.STOP, 'alter table "public"."book" replica identity full'),
        (replace(SIDE, closed=(("back office", "book"),)), Level.STOP, 'grant usage on schema "back office" to "sync"'),
        (replace(SIDE, absent=(("book",),)), Level.STOP, None),
        (replace(SIDE, role=replace(ROLE, sees=False)), Level.WARN, 'grant pg_read_all_stats to "sync"'),
    ],
)
def test_what_is_found_comes_with_what_mends_it(side: Side, level: Level, statement: str | None) -> None:
    assert found(side) == [(level, statement)]


@given(free=st.integers(-2, 5), begun=st.tuples(st.booleans(), st.booleans()), same=st.booleans())
def test_streams_of_one_server_share_its_room(free: int, begun: tuple[bool, bool], same: bool) -> None:
    slots = replace(SERVER.slots, free=free)
    first = replace(server(slots=slots), begun=begun[0])
    second = replace(server(slots=slots, system="1" if same else "2"), what="service's database", begun=begun[1])
    wanted = [sum(not each for each in begun)] if same else [int(not each) for each in begun]
    short = [f"""'{10 + each - max(0, free)}'""" for each in wanted if each > max(0, free)]
    assert [each.statement for each in judge((first, second))] == [
        f'alter system set "max_replication_slots" = {size}' for size in short
    ]


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(NAMES.filter(lambda name: name != "shop"))  # who owns the tables is warned of that, too
def test_a_name_stays_one_name_in_a_statement(name: str) -> None:
    side = replace(SIDE, role=replace(ROLE, name=name, replicates=False))
    quoted = name.replace('"', '""')
    assert found(side) == [(Level.STOP, f'alter role "{quoted}" replication')]


def test_a_side_that_makes_no_slot_takes_no_room_and_hides_nobody() -> None:
    full = server(slots=replace(SERVER.slots, free=0))
    silent = replace(full, publishes=False)
    assert judge((silent, silent)) == []
    assert [each.found for each in judge((silent, full))] == [
        "max_replication_slots leaves room for 0 replication slots of 10, and 1 are wanted"
    ]


def test_where_one_setting_is_for_slots_and_origins_it_is_raised_once_for_both() -> None:
    shared = replace(SERVER.slots, free=0)
    before_18 = replace(server(slots=shared, origins=shared), origins=5)
    assert {each.statement for each in judge((before_18,))} == {"""alter system set "max_replication_slots" = '15'"""}


@pytest.mark.parametrize(("copied", "constrained"), [(True, True), (True, False), (False, True)])
def test_constraints_are_to_wait_only_where_rows_are_copied_to(copied: bool, constrained: bool) -> None:
    side = replace(table(copied=copied, constrained=constrained), role=replace(ROLE, relaxes=False))
    wanted = [(Level.STOP, 'grant set on parameter session_replication_role to "sync"')]
    assert found(side) == (wanted if copied and constrained else [])


@pytest.mark.parametrize(
    ("shape", "level", "statement"),
    [
        (Shape(kind="v"), Level.STOP, None),
        (Shape(unlogged=True), Level.STOP, 'alter table "public"."book" set logged'),
        (Shape(hidden=True), Level.STOP, 'alter role "sync" bypassrls'),
        (Shape(matched=False), Level.STOP, 'alter table "public"."book" add unique ("id")'),
        (
            Shape(always=frozenset({"title", "other"})),
            Level.STOP,
            'alter table "public"."book" alter column "title" set generated by default',
        ),
        (
            Shape(always=frozenset({"id"})),
            Level.WARN,
            'alter table "public"."book" alter column "id" set generated by default',
        ),
        (Shape(triggers=("a b",)), Level.WARN, 'alter table "public"."book" disable trigger "a b"'),
        (
            Shape(incoming=(FOREIGN,)),
            Level.WARN,
            'alter table "public"."page" drop constraint "fk"',
        ),
        (
            Shape(outgoing=(Reference(name="fk", table=("public", "page")),)),
            Level.WARN,
            'alter table "public"."book" drop constraint "fk"',
        ),
        (
            Shape(deferrable=(Constraint(name="one", columns=frozenset({"title"}), firm="UNIQUE (title)"),)),
            Level.WARN,
            'alter table "public"."book" drop constraint "one", add constraint "one" UNIQUE (title)',
        ),
        (
            Shape(
                matched=False, deferrable=(Constraint(name="pk", columns=frozenset({"id"}), firm="PRIMARY KEY (id)"),)
            ),
            Level.STOP,
            'alter table "public"."book" drop constraint "pk", add constraint "pk" PRIMARY KEY (id)',
        ),
    ],
)
def test_what_is_in_the_way_of_written_rows_is_told_with_what_mends_it(
    shape: Shape, level: Level, statement: str | None
) -> None:
    assert found(table(shape=shape)) == [(level, statement)]


def test_triggers_of_the_monolith_stay_as_they_are() -> None:
    [finding] = judge((table(copied=False, shape=Shape(triggers=("audit",))),))
    assert (finding.level, finding.statement) == (Level.WARN, None)
    assert finding.found.endswith("what it does twice then, let it do when (session_user <> 'sync')")


def test_a_table_that_is_only_read_may_have_what_it_likes() -> None:
    shape = Shape(
        triggers=("audit",),
        matched=False,
        always=frozenset({"title"}),
        incoming=(FOREIGN,),
    )
    assert found(table(written=False, shape=shape)) == []


def answered(on_delete: OnDelete, by: str = "page", **changes: Any) -> Side:
    """Return a side in whose table a foreign key comes, and the mapping says ``on_delete`` of it."""
    referred = Referred(by=by, columns=("book_id",), stack=Stack.SERVICE, on_delete=on_delete)
    return table(
        shape=Shape(incoming=(replace(FOREIGN, **changes),), declared=(Declared(referred=referred, table=PAGES),))
    )


ALL_RIGHTS = frozenset({"usage", "select", "update", "delete"})


@pytest.mark.parametrize("on_delete", [OnDelete.RESTRICT, OnDelete.SET_NULL, OnDelete.CASCADE])
@pytest.mark.parametrize("rule", ["a", "r", "c", "n", "d"])
@pytest.mark.parametrize("by", ["page", "public.page", '"public"."page"'])
def test_nothing_is_said_of_a_foreign_key_that_has_its_answer(on_delete: OnDelete, rule: str, by: str) -> None:
    assert judge((answered(on_delete, by, rule=rule),)) == []


DROP = 'alter table "public"."page" drop constraint "fk"'
MAPPED = (("public.word", "words"),)


@pytest.mark.parametrize(
    ("side", "words", "statement"),
    [
        (answered(OnDelete.KEEP), "the foreign key fk forbids that", DROP),
        (answered(OnDelete.CASCADE, to=("isbn",)), "does so by isbn, while the mapping tells its rows by id", None),
        (
            answered(OnDelete.SET_NULL, not_null=("book_id",)),
            "book_id must have a value",
            'alter table "public"."page" alter column "book_id" drop not null',
        ),
        (
            answered(OnDelete.RESTRICT, lacking=ALL_RIGHTS - {"usage"}),
            "may not select there",
            'grant select on "public"."page" to "sync"',
        ),
        (
            answered(OnDelete.SET_NULL, lacking=frozenset({"update", "delete"})),
            "may not update there",
            'grant update on "public"."page" to "sync"',
        ),
        (
            answered(OnDelete.CASCADE, lacking=frozenset({"select", "update", "delete"})),
            "may not select, delete there",
            'grant select, delete on "public"."page" to "sync"',
        ),
        (
            answered(OnDelete.CASCADE, lacking=frozenset({"usage"})),
            "may not use the schema public",
            'grant usage on schema "public" to "sync"',
        ),
        (answered(OnDelete.SET_NULL, claimed="pages"), "written in public.page, which pages maps", None),
        (answered(OnDelete.CASCADE, beyond=MAPPED), "written in public.word, which words maps", None),
        (table(shape=Shape(incoming=(replace(FOREIGN, claimed="pages"),))), "whose own rule takes its rows", DROP),
        (table(shape=Shape(incoming=(replace(FOREIGN, beyond=MAPPED),))), "public.word, which words maps", DROP),
        (answered(OnDelete.CASCADE, by="other.page", rule="a"), "no foreign key of other.page (book_id)", None),
    ],
)
def test_what_cannot_be_done_as_declared_stops(side: Side, words: str, statement: str | None) -> None:
    [finding] = [each for each in judge((side,)) if each.level is Level.STOP]
    assert words in finding.found
    assert finding.statement == statement


@pytest.mark.parametrize(
    "side",
    [
        answered(OnDelete.KEEP, enforced=False, lacking=ALL_RIGHTS),
        answered(OnDelete.RESTRICT, claimed="pages", beyond=MAPPED, not_null=("book_id",)),
        answered(OnDelete.SET_NULL, beyond=MAPPED),
    ],
)
def test_what_writes_nothing_that_others_would_miss_is_let_be(side: Side) -> None:
    assert judge((side,)) == []


def test_a_foreign_key_without_an_answer_is_told_with_the_entry_that_answers_it() -> None:
    [finding] = judge((table(shape=Shape(incoming=(replace(FOREIGN, rule="a"),))),))
    assert (finding.level, finding.found) == (
        Level.WARN,
        "public.page, which is not mapped, refers to public.book (fk): a delete that comes is refused while it has such"
        ' rows; say what it shall do under [[table.referred_by]]: table = "public.page", columns = ["book_id"],'
        ' stack = "service"',
    )


@pytest.mark.parametrize(
    ("on_delete", "there", "lacking", "words"),
    [
        (OnDelete.KEEP, None, (), "there is no table page"),
        (OnDelete.KEEP, PAGES, ("book_id",), "public.page has no book_id"),
        (OnDelete.KEEP, PAGES, (), None),
        (OnDelete.RESTRICT, PAGES, (), "would never be done"),
    ],
)
def test_an_answer_without_its_foreign_key_is_an_error_but_for_what_is_kept(
    on_delete: OnDelete, there: Relation | None, lacking: tuple[str, ...], words: str | None
) -> None:
    referred = Referred(by="page", columns=("book_id",), stack=Stack.SERVICE, on_delete=on_delete)
    found = judge((table(shape=Shape(declared=(Declared(referred=referred, table=there, lacking=lacking),))),))
    assert [each.level for each in found] == [Level.STOP] * (words is not None)
    assert all((words or "") in each.found for each in found)


columns = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1, unique=True)


@given(columns, st.data())
def test_the_line_that_acknowledges_a_column_can_be_pasted(names: list[str], data: st.DataObject) -> None:
    lost = data.draw(st.sampled_from(names))
    mapping = TableMapping(
        source="book",
        target="book",
        key={"id": "id"},
        forward={},
        reverse={},
        acknowledged=tuple(each for each in names if each != lost),
    )
    here = catalogue.Table(
        name="book",
        qualified="public.book",
        oid=1,
        columns={},
        unique=(),
        deferrable=(),
        parents=frozenset(),
        rights=frozenset(),
    )
    projection = Projection(mapping=mapping, source=here, target=here)
    trip = Trip(sampled=1, losses=[Loss(column=lost, rows=1, key=("1",), here="a", back=None)])
    [finding] = judge_trip(projection, trip, "mapping.toml")
    line = finding.found.rpartition("or say: ")[2].removesuffix(" in its [[table]]")
    assert sorted(tomllib.loads(line)["acknowledged"]) == sorted(names)
