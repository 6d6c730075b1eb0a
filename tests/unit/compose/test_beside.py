"""The files beside compose.yaml: what observes it, and what a production would run. No test runs their images."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from compose import stack
from strangler.project import load

ROOT: Final = Path(__file__).parents[3]
COMPOSE: Final = ROOT / "compose"
SERVICES: Final = stack.services_of([COMPOSE / "compose.yaml"])
BESIDE: Final = {
    name: yaml.safe_load((COMPOSE / name).read_text(encoding="utf-8"))
    for name in ("observability.yaml", "production.example.yaml")
}
ALL: Final = [(file, name) for file, whole in BESIDE.items() for name in whole["services"]]


def observing(name: str) -> Any:
    return yaml.safe_load((COMPOSE / "observability" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "name"), ALL)
def test_a_service_is_hardened_and_bounded(file: str, name: str) -> None:
    service = BESIDE[file]["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]


@pytest.mark.parametrize("file", sorted(BESIDE))
def test_whatever_a_service_names_is_there(file: str) -> None:
    whole = BESIDE[file]
    core = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
    beside = core if file == "observability.yaml" else {}
    for service in whole["services"].values():
        assert set(service.get("networks", ())) <= {*whole["networks"], *beside.get("networks", {})}
        assert set(service.get("secrets", ())) <= set(whole["secrets"])
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (COMPOSE / source).exists(), source


def test_prometheus_asks_services_that_there_are() -> None:
    asked = {
        name
        for job in observing("prometheus.yml")["scrape_configs"]
        for found in job["dns_sd_configs"]
        for name in found["names"]
    }
    assert asked == {"proxy", "sync", "sync-standby", "catalog", "reviews", "wishlist", "recommendations"}
    networks = set(BESIDE["observability.yaml"]["services"]["prometheus"]["networks"])
    assert all(networks & set(SERVICES[name]["networks"]) for name in asked)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_takes_its_file(tmp_path: Path) -> None:
    said = (COMPOSE / "observability" / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "alerts.yml").write_bytes((ROOT / "docs" / "reference" / "alerts.yml").read_bytes())
    (tmp_path / "prometheus.yml").write_text(said.replace("/etc/prometheus/", ""), encoding="utf-8")
    asked = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


BOARD: Final = json.loads((COMPOSE / "observability" / "dashboard.json").read_text(encoding="utf-8"))
ASKED: Final = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
# Prometheus's own, of the rules that it is given.
OWN: Final = {"ALERTS"}


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    proxys, _, syncs = page.partition("`strangler_sync_")
    rows = {
        f"strangler_{of}_{name}": kind
        for of, part in (("proxy", proxys), ("sync", syncs))
        for name, kind in re.findall(r"^\| `(\w+)` \| ([^|]+) \|", part, re.MULTILINE)
    }
    # What stands neither within braces nor before a parenthesis, behind "by", or in quotes.
    bare = [re.sub(r"\bby \([^)]*\)|\{[^}]*\}|\[[^]]*\]", "", expr) for expr in ASKED]
    names = {name for expr in bare for name in re.findall(r"\b([A-Za-z_]\w+)\b(?!\s*\()", expr)} - {"sum", "max"}
    of_histograms = {f"{name}_bucket" for name, kind in rows.items() if kind == "histogram"}
    assert names <= {*rows, *of_histograms, *OWN}
    assert len(names) == len(ASKED) - 1  # two panels show requests


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """By its JSON model: https://grafana.com/docs/grafana/latest/visualizations/dashboards/build-dashboards/view-dashboard-json-model/"""
    assert {"uid", "title", "schemaVersion", "panels", "time", "templating"} <= BOARD.keys()
    sources = {each["uid"]: each["type"] for each in observing("datasources.yml")["datasources"]}
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        assert {"type", "title", "fieldConfig", "options"} <= panel.keys()
        assert sources[panel["datasource"]["uid"]] == panel["datasource"]["type"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references) > 0
        place = panel["gridPos"]
        cells = {(place["x"] + across, place["y"] + down) for across in range(place["w"]) for down in range(place["h"])}
        assert max(across for across, _ in cells) < 24  # as many as a row of the grid has
        assert not taken & cells, f"{panel['title']} lies over another panel"
        taken |= cells
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = {name for by in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for name in by.split(", ")}
            assert shown <= kept, f"{panel['title']} names lines by a label that its query does not keep"


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_can_read_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [{"record": f"panel_{number}", "expr": expr} for number, expr in enumerate(ASKED)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    asked = ["promtool", "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ASKED)} rules found" in done.stdout + done.stderr


def test_the_projects_file_of_production_is_one(tmp_path: Path) -> None:
    (tmp_path / "migrations").symlink_to(ROOT / "migrations")
    (tmp_path / "strangler.toml").write_bytes((COMPOSE / "production" / "strangler.toml").read_bytes())
    project = load(tmp_path / "strangler.toml", {})
    edge = BESIDE["production.example.yaml"]["networks"]["edge"]["ipam"]["config"][0]["subnet"]
    assert [str(each) for each in project.proxy.trusted] == [edge]
