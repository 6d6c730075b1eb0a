"""One line of JSON a request, with what an operator asks first."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from strangler_proxy.access_log import AccessLog
from tests.fixtures.proxy import SETTINGS, proxied
from tests.fixtures.waiting import until


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


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A pipe that somebody has open and does not read."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reader
    os.close(reader)


def test_a_pipe_that_nobody_reads_stops_nobody_and_its_lines_stay_whole(unread: tuple[Path, int]) -> None:
    path, reader = unread
    log = AccessLog(str(path))
    for number in range(30_000):
        log.line(number=number, text="x" * 100)
    log.flush()
    assert log.dropped > 10_000
    data = b""

    def read() -> bool:
        nonlocal data
        with suppress(BlockingIOError):
            data += os.read(reader, 1 << 20)
        return data.count(b"\n") == 30_000 - log.dropped

    until(read, "what was not dropped is written")
    numbers = [json.loads(line)["number"] for line in data.splitlines()]
    assert numbers == sorted(set(numbers))
    log.close()


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path))
    log.line(number=1)
    log.flush()
    until(lambda: path.read_text() != "", "the line is written")
    path.rename(tmp_path / "access.log.1")
    log.reopen()
    until(path.exists, "there is another file")
    log.line(number=2)
    log.close()
    assert ((tmp_path / "access.log.1").read_text(), path.read_text()) == ('{"number":1}\n', '{"number":2}\n')


def test_a_log_that_cannot_be_written_costs_no_request() -> None:
    with proxied(settings=replace(SETTINGS, access_log="/dev/full")) as (proxy, _), proxy.client() as client:
        assert client.get("/").status == 200
        log = proxy.board.log
        assert log is not None
        proxy.call(log.flush)
        until(lambda: log.dropped == 1, "the line is given up")
        assert client.get("/").status == 200
