"""Requests as they should be, what a stack receives of them, and what becomes of the connection."""

from __future__ import annotations

from tests.conformance.case import OK, Case, End, Problem, Step, passed

GET = b"GET / HTTP/1.1"
OK_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
OK_KEPT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
NO_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def _simple(says: str, first: bytes, *, method: bytes = b"") -> Case:
    answer = NO_BODY if method == b"HEAD" else OK
    return Case(
        says=says,
        sends=(first + b"\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(first),),
        answers=(answer,),
        got=(answer,),
        reused=True,
    )


TARGETS = tuple(
    _simple(f"the target {target.decode()} passes as it came", b"GET " + target + b" HTTP/1.1")
    for target in (
        b"/",
        b"/a/b/c",
        b"/a?b=c&d=e",
        b"/?",
        b"/a??b",
        b"//a//b/",
        b"/a/./b/../c",
        b"/%41%2fb%2F",
        b"/%",
        b"/a;b=c,d",
        b"/~!$&'()*+,;=:@-._",
        b"/a|b^c`d{e}",
        b"/?a[]=1&b[c]=2",
        b"/a?http://shop.test/b",
    )
)

METHODS = tuple(
    _simple(f"{method.decode()} passes as it came", method + b" /a HTTP/1.1", method=method)
    for method in (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"QUERY")
)


FORMS = (
    Case(
        says="OPTIONS * asks the stack as a whole",
        sends=(b"OPTIONS * HTTP/1.1\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(b"OPTIONS * HTTP/1.1"),),
        answers=(b"HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n",),
        got=(b"HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n",),
    ),
    Case(
        # RFC 9112 section 3.2.1: asking an origin server directly, only path and query are sent.
        says="a target in absolute form is sent on as a path",
        sends=(b"GET http://shop.test/a?b HTTP/1.1\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(b"GET /a?b HTTP/1.1"),),
    ),
    Case(
        says="a target in absolute form without a path asks for the root",
        sends=(b"GET http://shop.test HTTP/1.1\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(b"GET / HTTP/1.1"),),
    ),
    Case(
        # RFC 9112 section 3.2.4.
        says="OPTIONS of a bare address asks the stack as a whole",
        sends=(b"OPTIONS http://shop.test HTTP/1.1\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(b"OPTIONS * HTTP/1.1"),),
    ),
    Case(
        says="one empty line before a request is passed over",
        sends=(b"\r\nGET / HTTP/1.1\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(GET),),
    ),
    Case(
        says="an empty line behind a body is passed over",
        sends=(
            b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\n\r\na"
            b"\r\nGET / HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        ),
        arrived=(passed(b"POST / HTTP/1.1", b"Content-Length: 1", body=b"a") + passed(GET),),
        answers=(OK, OK),
        got=(OK, OK),
    ),
)

VERSIONS = (
    Case(
        says="HTTP/1.0 without Host is sent on as HTTP/1.1 with the stack's own name",
        sends=(b"GET / HTTP/1.0\r\n\r\n",),
        arrived=(passed(GET, host=None),),
        got=(OK_CLOSE,),
        end=End.CLOSED,
    ),
    Case(
        says="HTTP/1.0 with Host is sent on with it",
        sends=(b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(GET),),
        got=(OK_CLOSE,),
        end=End.CLOSED,
    ),
    Case(
        says="HTTP/1.0 that asks to keep its connection keeps it",
        sends=(b"GET / HTTP/1.0\r\nHost: shop.test\r\nConnection: keep-alive\r\n\r\n",),
        arrived=(passed(GET),),
        got=(OK_KEPT,),
    ),
    Case(
        says="HTTP/1.0 that asks to keep and to close its connection loses it",
        sends=(b"GET / HTTP/1.0\r\nHost: shop.test\r\nConnection: keep-alive, close\r\n\r\n",),
        arrived=(passed(GET),),
        got=(OK_CLOSE,),
        end=End.CLOSED,
    ),
    Case(
        says="HTTP/1.0 gets a chunked answer without chunks, and its end with the connection's",
        sends=(b"GET / HTTP/1.0\r\nHost: shop.test\r\nConnection: keep-alive\r\n\r\n",),
        arrived=(passed(GET),),
        answers=(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",),
        got=(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc",),
        end=End.CLOSED,
    ),
    Case(
        says="HTTP/1.0 posts a body by its length",
        sends=(b"POST / HTTP/1.0\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc",),
        arrived=(passed(b"POST / HTTP/1.1", b"Content-Length: 3", body=b"abc"),),
        got=(OK_CLOSE,),
        end=End.CLOSED,
    ),
    Case(
        says="HTTP/1.0 gets no interim answer",
        sends=(b"GET / HTTP/1.0\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(GET),),
        answers=(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,),
        got=(OK_CLOSE,),
        end=End.CLOSED,
    ),
    Case(
        says="an answer in HTTP/1.0 reaches the client in HTTP/1.1",
        sends=(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(GET),),
        answers=(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",),
        got=(OK,),
        reused=False,
    ),
    Case(
        says="an answer in HTTP/1.0 that keeps its connection has it used again",
        sends=(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(GET),),
        answers=(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",),
        got=(OK,),
        reused=True,
    ),
)

CONNECTIONS = (
    Case(
        says="Connection: close is heeded and not sent on",
        sends=(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n",),
        arrived=(passed(GET),),
        got=(OK_CLOSE,),
        end=End.CLOSED,
    ),
    Case(
        says="Connection: CLOSE is the same in capitals",
        sends=(b"GET / HTTP/1.1\r\nHost: shop.test\r\nCONNECTION: CLOSE\r\n\r\n",),
        arrived=(passed(GET),),
        got=(OK_CLOSE,),
        end=End.CLOSED,
    ),
    Case(
        says="close in a second Connection header is heeded",
        sends=(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: keep-alive\r\nConnection: x, close\r\n\r\n",),
        arrived=(passed(GET),),
        got=(OK_CLOSE,),
        end=End.CLOSED,
    ),
    Case(
        says="what stands behind a request that closes is not answered",
        sends=(
            b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        ),
        arrived=(passed(GET),),
        got=(OK_CLOSE,),
        end=End.CLOSED,
    ),
    Case(
        says="a stack that closes after its answer costs the client nothing",
        sends=(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n",),
        arrived=(passed(GET),),
        answers=(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",),
        got=(OK,),
        reused=False,
    ),
    Case(
        says="pipelined requests are answered in their order",
        sends=(b"".join(b"GET /%d HTTP/1.1\r\nHost: shop.test\r\n\r\n" % each for each in range(3)),),
        arrived=(b"".join(passed(b"GET /%d HTTP/1.1" % each) for each in range(3)),),
        answers=tuple(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % each for each in range(3)),
        got=tuple(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % each for each in range(3)),
    ),
    Case(
        says="pipelined bodies stay with their requests",
        sends=(
            b"POST /a HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 3\r\n\r\nabc"
            b"POST /b HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
            b"GET /c HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        ),
        arrived=(
            passed(b"POST /a HTTP/1.1", b"Content-Length: 3", body=b"abc")
            + passed(b"POST /b HTTP/1.1", b"Transfer-Encoding: chunked", body=b"2\r\nde\r\n0\r\n\r\n")
            + passed(b"GET /c HTTP/1.1"),
        ),
        answers=(OK, OK, OK),
        got=(OK, OK, OK),
    ),
    Case(
        says="a refused request waits for the answers of those before it",
        sends=(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\nGET / HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\nHost: c\r\n\r\n",),
        arrived=(passed(GET),),
        got=(OK, Problem(400)),
        end=End.CLOSED,
    ),
    Case(
        says="a client that has sent all it will still gets its answer",
        sends=(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n", Step.FIN),
        arrived=(passed(GET),),
        got=(OK,),
        end=End.CLOSED,
    ),
    Case(
        says="a client that has sent several and ends gets all answers",
        sends=(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n" * 2, Step.FIN),
        arrived=(passed(GET) * 2,),
        answers=(OK, OK),
        got=(OK, OK),
        end=End.CLOSED,
    ),
    Case(
        says="a client that ends within a head gets nothing, and nothing arrives",
        sends=(b"GET / HTTP/1.1\r\nHost: sh", Step.FIN),
        got=(),
        end=End.CLOSED,
    ),
    Case(
        says="a client that connects and ends at once gets nothing",
        sends=(Step.FIN,),
        got=(),
        end=End.CLOSED,
    ),
)

MESSAGES = (*TARGETS, *METHODS, *FORMS, *VERSIONS, *CONNECTIONS)
