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


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    board = json.loads((COMPOSE / "observability" / "dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    names = {name for expr in asked for name in re.findall(r"strangler_(?:proxy|sync)_(\w+)", expr)}
    assert names
    for name in names:
        assert f"`{name.removesuffix('_bucket')}" in page or f"_{name.removesuffix('_bucket')}" in page, name
    sources = {each["uid"] for each in observing("datasources.yml")["datasources"]}
    assert {panel["datasource"]["uid"] for panel in board["panels"]} <= sources


def test_the_projects_file_of_production_is_one(tmp_path: Path) -> None:
    (tmp_path / "migrations").symlink_to(ROOT / "migrations")
    (tmp_path / "strangler.toml").write_bytes((COMPOSE / "production" / "strangler.toml").read_bytes())
    project = load(tmp_path / "strangler.toml", {})
    edge = BESIDE["production.example.yaml"]["networks"]["edge"]["ipam"]["config"][0]["subnet"]
    assert [str(each) for each in project.proxy.trusted] == [edge]
