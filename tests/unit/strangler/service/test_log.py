import io
import json
import logging

import pytest

from strangler.service.log import JsonFormatter, RequestLog, blot
from strangler.service.trace import CURRENT, read


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("connect postgresql://shop:hunter2@db/shop", "connect postgresql://shop:***@db/shop"),
        ("password=hunter2 host=db", "password=*** host=db"),
        ("Authorization: Bearer abc.def rest", "Authorization: Bearer *** rest"),
        ('{"token": "abc"}', '{"token": "***"}'),
        ("the tokens were counted", "the tokens were counted"),
    ],
)
def test_secrets_are_blotted_out(text: str, safe: str) -> None:
    assert blot(text) == safe


def formatted(record: logging.LogRecord) -> dict[str, object]:
    line: dict[str, object] = json.loads(JsonFormatter(service="catalog").format(record))
    return line


def test_a_record_is_one_line_of_json_with_the_trace_of_its_request() -> None:
    trace = read([(b"x-request-id", b"r-1")])
    token = CURRENT.set(trace)
    try:
        line = formatted(logging.makeLogRecord({"msg": "two\nlines", "levelname": "INFO", "name": "shop", "rows": 3}))
    finally:
        CURRENT.reset(token)
    assert line.pop("at")
    assert line == {
        "level": "info",
        "service": "catalog",
        "logger": "shop",
        "message": "two\nlines",
        "trace_id": trace.trace_id,
        "span_id": trace.span_id,
        "request_id": "r-1",
        "rows": 3,
    }


def test_extra_keys_that_name_secrets_are_blotted_out() -> None:
    line = formatted(logging.makeLogRecord({"msg": "x", "api_key": "abc", "url": "redis://:pw@h"}))
    assert (line["api_key"], line["url"]) == ("***", "redis://:***@h")


def test_a_request_line_is_complete_and_cannot_be_split() -> None:
    stream = io.StringIO()
    trace = read([])
    RequestLog(stream, service="catalog").write(
        method="GET", route="/{id}", path="/a\nb\u2028c", status=200, seconds=0.0012, trace=trace
    )
    [text] = stream.getvalue().splitlines()
    line = json.loads(text)
    assert line.pop("at").endswith("Z")
    assert line == {
        "service": "catalog",
        "event": "request",
        "method": "GET",
        "route": "/{id}",
        "path": "/a\nb\u2028c",
        "status": 200,
        "ms": 1.2,
        "trace_id": trace.trace_id,
        "span_id": trace.span_id,
        "request_id": trace.request_id,
    }
