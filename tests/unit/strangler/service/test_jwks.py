import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from strangler.service.errors import Unavailable, Untrusted
from strangler.service.jwks import Keyring, parse, source_of
from tests.fixtures.identity import Issuer
from tests.fixtures.ports import free_port


class Proxy:
    """What a keyring asks: counts the questions, and answers the keys of whom it is told, or nothing."""

    def __init__(self, *issuers: Issuer) -> None:
        self.issuers = issuers
        self.gone = False
        self.asked = 0
        self.now = 1000.0
        self.ring = Keyring(self.answer, clock=lambda: self.now)

    def answer(self) -> bytes:
        self.asked += 1
        if self.gone:
            raise ConnectionRefusedError("nobody there")
        keys = [key for issuer in self.issuers for key in issuer.jwks()["keys"]]
        return json.dumps({"keys": keys}).encode()


ONE, OTHER = Issuer(), Issuer()


def test_keys_are_asked_for_when_the_first_is_needed_and_not_again() -> None:
    proxy = Proxy(ONE)
    assert proxy.asked == 0
    assert not proxy.ring.at_hand(ONE.kid)
    for _ in range(3):
        assert proxy.ring.find(ONE.kid).thumbprint() == ONE.kid
        assert proxy.ring.at_hand(ONE.kid)
    assert proxy.asked == 1


def test_a_key_that_came_later_is_found() -> None:
    proxy = Proxy(ONE)
    proxy.ring.find(ONE.kid)
    proxy.issuers = (ONE, OTHER)
    proxy.now += 5
    proxy.ring.find(OTHER.kid)
    proxy.ring.find(ONE.kid)
    assert proxy.asked == 2


def test_made_up_keys_do_not_make_the_service_ask_for_each() -> None:
    proxy = Proxy(ONE)
    for number in range(100):
        with pytest.raises(Untrusted, match="unknown key"):
            proxy.ring.find(f"made up {number}")
        proxy.now += 0.1
    assert proxy.asked == 2  # in ten seconds


def test_known_keys_go_on_while_the_proxy_is_gone() -> None:
    proxy = Proxy(ONE)
    proxy.ring.find(ONE.kid)
    proxy.gone = True
    proxy.now += 1000
    for _ in range(3):
        proxy.ring.find(ONE.kid)
    assert proxy.asked == 2
    with pytest.raises(Unavailable):  # it may be a new one, and nobody can tell
        proxy.ring.find(OTHER.kid)
    assert "cannot be refreshed" in repr(proxy.ring)


def test_a_proxy_that_comes_late_is_found_within_a_second() -> None:
    proxy = Proxy(ONE)
    proxy.gone = True
    with pytest.raises(Unavailable):
        proxy.ring.find(ONE.kid)
    proxy.gone = False
    proxy.now += 1
    proxy.ring.find(ONE.kid)


def test_a_key_that_was_taken_out_is_believed_five_minutes_longer() -> None:
    proxy = Proxy(ONE, OTHER)
    proxy.ring.find(ONE.kid)
    proxy.issuers = (OTHER,)
    proxy.now += 299
    proxy.ring.find(ONE.kid)
    proxy.now += 1
    with pytest.raises(Untrusted):
        proxy.ring.find(ONE.kid)


def test_many_threads_ask_one_question() -> None:
    proxy = Proxy(ONE)
    begin = threading.Barrier(8)

    def find(_: int) -> str:
        begin.wait()
        return proxy.ring.find(ONE.kid).thumbprint()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(find, range(8))) == {ONE.kid}
    assert proxy.asked == 1


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"keys": 3}',
        b'{"keys": []}',
        b'{"keys": [3, {"kty": "RSA", "kid": "r"}]}',
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AAAA"}]}',
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "?"}]}',
        b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AA", "use": "enc"}]}',
    ],
)
def test_what_is_no_set_of_such_keys_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(document)


def test_keys_are_fetched_by_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")  # is nobody's business here

    class Admin(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(ONE.jwks()).encode() if self.path == "/jwks.json" else b"?"
            self.send_response(200 if self.path == "/jwks.json" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Admin) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}"
            assert Keyring(source_of(f"{url}/jwks.json")).find(ONE.kid).thumbprint() == ONE.kid
            with pytest.raises(Unavailable):
                Keyring(source_of(f"{url}/elsewhere")).find(ONE.kid)
        finally:
            server.shutdown()
            thread.join()
    with pytest.raises(Unavailable):
        Keyring(source_of(f"http://127.0.0.1:{free_port()}/")).find(ONE.kid)
