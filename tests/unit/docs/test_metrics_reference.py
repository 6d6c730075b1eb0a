"""The reference of metrics and the code say the same, and alert rules ask for what there is."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from strangler.routing.decide import Why
from strangler_proxy import breaker, causal, fallback, health, hold, retry, shared_rates
from strangler_proxy.exposition import COUNTERS, LATENCIES, PREFIX, RESTARTS
from strangler_proxy.gauges import GAUGES
from strangler_proxy.telemetry import METHODS

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
CASES = Path(__file__).parent / "alerts_test.yml"
PAGE = (REFERENCE / "metrics.md").read_text()
RULES: list[dict[str, Any]] = yaml.safe_load((REFERENCE / "alerts.yml").read_text())["groups"][0]["rules"]
OF_A_HISTOGRAM = r"_(?:bucket|count|sum)$"
PROMETHEUS_OWN = {"job", "instance", "le"}
FUNCTIONS = {"absent", "histogram_quantile", "increase", "max", "min", "rate", "sum"}
WORDS = {"and", "or", "by", "on", "group_left"}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the tables whose first column has this heading."""
    tables = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for table in tables for line in table.splitlines()]


def quoted(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", text))


def exposed() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return each metric with its type and labels, as the code has them."""
    counters = {f"{each.name}_total": ("counter", each.labels) for each in (*COUNTERS, RESTARTS)}
    gauges = {each.name: ("gauge", each.labels) for each in GAUGES}
    return {**counters, **gauges, LATENCIES.name: ("histogram", LATENCIES.labels)}


def test_every_metric_is_in_the_reference_and_nothing_else() -> None:
    written = {quoted(name)[0]: (kind, quoted(labels)) for name, kind, _, labels, _ in rows("name")}
    assert written == exposed()


def test_every_metric_has_a_unit() -> None:
    assert [name for name, _, unit, _, _ in rows("name") if not unit] == []
    for name, _, unit, _, _ in rows("name"):
        for suffix in ("seconds", "bytes", "ratio"):
            assert (f"_{suffix}`" in name) == (suffix in unit), f"{name} is in {unit}"


def test_every_label_is_explained_and_no_other() -> None:
    explained = {name for cells in rows("label") for name in quoted(cells[0].partition(" of ")[0])}
    assert explained == {label for _, labels in exposed().values() for label in labels}


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("`verdict` of retries", [verdict for verdict in retry.Verdict if verdict.again]),
        ("`verdict` of fallbacks", fallback.Verdict),
        ("`kind`", [*fallback.Failure, "truncated"]),
        ("`outcome` of shared rates", shared_rates.Outcome),
        ("`outcome` of holds", hold.Outcome),
        ("`outcome` of causal reads", causal.Outcome),
        ("`circuit`", breaker.Circuit),
        ("`condition`", health.Condition),
    ],
)
def test_labels_have_the_words_that_the_code_has(label: str, words: Iterable[str]) -> None:
    (values,) = [cells[1] for cells in rows("label") if cells[0] == label]
    assert set(quoted(values)) == set(words)


def test_why_and_methods_are_whole() -> None:
    values = {cells[0]: set(quoted(cells[1])) for cells in rows("label")}
    assert values["`why`"] == {*Why, "refused"}
    assert values["`method`"] == {*METHODS, "other"}


def asked(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric that an expression names, with the labels that it selects by."""
    for name, selector in re.findall(r"\b(strangler_proxy_\w+)(?:\{([^}]*)\})?", expression):
        yield name.removeprefix(PREFIX), set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_rules_ask_for_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    found = exposed()
    expression = rule["expr"]
    names = list(asked(expression))
    assert names
    labels: set[str] = set()
    for name, selected in names:
        base = LATENCIES.name if re.sub(OF_A_HISTOGRAM, "", name) == LATENCIES.name else name
        assert base in found, f"there is no {name}"
        assert selected <= set(found[base][1])
        labels |= set(found[base][1])
    for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        assert set(re.findall(r"\w+", group)) <= labels | PROMETHEUS_OWN
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    assert used <= labels | PROMETHEUS_OWN


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_rules_are_well_formed(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert set(rule["annotations"]) == {"summary", "action"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[\d+[smh]\]', "", rule["expr"])
    assert bare.count("(") == bare.count(")")
    called = set(re.findall(r"(\w+)\s*(?:by\s*\([^)]*\)\s*)?\(", bare)) - WORDS
    assert called <= FUNCTIONS
    for template in re.findall(r"\{\{.*?\}\}", str(rule["annotations"])):
        assert re.fullmatch(r"\{\{ \$(?:value|labels\.\w+)(?: \| humanize\w*)? \}\}", template)


def test_every_counter_is_asked_as_a_rate_and_no_gauge_is() -> None:
    for rule in RULES:
        for name, _ in asked(rule["expr"]):
            gauge = exposed().get(name, ("histogram", ()))[0] == "gauge"
            ranged = re.search(rf"{name}(?:\{{[^}}]*\}})?\[", rule["expr"]) is not None
            assert ranged is not gauge, f"{rule['alert']}: {name}"


def test_alerts_are_named_once() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    assert all(name.startswith("Strangler") for name in names)


def test_each_alarm_has_a_day_on_which_it_speaks_up_and_one_on_which_it_does_not() -> None:
    """Held against Prometheus by the test below: an expression that can never be true is taken by it as any other."""
    spoken: dict[str, set[bool]] = {}
    for day in yaml.safe_load(CASES.read_text())["tests"]:
        for asked in day["alert_rule_test"]:
            spoken.setdefault(asked["alertname"], set()).add(bool(asked["exp_alerts"]))
    groups = yaml.safe_load((REFERENCE / "alerts.yml").read_text())["groups"]
    assert spoken == {rule["alert"]: {True, False} for group in groups for rule in group["rules"]}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus's promtool (2.42 will do) is not installed")
@pytest.mark.parametrize("command", [("check", "rules", REFERENCE / "alerts.yml"), ("test", "rules", CASES)])
def test_prometheus_takes_the_rules_and_they_speak_up(command: tuple[str | Path, ...]) -> None:
    found = subprocess.run(["promtool", *command], capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
