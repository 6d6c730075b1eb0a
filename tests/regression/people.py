"""Who asks: people of the shop, and how each stack is told of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

from strangler.regression.addresses import SERVICE
from strangler.regression.case import Case, Via
from strangler_proxy.vouch import Signer
from tests.fixtures.shop import MONOLITH

# Sessions and tokens as logging in makes them, without the work of checking a password.
_SCRIPT: Final = """
import json
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from rest_framework.authtoken.models import Token
Session = import_module(settings.SESSION_ENGINE).SessionStore
people = {}
for user in get_user_model().objects.filter(is_active=True).order_by("id")[:20]:
    session = Session()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    people[user.username] = {
        "session": session.session_key, "token": Token.objects.get_or_create(user=user)[0].key,
        "subject": str(user.pk), "staff": user.is_staff,
    }
print(json.dumps(people))
"""
# Django takes any token of this length (CSRF_SECRET_LENGTH) that cookie and header agree about.
_CSRF_TOKEN: Final = "strangler0regression0both0stacks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with an account, logged in."""

    name: str
    session: str
    token: str
    subject: str
    staff: bool

    def said(self, case: Case) -> dict[str, str]:
        """Return what this person's browser or program sends along."""
        if case.via is Via.TOKEN:
            return {"Authorization": f"Token {self.token}"}
        guard = {"X-CSRFToken": _CSRF_TOKEN} if case.unsafe else {}
        return {"Cookie": f"sessionid={self.session}; csrftoken={_CSRF_TOKEN}", **guard}

    def identity(self, via: Via) -> Mapping[str, Any]:
        """Return what the monolith tells the proxy."""
        known = {"subject": self.subject, "name": self.name, "staff": self.staff}
        return {**known, "groups": [], "permissions": [], "via": via.value}


class Runs(Protocol):
    """A shop, however it runs."""

    def run(self, arguments: Sequence[str], folder: Path) -> str:
        """Run Python with ``arguments`` in the folder of a stack, and return what it prints."""


class People:
    """The credentials of cases; the proxy's signature goes with those that a service is asked with directly."""

    def __init__(self, shop: Runs, signer: Signer) -> None:
        self._shop = shop
        self._signer = signer

    def __call__(self, name: str, case: Case) -> dict[str, str]:
        if case.as_user is None:
            return {}
        person = self._known[case.as_user]
        return {**person.said(case), **(self._vouched(person, case) if name == SERVICE else {})}

    def _vouched(self, person: Person, case: Case) -> dict[str, str]:
        header, _, token = self._signer.header(person.identity(case.via), time.time()).decode().partition(": ")
        return {header: token.strip()}

    @cached_property
    def _known(self) -> dict[str, Person]:
        said = self._shop.run(["manage.py", "shell", "--verbosity=0", "-c", _SCRIPT], MONOLITH)
        return {name: Person(name=name, **each) for name, each in json.loads(said).items()}
