"""What pending migrations do to tables, told by Django's own states before and after each operation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

from django.core.files.storage import FileSystemStorage
from django.core.management import CommandError, call_command
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import TestCase, override_settings
from django.test.utils import isolate_apps

from strangler_django import pending

FIRST = "0001_initial"


def nothing(apps: Any, schema_editor: Any) -> None:
    pass


class Own(migrations.AddField):  # type: ignore[misc,unused-ignore]
    def database_forwards(self, *given: Any) -> None:
        pass


def number() -> Any:
    return models.AutoField(primary_key=True)


INITIAL = [
    migrations.CreateModel("Author", [("id", number()), ("name", models.CharField(max_length=20))]),
    migrations.CreateModel(
        "Book",
        [
            ("id", number()),
            ("title", models.CharField(max_length=20)),
            ("pages", models.IntegerField(null=True, db_column="page_count")),
            ("author", models.ForeignKey("shelf.Author", models.CASCADE)),
            ("others", models.ManyToManyField("shelf.Author", related_name="+")),
        ],
        options={"db_table": "old_books"},
    ),
]


class Loader(MigrationLoader):  # type: ignore[misc,unused-ignore]
    """Loads migrations that are no files."""

    given: Any = None

    def load_disk(self) -> None:
        super().load_disk()
        self.disk_migrations.update(self.given)
        self.migrated_apps.add("shelf")


@contextmanager
def migrations_of(*given: Any) -> Iterator[None]:
    """Have an app of these migrations, each a name, its operations, and more attributes."""
    before = None
    made = {}
    for name, operations, more in given:
        migration = migrations.Migration(name, "shelf")
        migration.operations, migration.dependencies = operations, [] if before is None else [("shelf", before)]
        for attribute, value in more.items():
            setattr(migration, attribute, value)
        made[("shelf", name)], before = migration, name
    from django.db.migrations import executor

    Loader.given = made
    kept, executor.MigrationLoader = executor.MigrationLoader, Loader  # type: ignore[attr-defined,unused-ignore]
    try:
        yield
    finally:
        executor.MigrationLoader = kept  # type: ignore[attr-defined,unused-ignore]


class Migrations(TestCase):  # type: ignore[misc,unused-ignore]
    def listed(self, *operations: Any, **more: Any) -> list[Any]:
        """Return what these operations do, after ``INITIAL``."""
        MigrationRecorder(connection).record_applied("shelf", FIRST)
        with migrations_of((FIRST, INITIAL, {}), ("0002_next", list(operations), more)):
            found = pending.listing(connection)
        assert [(each["app"], each["name"]) for each in found["migrations"]] == [("shelf", "0002_next")]
        assert found["apps"]["shelf"] == ["old_books", "old_books_others", "shelf_author"]
        json.dumps(found)
        return list(found["migrations"][0]["operations"])

    def changes(self, *operations: Any) -> list[Any]:
        [told] = self.listed(*operations)
        return [
            tuple(each[name] for name in ("table", "change", "column", "to", "rule") if name in each)
            for each in told["changes"]
        ]

    def test_an_added_field_is_a_column_with_what_the_database_knows_of_it(self) -> None:
        [told] = self.listed(migrations.AddField("book", "rank", models.SmallIntegerField(default=3)))
        assert (told["class"], told["unknown"]) == ("AddField", False)
        assert told["describe"] == "Add field rank to book"
        [change] = told["changes"]
        assert (change["table"], change["change"], change["column"]) == ("old_books", "column added", "rank")
        after = change["after"]
        assert (after["type"], after["null"], after["filled"]) == ("smallint", False, False)

    def test_fields_are_told_by_their_columns(self) -> None:
        assert self.changes(migrations.RemoveField("book", "pages")) == [("old_books", "column dropped", "page_count")]
        assert self.changes(migrations.RenameField("book", "title", "name")) == [
            ("old_books", "column renamed", "title", "name")
        ]
        assert self.changes(migrations.RenameField("book", "pages", "sheets")) == []
        assert self.changes(
            migrations.AddField("book", "editor", models.ForeignKey("shelf.Author", models.CASCADE))
        ) == [("old_books", "column added", "editor_id")]

    def test_an_altered_field_tells_its_type_before_and_after(self) -> None:
        [told] = self.listed(migrations.AlterField("book", "title", models.CharField(max_length=40)))
        [change] = told["changes"]
        assert (change["before"]["type"], change["after"]["type"]) == ("varchar(20)", "varchar(40)")
        assert (
            self.changes(migrations.AlterField("book", "title", models.CharField(max_length=20, help_text="Said")))
            == []
        )

    def test_what_refers_to_an_altered_key_is_altered_too(self) -> None:
        found = self.changes(migrations.AlterField("author", "id", models.CharField(max_length=9, primary_key=True)))
        assert sorted(found) == [
            ("old_books", "column altered", "author_id"),
            ("old_books_others", "column altered", "author_id"),
            ("shelf_author", "column altered", "id"),
        ]

    def test_tables_that_are_renamed_take_those_of_their_fields_along(self) -> None:
        found = self.changes(migrations.RenameModel("Author", "Writer"))
        assert ("shelf_author", "table renamed", "shelf_writer") in found
        assert ("old_books_others", "column renamed", "author_id", "writer_id") in found
        assert ("old_books", "table renamed", "shelf_book") in self.changes(migrations.AlterModelTable("book", None))
        assert self.changes(migrations.RenameField("book", "others", "rest")) == [
            ("old_books_others", "table renamed", "old_books_rest")
        ]

    def test_tables_come_and_go(self) -> None:
        made = migrations.CreateModel(
            "Page", [("book", models.OneToOneField("shelf.Book", models.CASCADE, primary_key=True))]
        )
        [told] = self.listed(made)
        assert told["changes"] == [{"table": "shelf_page", "change": "table added", "references": ["old_books"]}]
        assert sorted(self.changes(migrations.DeleteModel("Book"))) == [
            ("old_books", "table dropped"),
            ("old_books_others", "table dropped"),
        ]
        assert self.changes(migrations.RemoveField("book", "others")) == [("old_books_others", "table dropped")]

    def test_rules_are_told_with_their_columns(self) -> None:
        index = models.Index(fields=["-pages"], name="by_pages")
        unique = models.UniqueConstraint(fields=["title", "author"], name="once")
        assert self.changes(migrations.AddIndex("book", index)) == [("old_books", "rule added", "by_pages")]
        [told] = self.listed(migrations.AddConstraint("book", unique))
        [change] = told["changes"]
        assert (change["kind"], change["columns"]) == ("UniqueConstraint", ["title", "author_id"])
        assert self.changes(migrations.AlterUniqueTogether("book", {("title", "pages")})) == [
            ("old_books", "rule added", "UniqueConstraint of title, page_count")
        ]

    def test_nobody_knows_what_sql_and_python_do(self) -> None:
        told = self.listed(
            migrations.RunSQL("select 1"),
            migrations.RunPython(nothing),
            Own("book", "note", models.TextField(null=True)),
            migrations.RunSQL(migrations.RunSQL.noop),
            migrations.RunPython(migrations.RunPython.noop),
        )
        assert [each["unknown"] for each in told] == [True, True, True, False, False]

    def test_of_a_state_that_is_told_apart_only_the_database_s_operations_count(self) -> None:
        [told] = self.listed(
            migrations.SeparateDatabaseAndState(
                database_operations=[migrations.RemoveField("book", "title"), migrations.RunSQL("select 1")],
                state_operations=[migrations.RemoveField("book", "pages")],
            )
        )
        assert told["changes"] == []
        first, second = told["database_operations"]
        assert [each["column"] for each in first["changes"]] == ["title"]
        assert second["unknown"]
        [_, told] = self.listed(
            migrations.RunSQL("select 1", state_operations=[migrations.RemoveField("book", "title")]),
            migrations.AddField("book", "title", models.TextField(null=True)),
        )
        assert [each["change"] for each in told["changes"]] == ["column added"]

    def test_what_django_keeps_out_of_this_database_is_left_out(self) -> None:
        fields = [("id", number())]
        told = self.listed(
            migrations.CreateModel("Seen", fields, options={"managed": False}),
            migrations.CreateModel("Shown", [], options={"proxy": True}, bases=("shelf.book",)),
            migrations.CreateModel("Reader", fields, options={"swappable": "AUTH_USER_MODEL"}),
        )
        assert [each["changes"] for each in told] == [[], [], []]
        with override_settings(DATABASE_ROUTERS=[Elsewhere()]):
            MigrationRecorder(connection).record_applied("shelf", FIRST)
            with migrations_of((FIRST, INITIAL, {}), ("0002_next", [migrations.RunSQL("select 1")], {})):
                [told] = pending.listing(connection)["migrations"][0]["operations"]
        assert not told["unknown"]

    def test_a_squashed_migration_is_applied_once_all_that_it_replaces_are(self) -> None:
        replaces = {"replaces": [("shelf", FIRST), ("shelf", "0002_next")], "dependencies": []}
        more = [migrations.AddField("book", "note", models.TextField(null=True))]
        given: Any = ((FIRST, INITIAL, {}), ("0002_next", more, {}), ("0001_squashed", [*INITIAL, *more], replaces))
        recorder = MigrationRecorder(connection)
        recorder.record_applied("shelf", FIRST)
        with migrations_of(*given):
            assert [each["name"] for each in pending.listing(connection)["migrations"]] == ["0002_next"]
            recorder.record_applied("shelf", "0002_next")
            assert pending.listing(connection)["migrations"] == []
            recorder.record_unapplied("shelf", FIRST)
            recorder.record_unapplied("shelf", "0002_next")
            assert [each["name"] for each in pending.listing(connection)["migrations"]] == ["0001_squashed"]

    def test_columns_that_name_files_are_told_with_where_these_are(self) -> None:
        shelves = FileSystemStorage(location="/srv/shelves")
        with isolate_apps(), override_settings(MEDIA_ROOT="/srv/media"):

            class Cover(models.Model):  # type: ignore[misc,unused-ignore]
                front = models.ImageField(storage=shelves, db_column="front_image")
                back = models.FileField()
                title = models.TextField()

                class Meta:
                    app_label = "shelf"

            class Foreign(models.Model):  # type: ignore[misc,unused-ignore]
                back = models.FileField()

                class Meta:
                    app_label, managed = "shelf", False

            found = pending.files([Cover, Foreign], connection)
        assert found == [
            {"table": "shelf_cover", "column": "front_image", "storage": "FileSystemStorage in /srv/shelves"},
            {"table": "shelf_cover", "column": "back", "storage": "FileSystemStorage in /srv/media"},
        ]

    def test_the_command_prints_json_on_one_line_or_a_line_an_operation(self) -> None:
        MigrationRecorder(connection).record_applied("shelf", FIRST)
        operations = [migrations.RemoveField("book", "title"), migrations.RunSQL("select 1")]
        with migrations_of((FIRST, INITIAL, {}), ("0002_next", operations, {})):
            out = StringIO()
            call_command("strangler_migrations", "--json", stdout=out)
            assert len(out.getvalue().splitlines()) == 1
            assert json.loads(out.getvalue()) == pending.listing(connection)
            out = StringIO()
            call_command("strangler_migrations", stdout=out)
        first, second = out.getvalue().splitlines()
        assert first == "shelf.0002_next: Remove field title from book (column dropped old_books)"
        assert second.endswith("(unknown, may touch any table)"), second
        with self.assertRaisesMessage(CommandError, "there is no database 'other'; there: default"):
            call_command("strangler_migrations", "--database", "other")


class Elsewhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> Any:
        return False if app_label == "shelf" else None
