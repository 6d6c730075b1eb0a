"""The data plane's reading of a message beside h11's: the same, or both refuse, or ours is stricter for a named reason.

h11 reads what RFC 9112 lets a lenient recipient repair; ours refuses that. So each refusal of ours that h11 does not
share must carry one of the reasons below, and the bytes must show it. Where h11 refuses what ours reads, there is one
reason only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import h11

from strangler.project.limits import Limits
from strangler_proxy.http1.body import Body, Chunked, Endless, Framing, Malformed, Sized
from strangler_proxy.http1.head import (
    _METHODS,
    Garbled,
    Refused,
    RequestHead,
    ResponseHead,
    read_request,
    read_response,
)
from strangler_proxy.http1.hygiene import Role, response_role_of, role_of, split_own_cookies, tokens, without_nominated

LIMITS: Final = Limits()


class Disagreement(AssertionError):
    """One reads what the other refuses, for no reason that is known, or they read different things."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What was read. ``first`` is the first line's, ``fields`` what the proxy goes by, ``rest`` what stands behind."""

    first: tuple[object, ...]
    fields: Mapping[str, object]
    framing: str
    body: bytes = b""
    trailers: tuple[bytes, ...] = ()
    done: bool = True
    rest: bytes = b""


@dataclass(frozen=True, slots=True)
class Refusal:
    """It was refused, and why."""

    why: str


Outcome = Message | Refusal | None
"""None while the head is not whole."""


# --- ours ---


def read_ours(pieces: Sequence[bytes]) -> Outcome:
    """Read a request as the proxy does, as it comes in ``pieces``."""
    data = b""
    for at, piece in enumerate(pieces):
        data += piece
        try:
            found = read_request(data, LIMITS)
            if found is not None:
                return _with_body(_request(found[0]), _body_of(found[0]), [data[found[1] :], *pieces[at + 1 :]])
        except (Refused, Malformed) as exc:
            return Refusal(str(exc))
    return None


def read_our_response(pieces: Sequence[bytes], method: str) -> Outcome:
    """Read a response to ``method`` as the proxy does."""
    data = b""
    for at, piece in enumerate(pieces):
        data += piece
        try:
            found = read_response(data, method, LIMITS)
            if found is not None:
                return _with_body(_response(found[0]), _body_of(found[0]), [data[found[1] :], *pieces[at + 1 :]])
        except (Garbled, Malformed) as exc:
            return Refusal(str(exc))
    return None


def _body_of(head: RequestHead | ResponseHead) -> Body:
    match head.framing:
        case Framing.LENGTH:
            return Sized(head.length or 0)
        case Framing.CHUNKED:
            return Chunked(LIMITS.request_headers)
        case Framing.CLOSE:
            return Endless()
    return Sized(0)


def _with_body(head: Message, body: Body, pieces: Iterable[bytes]) -> Message:
    came, behind = b"", b""
    for data in pieces:
        piece, rest = (b"", data) if body.done else body.feed(data)
        came += piece
        behind += rest
    trailers = tuple(line for line in body.trailers if not _FRAMES(line)) if body.done else ()
    return Message(
        first=head.first,
        fields=head.fields,
        framing=head.framing,
        body=came,
        trailers=trailers,
        done=body.done,
        rest=behind,
    )


def _request(head: RequestHead) -> Message:
    fields = {
        "host": head.host,
        "lines": head.lines,
        "cookies": head.cookies,
        "originals": head.originals,
        "authorization": head.authorization,
        "close": head.minor == 1 and not head.keep_alive,
    }
    first = (head.method.encode(), head.target, head.minor)
    return Message(first=first, fields=fields, framing=_framing(head.framing, head.length))


def _response(head: ResponseHead) -> Message:
    said = head.length if head.framing in (Framing.LENGTH, Framing.NONE) else None
    fields = {"lines": head.lines, "cookies": head.cookies, "length": said}
    first = (head.status, head.reason, head.minor)
    return Message(first=first, fields=fields, framing=_framing(head.framing, head.length))


