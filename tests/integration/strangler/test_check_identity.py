"""What `strangler check` says of a monolith that would not tell who a visitor is."""

from __future__ import annotations

import hmac
import re
import time
from email.utils import formatdate
from hashlib import sha256
from pathlib import Path

import pytest

from strangler.check import check
from strangler.project import load
from tests.fixtures.project_files import ENV, STRANGLER, write
from tests.fixtures.proxy import Origin, Served

SECRET = "only for tests, and at least thirty-two bytes"
BODY = b'{"identity": null}'


def told(folder: Path, status: str, body: bytes = BODY, *, secret: str = "", date: float | None = None) -> str:
    """Return what is told of a monolith that answers every question so."""

    def answer(origin: Origin, served: Served) -> None:
        head = served.head()
        served.body(head)
        nonce = head.lower().partition(b"strangler-nonce: ")[2].partition(b"\r\n")[0].decode()
        text = f"strangler-identity\nanswer\n\n{nonce}\n{sha256(body).hexdigest()}"
        signature = hmac.new(secret.encode(), text.encode(), sha256).hexdigest()
        when = formatdate(time.time() if date is None else date, usegmt=True)
        served.answer(body, f"Strangler-Signature: {signature}", f"Date: {when}", "Location: /x/", status=status)

    with Origin(answer) as origin:
        top = STRANGLER.replace("http://127.0.0.1:8001", origin.url) + '[identity]\nsecret = "$IDENTITY_SECRET"\n'
        project = load(write(folder, {"strangler.toml": top}), {**ENV, "IDENTITY_SECRET": SECRET})
        (finding,) = (each for each in check(project) if each.subject == f"identity at {origin.url}")
        return finding.wrong or finding.detail


def test_one_that_tells(tmp_path: Path) -> None:
    assert told(tmp_path, "200 OK", secret=SECRET) == "tells who a visitor is"


@pytest.mark.parametrize(
    ("status", "body", "begins"),
    [
        ("403 Forbidden", b'{"detail": "signed with another secret"}', "the monolith's STRANGLER_IDENTITY_SECRET is"),
        ("403 Forbidden", b'{"detail": "the clocks are off"}', "the clocks are N s apart, more than 30 s"),
        ("404 Not Found", b"", "there is nothing at /.strangler/identity/; install strangler_django"),
        ("400 Bad Request", b"", "the monolith answers 400; name the host of its endpoint in ALLOWED_HOSTS"),
        ("301 Moved", b"", "the monolith leads on to /x/"),
        ("500 Oh", b"", "/.strangler/identity/ answers 500"),
        ("200 OK", BODY, "/.strangler/identity/ answers 200, but not with the secret in [identity]"),
    ],
)
def test_one_that_does_not(tmp_path: Path, status: str, body: bytes, begins: str) -> None:
    # A Date has whole seconds, and one may pass on the way.
    said = re.sub(r"are \d s apart", "are N s apart", told(tmp_path, status, body))
    assert said.startswith(begins)


def test_a_clock_that_goes_wrong(tmp_path: Path) -> None:
    late = told(tmp_path, "200 OK", secret=SECRET, date=time.time() - 20)
    assert late.startswith("the clocks are 2")
    assert late.endswith("s apart, and beyond 30 s nobody is known; have NTP set both")
