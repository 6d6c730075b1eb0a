"""The pool and the numbered SQL files, over a real PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Barrier, Thread

import psycopg
import pytest

from strangler.service import SchemaRefused, SettingRefused, Unavailable
from strangler.service.database import Database, setting
from strangler.service.schema import upgrade

THINGS = "CREATE TABLE thing (id integer); INSERT INTO thing VALUES (1);"


def write(folder: Path, **changes: str) -> Path:
    for name, text in changes.items():
        (folder / f"{name.lstrip('n')}.sql").write_text(text)
    return folder


def values(url: str, query: str) -> list[object]:
    with psycopg.connect(url) as connection:
        return [value for (value,) in connection.execute(query.encode())]


def test_files_are_applied_in_order_and_once(database_url: str, tmp_path: Path) -> None:
    write(tmp_path, n0002_more="INSERT INTO thing VALUES (2)", n0001_things=THINGS)
    assert upgrade(database_url, tmp_path) == ("0001_things.sql", "0002_more.sql")
    assert upgrade(database_url, tmp_path) == ()
    assert values(database_url, "SELECT id FROM thing ORDER BY id") == [1, 2]


def test_a_file_that_fails_is_taken_back_whole_and_what_came_before_stays(database_url: str, tmp_path: Path) -> None:
    write(tmp_path, n0001_things=THINGS, n0002_bad="INSERT INTO thing VALUES (2); SELECT nothing FROM nowhere")
    with pytest.raises(SchemaRefused, match=r"0002_bad\.sql failed and was rolled back: .*nowhere"):
        upgrade(database_url, tmp_path)
    assert values(database_url, "SELECT id FROM thing") == [1]
    assert values(database_url, "SELECT number FROM schema_change") == [1]


def test_an_edited_file_is_refused_and_changes_nothing(database_url: str, tmp_path: Path) -> None:
    upgrade(database_url, write(tmp_path, n0001_things=THINGS))
    write(tmp_path, n0001_things=THINGS + " ", n0002_more="INSERT INTO thing VALUES (2)")
    with pytest.raises(SchemaRefused, match=r"0001_things\.sql was edited after it was applied"):
        upgrade(database_url, tmp_path)
    assert values(database_url, "SELECT id FROM thing") == [1]


def test_two_releases_that_start_at_once_apply_a_file_once(database_url: str, tmp_path: Path) -> None:
    write(tmp_path, n0001_things=THINGS + " SELECT pg_sleep(0.2);")
    applied: list[tuple[str, ...]] = []
    together = Barrier(2)

    def start() -> None:
        together.wait()
        applied.append(upgrade(database_url, tmp_path))

    threads = [Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [(), ("0001_things.sql",)]


async def opened(url: str, **options: float) -> Database:
    database = Database(url, application="tests", size=1, **options)
    await database.open()
    return database


def test_what_nobody_waits_for_any_more_is_ended(database_url: str) -> None:
    async def scenario() -> None:
        database = await opened(database_url, statement_seconds=0.1)
        try:
            with pytest.raises(Unavailable, match="statement timeout"):
                async with database.connection() as connection:
                    await connection.execute("SELECT pg_sleep(10)")
            assert await database.check() is None
        finally:
            await database.close()

    asyncio.run(scenario())


def test_the_pool_is_bounded_and_waiting_has_an_end(database_url: str) -> None:
    async def scenario() -> None:
        database = await opened(database_url, wait_seconds=0.1)
        try:
            async with database.connection():
                with pytest.raises(Unavailable):
                    async with database.connection():
                        raise AssertionError("there was a second one")
        finally:
            await database.close()

    asyncio.run(scenario())


def test_a_connection_that_the_server_ended_is_not_lent_again(database_url: str) -> None:
    async def scenario() -> None:
        database = await opened(database_url)
        try:
            async with database.connection() as connection:
                pid = connection.info.backend_pid
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            async with database.connection() as connection:
                assert connection.info.backend_pid != pid
                await connection.execute("SELECT 1")
        finally:
            await database.close()

    asyncio.run(scenario())


def test_no_database_is_told_by_the_check_and_not_by_its_password() -> None:
    async def scenario() -> str | None:
        database = await opened("postgresql://x:hunter2@127.0.0.1:1/x", wait_seconds=0.1)
        try:
            return await database.check()
        finally:
            await database.close()

    assert asyncio.run(scenario()) == "the database does not answer"


def test_a_setting_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("from a file\n")
    assert setting("URL", {"URL": "plain"}) == "plain"
    assert setting("URL", {"URL_FILE": str(file)}) == "from a file"
    with pytest.raises(SettingRefused, match="URL is not set; set it, or URL_FILE to a file that holds it"):
        setting("URL", {})
    with pytest.raises(SettingRefused, match=r"URL_FILE names .*missing: No such file"):
        setting("URL", {"URL_FILE": str(tmp_path / "missing")})
