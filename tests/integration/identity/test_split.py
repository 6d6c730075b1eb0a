"""A visitor of the shop, known to a service beside it: real Django, real proxy, real service, no shortcut."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest

from strangler.local import Postgres, ensure_database, ensure_role
from strangler.routing.keys import Keys
from strangler_proxy.vouch import Signer
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import PASSWORD
from tests.fixtures.proxy import SECRET, ProxyProcess
from tests.fixtures.shop import MONOLITH, ROOT
from tests.fixtures.waiting import until

IDENTITY_SECRET: Final = "only for tests, and at least thirty-two bytes"
PERMISSION: Final = "auth.add_group"
USERS: Final = """
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from rest_framework.authtoken.models import Token
editors = Group.objects.create(name="editors")
editors.permissions.add(Permission.objects.get(codename="add_group", content_type__app_label="auth"))
for name in ("maria", "otto", "paula", "rosa"):
    user = get_user_model().objects.create_user(name, f"{name}@shop.test", password="secret of " + name)
    Token.objects.create(user=user, key=(name * 40)[:40])
maria = get_user_model().objects.get(username="maria")
maria.groups.add(editors)
get_user_model().objects.filter(username="maria").update(is_staff=True)
"""
TOML: Final = """
[monolith]
endpoints = ["http://127.0.0.1:{monolith}"]
database = "$NONE"
[control]
database = "postgresql://nobody@127.0.0.1:1/none"
redis = "redis://127.0.0.1:1/0"
secret = "$STRANGLER_SECRET"
[proxy]
listen = ["127.0.0.1:{listen}"]
admin = "127.0.0.1:{admin}"
workers = 1
state = "state"
[identity]
secret = "$IDENTITY_SECRET"
permissions = ["auth.add_group", "auth.delete_group"]
[service.lists]
endpoints = ["http://127.0.0.1:{lists}"]
database = "$NONE"
"""
CAPABILITY: Final = 'service = "lists"\nborn = "service"\n[[route]]\npath = "/lists"\n'


@dataclass
class Split:
    """A shop and a service behind one proxy."""

    proxy: ProxyProcess
    ports: dict[str, int]
    monolith: subprocess.Popen[bytes]
    database: str
    browsers: list[httpx.Client] = field(default_factory=list)

    def browser(self, **headers: str) -> httpx.Client:
        client = httpx.Client(base_url=f"http://127.0.0.1:{self.proxy.port}", headers=headers, timeout=20)
        self.browsers.append(client)
        return client

    def logged_in(self, name: str) -> httpx.Client:
        """Return a browser in which ``name`` has filled in the shop's own login form."""
        browser = self.browser()
        page = browser.get("/en/account/login/")
        fields = {"username": name, "password": f"secret of {name}", "csrfmiddlewaretoken": _field(page.text)}
        answer = browser.post("/en/account/login/", data=fields)
        assert (answer.status_code, "sessionid" in browser.cookies) == (302, True), answer.text
        return browser

    def questions(self) -> dict[str, float]:
        return self.proxy.metric("strangler_proxy_identity_questions_total")

    def service(self, **headers: str) -> httpx.Response:
        """Ask the service itself, as somebody would who got past the proxy."""
        return httpx.get(f"http://127.0.0.1:{self.ports['lists']}/lists/", headers=headers)


