"""Another secret in three steps, while a visitor reads and writes at a service."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from strangler.local import Postgres
from strangler.routing.keys import Keys
from strangler_proxy.vouch import Signer
from tests.fixtures.proxy import SECRET
from tests.fixtures.split import Split, running
from tests.fixtures.waiting import until

FOLLOWING: Final = "the one that follows, and it has thirty-two bytes too"
# A service asks for keys that it does not know once in five seconds at most.
PAUSE_S: Final = 5.5


def kid(secret: str) -> str:
    return Signer(Keys.derive(secret).identity).kid


def announced(split: Split) -> set[str]:
    found = httpx.get(f"http://127.0.0.1:{split.proxy.admin}/jwks.json").json()
    return {each["kid"] for each in found["keys"]}


@contextmanager
def traffic(split: Split) -> Iterator[list[str]]:
    """Have a visitor who has logged in read and write until the end, and note what is not as it should be."""
    browser = split.logged_in("maria")
    headers = {"X-CSRFToken": browser.cookies["csrftoken"]}
    wrong: list[str] = []
    over = threading.Event()
    made = 0

    def visit() -> None:
        nonlocal made
        while not over.is_set():
            read = browser.get("/lists/")
            if read.status_code != 200 or read.json()["visitor"]["name"] != "maria":
                wrong.append(f"read: {read.status_code} {read.text}")
            written = browser.post("/lists/", data={"item": str(made)}, headers=headers)
            if written.status_code != 201:
                wrong.append(f"written: {written.status_code} {written.text}")
            made += 1

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        yield wrong
    finally:
        over.set()
        visitor.join(20)
    items = browser.get("/lists/").json()["items"]
    assert items == [str(number) for number in range(made)]
    assert made > 50


@pytest.mark.slow
def test_a_visitor_notices_nothing_of_another_secret(postgres: Postgres, tmp_path: Path) -> None:
    old, following = kid(SECRET), kid(FOLLOWING)
    with running(postgres, tmp_path, workers=2) as split:
        assert announced(split) == {old}
        with traffic(split) as wrong:
            split.sign_with(SECRET, FOLLOWING)
            assert announced(split) == {old, following}
            told = time.monotonic()
            until(lambda: time.monotonic() - told > PAUSE_S, "whoever asked before may ask again")
            split.sign_with(FOLLOWING, SECRET)
            assert announced(split) == {old, following}
            split.sign_with(FOLLOWING)
            assert announced(split) == {following}
        assert wrong == []
