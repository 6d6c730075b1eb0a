"""Pending migrations of a Django project, asked of its own manage.py, and said before a sync begins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from strangler.check import check
from strangler.project import Manage, ProjectInvalid, Secret
from strangler.sync.check import NOT_LOOKED_AT, WHERE
from strangler.sync.errors import NotListed
from strangler.sync.manage import ask
from strangler.sync.pending import parse
from tests.fixtures.books import Shop
from tests.fixtures.waiting import until

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
print("a settings module that talks")
execute_from_command_line(sys.argv)
"""
SETTINGS = """
import os
from psycopg.conninfo import conninfo_to_dict
url = conninfo_to_dict(os.environ["SHELF_DATABASE"])
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": url["dbname"], "USER": url["user"],
    "PASSWORD": url["password"], "HOST": url["host"], "PORT": url["port"],
}}
INSTALLED_APPS = ["strangler_django", "shelf"]
AUTH_USER_MODEL = "shelf.Reader"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
MODELS = """
from django.db import models
class Reader(models.Model):
    class Meta:
        managed = False
"""
INITIAL = """
from django.db import migrations, models
class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel("Author", [
            ("id", models.BigIntegerField(primary_key=True)),
            ("name", models.TextField()),
            ("born", models.DateField(null=True)),
        ], options={"db_table": "author"}),
        migrations.CreateModel("Book", [
            ("id", models.BigIntegerField(primary_key=True)),
            ("author", models.ForeignKey("shelf.Author", models.CASCADE)),
            ("title", models.TextField(unique=True)),
        ], options={"db_table": "book"}),
    ]
"""
NEXT = """
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("shelf", "0001_initial")]
    operations = [
        migrations.AddField("author", "note", models.TextField(null=True)),
        migrations.RemoveField("author", "born"),
        migrations.RenameField("author", "name", "called"),
        migrations.AddField("book", "pages", models.IntegerField(default=1)),
        migrations.AddIndex("book", models.Index(fields=["title"], name="by_title")),
        migrations.CreateModel("Page", [
            ("id", models.BigAutoField(primary_key=True)), ("book", models.ForeignKey("shelf.Book", models.CASCADE)),
        ]),
    ]
