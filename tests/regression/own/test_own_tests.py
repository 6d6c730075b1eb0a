"""The monolith's own API tests, through the proxy over TCP: answered by the monolith, and by services in its place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg import sql

from strangler.capability import WHOLE, Data, Stage, State
from strangler.local import Postgres, ensure_database, ensure_role
from strangler.project import Project, load
from strangler.routing.table import MONOLITH as UPSTREAM
from strangler.routing.table import RoutingTable
from tests.fixtures.postgres import PASSWORD
from tests.fixtures.shop import MONOLITH, ROOT, SERVICES
from tests.regression.own.process import Process
from tests.regression.stacks import BETWEEN, GUNICORN, SIGNER, proxied

# Those that the monolith has an answer of its own to.
MOVED: Final = ("catalog", "recommendations", "reviews")
# Fewer than these were there once; a run that finds less has lost its tests.
LEAST: Final = 220


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """All stacks over empty databases, and the environment that their processes and the tests share."""

    project: Project
    upstreams: Mapping[str, tuple[str, ...]]
    environment: dict[str, str]
    folder: Path


@pytest.fixture(scope="module")
def family(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    folder = tmp_path_factory.mktemp("own")
    project = load(ROOT / "strangler.toml", {})
    services = sorted({project.capabilities[name].service for name in MOVED})
    stateful = sorted({project.capabilities[name].service for name in MOVED if project.capabilities[name].tables})
    (folder / "jwks.json").write_text(json.dumps({"keys": [SIGNER.public()]}))
    with ExitStack() as exits:
        # Named as pytest-django names the test database of "own", which the tests then use instead of making one.
        shop = exits.enter_context(_database(postgres, "test_own"))
        databases = {name: exits.enter_context(_database(postgres, f"own_{name}")) for name in stateful}
        environment = _environment(shop, databases, folder)
        _run(["manage.py", "migrate", "--verbosity=0"], MONOLITH, environment)
        for name in stateful:
            _run(["-m", f"{name}_service", "migrate"], SERVICES / name, environment)
        monolith = exits.enter_context(Process.started(GUNICORN, MONOLITH, environment, folder / "monolith")).url
        environment["CATALOG_URL"] = monolith
        upstreams: dict[str, tuple[str, ...]] = {UPSTREAM: (monolith,)}
        for name in services:
            serve = ["-m", f"{name}_service", "serve", "--listen=127.0.0.1:{port}", f"--request-log={folder / name}"]
            process = Process.started(serve, SERVICES / name, environment, folder / f"{name}.log")
            upstreams[name] = (exits.enter_context(process).url,)
        yield Family(project=project, upstreams=upstreams, environment=environment, folder=folder)


@pytest.mark.slow
@pytest.mark.parametrize("moved", [(), MOVED], ids=["monolith", "services"])
def test_the_monolith_s_own_tests_hold_through_the_proxy(family: Family, moved: Sequence[str]) -> None:
    with ExitStack() as exits:
        proxy = proxied(_table(family, moved), family.folder / f"{len(moved)}.table", exits)
        said = _own_tests(family, f"http://127.0.0.1:{proxy.port}", moved)
        answered = proxy.metric("strangler_proxy_requests_total")
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert int(passed[1]) >= LEAST, said
    by_service = {name: sum(n for labels, n in answered.items() if _labels(labels, name, "service")) for name in MOVED}
    assert {name for name, count in by_service.items() if count > 10} == set(moved), by_service


def _labels(labels: str, capability: str, stack: str) -> bool:
    return f'capability="{capability}"' in labels and f'stack="{stack}"' in labels


def _table(family: Family, moved: Sequence[str]) -> RoutingTable:
    whole = State(share=WHOLE, stage=Stage.CANARY, data=Data.NONE)
    files = [family.project.capabilities[name] for name in MOVED]
    capabilities = tuple(each.routed(whole if each.name in moved else State(data=Data.NONE)) for each in files)
    return RoutingTable(version=1, upstreams=family.upstreams, capabilities=capabilities)


def _environment(shop: str, databases: dict[str, str], folder: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")},
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": shop,
        **{f"{name.upper()}_DATABASE_URL": url for name, url in databases.items()},
        "SECRET_KEY": "for tests only, and long enough for Django",
        "MESSAGES_KEY": "for tests only, and the same in both stacks",
        "STRANGLER_IDENTITY_SECRET": BETWEEN,
        "STRANGLER_JWKS": str(folder / "jwks.json"),
        "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
        "ANONYMOUS_WRITES": "100000/min",
        "USER_WRITES": "100000/min",
        "MEDIA_ROOT": str(folder / "media"),
        "DJANGO_SETTINGS_MODULE": "tests.live",
    }


def _own_tests(family: Family, proxy: str, moved: Sequence[str]) -> str:
    files = sorted(str(each.relative_to(MONOLITH)) for each in (MONOLITH / "tests").glob("test_api_*.py"))
    plugins = ["-p", "strangler.regression.live", "-p", "tests.regression.own.mirror", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "--live", proxy, "--reuse-db", *files]
    shop = family.environment["DATABASE_URL"]
    environment = {
        **family.environment,
        # pytest-django puts test_ before the name again.
        "DATABASE_URL": f"{shop.rpartition('/')[0]}/own",
        "MIRRORED": ",".join(moved),
        "MIRROR_SOURCE": shop,
    }
    done = subprocess.run(command, cwd=MONOLITH, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def _run(arguments: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
    # A service has settings of its own.
    said = {name: value for name, value in environment.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=said, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


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
