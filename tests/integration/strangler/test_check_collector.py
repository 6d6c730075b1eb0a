"""The collector of spans is asked whether it takes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from strangler.check import Finding, check
from strangler.project import load
from tests.fixtures.collector import Collector
from tests.fixtures.ports import free_port
from tests.fixtures.project_files import ENV, STRANGLER, write


def found(folder: Path, endpoint: str) -> Finding:
    top = f'{STRANGLER}[proxy.tracing]\nendpoint = "{endpoint}"\nsample = 0.0025\n'
    findings = check(load(write(folder, {"strangler.toml": top}), ENV))
    (finding,) = (each for each in findings if each.subject == "collector of spans")
    return finding


def test_a_collector_that_takes_spans_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=the%20shop, x-key=1=2")
    with Collector() as collector:
        assert found(tmp_path, collector.endpoint) == Finding(
            subject="collector of spans", detail="takes spans of 0.25% of the requests"
        )
        assert (len(collector.requests), collector.spans) == (1, [])
        (headers,) = collector.headers
        assert (headers["x-tenant"], headers["x-key"]) == ("the shop", "1=2")


def test_a_collector_that_does_not(tmp_path: Path) -> None:
    with Collector() as collector:
        for status, what in (
            (401, "put what proves who sends into OTEL_EXPORTER_OTLP_HEADERS"),
            (404, "name where a collector takes OTLP over HTTP"),
        ):
            collector.status = status
            assert found(tmp_path, collector.endpoint).wrong == f"{collector.endpoint} answers {status}; {what}"


def test_nobody_there(tmp_path: Path) -> None:
    wrong = found(tmp_path, f"http://127.0.0.1:{free_port()}").wrong
    assert wrong is not None
    assert wrong.endswith("start it, or mend [proxy.tracing] in strangler.toml")
