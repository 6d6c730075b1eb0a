"""Messages that are nearly valid: put together from parts that parsers differ on, then changed in a few places."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

_FIRST: Final = (
    *(b"GET / HTTP/1.1", b"POST /a?b=c HTTP/1.1", b"HEAD /a HTTP/1.0", b"OPTIONS * HTTP/1.1", b"PUT /%41 HTTP/1.1"),
    *(b"GET http://x/a?b HTTP/1.1", b"OPTIONS http://x HTTP/1.1", b"CONNECT x:1 HTTP/1.1", b"BREW / HTTP/1.1"),
    *(b"GET /#a HTTP/1.1", b"GET / HTTP/2.0", b"get / HTTP/1.1", b"GET  / HTTP/1.1", b"POST / HTTP/1.0"),
)
_STATUS: Final = (
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.0 200 OK", b"HTTP/1.1 304 ", b"HTTP/1.1 500"),
    *(
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 103 Early Hints",
        b"HTTP/1.1 999 \xe9",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.1 099 A",
    ),
)
_LINES: Final = (
    *(b"X-A: b", b"X-A:b", b"X-A:\t b \t", b"X-Empty:", b"X_A: 1", b"Via: 1.1 \xe9", b"Accept: a, b;q=0.1"),
    *(b"Connection: close", b"Connection: keep-alive, X-A", b"Cookie: a=1; b=2", b"Cookie: strangler_visitor=v; a=1"),
    *(b"Authorization: Basic eDp5", b"X-Forwarded-For: 10.0.0.1", b"Expect: 100-continue", b"TE: trailers"),
    *(b"Upgrade: websocket", b"Set-Cookie: a=1", b"Host: x", b"Host: y:80", b"Host: a b", b"Host: [::1]:8"),
    *(b"X-A : b", b" folded", b"X-A: a\x01b", b"X-A: a\x0bb", b"no colon", b": nothing", b"X-A: b\rX-B: c"),
)
_FRAMING: Final = (
    *(
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: 05",
    ),
    *(b"Content-Length: 1234567890123456", b"Content-Length:", b"content-length:5 ", b"Content-Length: 5 5"),
    *(b"Transfer-Encoding: chunked", b"transfer-encoding:Chunked", b"Transfer-Encoding: gzip, chunked"),
    *(b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding : chunked"),
)
_SIZES: Final = (
    b"5",
    b"05",
    b"5;a=b",
    b"5 ",
    b"5;",
    b"+5",
    b"0x5",
    b"5\t;a",
    b"A",
    b"a",
    b"00000000000000005",
    b"5;\x01",
)
_TRAILERS: Final = (b"", b"Server-Timing: a\r\n", b"X: y\r\nZ:\r\n", b"Content-Length: 3\r\n", b" x\r\n", b"X : y\r\n")
_TOKENS: Final = (
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"\0", b"\x7f", b"\x0b", b"\x85", b"\xa0", b"\xff", b"#"),
    *(b"0", b"5", b"f", b"g", b"HTTP/1.0", b"HTTP/1.1", b"chunked", b"close", b"\r\n\r\n", b"\n\n", b"\r\n "),
    *(b"0\r\n\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: x\r\n"),
)

_ENDS: Final = st.sampled_from((b"\r\n",) * 30 + (b"\n",))
_GOOD_LINES: Final = st.from_regex(rb"[A-Za-z-]{1,8}:[ \t]{0,2}([!-~]([ -~]{0,12}[!-~])?)?[ \t]?", fullmatch=True)
_CHUNKS: Final = st.tuples(st.sampled_from((b"5",) * 12 + _SIZES), st.sampled_from((b"abcde",) * 9 + (b"abcd", b"")))


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    """Chunks, often well made, or some bytes."""
    if draw(st.booleans()):
        plain: bytes = draw(st.sampled_from((b"", b"abcde", b"abcdeGET / HTTP/1.1\r\n\r\n", b"abc")))
        return plain
    chunks = draw(st.lists(_CHUNKS, max_size=3))
    end: bytes = draw(st.sampled_from((b"0\r\n",) * 8 + (b"0;a\r\n", b"00\r\n", b"0 \r\n", b"")))
    trailers: bytes = draw(st.sampled_from((b"",) * 4 + _TRAILERS))
    return b"".join(b"%b\r\n%b\r\n" % each for each in chunks) + end + trailers + b"\r\n"


@st.composite
def _messages(draw: st.DrawFn, first: tuple[bytes, ...], host: bool) -> bytes:
    good = draw(st.integers(0, 3))
    lines = [draw(st.sampled_from(first[:5] if good else first))]
    if host and draw(st.integers(0, 9)):
        lines.append(b"Host: x")
    # The lines behind the first 20 are wrong by themselves, so most messages have none of them.
    lines += draw(st.lists(st.sampled_from(_LINES[:15] if good else _LINES) | _GOOD_LINES, max_size=4))
    lines += draw(
        st.lists(st.sampled_from(_FRAMING[:2] + _FRAMING[9:10] if good else _FRAMING), max_size=1 if good else 2)
    )
    return b"".join(line + draw(_ENDS) for line in lines) + b"\r\n" + draw(_bodies())


@st.composite
def _changed(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    data = draw(messages)
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 1, 2, 3)))):
        at, to = draw(st.integers(0, len(data))), draw(st.integers(0, 3))
        data = data[:at] + draw(st.sampled_from((b"", *_TOKENS)) | st.binary(min_size=1, max_size=1)) + data[at + to :]
    return data


REQUESTS: Final = _changed(_messages(_FIRST, host=True))
RESPONSES: Final = _changed(_messages(_STATUS, host=False))
CUTS: Final = st.lists(st.integers(0, 400), max_size=6) | st.just(list(range(400)))
