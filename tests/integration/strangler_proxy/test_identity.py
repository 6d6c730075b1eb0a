"""Who the visitor is, asked of a scripted monolith and told to a scripted service."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from strangler.capability import BORN, Data, Stage, State
from strangler.project.limits import Timeouts
from strangler.routing.table import Capability, Route
from strangler.service.identity import Identity, Verifier
from strangler.service.jwks import Keyring
from strangler_django import channel
from strangler_proxy.settings import Asking, Settings
from strangler_proxy.vouch import Signer, jwks
from tests.fixtures.proxy import KEYS, SETTINGS, Origin, Proxy, ProxyProcess, Served, keep_answering, routing_table
from tests.fixtures.waiting import until

SECRET = b"the monolith's and the proxy's, and nobody else's"
ASKING = Asking(
    secret=SECRET.decode(),
    session_cookie="sessionid",
    path="/.strangler/identity/",
    permissions=("app.change_model",),
)
VERIFIER = Verifier(Keyring(json.dumps(jwks(KEYS)).encode))
NOTES = Capability(
    name="notes",
    service="notes",
    routes=(Route(path="/notes"),),
    state=State(data=Data.NONE, share=10_000, stage=Stage.CANARY),
)
LISTS = Capability(name="lists", service="notes", routes=(Route(path="/lists"),), state=BORN)


class Monolith:
    """Knows some visitors; ``questions`` are those that it was asked, ``heads`` those requests' heads."""

    def __init__(self) -> None:
        self.visitors = {"abc": "maria", "def": "otto"}
        self.questions: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.answers: Callable[[Served, bytes, dict[str, str]], None] = self.answer
        self.cookie: tuple[str, ...] = ()
        self.closes = False

    def script(self, origin: Origin, served: Served) -> None:
        while True:
            head = served.head()
            body = served.body(head)
            if head.startswith(b"POST /.strangler/identity/ "):
                self._take(served, head.decode("latin-1"), body)
                if self.closes:
                    return
            else:
                origin.heads.append(head)
                served.answer(b"monolith", *self.cookie)

    def _take(self, served: Served, head: str, body: bytes) -> None:
        headers = dict(line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
        channel.check_question(headers, body, SECRET)
        self.questions.append(json.loads(body))
        self.heads.append(head)
        assert self.open.wait(10)
        self.answers(served, body, headers)

    def answer(self, served: Served, body: bytes, headers: dict[str, str]) -> None:
        asked = json.loads(body)
        name = self.visitors.get(asked["session"])
        via = "session"
        if asked["authorization"]:
            name, via = self.visitors.get(asked["authorization"].rpartition(" ")[2]), "token"
        found = {
            "subject": "7",
            "name": name,
            "staff": False,
            "groups": [],
            "permissions": ["app.change_model"],
            "via": via,
        }
        content = json.dumps({"identity": found if name else None}).encode()
        signature = channel.sign_answer(SECRET, headers["Strangler-Nonce"], content)
        served.answer(content, f"Strangler-Signature: {signature}")


@contextmanager
def installed(settings: Settings | None = None) -> Iterator[tuple[Monolith, Origin, Proxy]]:
    """A proxy between a monolith that can be asked and a service that keeps what it was sent."""
    monolith = Monolith()
    with (
        Origin(monolith.script) as origin,
        Origin(keep_answering, name="service") as service,
        Proxy(
            settings or replace(SETTINGS, identity=ASKING),
            routing_table(origin.url, [NOTES, LISTS], notes=service.url),
        ) as proxy,
    ):
        yield monolith, service, proxy


def told(service: Origin, number: int = -1) -> Identity | None:
    """Return whom the proxy vouched for in a request to the service."""
    lines = service.heads[number].decode("latin-1").split("\r\n")
    found = [line for line in lines if line.lower().replace("_", "-").startswith("strangler-identity")]
    if not found:
        return None
    (line,) = found
    return VERIFIER.identify(line.removeprefix("Strangler-Identity: "))


MARIA = Identity(
    subject="7",
    name="maria",
    staff=False,
    groups=frozenset(),
    permissions=frozenset({"app.change_model"}),
    via="session",
)
COOKIE = "Cookie: theme=dark; sessionid=abc"
TOKEN = "Authorization: Token abc"


def test_a_visitor_without_a_credential_costs_no_question() -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client:
        for header in ("Cookie: theme=dark", "Authorization: Basic YTpi", "X: y"):
            assert client.get("/notes/", header).body == b"service"
            assert told(service) is None
        assert monolith.questions == []


def test_a_session_is_named_and_asked_for_once() -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client:
        for _ in range(3):
            assert client.get("/notes/", COOKIE).body == b"service"
            assert told(service) == MARIA
        assert monolith.questions == [{"session": "abc", "authorization": "", "permissions": ["app.change_model"]}]
        assert len({head for head in service.heads if b"Strangler-Identity" in head}) == 3
        vouchers = {head.partition(b"Strangler-Identity: ")[2].partition(b"\r\n")[0] for head in service.heads}
        assert len(vouchers) == 1


def test_a_token_is_named() -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client:
        client.get("/notes/", TOKEN)
        assert told(service) == replace(MARIA, via="token")
        client.get("/notes/", "Authorization: Token def")
        named = told(service)
        assert named is not None
        assert named.name == "otto"
        assert len(monolith.questions) == 2


def test_several_cookie_headers_name_the_visitor_whom_the_stack_reads_in_them() -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client:
        client.get(
            "/notes", "Cookie: theme=dark; sessionid=abc", "Cookie: sessionid=def; strangler_visitor=x", "X-A: b"
        )
        assert [each["session"] for each in monolith.questions] == ["def"]
        assert b"\r\nCookie: theme=dark; sessionid=abc; sessionid=def\r\n" in service.heads[0]
        assert service.heads[0].count(b"Cookie: ") == 1


def test_a_credential_that_does_not_pass_names_nobody() -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client:
        client.get("/notes", TOKEN, "Connection: Authorization")
        assert (monolith.questions, told(service)) == ([], None)


def test_nobody_is_remembered_as_nobody() -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client:
        for _ in range(3):
            assert client.get("/notes/", "Cookie: sessionid=stranger").body == b"service"
            assert told(service) is None
        assert len(monolith.questions) == 1


def test_what_goes_to_the_monolith_is_its_own_business() -> None:
    with installed() as (monolith, _, proxy), proxy.client() as client:
        assert client.get("/elsewhere/", COOKIE).body == b"monolith"
        assert client.post("/notes/", b"x", COOKIE).body == b"monolith"  # a write, and the monolith owns the notes
        assert monolith.questions == []


def test_without_the_section_nobody_is_asked() -> None:
    with installed(SETTINGS) as (monolith, service, proxy), proxy.client() as client:
        assert client.get("/notes/", COOKIE).body == b"service"
        assert told(service) is None
        assert monolith.questions == []


@pytest.mark.parametrize(
    "name", ["Strangler-Identity", "strangler-identity", "STRANGLER_IDENTITY", "Strangler_identity"]
)
def test_nobody_else_can_vouch(name: str) -> None:
    forged = Signer(KEYS.identity).header({**vars_of(MARIA), "staff": True}, 0).decode().partition(": ")[2].strip()
    with installed() as (_, service, proxy), proxy.client() as client:
        client.get("/notes/", f"{name}: {forged}")
        assert told(service) is None
        client.get("/notes/", f"{name}: {forged}", COOKIE, "Connection: strangler-identity")
        assert told(service) == MARIA


def vars_of(identity: Identity) -> dict[str, Any]:
    return {
        "subject": identity.subject,
        "name": identity.name,
        "staff": identity.staff,
        "groups": [],
        "permissions": [],
        "via": identity.via,
    }


def test_requests_at_once_make_one_question() -> None:
    with installed() as (monolith, service, proxy):
        monolith.open.clear()
        clients = [proxy.client() for _ in range(20)]
        for client in clients:
            client.send(f"GET /notes/ HTTP/1.1\r\nHost: shop.test\r\n{COOKIE}\r\n\r\n".encode())
        until(lambda: proxy.call(lambda: proxy.board.tally.in_flight) == 20, "all are under way")
        monolith.open.set()
        for client in clients:
            assert client.response().body == b"service"
            client.sock.close()
        assert len(monolith.questions) == 1
        assert [told(service, number) for number in range(20)] == [MARIA] * 20


def test_the_question_comes_as_the_request_came() -> None:
    with installed() as (monolith, _, proxy), proxy.client() as client:
        client.get("/notes/", COOKIE)
        (head,) = monolith.heads
        assert "\r\nHost: shop.test\r\n" in head
        assert "\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: shop.test\r\n" in head
        assert "\r\ntraceparent: " in head


def test_an_upload_waits_for_its_owner_s_name() -> None:
    body = b"x" * 300_000
    with installed() as (monolith, service, proxy), proxy.client() as client:
        monolith.open.clear()
        thread = threading.Thread(target=client.send, args=(_upload(body),))
        thread.start()
        until(lambda: monolith.questions, "it is asked")
        assert service.heads == []
        monolith.open.set()
        assert client.response("POST").body == b"service"
        thread.join()
        assert service.bodies == [body]
        assert told(service) == MARIA


def _upload(body: bytes) -> bytes:
    head = f"POST /lists/ HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {len(body)}\r\n{COOKIE}\r\n\r\n"
    return head.encode() + body


def test_pipelined_requests_of_different_visitors_are_told_apart() -> None:
    with installed() as (_, service, proxy), proxy.client() as client:
        lines = ["Cookie: sessionid=abc", "Cookie: sessionid=def", "X: y"]
        client.send(b"".join(f"GET /notes/ HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n".encode() for line in lines))
        for _ in lines:
            assert client.response().body == b"service"
        names = [visitor.name if visitor else None for visitor in (told(service, number) for number in range(3))]
        assert names == ["maria", "otto", None]


# --- a monolith that does not answer ---


def unnamed(proxy: Proxy, service: Origin) -> None:
    """Reads by session go on as nobody's; tokens and writes wait for better times."""
    with proxy.client() as client:
        assert client.get("/notes/", COOKIE).body == b"service"
        assert told(service) is None
        for answer in (
            client.get("/notes/", TOKEN),
            client.get("/notes/", TOKEN, COOKIE),
            client.post("/lists/", b"x", COOKIE),
        ):
            assert answer.status == 503
            assert answer.header("retry-after") == "1"
            assert b"Who you are cannot be found out" in answer.body
        assert len(service.heads) == 1
        assert client.get("/lists/").body == b"service"  # nobody asked for anybody


def test_while_the_monolith_is_down_readers_are_strangers_and_writes_wait() -> None:
    with installed() as (_, service, proxy):
        table = proxy.board.table
        upstreams = {**table.upstreams, "monolith": ("http://127.0.0.1:1",)}
        proxy.call(lambda: proxy.board.adopt(replace(table, version=2, upstreams=upstreams)))
        unnamed(proxy, service)
        failures = proxy.call(lambda: proxy.board.tally.counted("identities"))
        assert failures.keys() == {("failed",)}


def test_a_monolith_that_never_answers_is_waited_for_no_longer_than_told() -> None:
    settings = replace(SETTINGS, identity=ASKING, timeouts=Timeouts(identity=0.2))
    with installed(settings) as (monolith, service, proxy):
        monolith.open.clear()
        unnamed(proxy, service)
        monolith.open.set()


@pytest.mark.parametrize(
    "what", ["another secret", "no signature", "refusal", "nonsense", "cut", "too long", "upgrade"]
)
def test_an_answer_that_is_not_the_monolith_s_names_nobody(what: str) -> None:
    with installed() as (monolith, service, proxy):

        def answer(served: Served, body: bytes, headers: dict[str, str]) -> None:
            content = json.dumps({"identity": {**vars_of(MARIA), "staff": True}}).encode()
            nonce = headers["Strangler-Nonce"]
            if what == "another secret":
                served.answer(content, f"Strangler-Signature: {channel.sign_answer(b'another', nonce, content)}")
            elif what == "no signature":
                served.answer(content)
            elif what == "refusal":
                served.answer(b'{"detail": "the question is not signed"}', status="403 Forbidden")
            elif what == "nonsense":
                served.send(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")
            elif what == "too long":
                served.answer(b" " * 100_000, f"Strangler-Signature: {channel.sign_answer(SECRET, nonce, b'')}")
            elif what == "upgrade":
                served.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            else:
                served.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
                served.reset()

        monolith.answers = answer
        unnamed(proxy, service)


def test_a_monolith_that_is_back_is_asked_again() -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client:
        monolith.answers = lambda served, body, headers: served.answer(b"", status="500 Oops")
        assert client.get("/notes/", TOKEN).status == 503
        monolith.answers = monolith.answer
        until(lambda: client.get("/notes/", TOKEN).status == 200, "it is asked again", 5)
        assert told(service) == replace(MARIA, via="token")


def test_a_question_that_met_a_closing_connection_is_asked_again() -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client:
        monolith.closes = True
        client.get("/notes/", COOKIE)
        client.get("/notes/", "Cookie: sessionid=def")
        visitors = [told(service, number) for number in range(2)]
        assert [visitor.name if visitor else None for visitor in visitors] == ["maria", "otto"]
        assert proxy.call(lambda: proxy.board.tally.counted("identities")) == {("named",): 2}


def test_a_client_that_leaves_takes_nothing_with_it() -> None:
    with installed() as (monolith, service, proxy):
        monolith.open.clear()
        client = proxy.client()
        client.send(f"GET /notes/ HTTP/1.1\r\nHost: a\r\n{COOKIE}\r\n\r\n".encode())
        until(lambda: monolith.questions, "it is asked")
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock.close()
        until(lambda: not proxy.board.watched, "it is gone")
        monolith.open.set()
        with proxy.client() as other:
            assert other.get("/notes/", COOKIE).body == b"service"
        assert len(service.heads) == len(monolith.questions) == 1
        assert told(service) == MARIA


# --- for how long ---


def later(proxy: Proxy, seconds: float) -> None:
    """Put the clock of the proxy forward."""
    board = proxy.board
    before = board.time
    proxy.call(lambda: setattr(board, "time", lambda: before() + seconds))


def test_a_visitor_is_remembered_for_a_moment_only() -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client:
        client.get("/notes/", COOKIE)
        del monolith.visitors["abc"]  # switched off
        later(proxy, 14.5)
        client.get("/notes/", COOKIE)
        assert told(service) == MARIA
        later(proxy, 0.5)
        client.get("/notes/", COOKIE)
        assert told(service) is None
        assert len(monolith.questions) == 2


@pytest.mark.parametrize(
    "cookie",
    [
        'Set-Cookie: sessionid=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/',
        "set-cookie: sessionid=new; HttpOnly; Path=/",
    ],
)
def test_a_response_that_sets_the_session_makes_the_proxy_forget(cookie: str) -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client:
        client.get("/notes/", COOKIE)
        monolith.cookie = ("Set-Cookie: theme=light", cookie)
        client.get("/logout/", "Cookie: sessionid=def")  # somebody else's
        client.get("/notes/", COOKIE)
        assert len(monolith.questions) == 1
        client.get("/logout/", COOKIE)
        del monolith.visitors["abc"]
        client.get("/notes/", COOKIE)
        assert told(service) is None
        assert len(monolith.questions) == 2


def test_an_answer_from_before_a_logout_is_not_remembered() -> None:
    with installed() as (monolith, service, proxy), proxy.client() as client, proxy.client() as other:
        monolith.open.clear()
        client.send(f"GET /notes/ HTTP/1.1\r\nHost: a\r\n{COOKIE}\r\n\r\n".encode())
        until(lambda: monolith.questions, "it is asked")
        monolith.cookie = ("Set-Cookie: sessionid=; Max-Age=0",)
        other.get("/logout/", COOKIE)
        monolith.open.set()
        assert client.response().body == b"service"
        del monolith.visitors["abc"]
        client.get("/notes/", COOKIE)
        assert told(service) is None
        assert len(monolith.questions) == 2


@pytest.mark.interpreted
def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strangler_proxy.identity._MOST_KNOWN", 3)
    with installed() as (monolith, _, proxy), proxy.client() as client:
        for name in ("1", "2", "3", "1", "4"):
            client.get("/notes/", f"Cookie: sessionid={name}")
        client.get("/notes/", "Cookie: sessionid=1")  # used later than 2, which had to go
        assert len(monolith.questions) == 4
        client.get("/notes/", "Cookie: sessionid=2")
        assert len(monolith.questions) == 5


@pytest.mark.interpreted
def test_made_up_credentials_do_not_take_all_of_the_monolith_s_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strangler_proxy.identity._MOST_ASKED", 1)
    with installed() as (monolith, service, proxy), proxy.client() as client, proxy.client() as other:
        monolith.open.clear()
        client.send(b"GET /notes/ HTTP/1.1\r\nHost: a\r\nCookie: sessionid=1\r\n\r\n")
        until(lambda: monolith.questions, "it is asked")
        assert other.get("/notes/", TOKEN).status == 503
        assert other.get("/notes/", "Cookie: sessionid=2").body == b"service"
        assert told(service) is None
        monolith.open.set()
        assert client.response().body == b"service"


# --- addresses that are nobody's ---


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, identity=ASKING)])
def test_nobody_outside_reaches_the_address_of_questions(settings: Settings) -> None:
    with installed(settings) as (monolith, service, proxy):
        for target in ("/.strangler/identity/", "/.strangler", "/%2estrangler/identity/", "//.strangler/identity/"):
            with proxy.client() as client:
                assert client.post(target, b"{}").status == 404
        assert (monolith.questions, service.heads) == ([], [])


def test_a_proxy_that_names_nobody_has_no_keys() -> None:
    with Origin() as origin, ProxyProcess.origin(origin.url, workers=1) as proxy:
        assert json.loads(proxy.ask("/jwks.json")) == {"detail": "strangler.toml has no [identity]"}
