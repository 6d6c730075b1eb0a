"""What one container can reach of another: tried from inside."""

from __future__ import annotations

import json
from itertools import product
from typing import Final

import pytest

from compose import stack
from tests.compose.running import COMPOSE, Running, StackFailed, refused

SERVICES: Final = stack.services_of([COMPOSE])
LONG: Final = sorted(name for name, each in SERVICES.items() if not stack.runs_once(each))
PORTS: Final = {
    "shop-database": 5432,
    "services-database": 5432,
    "control-database": 5432,
    "valkey": 6379,
    "shop-valkey": 6379,
    "mail": 2525,
}
# Who may reach which engine; nobody else does.
MAY: Final = {
    "monolith": {"shop-database", "shop-valkey", "mail"},
    "reactions": {"shop-database", "shop-valkey", "mail"},
    "catalog": {"services-database"},
    "reviews": {"services-database"},
    "reviews-worker": {"services-database", "shop-valkey"},
    "reviews-beat": {"shop-valkey"},
    "wishlist": {"services-database"},
    "recommendations": set(),
    "proxy": {"control-database", "valkey"},
    "beat": {"control-database", "valkey"},
    "sync": {"shop-database", "services-database", "control-database", "valkey", "shop-valkey", "mail"},
}
_LOG_IN: Final = """
import psycopg, sys
from pathlib import Path
url = Path(f"/run/secrets/{sys.argv[1]}").read_text().rpartition("/")[0] + "/" + sys.argv[2]
try:
    psycopg.connect(url, connect_timeout=3).execute("select 1")
except psycopg.Error as exc:
    print(exc)
"""


@pytest.mark.parametrize(("service", "engine"), [*product(MAY, PORTS)])
def test_a_container_reaches_the_engines_that_are_its_own_and_no_other(
    running: Running, service: str, engine: str
) -> None:
    if engine in MAY[service]:
        assert refused(running.engine, service, engine, PORTS[engine]) == ""
        return
    for network in running.inspect(engine)["NetworkSettings"]["Networks"].values():
        assert refused(running.engine, service, network["IPAddress"], PORTS[engine]) != ""


def test_a_service_does_not_even_learn_where_the_monoliths_database_is(running: Running) -> None:
    said = refused(running.engine, "catalog", "shop-database", 5432)
    assert "resolution" in said or "not known" in said


@pytest.mark.parametrize("service", ["monolith", "catalog", "recommendations", "sync"])
def test_nobody_but_the_proxy_has_a_way_out(running: Running, service: str) -> None:
    assert "unreachable" in refused(running.engine, service, "192.0.2.1", 443)


@pytest.mark.parametrize(("service", "base"), [*product(["catalog", "reviews", "wishlist"], repeat=2)])
def test_a_services_role_gets_into_its_own_database_alone(running: Running, service: str, base: str) -> None:
    secret = "wishlist_database_url" if service == "wishlist" else f"{service}_owner_database_url"
    said = running.run(service, "python", "-c", _LOG_IN, secret, base)
    if service == base:
        assert said == ""
    else:
        assert f'permission denied for database "{base}"' in said


@pytest.mark.parametrize("base", ["postgres", "template1"])
def test_the_databases_of_nobody_have_nothing_of_anybody(running: Running, base: str) -> None:
    rows = running.sql(
        "select count(*) from pg_tables where schemaname not in ('pg_catalog', 'information_schema')",
        "services-database",
        base,
    )
    assert rows.strip() == "0"


@pytest.mark.parametrize("engine", ["valkey", "shop-valkey"])
def test_valkey_answers_nobody_without_its_password(running: Running, engine: str) -> None:
    assert "NOAUTH" in running.run(engine, "valkey-cli", "ping")


def test_a_services_worker_reaches_the_queues_of_the_shops_valkey_and_nothing_else_there(running: Running) -> None:
    url = (stack.SECRETS / "reviews_broker_url").read_text(encoding="utf-8")
    for asked in (["get", ":1:a session"], ["keys", "*"], ["flushall"], ["config", "get", "*"], ["acl", "list"]):
        assert "NOPERM" in running.run("shop-valkey", "valkey-cli", "-u", url, *asked), asked
    assert "NOPERM" not in running.run("shop-valkey", "valkey-cli", "-u", url, "llen", "shop:celery:reviews")


@pytest.mark.parametrize("service", LONG)
def test_a_container_has_the_secrets_that_it_is_given_and_no_other(running: Running, service: str) -> None:
    given = sorted(SERVICES[service].get("secrets", ()))
    found = running.engine.run(service, "ls", "/run/secrets", check=bool(given)).stdout.split()
    assert sorted(found) == given


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_no_secret_stands_where_the_engine_tells_of_it(running: Running, service: str) -> None:
    told = json.dumps(running.inspect(service))
    for file in stack.SECRETS.iterdir():
        assert file.read_text(encoding="utf-8").strip() not in told, file.name
    image = running.inspect(service)["Image"]
    history = running.engine.call("history", "--no-trunc", "--format", "{{.CreatedBy}}", image).stdout
    assert not any(file.read_text(encoding="utf-8").strip() in history for file in stack.SECRETS.iterdir())


def test_what_fails_from_inside_is_told_as_such(running: Running) -> None:
    with pytest.raises(StackFailed):
        running.run("catalog", "false")
