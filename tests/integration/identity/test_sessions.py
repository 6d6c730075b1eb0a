"""A shop that keeps the CSRF secret in the session, and whose sessions slide."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from strangler.local import Postgres
from tests.fixtures.split import Split, field_of, form_of, running, visitor


@pytest.fixture(scope="module")
def split(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    folder = tmp_path_factory.mktemp("sessions")
    with running(postgres, folder, CSRF_USE_SESSIONS="1", SESSION_SAVE_EVERY_REQUEST="1") as found:
        yield found


def test_a_form_of_the_shop_is_sent_to_a_service_without_a_csrf_cookie(split: Split) -> None:
    browser = split.logged_in("otto")
    token = field_of(form_of(browser))
    assert "csrftoken" not in browser.cookies
    for headers, status in (({}, 403), ({"X-CSRFToken": "x" * 64}, 403), ({"X-CSRFToken": token}, 201)):
        assert browser.post("/lists/", data={"item": "tea"}, headers=headers).status_code == status
    assert browser.post("/lists/", data={"item": "tea", "csrfmiddlewaretoken": token}).status_code == 201
    another = field_of(form_of(split.logged_in("paula")))
    assert browser.post("/lists/", data={"item": "tea"}, headers={"X-CSRFToken": another}).status_code == 403


def test_a_cookie_of_somebody_s_own_making_is_no_secret(split: Split) -> None:
    browser = split.logged_in("otto")
    browser.cookies.set("csrftoken", "x" * 32, domain="127.0.0.1")
    assert browser.post("/lists/", data={"item": "tea"}, headers={"X-CSRFToken": "x" * 32}).status_code == 403


def test_a_visitor_of_services_alone_stays_logged_in(split: Split) -> None:
    browser = split.logged_in("rosa")
    key = browser.cookies["sessionid"]
    with psycopg.connect(split.database, autocommit=True) as shop:
        due = "update django_session set expire_date = now() + interval '1 minute' where session_key = %s"
        assert shop.execute(due, [key]).rowcount == 1
        answer = browser.get("/lists/")
        found = shop.execute(
            "select expire_date > now() + interval '1 day' from django_session where session_key = %s", [key]
        )
        assert found.fetchone() == (True,)
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith(f"sessionid={key}; ")
    assert "Max-Age=1209600" in cookie
    assert answer.headers["cache-control"] == "private"
    again = browser.get("/lists/")
    assert ("set-cookie" in again.headers, visitor(browser)["name"]) == (False, "rosa")
