from __future__ import annotations

import socket
import threading

import pytest

from strangler.parity.compare import Answer
from strangler.regression import Case, Form, Stack, Unreachable
from tests.fixtures.answering import Heard, Told, answering
from tests.fixtures.ports import free_port


def echo(heard: Heard) -> Told:
    return Told(body=heard.target.encode(), headers={"X-Method": heard.method})


def test_an_answer_is_what_came_over_the_wire() -> None:
    with answering(echo) as server, Stack(server.url, name="monolith") as stack:
        answer = stack.ask(Case(target="/a//b/../c?x=%zz&y=ü".replace("ü", "%C3%BC")))
        assert (answer.status, answer.body) == (200, b"/a//b/../c?x=%zz&y=%C3%BC")
        assert [name for name, _ in answer.headers] == ["server", "date", "content-length", "x-method"]


def test_every_stack_is_asked_under_the_public_name() -> None:
    with answering(echo) as server, Stack(server.url, name="monolith", public_name="shop.test") as stack:
        stack.ask(Case(target="/"))
        stack.ask(Case(target="/", headers={"host": "other.test"}))
    assert [heard.headers["host"] for heard in server.heard] == ["shop.test", "other.test"]


def test_a_body_is_sent_with_its_type_and_length() -> None:
    with answering(echo) as server, Stack(server.url, name="monolith") as stack:
        stack.ask(Case(target="/", method="POST", body=Form({"a": "ü"})))
    (heard,) = server.heard
    assert heard.body == b"a=%C3%BC"
    assert heard.headers["content-type"] == "application/x-www-form-urlencoded"


def test_who_asks_is_told_by_the_credentials() -> None:
    def known(name: str, case: Case) -> dict[str, str]:
        return {"Cookie": f"{name}={case.as_user}", "X-Guard": "1"}

    with answering(echo) as server, Stack(server.url, name="monolith", credentials=known) as stack:
        stack.ask(Case(target="/", as_user="maria"))
        stack.ask(Case(target="/", as_user="maria", headers={"Cookie": "a=b", "x-guard": "2"}))
    assert [heard.headers["cookie"] for heard in server.heard] == ["monolith=maria", "monolith=maria; a=b"]
    assert [heard.headers["x-guard"] for heard in server.heard] == ["1", "2"]


def test_nobody_is_known_without_credentials() -> None:
    said = "no fixture `credentials` says how monolith is told that"
    with Stack("http://127.0.0.1:1", name="monolith") as stack, pytest.raises(ValueError, match=said):
        stack.ask(Case(target="/", as_user="maria"))


def test_a_stack_that_is_not_there_says_so() -> None:
    with Stack(f"http://127.0.0.1:{free_port()}", name="service") as stack:
        with pytest.raises(Unreachable, match=r"service at http://127.0.0.1:\d+ does not answer GET /x: .* refused"):
            stack.ask(Case(target="/x"))
        with pytest.raises(Unreachable, match=r"does not answer: .* refused; is it running there\?"):
            stack.connect()


@pytest.mark.parametrize("address", ["", "127.0.0.1:80", "https://a", "http://a/path"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="an address such as"):
        Stack(address, name="service")


class Closing:
    """A server that answers once a connection and then closes it without a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = 0

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                if connection.recv(65536):
                    self.asked += 1
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def test_a_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    server = Closing()
    thread = threading.Thread(target=server.run)
    thread.start()
    with Stack(server.url, name="monolith") as stack:
        answers = [stack.ask(Case(target="/", method=method)) for method in ("GET", "GET", "POST", "GET")]
    server.close()
    thread.join(10)
    assert server.asked == 4
    assert answers == [Answer(status=200, headers=(("content-length", "2"),), body=b"ok")] * 4
