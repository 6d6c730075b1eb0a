"""A visitor of the shop, known to a service beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx
import psycopg
import pytest

from strangler.local import Postgres
from strangler.routing.keys import Keys
from strangler_proxy.vouch import Signer
from tests.fixtures.proxy import SECRET
from tests.fixtures.split import PERMISSION, Split, field_of, form_of, running, token_of, visitor


@pytest.fixture(scope="module")
def split(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    with running(postgres, tmp_path_factory.mktemp("split")) as found:
        yield found


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
    masked = field_of(form_of(browser))
    assert browser.post("/lists/", data={"item": "cups", "csrfmiddlewaretoken": masked}).json() == {
        "items": ["tea", "cups"]
    }
    foreign = {"X-CSRFToken": token, "Origin": "http://evil.example"}
    assert browser.post("/lists/", data={"item": "x"}, headers=foreign).status_code == 403


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
    page = form_of(browser)
    assert browser.post("/en/account/logout/", data={"csrfmiddlewaretoken": field_of(page)}).status_code == 302
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
