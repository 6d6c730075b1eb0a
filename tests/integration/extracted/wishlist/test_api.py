"""The API of the wish list, over real sockets and a real database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.fixtures.answering import Answering
from tests.fixtures.ports import free_port
from tests.integration.extracted.wishlist.conftest import ISSUER, serving

ALL = "/api/wishlist/"
SECRET = "s" * 32


def maria(**more: str) -> dict[str, str]:
    """Return what comes with a request of a program that Maria's token was given to."""
    return {**ISSUER.headers(sub="7", name="maria", via="token"), **more}


def paul() -> dict[str, str]:
    return ISSUER.headers(sub="8", name="paul", via="token")


def one(number: object) -> str:
    return f"{ALL}{number}/"


def kept(served: httpx.Client, headers: dict[str, str]) -> list[int]:
    return [each["product"] for each in served.get(ALL, headers=headers).json()["results"]]


def test_what_is_kept_is_listed_the_latest_first(served: httpx.Client) -> None:
    first = served.post(ALL, json={"product": 1}, headers=maria())
    assert first.status_code == 201
    told = first.json()
    assert told.pop("kept_at").endswith("Z")
    assert told == {"product": 1, "slug": "cup-1", "name": "Täßchen <1>", "image": "/images/CUP.svg"}
    assert served.put(one(2), headers=maria()).status_code == 201
    answer = served.get(ALL, headers=maria())
    assert (answer.json()["count"], kept(served, maria())) == (2, [2, 1])
    assert {name: answer.headers[name] for name in ("allow", "cache-control", "vary")} == {
        "allow": "GET, HEAD, POST",
        "cache-control": "no-store, private",
        "vary": "Api-Version, Cookie",
    }


def test_keeping_and_dropping_twice_is_as_good_as_once(served: httpx.Client) -> None:
    statuses = [served.put(one(1), headers=maria()).status_code for _ in range(3)]
    assert (statuses, kept(served, maria())) == ([201, 200, 200], [1])
    assert served.post(ALL, json={"product": "1"}, headers=maria()).status_code == 200
    dropped = [served.delete(one(1), headers=maria()) for _ in range(2)]
    assert [(each.status_code, each.content) for each in dropped] == [(204, b"")] * 2
    assert kept(served, maria()) == []


def test_everybody_has_a_list_of_their_own(served: httpx.Client) -> None:
    served.put(one(1), headers=maria())
    assert kept(served, paul()) == []
    assert served.get(one(1), headers=paul()).status_code == 404
    served.delete(one(1), headers=paul())
    assert served.get(one(1), headers=maria()).json()["slug"] == "cup-1"


def test_pages_are_those_of_the_shop(served: httpx.Client) -> None:
    for number in range(1, 6):
        served.put(one(number), headers=maria())
    told = served.get(f"{ALL}?page_size=2&page=2", headers=maria(Host="localhost")).json()
    assert (told["count"], [each["product"] for each in told["results"]]) == (5, [3, 2])
    assert told["next"] == "http://localhost/api/wishlist/?page=3&page_size=2"
    assert told["previous"] == "http://localhost/api/wishlist/?page_size=2"
    assert kept(served, maria()) == [5, 4, 3, 2, 1]
    missing = served.get(f"{ALL}?page=9", headers=maria())
    assert (missing.status_code, missing.json()) == (404, {"detail": "Invalid page."})
    last = served.get(f"{ALL}?page=last&page_size=4", headers=maria()).json()
    assert [each["product"] for each in last["results"]] == [1]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
def test_nobody_has_no_list(served: httpx.Client, method: str) -> None:
    answer = served.request(method, ALL if method in ("GET", "POST", "PATCH") else one(1))
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Token")
    assert answer.json() == {"detail": "Authentication credentials were not provided."}


def test_a_forged_identity_is_refused(served: httpx.Client) -> None:
    assert served.get(ALL, headers={"Strangler-Identity": "maria"}).status_code == 401


def test_a_session_needs_the_token_of_a_page(served: httpx.Client) -> None:
    session = ISSUER.headers(sub="7", via="session")
    refused = served.put(one(1), headers=session)
    assert (refused.status_code, list(refused.json())) == (403, ["detail"])
    assert refused.json()["detail"].startswith("CSRF Failed: ")
    guarded = {**session, "Cookie": f"csrftoken={SECRET}", "X-CSRFToken": SECRET}
    assert served.put(one(1), headers={**guarded, "Origin": "http://elsewhere.example"}).status_code == 403
    assert served.put(one(1), headers=guarded).status_code == 201
    assert kept(served, session) == [1]


