"""One line of JSON a request, with what an operator asks first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.fixtures.proxy import SETTINGS, proxied


def test_each_request_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with proxied(settings=replace(SETTINGS, access_log=str(path))) as (proxy, origin), proxy.client() as client:
        client.get('/a?q="x"')
        client.post("/b", b"body")
        sent = origin.heads[0].decode()
        url = origin.url
    first, second = map(json.loads, path.read_text().splitlines())
    assert f"X-Request-ID: {first['request_id']}\r\n" in sent
    assert f"traceparent: 00-{first['trace_id']}-" in sent
    assert first.pop("ms") >= 0
    assert first.pop("bytes") > len("monolith")
    del first["request_id"], first["trace_id"]
    assert first == {
        "method": "GET",
        "path": '/a?q="x"',
        "status": 200,
        "stack": "monolith",
        "capability": None,
        "why": "unrouted",
        "upstream": url,
    }
    assert (second["method"], second["path"], second["status"]) == ("POST", "/b", 200)


def test_a_log_that_cannot_be_written_costs_no_request() -> None:
    with proxied(settings=replace(SETTINGS, access_log="/dev/full")) as (proxy, _), proxy.client() as client:
        assert client.get("/").status == 200
        log = proxy.board.log
        assert log is not None
        proxy.call(log.flush)
        assert client.get("/").status == 200
