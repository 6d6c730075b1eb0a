"""What is said of the monolith's pending migrations, as its manage.py lists them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from strangler.project import TableMapping
from strangler.sync.check import Level, judge_migrations, mapped
from strangler.sync.check.migrations import Mapped, is_wider
from strangler.sync.errors import NotListed
from strangler.sync.pending import Listing, parse

COLUMN = {"type": "varchar(20)", "null": False, "filled": False, "unique": False, "references": None}
ID = frozenset({frozenset({"id"})})
MAPPED = {
    "catalog_book": Mapped(keys=ID, used=frozenset({"id", "title"})),
    "shelf.page": Mapped(keys=ID, used=None),
}


def listed(*changes: Any, app: str = "catalog", **more: Any) -> str:
    """Return what manage.py prints of one migration with one operation."""
    operation = {"class": "Some", "describe": "Do", "unknown": False, "changes": changes, **more.pop("operation", {})}
    found = {
        "strangler_migrations": 2,
        "django": "5.2",
        "database": {"alias": "default", "vendor": "postgresql", "name": "shop"},
        "apps": {"catalog": ["catalog_book"], "other": ["other_thing"]},
        "files": [],
        "migrations": [{"app": app, "name": "0002_more", "operations": [operation]}],
        **more,
    }
    return "said by settings.py\n" + json.dumps(found)


def change(does: str, column: str | None = None, table: str = "catalog_book", **more: Any) -> dict[str, Any]:
    for side in ("before", "after"):
        if side in more:
            more[side] = {**COLUMN, **more[side]}
    return {"table": table, "change": does, **({} if column is None else {"column": column}), **more}


def read(*changes: Any, **more: Any) -> Listing:
    return parse(listed(*changes, **more), "a file")


NULLABLE, NOT = {"null": True}, {"null": False}


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (change("table dropped"), "catalog_book is dropped"),
        (change("table dropped", table='"public"."catalog_book"'), "catalog_book is dropped"),
        (change("table renamed", to="catalog_volume"), "catalog_book is called catalog_volume then"),
        (change("column dropped", "title", before={}), "catalog_book.title, which the mapping uses, is dropped"),
        (change("column dropped", "any", table='shelf"."page', before={}), "shelf.page.any, which the mapping uses"),
        (
            change("column renamed", "title", to="name"),
            "catalog_book.title, which the mapping uses, is called name then",
        ),
        (change("column added", "rank", after={}), "catalog_book.rank must have a value, and rows that come back"),
        (
            change("column altered", "title", before={}, after={"type": "jsonb"}),
            "catalog_book.title is jsonb then, and was varchar(20)",
        ),
        (
            change("column altered", "id", before={"unique": True}, after={}),
            "catalog_book may have rows of the same id then",
        ),
        (
            change("column altered", "id", before={}, after=NULLABLE),
            "catalog_book.id is of the mapping's key, and may be",
        ),
        (
            change("rule dropped", rule="once", kind="UniqueConstraint", columns=["id"]),
            "catalog_book may have rows of the same id then",
        ),
    ],
)
def test_what_would_stop_a_stream_is_said(does: dict[str, Any], says: str) -> None:
    [found] = judge_migrations(read(does), MAPPED, "shop")
    assert found.level is Level.STOP
    assert found.found.startswith(f"catalog.0002_more (Do): {says}")
    assert found.found.endswith("; apply it before the sync begins, or begin the sync anew after it")


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (change("column added", "rank", after=NULLABLE), "catalog_book.rank passes while a sync runs"),
        (change("column added", "rank", after={"filled": True}), "catalog_book.rank passes while a sync runs"),
        (change("column dropped", "rank", before={}), "catalog_book.rank, which the mapping does not use, passes"),
        (change("column renamed", "rank", to="place"), "catalog_book.rank, which the mapping does not use, passes"),
        (change("column altered", "rank", before={}, after={"type": "jsonb"}), "catalog_book.rank, which the mapping"),
        (
            change("column altered", "title", before={}, after={"type": "varchar(40)"}),
            "catalog_book.title passes while a sync runs, if the service's column takes what it takes then",
        ),
        (change("column altered", "title", before=NULLABLE, after=NOT), "catalog_book.title passes while a sync runs"),
        (change("rule added", rule="by_title", kind="index", columns=["title"]), "by_title of catalog_book passes"),
        (
            change("rule dropped", rule="once", kind="UniqueConstraint", columns=["title"]),
            "once of catalog_book passes while a sync runs; see that the service's table fits it",
        ),
        (
            change("table added", table="catalog_page", references=["catalog_book"]),
            "catalog_page, which is not mapped, will refer to catalog_book: a delete",
        ),
        (
            change("column added", "book_id", table="other_thing", after={"references": "catalog_book"}),
            "other_thing, which is not mapped, will refer to catalog_book",
        ),
    ],
)
def test_what_passes_is_to_be_known(does: dict[str, Any], says: str) -> None:
    [found] = judge_migrations(read(does), MAPPED, "shop")
    assert (found.level, found.statement) == (Level.WARN, None)
    assert found.found.startswith(f"catalog.0002_more (Do): {says}")


@pytest.mark.parametrize(
    "does",
    [
        change("table dropped", table="other_thing"),
        change("column added", "rank", table="other_thing", after={}),
        change("table added", table="other_thing", references=["other_more"]),
    ],
)
def test_of_other_tables_nothing_is_said(does: dict[str, Any]) -> None:
    assert judge_migrations(read(does), MAPPED, "shop") == []


def test_what_nobody_can_tell_stops_in_an_app_of_mapped_tables_and_is_named_in_others() -> None:
    [own] = judge_migrations(read(operation={"unknown": True}), MAPPED, "shop")
    assert own.level is Level.STOP
    assert own.found.startswith(
        "catalog.0002_more (Do) runs what nobody can tell, perhaps on catalog_book: read it, and"
    )
    [others] = judge_migrations(read(app="other", operation={"unknown": True}), MAPPED, "shop")
    assert (others.level, others.found[:29]) == (Level.WARN, "other.0002_more run what nobo")


def test_operations_of_the_database_alone_count_as_its_own() -> None:
    inner = {"class": "Some", "describe": "Drop", "unknown": False, "changes": [change("table dropped")]}
    [found] = judge_migrations(read(operation={"database_operations": [inner]}), MAPPED, "shop")
    assert found.found.startswith("catalog.0002_more (Drop): catalog_book is dropped")


COVER = {"table": "catalog_book", "column": "title", "storage": "FileSystemStorage in /srv/media"}


def test_files_that_no_stream_carries_stop_until_both_stacks_reach_them() -> None:
    [found] = judge_migrations(read(files=[COVER]), MAPPED, "shop")
    assert (found.level, found.where) == (Level.STOP, "monolith's files")
    assert found.found == (
        "catalog_book.title names files, which no stream carries (FileSystemStorage in /srv/media): let both stacks"
        ' reach that storage, and say so: shared_files = ["title"] in its [[table]]'
    )
    shared = {"catalog_book": Mapped(keys=ID, used=frozenset({"id", "title"}), shared=frozenset({"title"}))}
    assert judge_migrations(read(files=[COVER]), shared, "shop") == []


@pytest.mark.parametrize("other", [{"column": "blurb"}, {"table": "other_thing"}])
def test_files_of_what_is_not_mapped_are_nobody_s_concern(other: dict[str, str]) -> None:
    assert judge_migrations(read(files=[{**COVER, **other}]), MAPPED, "shop") == []


def test_shared_files_are_those_of_every_target_that_a_table_feeds() -> None:
    one, other = (
        TableMapping(source="book", target=name, key={"id": "id"}, forward={}, reverse={}, shared_files=(column,))
        for name, column in (("a", "cover"), ("b", "sample"))
    )
    assert mapped([one, other])["book"].shared == {"cover", "sample"}


def test_another_database_than_the_mapping_s_is_not_taken_for_it() -> None:
    [found] = judge_migrations(read(change("table dropped")), MAPPED, "other")
    assert found.found.startswith("manage.py looks into database shop, and the mapping's tables are in other")
    lite = read(database={"alias": "default", "vendor": "sqlite", "name": None})
    assert judge_migrations(lite, MAPPED, "shop")[0].found.startswith("manage.py looks into a database of sqlite")


def test_columns_that_several_targets_are_made_of_are_all_used() -> None:
    tables = [
        TableMapping(source="public.book", target=each, key={"id": "id"}, forward={}, reverse={"back": "x"})
        for each in ("one", "two")
    ]
    used = {"one": frozenset({"a"}), "two": frozenset({"b"})}
    assert mapped(tables, used) == {"book": Mapped(keys=ID, used=frozenset({"a", "b", "id", "back"}))}
    assert mapped(tables) == {"book": Mapped(keys=ID, used=None)}


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (
            change("rule dropped", rule="once", kind="UniqueConstraint", columns=["id"], table="book"),
            "book may have rows of the same id then",
        ),
        (
            change("rule dropped", rule="once", kind="UniqueConstraint", columns=["shop", "code"], table="book"),
            "book may have rows of the same shop, code then",
        ),
        (
            change("column altered", "id", table="book", before={"unique": True}, after={}),
            "book may have rows of the same id then",
        ),
        (change("column altered", "id", table="book", before={}, after=NULLABLE), "book.id is of the mapping's key"),
        (
            change("column altered", "code", table="book", before={}, after=NULLABLE),
            "book.code is of the mapping's key",
        ),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_key_of_each_target_is_looked_after(does: dict[str, Any], says: str, turned: bool) -> None:
    one = TableMapping(source="book", target="one", key={"id": "id"}, forward={}, reverse={})
    two = TableMapping(source="book", target="two", key={"a": "shop", "b": "code"}, forward={}, reverse={})
    [found] = judge_migrations(read(does), mapped([two, one] if turned else [one, two]), "shop")
    assert says in found.found


@pytest.mark.parametrize(
    ("before", "after", "wider"),
    [
        ("integer", "bigint", True),
        ("serial", "bigserial", True),
        ("bigint", "integer", False),
        ("varchar(20)", "varchar(40)", True),
        ("varchar(40)", "varchar(20)", False),
        ("varchar(40)", "text", True),
        ("numeric(10, 2)", "numeric(12, 2)", True),
        ("numeric(10, 2)", "numeric(12, 3)", False),
        ("hstore", "hstore", True),
        ("hstore", "jsonb", False),
        ("integer[]", "bigint[]", False),
    ],
)
def test_types_are_compared_as_django_names_them(before: str, after: str, wider: bool) -> None:
    assert is_wider(before, after) is wider


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "a file has no listing"),
        ("{}", "a file has no listing"),
        ('{"strangler_migrations": 1}', "a file is of another release of strangler_django"),
        ('{"strangler_migrations": 2}', "a file is no whole listing .*KeyError.*'database'"),
        ('{"strangler_migrations": 2', "a file is no whole listing"),
        (listed(operation={"changes": [{}]}), "KeyError.*'table'"),
        (listed(migrations=7), "TypeError"),
    ],
)
def test_what_is_no_listing_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(NotListed, match=complaint):
        parse(text, "a file")
