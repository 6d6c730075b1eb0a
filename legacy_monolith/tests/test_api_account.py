import pytest
from rest_framework.authtoken.models import Token

from shop.api import AnonymousWrites
from tests import factories

ME = "/api/account/me/"
TOKEN = "/api/auth/token/"


def test_a_token_is_given_for_the_password(api):
    user = factories.user(username="ann", password="secret-enough")
    response = api.post(TOKEN, {"username": "ann", "password": "secret-enough"})
    assert response.json() == {"token": Token.objects.get(user=user).key}
    refused = api.post(TOKEN, {"username": "ann", "password": "wrong"})
    assert (refused.status_code, refused.json()) == (
        400,
        {"non_field_errors": ["Unable to log in with provided credentials."]},
    )


@pytest.mark.in_process("it changes the limit")
def test_writes_without_an_account_are_counted(api, monkeypatch):
    monkeypatch.setattr(AnonymousWrites, "rate", "2/min", raising=False)
    codes = [api.post(TOKEN, {"username": "ann", "password": "guess"}).status_code for _ in range(3)]
    assert codes == [400, 400, 429]


def test_an_account_shows_itself(api):
    user = factories.user(username="ann", email="ann@example.com", first_name="Ann")
    api.force_login(user)
    response = api.get(ME)
    assert response.json() == {
        "id": user.id,
        "username": "ann",
        "email": "ann@example.com",
        "first_name": "Ann",
        "last_name": "",
        "newsletter": False,
        "date_joined": user.date_joined.isoformat().replace("+00:00", "Z"),
    }
    assert response.headers["Vary"] == "Api-Version, Cookie"


def test_an_account_is_changed_by_its_owner(api):
    taken = factories.user()
    user = factories.user(username="ann")
    api.force_authenticate(user)
    assert api.patch(ME, {"newsletter": True, "username": "eve"}).json()["newsletter"] is True
    user.refresh_from_db()
    assert (user.username, user.newsletter) == ("ann", True)
    assert api.patch(ME, {"email": taken.email}).json() == {"email": ["user with this email address already exists."]}


def test_nobody_has_no_account(api):
    assert api.get(ME).status_code == 401


@pytest.mark.django_db
def test_nothing_else_answers_under_api(client):
    response = client.get("/api/nothing/here/")
    assert (response.status_code, response.json()) == (404, {"detail": "Not found."})