"""
CONFIGURED = """
[monolith.manage]
command = ["{python}", "monolith/manage.py"]
[monolith.manage.environment]
SHELF_DATABASE = "$SOURCE"
"""


@pytest.fixture
def monolith(shop: Shop) -> Shop:
    """Have the tables be those of a Django project whose first migration is applied, and the second is not."""
    folder = shop.file.parent / "monolith"
    (folder / "shelf" / "migrations").mkdir(parents=True)
    for name, text in {
        "manage.py": MANAGE,
        "settings.py": SETTINGS,
        "shelf/__init__.py": "",
        "shelf/models.py": MODELS,
        "shelf/migrations/__init__.py": "",
        "shelf/migrations/0001_initial.py": INITIAL,
        "shelf/migrations/0002_next.py": NEXT,
    }.items():
        (folder / name).write_text(text)
    done = run(shop, "migrate", "--fake", "shelf", "0001")
    assert done.returncode == 0, done.stderr
    return shop


def run(shop: Shop, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(shop.file.parent / "monolith" / "manage.py"), *words],
        env={**os.environ, "SHELF_DATABASE": shop.pair.forward.source_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def configure(shop: Shop) -> None:
    shop.file.write_text(shop.file.read_text() + CONFIGURED.format(python=sys.executable))


def said(shop: Shop, *more: str) -> dict[str, str]:
    """Return what is said of migrations, by the level that it has."""
    found = json.loads(shop("check", "--json", *more)[1])
    return {each["found"]: each["level"] for each in found if each["where"] == WHERE}


WAY = "; apply it before the sync begins, or begin the sync anew after it"
FOUND = {
    "shelf.0002_next (Add field note to author): author.note passes while a sync runs; the service does not get"
    " it": "warn",
    "shelf.0002_next (Remove field born from author): author.born, which the mapping does not use, passes while a sync"
    " runs": "warn",
    "shelf.0002_next (Rename field name on author to called): author.name, which the mapping uses, is called called"
    " then" + WAY: "stop",
    "shelf.0002_next (Add field pages to book): book.pages must have a value, and rows that come back from the service"
    " have none, so the way back stops; give it a default in the database (db_default), or let it be NULL"
    + WAY: "stop",
    "shelf.0002_next (Create index by_title on field(s) title of model book): by_title of book passes while a sync"
    " runs; see that the service's table fits it": "warn",
    "shelf.0002_next (Create model Page): shelf_page, which is not mapped, will refer to book: a delete that comes back"
    " once the service owns the rows is refused while it has such rows": "warn",
}


def test_what_is_pending_is_asked_of_manage_py(monolith: Shop) -> None:
    assert said(monolith) == {NOT_LOOKED_AT: "warn"}
    configure(monolith)
    assert said(monolith) == FOUND
    assert monolith("check")[0] == 1
    done = run(monolith, "migrate", "--fake", "shelf")
    assert done.returncode == 0, done.stderr
    assert said(monolith) == {}
    assert monolith("check")[0] == 0


def test_what_another_machine_has_listed_is_read_from_a_file(
    monolith: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed = run(monolith, "strangler_migrations", "--json").stdout
    file = tmp_path / "pending.json"
    file.write_text(listed)
    assert said(monolith, "--migrations", str(file)) == FOUND
    read, write = os.pipe()
    os.write(write, listed.encode())
    os.close(write)
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert said(monolith, "--migrations", "-") == FOUND
    file.write_text("nothing")
    for name, complaint in ((str(file), "has no listing"), (str(tmp_path / "none"), "cannot be read")):
        code, printed, complained = monolith("check", "--migrations", name)
        assert (code, printed, complaint in complained) == (2, "", True)


CHANGED = "select id, name from author where id in (1, 91) order by id"


def test_what_is_said_to_pass_does(monolith: Shop) -> None:
    """What is said comes true: Django itself applies the migration under streams that run."""
    monolith("start")
    monolith.pair.keep(monolith.pair.forward)
    migrations = monolith.file.parent / "monolith" / "shelf" / "migrations"
    passing = [each for each in NEXT.splitlines() if "Rename" not in each and '"pages"' not in each]
    (migrations / "0002_next.py").write_text("\n".join(passing))
    assert run(monolith, "migrate", "shelf").returncode == 0
    monolith.pair.source(
        "insert into author (id, name) values (91, 'New')", "update author set name = 'N' where id = 1"
    )
    monolith.pair.equal(CHANGED, CHANGED)


def test_check_tells_of_what_concerns_mapped_tables(monolith: Shop) -> None:
    configure(monolith)
    [found] = [each for each in check(monolith.project) if each.subject == WHERE]
    assert (found.wrong, found.detail) == (None, "")
    assert found.warning == (
        "some are pending that concern mapped tables: shelf.0002_next: see strangler sync check books"
    )
    run(monolith, "migrate", "--fake", "shelf")
    [found] = [each for each in check(monolith.project) if each.subject == WHERE]
    assert (found.wrong, found.warning, found.detail) == (None, None, "none is pending")


# --- what goes wrong ---


def test_a_manage_py_that_fails_stops_and_hides_what_it_was_given(monolith: Shop) -> None:
    configure(monolith)
    settings = monolith.file.parent / "monolith" / "settings.py"
    settings.write_text(SETTINGS + "\nraise ValueError('cannot use ' + os.environ['SHELF_DATABASE'])")
    [(found, level)] = said(monolith).items()
    assert level == "stop"
    assert found.endswith("failed (exit code 1): ValueError: cannot use ***")
    settings.write_text(SETTINGS.replace('"strangler_django", ', ""))
    [(found, level)] = said(monolith).items()
    assert found.endswith("add strangler_django, of this release, to its INSTALLED_APPS")


def manage(script: str, **environment: Any) -> Manage:
    return Manage(command=(sys.executable, "-c", script), environment=environment)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("", "has no listing"),
        ("import sys; sys.exit('postgresql://ann:secret@there')", r"exit code 1\): postgresql://\*\*\*@there"),
        ("import sys; sys.exit(3)", r"failed \(exit code 3\): it said nothing"),
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9"),
        ("import sys; print('x' * 100_000)", "has printed more than 10,000 bytes; it was ended"),
    ],
)
def test_a_command_that_says_nothing_of_use_is_told(tmp_path: Path, script: str, complaint: str) -> None:
    with pytest.raises(NotListed, match=complaint):
        ask(manage(script), tmp_path, most=10_000)


def test_a_command_that_does_not_end_is_ended_with_all_that_it_began(tmp_path: Path) -> None:
    script = "import subprocess; subprocess.run(['sleep', '600'])"
    began = time.monotonic()
    with pytest.raises(NotListed, match="has not ended within 1 s; it was ended"):
        ask(manage(script), tmp_path, seconds=1)
    assert time.monotonic() - began < 30


def test_a_command_that_closes_its_outputs_and_goes_on_is_ended_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(NotListed, match="has not ended within 1 s; it was ended"):
        ask(manage("import os, time; os.close(1); os.close(2); time.sleep(600)"), tmp_path, seconds=1)
    assert time.monotonic() - began < 30


def test_what_a_command_has_begun_ends_with_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "open")
    reading = os.open(tmp_path / "open", os.O_RDONLY | os.O_NONBLOCK)
    script = (
        "import subprocess, sys; at = open('open', 'w');"
        " subprocess.Popen(['sleep', '600'], stdout=at, stderr=at); sys.exit('it has begun')"
    )
    with pytest.raises(NotListed, match="it has begun"):
        ask(manage(script), tmp_path)

    def is_closed() -> bool:
        try:
            return os.read(reading, 1) == b""
        except BlockingIOError:
            return False

    until(is_closed, "nobody has it open")
    os.close(reading)


def test_what_cannot_be_run_is_told_before_anything_is(tmp_path: Path) -> None:
    with pytest.raises(
        NotListed, match=r"no-such cannot be run in .*: No such file or directory; mend \[monolith.manage"
    ):
        ask(Manage(command=("no-such",), environment={}), tmp_path)
    with pytest.raises(ProjectInvalid):
        ask(manage("", NAME=Secret(value=None)), tmp_path)


def test_a_command_has_the_environment_and_what_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", "one")
    script = "import os, sys; sys.exit(os.environ['OUTER'] + os.getcwd() + str(len(os.environ['INNER'])))"
    with pytest.raises(NotListed, match=f"one{tmp_path}3"):
        ask(manage(script, INNER=Secret(value="two")), tmp_path)


def test_the_shop_lists_its_own(shop_url: str) -> None:
    folder = Path(__file__).parents[4] / "legacy_monolith"
    done = subprocess.run(
        [sys.executable, "manage.py", "strangler_migrations", "--json"],
        cwd=folder,
        env={**os.environ, "DATABASE_URL": shop_url, "DEBUG": "1", "STRANGLER_IDENTITY_SECRET": "s" * 32},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    listing = parse(done.stdout, "the shop")
    assert "catalog.0002_collections_and_prices" in listing.migrations
    changed = {(change.kind, change.table) for each in listing.operations for change in each.changes}
    assert ("table added", "catalog_product") in changed
    storages = {(each.table, each.column): each.storage for each in listing.files}
    assert storages["reviews_photo", "image"].startswith("FileSystemStorage in /")


@pytest.fixture
def shop_url(make_database: Any) -> str:
    """A database of the shop's before its first migration."""
    return str(make_database())
