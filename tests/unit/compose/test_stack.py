"""What `make compose-up` looks at before it starts anything, and what it makes anew. The engine is a script."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from compose import stack

DATABASES: Final = ("shop-database", "services-database", "control-database")


def engine(folder: Path, *, volumes: tuple[str, ...] = ()) -> stack.Engine:
    """Return an engine that has these volumes of the project `shop`, and no containers."""
    script = folder / "engine"
    listed = "\n".join(f"echo shop_{each}" for each in volumes)
    script.write_text(f'#!/bin/sh\nif [ "$1 $2" = "volume ls" ]; then\n:\n{listed}\nfi\n')
    script.chmod(0o755)
    return stack.Engine(program=str(script), compose=(), project="shop")


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("STRANGLER_PORT", str(port))
        with pytest.raises(stack.StackFailed, match=rf"127\.0\.0\.1:{port} cannot be had \(Address already in use\)"):
            stack.see_port(engine(tmp_path))
    stack.see_port(engine(tmp_path))


@pytest.mark.parametrize("said", ["abc", "0", "65536", "-1", "80 80"])
def test_a_port_that_is_none_is_told(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRANGLER_PORT", said)
    with pytest.raises(stack.StackFailed, match=f"STRANGLER_PORT is '{said}'; a number from 1 to 65535"):
        stack.see_port(engine(tmp_path))


def test_data_without_the_passwords_that_they_were_made_with_are_told(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    stack.see_volumes(engine(tmp_path), secrets)  # neither is there: a first start
    with pytest.raises(stack.StackFailed, match=r"shop_shop-database holds .*secrets/shop_password, and there is no"):
        stack.see_volumes(engine(tmp_path, volumes=DATABASES), secrets)
    stack.make_secrets(secrets)
    stack.see_volumes(engine(tmp_path, volumes=DATABASES), secrets)


def test_a_database_that_was_taken_away_from_the_others_is_told(tmp_path: Path) -> None:
    stack.make_secrets(tmp_path / "secrets")
    with pytest.raises(stack.StackFailed, match="and not shop_services-database"):
        stack.see_volumes(engine(tmp_path, volumes=(DATABASES[0], DATABASES[2], "media")), tmp_path / "secrets")


def test_what_is_made_of_a_secret_is_made_anew_with_it_and_nothing_else_is(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    stack.make_secrets(secrets)
    before = {file.name: file.read_bytes() for file in secrets.iterdir()}
    for name in ("service_secret", "reviews_broker_password", "valkey_conf"):
        (secrets / name).unlink()
    stack.make_secrets(secrets)
    after = {file.name: file.read_bytes() for file in secrets.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {
        *("service_secret", "callers"),
        *("reviews_broker_password", "shop_valkey_users", "reviews_broker_url"),
        *("valkey_conf", "redis_url"),
    }
    assert before.keys() == after.keys()


@pytest.mark.parametrize(("newer", "removed"), [(False, False), (True, True)])
def test_a_container_that_is_older_than_a_secret_of_its_own_is_made_anew(
    tmp_path: Path, newer: bool, removed: bool
) -> None:
    (tmp_path / "callers").write_text("monolith=x")
    (tmp_path / "another").write_text("of somebody else")
    made = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    os.utime(tmp_path / "callers", (0, made.timestamp() + (60 if newer else -60)))
    container: dict[str, Any] = {
        "Config": {"Labels": {"com.docker.compose.service": "catalog"}},
        "Created": "2026-01-02T03:04:05.001042384Z",
    }
    assert stack.has_older_secrets(container, {"catalog": {"secrets": ["callers"]}}, tmp_path) is removed