def _field(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found is not None, page
    return found[1]


def token_of(name: str) -> dict[str, str]:
    return {"Authorization": f"Token {(name * 40)[:40]}"}


def visitor(client: httpx.Client, **headers: str) -> Any:
    answer = client.get("/lists/", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["visitor"]


@pytest.fixture(scope="module")
def split(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    folder = tmp_path_factory.mktemp("split")
    ports = {name: free_port() for name in ("monolith", "lists", "listen", "admin")}
    (folder / "strangler.toml").write_text(TOML.format(**ports))
    (folder / "migrations" / "lists").mkdir(parents=True)
    (folder / "migrations" / "lists" / "capability.toml").write_text(CAPABILITY)
    env = {"STRANGLER_SECRET": SECRET, "IDENTITY_SECRET": IDENTITY_SECRET}
    with (
        _database(postgres) as database,
        _monolith(database, ports["monolith"], folder) as monolith,
        ProxyProcess.project(folder / "strangler.toml", env) as proxy,
        _lists(ports["lists"], f"http://127.0.0.1:{ports['admin']}/jwks.json", folder),
    ):
        found = Split(proxy=proxy, ports=ports, monolith=monolith, database=database)
        yield found
        for browser in found.browsers:
            browser.close()


@contextmanager
def _database(postgres: Postgres) -> Iterator[str]:

    name = f"split{os.getpid()}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        ensure_role(connection, name, PASSWORD)
        ensure_database(connection, name, name)
        yield postgres.url(name, name, PASSWORD)
        connection.execute(f'drop database "{name}" with (force)')
        connection.execute(f'drop role "{name}"')


@contextmanager
def _monolith(database: str, port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    env = {
        **_plain(),
        "DATABASE_URL": database,
        "SECRET_KEY": "for tests only, and long enough for Django",
        "STRANGLER_IDENTITY_SECRET": IDENTITY_SECRET,
        "MEDIA_ROOT": str(folder / "media"),
    }
    for arguments in (["migrate", "--verbosity=0"], ["shell", "--verbosity=0", "-c", USERS]):
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=MONOLITH,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    with _process(command, MONOLITH, env, folder / "monolith.log") as process:
        _answers(f"http://127.0.0.1:{port}/robots.txt", folder / "monolith.log")
        yield process


@contextmanager
def _lists(port: int, jwks: str, folder: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.integration.identity.lists_service", f"127.0.0.1:{port}"]
    with _process(command, ROOT, {**_plain(), "STRANGLER_JWKS": jwks}, folder / "lists.log"):
        _answers(f"http://127.0.0.1:{port}/health/live", folder / "lists.log")
        yield


def _plain() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def _process(command: list[str], folder: Path, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out, subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=out) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def _answers(url: str, log: Path) -> None:
    def answers() -> bool:
        try:
            return httpx.get(url, timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    try:
        until(answers, url, 30)
    except AssertionError as exc:
        raise AssertionError(f"{exc}\n{log.read_text()}") from None


OTTO: Final = {"name": "otto", "staff": False, "groups": [], "permissions": []}


def test_a_stranger_is_a_stranger(split: Split) -> None:
    browser = split.browser()
    assert visitor(browser) is None
    assert browser.post("/lists/", data={"item": "tea"}).status_code == 401
    assert split.questions() == {}


def test_a_browser_that_logged_in_at_the_shop_is_known_to_the_service(split: Split) -> None:
    found = visitor(split.logged_in("maria"))
    assert found == {
        "subject": found["subject"],
        "name": "maria",
        "staff": True,
        "groups": ["editors"],
        "permissions": [PERMISSION],
        "via": "session",
    }


def test_a_browser_writes_with_the_shop_s_own_csrf_token(split: Split) -> None:
    browser = split.logged_in("otto")
    assert browser.post("/lists/", data={"item": "tea"}).status_code == 403
    token = browser.cookies["csrftoken"]
    assert browser.post("/lists/", data={"item": "tea"}, headers={"X-CSRFToken": token}).status_code == 201
    masked = _field(split_form(browser))
    assert browser.post("/lists/", data={"item": "cups", "csrfmiddlewaretoken": masked}).json() == {
        "items": ["tea", "cups"]
    }
    foreign = {"X-CSRFToken": token, "Origin": "http://evil.example"}
    assert browser.post("/lists/", data={"item": "x"}, headers=foreign).status_code == 403


def split_form(browser: httpx.Client) -> str:
    """Return a page of the shop with a form, whose token is masked anew."""
    return browser.get("/en/account/profile/").text


def test_a_program_with_a_token_is_known_and_needs_no_csrf_token(split: Split) -> None:
    program = split.browser(**token_of("otto"))
    found = visitor(program)
    assert found == {**OTTO, "subject": found["subject"], "via": "token"}
    assert program.post("/lists/", data={"item": "tea"}).status_code == 201
    assert visitor(split.browser(Authorization="Token " + "0" * 40)) is None


def test_whoever_says_who_he_is_is_not_believed(split: Split) -> None:
    good = Signer(Keys.derive(SECRET).identity).header(IDENTITY, time.time()).decode().partition(": ")[2].strip()
    for name in ("Strangler-Identity", "strangler_identity"):
        assert visitor(split.browser(), **{name: good}) is None
    assert visitor(split.logged_in("otto"), **{"Strangler-Identity": good})["name"] == "otto"


IDENTITY: Final = {**OTTO, "subject": "1", "name": "mallory", "staff": True, "via": "session"}


def test_past_the_proxy_nobody_gets_further(split: Split) -> None:
    """An expired token, one of a foreign key, and none at all; the good one shows that the others fail for a reason."""
    ours, foreign = Signer(Keys.derive(SECRET).identity), Signer(b"f" * 32)
    lines = {
        "good": ours.header(IDENTITY, time.time()),
        "expired": ours.header(IDENTITY, time.time() - 60),
        "foreign": foreign.header(IDENTITY, time.time()),
        "nonsense": b"Strangler-Identity: x.y.z\r\n",
    }
    tokens = {name: line.decode().partition(": ")[2].strip() for name, line in lines.items()}
    statuses = {name: split.service(**{"Strangler-Identity": token}).status_code for name, token in tokens.items()}
    assert statuses == {"good": 200, "expired": 401, "foreign": 401, "nonsense": 401}
    assert split.service().json()["visitor"] is None


def test_a_logout_counts_at_once(split: Split) -> None:
    browser = split.logged_in("otto")
    assert visitor(browser)["name"] == "otto"
    session = browser.cookies["sessionid"]
    page = split_form(browser)
    assert browser.post("/en/account/logout/", data={"csrfmiddlewaretoken": _field(page)}).status_code == 302
    assert visitor(browser) is None
    assert visitor(split.browser(Cookie=f"sessionid={session}")) is None


def test_somebody_who_was_switched_off_is_nobody(split: Split) -> None:
    browser = split.logged_in("rosa")
    with psycopg.connect(split.database, autocommit=True) as connection:
        connection.execute("update accounts_user set is_active = false where username = 'rosa'")
    assert visitor(browser) is None
    assert visitor(split.browser(**token_of("rosa"))) is None


def test_many_requests_at_once_make_one_question(split: Split) -> None:
    browser = split.logged_in("paula")
    before = sum(split.questions().values())
    cookie = f"sessionid={browser.cookies['sessionid']}"
    browsers = [split.browser(Cookie=cookie) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        names = {found["name"] for found in pool.map(visitor, browsers)}
    assert names == {"paula"}
    assert sum(split.questions().values()) - before == 1


def test_the_address_of_questions_is_nobody_s(split: Split) -> None:
    assert split.browser().post("/.strangler/identity/", content=b"{}").status_code == 404
    direct = httpx.post(f"http://127.0.0.1:{split.ports['monolith']}/.strangler/identity/", content=b"{}")
    assert direct.status_code == 403


def test_while_the_shop_is_down(split: Split) -> None:
    """The last: whoever is remembered stays known, readers are strangers, tokens and writes are asked to wait."""
    known, unknown = split.logged_in("otto"), split.logged_in("otto")
    assert visitor(known)["name"] == "otto"
    split.monolith.terminate()
    split.monolith.wait(20)
    assert visitor(known)["name"] == "otto"
    assert visitor(unknown) is None
    program = split.browser(**token_of("paula"))
    headers = {"X-CSRFToken": unknown.cookies["csrftoken"]}
    for answer in (program.get("/lists/"), unknown.post("/lists/", data={"item": "x"}, headers=headers)):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert visitor(split.browser()) is None