@pytest.mark.parametrize(
    ("sent", "status", "told"),
    [
        ({"json": {}}, 400, {"product": ["This field is required."]}),
        ({}, 400, {"product": ["This field is required."]}),
        ({"json": {"product": None}}, 400, {"product": ["This field may not be null."]}),
        ({"json": {"product": "one"}}, 400, {"product": ["A valid integer is required."]}),
        ({"json": {"product": True}}, 400, {"product": ["A valid integer is required."]}),
        ({"json": {"product": 1.5}}, 400, {"product": ["A valid integer is required."]}),
        ({"json": {"product": 1000}}, 400, {"product": ['Invalid pk "1000" - object does not exist.']}),
        ({"json": {"product": -1}}, 400, {"product": ['Invalid pk "-1" - object does not exist.']}),
        (
            {"json": [1]},
            400,
            {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]},
        ),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415, None),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, None),
        ({"content": b"[" * 10_000, "headers": {"Content-Type": "application/json"}}, 400, None),
        ({"content": b"x" * 20_000, "headers": {"Content-Type": "application/json"}}, 413, None),
        ({"data": {"product": "7"}}, 201, None),
    ],
    ids=str,
)
def test_what_is_sent_has_to_make_sense(served: httpx.Client, sent: dict[str, Any], status: int, told: object) -> None:
    answer = served.post(ALL, **{**sent, "headers": maria(**sent.get("headers", {}))})
    assert answer.status_code == status, answer.text
    if told:
        assert answer.json() == told


def test_what_the_catalog_does_not_sell_cannot_be_kept(served: httpx.Client) -> None:
    for number in (0, 1000, 2**63 - 1, 2**63, 10**40):
        answer = served.put(one(number), headers=maria())
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


def test_a_list_holds_two_hundred_and_not_one_more(served: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda number: served.put(one(number), headers=maria()).status_code, range(1, 211)))
    assert (statuses.count(201), statuses.count(400)) == (200, 10)
    there = kept(served, maria())[0]
    assert served.put(one(there), headers=maria()).status_code == 200
    full = served.post(ALL, json={"product": 999}, headers=maria())
    assert full.json() == {"product": ["A wish list holds at most 200 products."]}
    assert served.put(one(1), headers=paul()).status_code == 201


def test_versions_and_methods_are_refused_as_in_the_shop(served: httpx.Client) -> None:
    refused = served.get(ALL, headers=maria(**{"Api-Version": "3"}))
    assert (refused.status_code, refused.json()) == (406, {"detail": 'Invalid version in "Api-Version" header.'})
    other = served.patch(one(1), headers=maria())
    assert (other.status_code, other.headers["allow"]) == (405, "DELETE, GET, HEAD, PUT")
    assert other.json() == {"detail": 'Method "PATCH" not allowed.'}
    assert served.get("/api/wishlist", headers=maria()).headers["location"] == "/api/wishlist/"
    assert served.get("/api/wishlist/x/", headers=maria()).status_code == 404


def test_the_list_is_there_while_the_catalog_is_away(wishes_url: str, beside: Answering, tmp_path: Path) -> None:
    with serving(wishes_url, beside.url, tmp_path) as client:
        client.put(one(1), headers=maria())
    with serving(wishes_url, f"http://127.0.0.1:{free_port()}", tmp_path) as client:
        assert kept(client, maria()) == [1]
        away = client.put(one(2), headers=maria())
        assert (away.status_code, away.headers["retry-after"]) == (503, "1")
        assert client.delete(one(1), headers=maria()).status_code == 204


def test_the_catalog_is_told_on_whose_behalf_it_is_asked(served: httpx.Client, beside: Answering) -> None:
    headers = maria(**{"x-request-id": "r-1"})
    served.put(one(1), headers=headers)
    [heard] = beside.heard
    assert heard.headers["strangler-identity"] == headers["Strangler-Identity"]
    assert (heard.headers["x-request-id"], heard.headers["user-agent"]) == ("r-1", "wishlist")


def test_a_name_follows_the_catalog_when_it_is_kept_again(
    served: httpx.Client, wishes_url: str, beside: Answering
) -> None:
    served.put(one(1), headers=maria())
    with psycopg.connect(wishes_url) as connection:
        connection.execute("UPDATE wish SET name = 'as it was called once'")
    before = served.get(one(1), headers=maria()).json()
    after = served.put(one(1), headers=maria()).json()
    assert (before["name"], after["name"]) == ("as it was called once", "Täßchen <1>")
    assert before["kept_at"] == after["kept_at"]
