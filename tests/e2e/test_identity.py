"""Who is let in by the services, through the proxy and past it: one written in Starlette, one a Django app lifted.

The reviews are born in their service here, so that what is written to them goes there, too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import OKPKey
from playwright.sync_api import Browser

from strangler.routing.keys import Keys
from strangler_proxy.vouch import Signer
from tests.e2e.family import Demo, copied, free_base
from tests.e2e.shopping import log_in, log_out
from tests.e2e.test_services import token_in
from tests.fixtures.browser import visit
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow

WISHLIST, REVIEWS = 103, 102
MALLORY: Final = {
    "subject": "2",
    "name": "mallory",
    "staff": True,
    "groups": [],
    "permissions": [],
    "via": "token",
}
PEOPLE: Final = "INSERT INTO accounts_user (id, username, is_staff) VALUES (%s, %s, false)"
PRODUCT: Final = "INSERT INTO catalog_product (id, slug, name, is_active) VALUES (7, 'cup', 'Cup', true)"


@dataclass(frozen=True)
class Case:
    """What only somebody who is known may do at a service."""

    offset: int
    method: str
    path: str
    body: Mapping[str, Any] | None
    done: int

    def ask(self, client: httpx.Client, **headers: str) -> int:
        return client.request(self.method, self.path, json=self.body, headers=headers).status_code


CASES: Final = {
    "wishlist": Case(WISHLIST, "GET", "/api/wishlist/", None, 200),
    # A rating of nine is refused, but only to somebody who might have given it: asked again it is refused again.
    "reviews": Case(REVIEWS, "POST", "/api/reviews/", {"product": 7, "rating": 9}, 400),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = copied(tmp_path_factory.mktemp("identity"), scale=0.1)
    capability = folder / "migrations" / "reviews" / "capability.toml"
    text = capability.read_text().replace('service = "reviews"\n', 'service = "reviews"\nborn = "service"\n')
    capability.write_text(text.partition("[[cohort]]")[0])
    (capability.parent / "mapping.toml").unlink()
    with Demo(folder, free_base()) as running:
        bring_people(variables(running))
        yield running


def variables(demo: Demo) -> dict[str, str]:
    """Return what the demo has written down for other terminals."""
    lines = (demo.folder / ".local" / "demo.env").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name: value.strip("'\"") for name, _, value in pairs}


def bring_people(env: dict[str, str]) -> None:
    """Do by hand what the sync does for the reviews where they are not born: bring accounts and a product."""
    with psycopg.connect(env["SHOP_DATABASE_URL"]) as shop:
        people = shop.execute("SELECT id, username FROM accounts_user WHERE username IN ('ann', 'bob')").fetchall()
    with psycopg.connect(env["REVIEWS_OWNER_DATABASE_URL"]) as reviews, reviews.cursor() as cursor:
        cursor.executemany(PEOPLE, people)
        cursor.execute(PRODUCT)


@pytest.fixture
def stranger(demo: Demo) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=demo.url(""), timeout=20) as client:
        yield client


@pytest.fixture
def past(demo: Demo, case: Case) -> Iterator[httpx.Client]:
    """Somebody who reached the service itself, past the proxy."""
    with httpx.Client(base_url=f"http://127.0.0.1:{demo.base + case.offset}", timeout=20) as client:
        yield client


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def logged_in(client: httpx.Client, name: str = "ann") -> httpx.Client:
    """Log ``name`` in at the shop's own form."""
    page = client.get("/en/account/login/")
    fields = {"username": name, "password": "demo", "csrfmiddlewaretoken": token_in(page)}
    assert client.post("/en/account/login/", data=fields).status_code == 302
    return client


def tokens(demo: Demo) -> dict[str, str]:
    """Return identities as the proxy would sign them, or nearly."""
    ours, foreign = Signer(Keys.derive(variables(demo)["STRANGLER_SECRET"]).identity), Signer(b"f" * 32)
    lines = {
        "good": ours.header(MALLORY, time.time()),
        "expired": ours.header(MALLORY, time.time() - 60),
        "foreign": foreign.header(MALLORY, time.time()),
    }
    found = {name: line.decode().partition(": ")[2].strip() for name, line in lines.items()}
    found["for another audience"] = signed_for("browsers", variables(demo)["STRANGLER_SECRET"])
    head, _, signature = found["good"].rpartition(".")
    return {**found, "unsigned": f"{head}.", "altered": f"{head}.{signature[::-1]}", "nonsense": "x.y.z"}


