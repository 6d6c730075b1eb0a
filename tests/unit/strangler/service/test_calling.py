"""Who calls is who has the caller's secret, just now, to this callee, for this visitor."""

from __future__ import annotations

from pathlib import Path

import pytest

from strangler.service.calling import Callers, Statement
from strangler.service.errors import SettingRefused, Untrusted

SECRET, OTHER = "a secret of at least thirty-two bytes", "another secret of thirty-two bytes or so"
NOW = 1_700_000_000.0


def said(name: str = "reviews", secret: str = SECRET, audience: str = "catalog", at: float = NOW) -> str:
    return Statement(name=name, secret=secret, audience=audience).header("GET", "voucher", at)


def callers(*secrets: str) -> Callers:
    return Callers("catalog", {"reviews": secrets or (SECRET,)}, clock=lambda: NOW)


def test_a_caller_is_known_by_its_secret_also_while_that_is_replaced() -> None:
    assert callers().verify(said(), "GET", "voucher") == "reviews"
    assert callers(OTHER, SECRET).verify(said(), "GET", "voucher") == "reviews"


@pytest.mark.parametrize(
    "statement",
    [
        said(secret=OTHER),
        said(name="wishlist"),
        said(audience="monolith"),
        said(at=NOW - 31),
        said(at=NOW + 31),
        said().replace("reviews", "catalog"),
        "",
        "reviews~1~x",
        said() + "~",
    ],
)
def test_anything_else_is_nobody(statement: str) -> None:
    with pytest.raises(Untrusted):
        callers().verify(statement, "GET", "voucher")


@pytest.mark.parametrize(("method", "voucher"), [("POST", "voucher"), ("GET", ""), ("GET", "another")])
def test_a_statement_goes_with_one_method_and_one_visitor(method: str, voucher: str) -> None:
    with pytest.raises(Untrusted):
        callers().verify(said(), method, voucher)


def test_secrets_come_from_the_environment_or_from_files(tmp_path: Path) -> None:
    assert Statement.from_environment({}, "catalog") is None
    assert Callers.from_environment({}, "catalog") is None
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    env = {"STRANGLER_SERVICE": "reviews", "STRANGLER_SERVICE_SECRET_FILE": str(file)}
    statement = Statement.from_environment(env, "catalog")
    assert statement == Statement(name="reviews", secret=SECRET, audience="catalog")
    found = Callers.from_environment({"STRANGLER_CALLERS": f"reviews={OTHER},reviews={SECRET}"}, "catalog")
    assert (repr(found), SECRET in repr(statement)) == ("Callers(of 'catalog': reviews)", False)


def test_what_proves_nothing_is_refused_at_the_start() -> None:
    with pytest.raises(SettingRefused, match="has 5 bytes"):
        Statement(name="reviews", secret="short", audience="catalog")
    with pytest.raises(SettingRefused, match="is named 'a b'"):
        Callers("catalog", {"a b": (SECRET,)})
    with pytest.raises(SettingRefused, match="cannot be read"):
        Statement.from_environment({"STRANGLER_SERVICE": "x", "STRANGLER_SERVICE_SECRET_FILE": "/no/such"}, "catalog")
