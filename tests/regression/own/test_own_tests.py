"""The monolith's own API tests, through the proxy over TCP: answered by the monolith, and by a service in its place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
import pytest
from psycopg import sql

from strangler.capability import WHOLE, Data, Stage, State
from strangler.local import Postgres, ensure_database, ensure_role
from strangler.project import load
from strangler.routing.table import RoutingTable
from tests.fixtures.postgres import PASSWORD
from tests.fixtures.proxy import SETTINGS, Proxy
from tests.fixtures.shop import MONOLITH, ROOT
from tests.regression.own.process import Process

NAMES: Final = "testserver,localhost,127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Both stacks over empty databases, and the environment that their processes and the tests share."""

    monolith: Process
    catalog: Process
    environment: dict[str, str]


@pytest.fixture(scope="module")
def family(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    logs = tmp_path_factory.mktemp("own")
    with ExitStack() as stack:
        # Named as pytest-django names the test database of "own", which the tests then use instead of making one.
        shop, catalog = (stack.enter_context(_database(postgres, name)) for name in ("test_own", "own_catalog"))
        environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")},
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "extracted" / "catalog"))),
            "DATABASE_URL": shop,
            "CATALOG_DATABASE_URL": catalog,
            "SECRET_KEY": "for tests only, and long enough for Django",
            "ALLOWED_HOSTS": NAMES,
            "ANONYMOUS_WRITES": "100000/min",
            "USER_WRITES": "100000/min",
            "MEDIA_ROOT": str(logs / "media"),
            "DJANGO_SETTINGS_MODULE": "tests.live",
        }
        for command in (["manage.py", "migrate", "--verbosity=0"], ["-m", "catalog_service", "migrate"]):
            subprocess.run([sys.executable, *command], cwd=MONOLITH, env=environment, check=True, capture_output=True)
        gunicorn = ["-m", "gunicorn", "--workers=1", "--threads=2", "--log-level=warning", "--bind=127.0.0.1:{port}"]
        service = ["-m", "catalog_service", "serve", "--listen=127.0.0.1:{port}", f"--request-log={logs / 'requests'}"]
        yield Family(
            monolith=stack.enter_context(Process.started(gunicorn, MONOLITH, environment, logs / "monolith")),
            catalog=stack.enter_context(Process.started(service, MONOLITH, environment, logs / "catalog")),
            environment=environment,
        )


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, WHOLE], ids=["monolith", "service"])
def test_the_monolith_s_own_tests_hold_through_the_proxy(family: Family, share: int) -> None:
    files = load(ROOT / "strangler.toml", {}).capabilities["catalog"]
    state = State(share=share, stage=Stage.CANARY if share else Stage.MONOLITH, data=Data.NONE)
    table = RoutingTable(
        version=1,
        upstreams={"monolith": (family.monolith.url,), "catalog": (family.catalog.url,)},
        capabilities=(files.routed(state),),
    )
    with Proxy(SETTINGS, table) as proxy:
        said = _own_tests(family, f"http://127.0.0.1:{proxy.port}")
        answered = proxy.call(lambda: dict(proxy.board.tally.requests))
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert int(passed[1]) >= 80, said
    by_service = sum(count for (_, stack, *_), count in answered.items() if stack == "service")
    assert (by_service > 100) == bool(share), answered


def _own_tests(family: Family, proxy: str) -> str:
    files = sorted(str(each.relative_to(MONOLITH)) for each in (MONOLITH / "tests").glob("test_api_*.py"))
    plugins = ["-p", "strangler.regression.live", "-p", "tests.regression.own.mirror", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "--live", proxy, "--reuse-db", *files]
    environment = {
        **family.environment,
        # pytest-django puts test_ before the name again.
        "DATABASE_URL": family.environment["DATABASE_URL"].rpartition("/")[0] + "/own",
        "MIRROR_CAPABILITY": "catalog",
        "MIRROR_SOURCE": family.environment["DATABASE_URL"],
        "MIRROR_TARGET": family.environment["CATALOG_DATABASE_URL"],
    }
    done = subprocess.run(command, cwd=MONOLITH, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@contextmanager
def _database(postgres: Postgres, name: str) -> Iterator[str]:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        ensure_role(connection, name, PASSWORD)
        ensure_database(connection, name, name)
        # Django asks there whether its test database exists.
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE postgres TO {}").format(sql.Identifier(name)))
        yield postgres.url(name, name, PASSWORD)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE postgres FROM {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