def _framing(framing: Framing, length: int | None) -> str:
    """Return how the body ends; a length of nothing is no body."""
    return f"length {length}" if framing is Framing.LENGTH and length else framing.value.replace("length", "none")


# --- h11 ---


def read_theirs(data: bytes) -> Outcome:
    """Read a request as h11 does, in the terms of what the proxy goes by."""
    return _drive(h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 24), data, "GET")


def read_their_response(data: bytes, method: str) -> Outcome:
    """Read a response to ``method`` as h11 does."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 24)
    # Asked for an upgrade, so that it takes a 101.
    upgrade = [("Host", "x"), ("Connection", "upgrade"), ("Upgrade", "x")]
    connection.send(h11.Request(method=method, target="/", headers=upgrade))
    connection.send(h11.EndOfMessage())
    return _drive(connection, data, method)


def _drive(connection: h11.Connection, data: bytes, method: str) -> Outcome:
    found: Message | None = None
    body = b""
    try:
        if data:
            connection.receive_data(data)
        while True:
            event = connection.next_event()
            match event:
                case h11.Request():
                    found = _their_request(event)
                case h11.InformationalResponse():
                    # A head of its own for the proxy, and what follows is another.
                    return _their_response(event, method, rest=connection.trailing_data[0])
                case h11.Response():
                    found = _their_response(event, method)
                case h11.Data():
                    body += bytes(event.data)
                case h11.EndOfMessage():
                    assert found is not None
                    lines = (b"%b: %b" % field for field in event.headers.raw_items())
                    trailers = tuple(line for line in lines if not _FRAMES(line))
                    return _ended(found, body, trailers, connection.trailing_data[0])
                case _:
                    return found and Message(
                        first=found.first, fields=found.fields, framing=found.framing, body=body, done=False
                    )
    except h11.RemoteProtocolError as exc:
        return Refusal(str(exc))


def _ended(head: Message, body: bytes, trailers: tuple[bytes, ...], rest: bytes) -> Message:
    return Message(first=head.first, fields=head.fields, framing=head.framing, body=body, trailers=trailers, rest=rest)


def _their_request(event: h11.Request) -> Message:
    headers = event.headers.raw_items()
    connection = tokens(_all(headers, b"connection"))
    cookies = tuple(kept for value in _all(headers, b"cookie") if (kept := split_own_cookies(value)[0]))
    passing = (Role.PASS, Role.AUTHORIZATION)
    lines = [b"%b: %b" % field for field in headers if role_of(field[0]) in passing]
    authorization = next(iter(_all(headers, b"authorization")), None)
    host = next(iter(_all(headers, b"host")), None)
    target, named = _origin_form(event.method, event.target)
    fields = {
        "host": named or host,
        "lines": without_nominated(lines, connection),
        "cookies": cookies,
        "originals": tuple(b"%b: %b" % field for field in headers if role_of(field[0]) is Role.ORIGINAL),
        "authorization": None if b"authorization" in connection else authorization,
        "close": event.http_version == b"1.1" and b"close" in connection,
    }
    minor = int(event.http_version[2:])
    return Message(first=(event.method, target, minor), fields=fields, framing=_their_framing(headers, "none"))


def _their_response(event: h11.Response | h11.InformationalResponse, method: str, rest: bytes = b"") -> Message:
    headers = event.headers.raw_items()
    connection = tokens(_all(headers, b"connection"))
    passing = (Role.PASS, Role.SET_COOKIE)
    lines = [b"%b: %b" % field for field in headers if response_role_of(field[0]) in passing]
    empty = method == "HEAD" or event.status_code < 200 or event.status_code in (204, 304)
    chunked = bool(_all(headers, b"transfer-encoding"))
    lengths = [int(value) for value in _all(headers, b"content-length")]
    fields = {
        "lines": without_nominated(lines, connection),
        "cookies": tuple(_all(headers, b"set-cookie")),
        "length": lengths[0] if lengths and not chunked else None,
    }
    first = (event.status_code, bytes(event.reason), int(event.http_version[2:]))
    return Message(first=first, fields=fields, framing="none" if empty else _their_framing(headers, "close"), rest=rest)


def _their_framing(headers: list[tuple[bytes, bytes]], otherwise: str) -> str:
    if _all(headers, b"transfer-encoding"):
        return "chunked"
    lengths = _all(headers, b"content-length")
    if not lengths:
        return otherwise
    return f"length {int(lengths[0])}" if int(lengths[0]) else "none"


def _all(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for each, value in headers if each.lower() == name]


def _origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """Return the target for a stack, and the host that it named."""
    match = re.fullmatch(rb"(?is)https?://([^/?]*)(.*)", target)
    if match is None:
        return target, None
    if not match[2] and method == b"OPTIONS":
        return b"*", match[1]
    return (match[2] if match[2].startswith(b"/") else b"/" + match[2]), match[1]


# --- the judgement ---


def _shows(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern)
    return lambda data: compiled.search(data) is not None


_LENGTH: Final = rb"(?im)^content-length[ \t]*:"
_TRANSFER: Final = rb"(?im)^transfer-encoding:"
_CONTROL: Final = _shows(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_BARE_LF: Final = _shows(rb"(?<!\r)\n")
_FOLDED: Final = _shows(rb"\r\n[ \t]")


def _other_method(data: bytes) -> bool:
    return data.split(b" ")[0] not in _METHODS


def _not_a_path(data: bytes) -> bool:
    """Return whether the target is in one of the forms for others than origin servers."""
    return data.split(b" ")[1][:1] != b"/"


STRICTER: Final[dict[str, Callable[[bytes], bool]]] = {
    "there are control characters, or a line that ends with CR or LF alone": _CONTROL,
    "there are several Content-Length headers": lambda data: len(re.findall(_LENGTH, data)) > 1,
    "the Content-Length is no number of bytes": _shows(
        _LENGTH + rb"[ \t]*(?:[0-9]{16,20}|[0-9]+[ \t]*,[^\r\n]*)[ \t]*\r?$"
    ),
    "there are both Content-Length and Transfer-Encoding": lambda data: (
        re.search(_LENGTH, data) is not None and re.search(_TRANSFER, data) is not None
    ),
    "Transfer-Encoding does not exist in HTTP/1.0": _shows(
        rb"HTTP/1\.0[^\n]*\n(?s:.*)" + _TRANSFER.replace(b"(?im)", b"(?im:") + b")"
    ),
    "there are several Authorization headers": _shows(rb"(?is)\nauthorization:.*\nauthorization:"),
    "the method is none that is known": _other_method,
    "CONNECT is for forward proxies": lambda data: data.startswith(b"CONNECT "),
    "the target has a fragment, which is never sent": _shows(rb"\A[^ ]+ [^ ]*#"),
    "* is a target of OPTIONS only": _shows(rb"\A(?!OPTIONS )[^ ]+ \* "),
    "the target is neither a path nor an http address": _not_a_path,
    "the target names another host than the Host header": _not_a_path,
    "the Host header is no host": _shows(rb"(?i)\nhost:|\A[^ ]+ https?://"),
    "the first line is not that of a request": _other_method,
    "HTTP/x is not spoken here; HTTP/1.1 is": _shows(rb"\A[^\n]* HTTP/(?!1\.[01])[0-9]\.[0-9]"),
    "a status line of x": _shows(rb"\AHTTP/(?!1\.[01])|\AHTTP/[^\n]*[\x00-\x08\x0b-\x1f\x7f]"),
    "it does not begin with HTTP/1": _shows(rb"\AHTTP/[02-9]"),
    "a line of the chunked body's framing ends without CR": _shows(rb"(?<!\r)\n"),
    "a line of the chunked body's framing is too long": _shows(rb"[^\n]{4096}"),
    "the size of a chunk is none": _shows(rb"(?m)^[0-9A-Fa-f]{16,20}|[ \t]\r\n|;[^\n]*[\x00-\x08\x0b-\x1f\x7f]"),
    "a trailer is none": _shows(rb"\n[ \t]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)"),
    "there are too many bytes of trailers": lambda data: len(data) > LIMITS.request_headers,
    "there are x headers; at most x are taken": lambda data: data.count(b"\n") > LIMITS.headers_count,
    "the target has x bytes; at most x are taken": lambda data: len(data) > LIMITS.target,
    "the target has more than the x bytes that are taken": lambda data: len(data) > LIMITS.target,
    "there are more than x bytes of headers": lambda data: len(data) > LIMITS.request_headers,
    "more than x bytes of headers": lambda data: len(data) > LIMITS.request_headers,
}
"""Why ours refuses what h11 does not, and what the bytes show then."""

_FRAMES: Final = _shows(rb"(?im)^(content-length|transfer-encoding):")


def _trails_framing(ours: Message, data: bytes) -> bool:
    """Return whether there are trailers that h11 reads as if they were headers.

    Here these are dropped, as all but a few are: they frame nothing any more (RFC 9110 section 6.5.1).
    """
    return ours.framing == "chunked" and _FRAMES(data.partition(b"\r\n\r\n")[2])


def judge(data: bytes, ours: Outcome, theirs: Outcome, completed: Outcome) -> str:
    """Return how the two agree about ``data``. Raises ``Disagreement``.

    ``completed`` is what h11 says with an empty line behind: ours may refuse what cannot become a message any more.
    """
    if isinstance(ours, Refusal):
        return _refused(data, ours, theirs, completed)
    if isinstance(theirs, Refusal) and isinstance(ours, Message) and _trails_framing(ours, data):
        return "more lenient: trailers that frame are dropped unread"
    if ours != theirs:
        raise Disagreement(f"{data!r}:\nours  {ours}\nh11's {theirs}")
    if ours is None:
        return "both wait for the head"
    return "both read" if ours.done else "both wait for the body"


def _refused(data: bytes, ours: Refusal, theirs: Outcome, completed: Outcome) -> str:
    if isinstance(theirs, Refusal):
        return "both refuse"
    if _BARE_LF(data.partition(b"\r\n\r\n")[0]):  # whatever it is refused for, h11 may see the head end elsewhere
        return "stricter: a line ends with LF alone"
    if _FOLDED(data.partition(b"\r\n\r\n")[0]):  # refused as a line of its own, or the line before it is
        return "stricter: a header goes on in a second line"
    why = re.sub(r"b['\"].*|(?<=HTTP/)[0-9.]+(?= is not)|\b\d+\b(?= bytes| headers| are)", "x", ours.why)
    shown = STRICTER.get(why)
    if shown is not None and shown(data):
        return f"stricter: {why}"
    if isinstance(completed, Refusal) and not (isinstance(theirs, Message) and theirs.done):
        return "both refuse"
    raise Disagreement(f"{data!r}:\nours refused: {ours.why}\nh11's {theirs}")


def compare(data: bytes, cuts: Sequence[int] = ()) -> str:
    """Compare how a request that comes cut at ``cuts`` is read. Raises ``Disagreement``."""
    ours = read_ours(cut(data, cuts))
    return judge(data, ours, read_theirs(data), read_theirs(data + b"\r\n\r\n"))


def compare_response(data: bytes, method: str, cuts: Sequence[int] = ()) -> str:
    """Compare how a response to ``method`` is read. Raises ``Disagreement``."""
    ours = read_our_response(cut(data, cuts), method)
    return judge(data, ours, read_their_response(data, method), read_their_response(data + b"\r\n\r\n", method))


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Return ``data`` in pieces that end at ``cuts``, taken modulo its length."""
    places = sorted({at % (len(data) or 1) for at in cuts} | {0, len(data)})
    return [data[one:other] for one, other in pairwise(places)]