def signed_for(audience: str, secret: str) -> str:
    """Return what our own key has signed, and is good for nobody but ``audience``."""
    key = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(Keys.derive(secret).identity))
    header = {"alg": "Ed25519", "typ": "strangler-identity+jwt", "kid": key.thumbprint()}
    now = int(time.time())
    claims = {"iss": "strangler", "aud": audience, "iat": now, "exp": now + 30, "sub": MALLORY["subject"], **MALLORY}
    return jwt.encode(header, claims, key, algorithms=["Ed25519"])


def guarded(client: httpx.Client) -> dict[str, str]:
    return {"X-CSRFToken": client.cookies["csrftoken"]}


def test_a_browser_that_logged_in_at_the_shop_is_let_in(stranger: httpx.Client, case: Case) -> None:
    assert case.ask(stranger) == 401
    browser = logged_in(stranger)
    assert case.ask(browser, **guarded(browser)) == case.done


def test_a_write_of_a_browser_without_the_csrf_token_is_refused(stranger: httpx.Client) -> None:
    browser = logged_in(stranger)
    for method, path in (("PUT", "/api/wishlist/7/"), ("POST", "/api/reviews/")):
        for headers in ({}, {"X-CSRFToken": "x" * 32}, {**guarded(browser), "Origin": "https://elsewhere.example"}):
            assert browser.request(method, path, json={"product": 7}, headers=headers).status_code == 403


def test_whoever_says_through_the_proxy_who_he_is_is_a_stranger(demo: Demo, stranger: httpx.Client, case: Case) -> None:
    for token in tokens(demo).values():
        for name in ("Strangler-Identity", "strangler_identity"):
            assert case.ask(stranger, **{name: token}) == 401
    assert case.ask(stranger, Authorization="Token " + "0" * 40) == 401


def test_past_the_proxy_only_what_it_has_signed_just_now_counts(demo: Demo, past: httpx.Client, case: Case) -> None:
    statuses = {name: case.ask(past, **{"Strangler-Identity": token}) for name, token in tokens(demo).items()}
    assert statuses == {**dict.fromkeys(statuses, 401), "good": case.done}
    assert case.ask(past) == 401


RATED: Final = """guarded => fetch("/api/reviews/", {
    method: "POST",
    headers: {
        "Content-Type": "application/json",
        ...(guarded ? {"X-CSRFToken": document.cookie.match(/csrftoken=([^;]+)/)[1]} : {}),
    },
    body: JSON.stringify({product: 7, rating: 9}),
}).then(answer => answer.status)"""


@pytest.mark.browser
def test_a_browser_is_let_in_until_it_logs_out(browser: Browser, demo: Demo) -> None:
    visitor = visit(browser, demo.url(""))
    fetched = "path => fetch(path).then(answer => answer.status)"
    visitor.go("/en/")
    assert visitor.page.evaluate(fetched, "/api/wishlist/") == 401
    log_in(visitor, "bob", lambda name: None)
    assert visitor.page.evaluate(fetched, "/api/wishlist/") == 200
    assert [visitor.page.evaluate(RATED, guarded) for guarded in (True, False)] == [400, 403]
    stolen = "; ".join(f"{each['name']}={each['value']}" for each in visitor.context.cookies())
    assert demo.get("/api/wishlist/", Cookie=stolen).status_code == 200
    log_out(visitor)
    assert visitor.page.evaluate(fetched, "/api/wishlist/") == 401
    until(lambda: demo.get("/api/wishlist/", Cookie=stolen).status_code == 401, "no worker knows the session", 1)
    visitor.context.set_extra_http_headers({"Strangler-Identity": tokens(demo)["good"]})
    assert visitor.page.evaluate(fetched, "/api/wishlist/") == 401
    told = [each for each in visitor.complaints if not any(str(status) in each for status in (400, 401, 403))]
    assert not told, told
