import pytest

from shop.api import AnonymousWrites, UserWrites
from tests import factories

pytestmark = pytest.mark.in_process("it changes the limits")

ME = "/api/account/me/"
TOKEN = "/api/auth/token/"


@pytest.fixture
def rates(monkeypatch):
    for scope in (AnonymousWrites, UserWrites):
        monkeypatch.setattr(scope, "THROTTLE_RATES", {"anonymous_writes": "2/min", "user_writes": "3/min"})


def statuses(ask, times):
    return [ask().status_code for _ in range(times)]


def test_a_user_may_write_so_often(api, db, rates):
    api.force_authenticate(factories.user())
    assert statuses(lambda: api.patch(ME, {"first_name": "Ann"}), 4) == [200, 200, 200, 429]
    refused = api.patch(ME, {"first_name": "Ann"})
    assert refused.json()["detail"].startswith("Request was throttled. Expected available in ")
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert statuses(lambda: api.get(ME), 5) == [200] * 5
    api.force_authenticate(factories.user())
    assert api.patch(ME, {"first_name": "Bob"}).status_code == 200


def test_an_address_may_write_so_often_without_an_account(api, db, rates):
    assert statuses(lambda: api.post(TOKEN, {"username": "ann", "password": "wrong"}), 3) == [400, 400, 429]


def test_readers_are_not_counted(api, db, rates):
    assert statuses(lambda: api.get("/api/catalog/products/"), 5) == [200] * 5
