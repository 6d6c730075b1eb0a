"""Somebody who is somebody else now, or nobody: all workers of the proxy know within a second, whoever saw it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser

import httpx
import psycopg
import pytest
import redis

from strangler.local import Postgres, Valkey
from strangler_proxy.forgetting import FORGET
from tests.fixtures.split import Split, log_out, running, token_of, visitor
from tests.fixtures.waiting import until

CLIENTS = 12
WORKERS = 2


@pytest.fixture(scope="module")
def split(postgres: Postgres, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    with running(postgres, tmp_path_factory.mktemp("forget"), workers=WORKERS, redis=valkey.url) as found:
        until(lambda: subscribers(valkey) == WORKERS, "all workers listen")
        yield found


def subscribers(valkey: Valkey) -> int:
    with redis.Redis.from_url(valkey.url) as client:
        return int(client.pubsub_numsub(FORGET)[0][1])


def everywhere(split: Split, **headers: str) -> Callable[[], list[str | None]]:
    """Return how to ask as whom all workers know who sends ``headers``, having had each ask once.

    A connection stays with the worker that accepted it.
    """
    before = sum(split.questions().values())
    clients: list[httpx.Client] = []

    def ask() -> list[str | None]:
        found = [visitor(client) for client in clients]
        return [each and each["name"] for each in found]

    def all_asked() -> bool:
        clients.append(split.browser(**headers))
        return len(clients) >= CLIENTS or (ask() != [] and sum(split.questions().values()) - before >= WORKERS)

    until(all_asked, "each worker has asked")
    return ask


class Form(HTMLParser):
    """The fields of a page's forms as a browser would send them, untouched."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        kind, name = found.get("type"), found.get("name")
        unsent = kind in ("submit", "file") or (kind == "checkbox" and "checked" not in found)
        if tag == "input" and name and not unsent:
            self.fields[name] = found.get("value") or ("on" if kind == "checkbox" else "")


def cookie_of(browser: httpx.Client) -> dict[str, str]:
    return {"Cookie": f"sessionid={browser.cookies['sessionid']}"}


def test_a_logout_counts_with_every_worker(split: Split) -> None:
    browser = split.logged_in("otto")
    ask = everywhere(split, **cookie_of(browser))
    assert set(ask()) == {"otto"}
    log_out(browser)
    until(lambda: set(ask()) == {None}, "nobody knows the session", 1)


def administrator(split: Split) -> httpx.Client:
    with psycopg.connect(split.database, autocommit=True) as connection:
        connection.execute("update accounts_user set is_superuser = true where username = 'maria'")
    return split.logged_in("maria")


def test_who_is_switched_off_by_an_administrator_is_nobody_by_session_and_by_token(split: Split) -> None:
    admin, browser = administrator(split), split.logged_in("rosa")
    by_session, by_token = everywhere(split, **cookie_of(browser)), everywhere(split, **token_of("rosa"))
    assert set(by_session() + by_token()) == {"rosa"}
    subject = visitor(browser)["subject"]
    page = admin.get(f"/admin/accounts/user/{subject}/change/")
    sent = {**Form(page.text).fields, "_save": "Save"}
    del sent["is_active"]
    answer = admin.post(f"/admin/accounts/user/{subject}/change/", data=sent)
    assert (answer.status_code, "strangler-forget" in answer.headers) == (302, False), answer.text
    until(lambda: set(by_session() + by_token()) == {None}, "nobody knows her", 1)


def test_who_changes_a_password_is_out_everywhere_else(split: Split) -> None:
    browser, elsewhere = administrator(split), split.logged_in("maria")
    ask = everywhere(split, **cookie_of(elsewhere))
    assert set(ask()) == {"maria"}
    page = browser.get("/admin/password_change/")
    passwords = dict.fromkeys(("new_password1", "new_password2"), "another secret of maria")
    sent = {**Form(page.text).fields, **passwords, "old_password": "secret of maria"}
    assert browser.post("/admin/password_change/", data=sent).status_code == 302
    until(lambda: set(ask()) == {None}, "the other session is nobody's", 1)
    assert visitor(browser)["name"] == "maria"
