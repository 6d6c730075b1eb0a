"""Requests that two parsers could read differently, or that are too large: refused, and nothing of them arrives.

Each stands before a request that a lenient reader would find behind it; that one must never arrive either.
"""

from __future__ import annotations

from tests.conformance.case import Case, End, Problem

HEAD = b"POST / HTTP/1.1\r\nHost: shop.test\r\n"
GET = b"GET / HTTP/1.1\r\nHost: shop.test\r\n"
BEHIND = b"GET /smuggled HTTP/1.1\r\nHost: shop.test\r\n\r\n"


def _refused(says: str, data: bytes, status: int = 400, *, behind: bytes = BEHIND) -> Case:
    return Case(
        says=f"{says} is refused with {status}",
        sends=(data + behind,),
        got=(Problem(status),),
        end=End.CLOSED,
    )


def _lengths(values: dict[str, bytes]) -> tuple[Case, ...]:
    return tuple(
        _refused(f"a Content-Length {says}", HEAD + b"Content-Length:" + value + b"\r\n\r\nabcde")
        for says, value in values.items()
    )


LENGTHS = (
    *_lengths(
        {
            "with a plus": b" +5",
            "with a minus": b" -5",
            "in hexadecimal": b" 0x5",
            "without a value": b"",
            "of spaces": b"   ",
            "that is a list": b" 5,5",
            "that is a list with a space": b" 5, 5",
            "with a space within": b" 5 5",
            "with a fraction": b" 5.0",
            "with an exponent": b" 5e0",
            "with an underscore": b" 1_0",
            "of 20 digits": b" 18446744073709551621",
            "of a thousand digits": b" " + b"9" * 1000,
            "in quotes": b' "5"',
            "of letters": b" five",
            "with a semicolon": b" 5;",
            "with another script's digits": b" \xd9\xa5",
            "behind a vertical tab": b" \x0b5",
            "with a NUL behind": b" 5\x00",
        }
    ),
    _refused("a second Content-Length", HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef"),
    _refused("a second Content-Length that says the same", HEAD + b"Content-Length: 5\r\n" * 2 + b"\r\nabcde"),
    _refused(
        "a second Content-Length in other capitals", HEAD + b"Content-Length: 5\r\ncontent-length: 0\r\n\r\nabcde"
    ),
    _refused("a space before the colon of Content-Length", HEAD + b"Content-Length : 5\r\n\r\nabcde"),
    _refused("a Content-Length in a folded line", HEAD + b"Content-Length:\r\n 5\r\n\r\nabcde"),
    _refused(
        "Content-Length beside Transfer-Encoding",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    _refused(
        "Transfer-Encoding beside Content-Length",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    _refused(
        "a Content-Length of 0 beside Transfer-Encoding",
        HEAD + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    _refused(
        "Content-Length beside an unknown coding", HEAD + b"Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\nabcde"
    ),
)

CODINGS = (
    *(
        _refused(f"a Transfer-Encoding {says}", HEAD + b"Transfer-Encoding:" + value + b"\r\n\r\n0\r\n\r\n")
        for says, value in {
            "of xchunked": b" xchunked",
            "of chunkedx": b" chunkedx",
            "of identity": b" identity",
            "of chunked and identity": b" chunked, identity",
            "of identity and chunked": b" identity, chunked",
            "of gzip and chunked": b" gzip, chunked",
            "of chunked twice": b" chunked, chunked",
            "with an empty element": b" , chunked",
            "with a comma behind": b" chunked,",
            "with parameters": b" chunked;q=1",
            "in quotes": b' "chunked"',
            "in single quotes": b" 'chunked'",
            "without a value": b"",
            "with a tab and identity": b" chunked\tidentity",
            "behind a vertical tab": b" \x0bchunked",
            "before a form feed": b" chunked\x0c",
            "with a NUL": b" chunked\x00",
            "before a no-break space": b" chunked\xa0",
            "with a bare CR": b" chunked\r",
            "in a folded line": b"\r\n chunked",
            "with a folded line behind": b" chunked\r\n , identity",
            "of two words": b" chun ked",
            "of chunk": b" chunk",
        }.items()
    ),
    _refused("a space before the colon of Transfer-Encoding", HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    _refused("a tab before the colon of Transfer-Encoding", HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n"),
    _refused(
        "a vertical tab before the colon of Transfer-Encoding",
        HEAD + b"Transfer-Encoding\x0b: chunked\r\n\r\n0\r\n\r\n",
    ),
    _refused("a NUL before the colon of Transfer-Encoding", HEAD + b"Transfer-Encoding\x00: chunked\r\n\r\n0\r\n\r\n"),
    _refused("a space before Transfer-Encoding", HEAD + b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    _refused("a Transfer-Encoding without a colon", HEAD + b"Transfer-Encoding chunked\r\n\r\n0\r\n\r\n"),
    _refused("a second Transfer-Encoding", HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n"),
    _refused(
        "a second Transfer-Encoding of identity",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    _refused(
        "a Transfer-Encoding behind one of identity",
        HEAD + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    _refused(
        "a Transfer-Encoding in HTTP/1.0",
        b"POST / HTTP/1.0\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    _refused(
        "a Transfer-Encoding behind a line that ends with LF alone",
        HEAD + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    _refused("a Transfer-Encoding behind a bare CR", HEAD + b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
)

LINES = (
    _refused("a request of lines that end with LF alone", b"GET / HTTP/1.1\nHost: shop.test\n\n"),
    _refused(
        "a request of lines that end with LF alone and nothing behind", b"GET / HTTP/1.1\nHost: x\n\n", behind=b""
    ),
    _refused("a head that ends with two LF and nothing behind", GET + b"X: y\n\n", behind=b""),
    _refused("a request line that ends with LF alone", b"GET / HTTP/1.1\nHost: shop.test\r\n\r\n"),
    _refused("a header that ends with LF alone", GET + b"X: y\nZ: a\r\n\r\n"),
    _refused("a head whose empty line is LF alone", GET + b"\nX: y\r\n\r\n"),
    _refused("a bare CR in a value", GET + b"X: y\rz\r\n\r\n"),
    _refused("a bare CR before CRLF", GET + b"X: y\r\r\n\r\n"),
    _refused("a bare CR in the request line", b"GET /\rX HTTP/1.1\r\nHost: shop.test\r\n\r\n"),
    _refused("a bare CR as an empty line", GET + b"\r\r\n\r\n"),
    _refused("a folded line", GET + b"X: y\r\n z\r\n\r\n"),
    _refused("a line folded with a tab", GET + b"X: y\r\n\tz\r\n\r\n"),
    _refused("a folded line of spaces", GET + b"X: y\r\n  \r\n\r\n"),
    _refused("a space before the first header", b"GET / HTTP/1.1\r\n Host: shop.test\r\n\r\n"),
    _refused("a space before a colon", GET + b"X : y\r\n\r\n"),
    _refused("a line without a colon", GET + b"X\r\n\r\n"),
    _refused("a header without a name", GET + b": y\r\n\r\n"),
    *(
        _refused(f"a name with {says}", GET + b"X" + byte + b"Y: z\r\n\r\n")
        for says, byte in {
            "NUL": b"\x00",
            "a control character": b"\x01",
            "an escape": b"\x1b",
            "DEL": b"\x7f",
            "a space": b" ",
            "a tab": b"\t",
            "a letter with an accent": b"\xc3\xa9",
            "a slash": b"/",
            "a parenthesis": b"(",
            "a comma": b",",
            "a semicolon": b";",
            "an equals sign": b"=",
            "an at sign": b"@",
            "a bracket": b"[",
            "a brace": b"{",
            "a quote": b'"',
            "a backslash": b"\\",
        }.items()
    ),
    *(
        _refused(f"a value with {says}", GET + b"X: y" + byte + b"z\r\n\r\n")
        for says, byte in {
            "NUL": b"\x00",
            "a bell": b"\x07",
            "a vertical tab": b"\x0b",
            "DEL": b"\x7f",
            "US": b"\x1f",
        }.items()
    ),
)

FIRST_LINES = (
    *(
        _refused(f"the request line {line.decode('latin-1')!r}", line + b"\r\nHost: shop.test\r\n\r\n", status)
        for line, status in {
            b"GET / HTTP/2.0": 505,
            b"GET / HTTP/1.2": 505,
            b"GET / HTTP/0.9": 505,
            b"GET / HTTP/3.7": 505,
            b"GET / HTTP/1.": 400,
            b"GET / HTTP/1": 400,
            b"GET / HTTP/1.10": 400,
            b"GET / HTTP/01.1": 400,
            b"GET / HTTP/1,1": 400,
            b"GET / HTTP 1.1": 400,
            b"GET / http/1.1": 400,
            b"GET / HTTPS/1.1": 400,
            b"GET / HTTP/1.1 ": 400,
            b"GET / HTTP/+1.1": 400,
            b"GET / ICE/1.0": 400,
            b"GET /": 400,
            b"GET": 400,
            b"GET  / HTTP/1.1": 400,
            b"GET /  HTTP/1.1": 400,
            b"GET\t/\tHTTP/1.1": 400,
            b" GET / HTTP/1.1": 400,
            b"GET / a HTTP/1.1": 400,
            b"GET /a b HTTP/1.1": 400,
            b"GET /a#b HTTP/1.1": 400,
            b"GET /\x00 HTTP/1.1": 400,
            b"GET /\x7f HTTP/1.1": 400,
            b"GET /\x1b[ HTTP/1.1": 400,
            b"GET /\xc3\xa9 HTTP/1.1": 400,
            b"GET a HTTP/1.1": 400,
            b"GET ?a HTTP/1.1": 400,
            b"GET * HTTP/1.1": 400,
            b"GET shop.test:80 HTTP/1.1": 400,
            b"GET ftp://shop.test/ HTTP/1.1": 400,
            b"GET http:/ HTTP/1.1": 400,
            b"GET http:///a HTTP/1.1": 400,
            b"GET http://a@shop.test/ HTTP/1.1": 400,
            b"GET http://other.test/ HTTP/1.1": 400,
            b"CONNECT shop.test:443 HTTP/1.1": 501,
            b"get / HTTP/1.1": 400,
            b"Get / HTTP/1.1": 400,
            b"GOT / HTTP/1.1": 400,
            b"G\x00T / HTTP/1.1": 400,
            b"GET, / HTTP/1.1": 400,
            b'"GET" / HTTP/1.1': 400,
            b"PRI * HTTP/2.0": 505,
            b"HTTP/1.1 200 OK": 400,
            b"\xef\xbb\xbfGET / HTTP/1.1": 400,
        }.items()
    ),
    _refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 32),
    _refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    _refused("a PROXY header that nobody announced", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + GET + b"\r\n"),
    _refused("a body behind a GET of unknown length", GET + b"Content-Length: x\r\n\r\n"),
)

HOSTS = (
    _refused("HTTP/1.1 without Host", b"GET / HTTP/1.1\r\n\r\n"),
    _refused("HTTP/1.1 in absolute form without Host", b"GET http://shop.test/ HTTP/1.1\r\n\r\n"),
    _refused("a second Host", GET + b"Host: shop.test\r\n\r\n"),
    _refused("a second Host that says something else", GET + b"HOST: other.test\r\n\r\n"),
    *(
        _refused(f"the Host {value.decode('latin-1')!r}", b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n")
        for value in (
            b"shop.test/a",
            b"shop.test?a",
            b"shop.test#a",
            b"a@shop.test",
            b"shop.test, other.test",
            b"shop.test other.test",
            b"shop.test:80:81",
            b"shop.test:http",
            b"http://shop.test",
            b"[::1",
            b"::1]",
            b"[::1]x",
            b"shop\\test",
            b"shop.test\xe9",
            b"<shop>",
            b"x" * 300,
        )
    ),
)

SIZES = (
    _refused("a target of 8,193 bytes", b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\nHost: shop.test\r\n\r\n", 414),
    _refused("a target without an end", b"GET /" + b"a" * 20_000, 414, behind=b""),
    _refused("a head of more than 60 kB", GET + b"X: " + b"a" * 62_000 + b"\r\n\r\n", 431),
    _refused("a header without an end", GET + b"X: " + b"a" * 70_000, 431, behind=b""),
    _refused("a name without an end", GET + b"X" * 70_000, 431, behind=b""),
    _refused("a head of 101 headers", GET + b"X: y\r\n" * 100 + b"\r\n", 431),
    _refused("a method without an end", b"G" * 50, 400, behind=b""),
)

REFUSALS = (*LENGTHS, *CODINGS, *LINES, *FIRST_LINES, *HOSTS, *SIZES)
