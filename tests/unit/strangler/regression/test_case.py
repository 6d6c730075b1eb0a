from __future__ import annotations

import shlex
from email import message_from_bytes
from email.policy import HTTP

import pytest

from strangler.regression import Case, File, Form, Json, Multipart


def test_a_case_is_called_by_what_it_asks() -> None:
    case = Case(target="/a?b=1", method="HEAD", headers={"Accept": "x"}, as_user="maria")
    assert str(case) == "HEAD /a?b=1 as maria Accept:x"


@pytest.mark.parametrize("target", ["", "a", "http://elsewhere/"])
def test_a_target_is_a_path(target: str) -> None:
    with pytest.raises(ValueError, match="does not start with /"):
        Case(target=target)


def test_an_exemption_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="without a reason"):
        Case(target="/", exempt={"etag": ""})


@pytest.mark.parametrize(("method", "unsafe"), [("GET", False), ("HEAD", False), ("POST", True), ("PROPFIND", True)])
def test_what_may_change_something_is_unsafe(method: str, unsafe: bool) -> None:
    assert Case(target="/", method=method).unsafe is unsafe


def test_json_is_written_as_clients_do() -> None:
    case = Case(target="/", method="POST", body=Json({"a": ["ü", None]}))
    assert case.content == '{"a":["ü",null]}'.encode()
    assert case.all_headers == {"Content-Type": "application/json"}


def test_a_form_may_say_a_name_twice() -> None:
    case = Case(target="/", method="POST", body=Form([("a", "1 &"), ("a", "ü")]))
    assert case.content == b"a=1+%26&a=%C3%BC"
    assert case.all_headers == {"Content-Type": "application/x-www-form-urlencoded"}


def test_a_given_content_type_counts() -> None:
    case = Case(target="/", method="POST", body=Json({}), headers={"content-type": "text/plain"})
    assert case.all_headers == {"content-type": "text/plain"}


def test_a_form_with_files_is_read_again_as_it_was() -> None:
    picture = File(name='a "b".png', content=b"\x89PNG\r\n--x", media_type="image/png")
    body = Multipart({"title": "Grüße\r\nund mehr", "photo": picture})
    media_type, content = body.encoded()
    message = message_from_bytes(b"Content-Type: %b\r\n\r\n%b" % (media_type.encode(), content), policy=HTTP)
    parts = [(part["Content-Disposition"], part.get_payload(decode=True)) for part in message.iter_parts()]
    assert parts == [
        ('form-data; name="title"', "Grüße\r\nund mehr".encode()),
        ('form-data; name="photo"; filename="a %22b%22.png"', b"\x89PNG\r\n--x"),
    ]
    assert body.encoded() == (media_type, content)


def test_curl_asks_the_same() -> None:
    case = Case(target="/a?b='1'", method="PUT", headers={"X-Empty": "", "A": "b c"}, body=Json({"a": 1}))
    assert shlex.split(case.curl("http://127.0.0.1:1/", {"Host": "public"})) == [
        "curl", "-i", "--path-as-is", "-X", "PUT", "-H", "Host: public", "-H", "Content-Type: application/json",
        "-H", "X-Empty;", "-H", "A: b c", "--data-binary", '{"a":1}', "http://127.0.0.1:1/a?b='1'",
    ]  # fmt: skip


def test_curl_asks_for_a_head_as_it_wants_to_be_told() -> None:
    assert Case(target="/", method="HEAD").curl("http://a") == "curl -i --path-as-is -I http://a/"
