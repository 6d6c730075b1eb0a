"""The wish list as a process: what the operator sees of it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.fixtures.ports import free_port
from tests.integration.extracted.wishlist.conftest import serving, verb


def test_the_database_is_brought_up_to_date_once(wishes_url: str) -> None:
    assert verb("migrate", WISHLIST_DATABASE_URL=wishes_url).stdout == "nothing to apply\n"


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"WISHLIST_DATABASE_URL": ""}, "wishlist: WISHLIST_DATABASE_URL is not set"),
        ({"WISHLIST_POOL_SIZE": "0"}, "wishlist: WISHLIST_POOL_SIZE is '0'; write a whole number from 1 to 100"),
        ({"LOG_LEVEL": "loud"}, "wishlist: LOG_LEVEL is 'loud'"),
        ({"CATALOG_URL": "catalog"}, "wishlist: 'catalog' is no address of a service"),
        ({"STRANGLER_JWKS": "/nowhere/jwks.json"}, "wishlist: "),
    ],
)
def test_a_wrong_setting_is_one_plain_sentence(said: dict[str, str], complaint: str) -> None:
    done = verb("serve", **{"WISHLIST_DATABASE_URL": "postgresql://x@127.0.0.1:1/x", **said})
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(complaint)
    assert len(done.stderr.splitlines()) == 1


def test_it_is_ready_with_its_database_alone(served: httpx.Client, tmp_path: Path) -> None:
    assert served.get("/health/ready").json() == {"status": "ready", "checks": {"database": "ok"}}
    nowhere = f"127.0.0.1:{free_port()}"
    with serving(f"postgresql://x@{nowhere}/x", f"http://{nowhere}", tmp_path) as client:
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200


def test_the_document_names_every_method(served: httpx.Client) -> None:
    paths = served.get("/openapi.json").json()["paths"]
    assert {path: sorted(each.keys() - {"parameters"}) for path, each in paths.items()} == {
        "/api/wishlist/": ["get", "post"],
        "/api/wishlist/{product}/": ["delete", "get", "put"],
        "/{language}/wishlist/": ["get"],
        "/{language}/wishlist/add/{slug}/": ["get", "post"],
        "/{language}/wishlist/remove/{product}/": ["post"],
    }
