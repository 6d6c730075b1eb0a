"""The containers' files, read without an engine: what holds for each service, and that nothing was written twice
differently."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from compose import stack
from strangler.project import load

ROOT: Final = Path(__file__).parents[3]
COMPOSE: Final = ROOT / "compose" / "compose.yaml"
WHOLE: Final[dict[str, Any]] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
SERVICES: Final = stack.services_of([COMPOSE])
LOCKS: Final = sorted((ROOT / "compose" / "locks").glob("*.lock"))
PINNED: Final = re.compile(r"^(\S+==[^\s;\\]+)", re.MULTILINE)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_hardened_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert "healthcheck" in service or "strangler" in service["image"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_for_what_is_there_and_for_its_health(name: str) -> None:
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        once = stack.runs_once(SERVICES[other])
        assert condition == {"condition": "service_completed_successfully" if once else "service_healthy"}


def test_services_start_in_steps_each_after_what_it_waits_for() -> None:
    started: set[str] = set()
    for step in stack.steps(SERVICES):
        assert all(started >= set(SERVICES[name].get("depends_on", ())) for name in step)
        started.update(step)
    assert started == set(SERVICES)


def test_services_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(stack.StackFailed, match="wait for each other: a, b"):
        list(stack.steps({"a": {"depends_on": ["b"]}, "b": {"depends_on": ["a"]}}))


def test_every_network_but_the_way_in_is_internal_and_the_proxy_alone_is_in_that() -> None:
    assert [name for name, each in WHOLE["networks"].items() if not each.get("internal")] == ["edge"]
    assert [name for name, each in SERVICES.items() if "edge" in each["networks"]] == ["proxy"]
    assert [name for name, each in SERVICES.items() if "ports" in each] == ["proxy"]
    assert SERVICES["proxy"]["ports"][0].startswith("127.0.0.1:")


@pytest.mark.parametrize(
    "name", ["catalog", "reviews", "reviews-worker", "reviews-beat", "wishlist", "recommendations"]
)
def test_a_service_shares_no_network_with_the_monoliths_database(name: str) -> None:
    assert not set(SERVICES[name]["networks"]) & set(SERVICES["shop-database"]["networks"])


def test_every_secret_is_made_given_and_named() -> None:
    named = set(WHOLE["secrets"])
    given = {secret for each in SERVICES.values() for secret in each.get("secrets", ())}
    assert given == named


def test_the_files_of_secrets_are_made_once_and_belong_together(tmp_path: Path) -> None:
    stack.make_secrets(tmp_path / "secrets")
    made = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "secrets").iterdir()}
    stack.make_secrets(tmp_path / "secrets")
    assert made == {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "secrets").iterdir()}
    assert set(made) >= set(WHOLE["secrets"])
    assert set(made) - set(WHOLE["secrets"]) <= {"service_secret", "reviews_broker_password"}
    assert made["shop_database_url"] == f"postgresql://shop:{made['shop_password']}@shop-database:5432/shop"
    assert made["callers"] == f"monolith={made['service_secret']}"
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_secret_that_is_read_is_given_and_the_other_way_round(name: str) -> None:
    read = {
        value.removeprefix("/run/secrets/")
        for key, value in SERVICES[name].get("environment", {}).items()
        if key.endswith("_FILE")
    }
    given = set(SERVICES[name].get("secrets", ()))
    # Those of engines are read by their own files: SQL, and a configuration.
    assert read == given if "strangler" in SERVICES[name]["image"] else read <= given


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_an_images_lock_file_is_a_part_of_the_one_that_tests_run_on(lock: Path) -> None:
    whole = set(PINNED.findall((ROOT / "requirements.lock").read_text(encoding="utf-8")))
    part = PINNED.findall(lock.read_text(encoding="utf-8"))
    assert part
    assert set(part) <= whole


def test_the_project_in_containers_moves_the_same_capabilities(tmp_path: Path) -> None:
    here = load(ROOT / "strangler.toml", {})
    (tmp_path / "migrations").symlink_to(ROOT / "migrations")
    (tmp_path / "strangler.toml").write_bytes((ROOT / "compose" / "strangler.toml").read_bytes())
    there = load(tmp_path / "strangler.toml", {})
    assert there.capabilities.keys() == here.capabilities.keys()
    assert {each.service for each in there.capabilities.values()} == set(there.services) == set(here.services)
    assert {f"http://{name}:8000" for name in there.services} == {each.endpoints[0] for each in there.services.values()}
    assert set(there.services) <= set(SERVICES)


def test_the_page_shows_the_pipeline_as_it_is() -> None:
    page = (ROOT / "docs" / "how-to" / "images.md").read_text(encoding="utf-8")
    assert (ROOT / "compose" / "ci.example.yml").read_text(encoding="utf-8") in page


def test_every_target_is_built_and_says_how_it_is_asked_for_its_health() -> None:
    stages = (ROOT / "compose" / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")
    targets = {stage.split("\n")[0].split(" AS ")[1]: stage for stage in stages if stage.startswith("base AS ")}
    built = re.search(r"^IMAGES := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert built is not None
    assert sorted(targets) == sorted(built[1].split())
    assert all("HEALTHCHECK" in each and "image.title" in each for each in targets.values())


def test_the_page_says_of_every_image_how_large_it_is() -> None:
    page = (ROOT / "docs" / "how-to" / "images.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z, ]+) \| \d+ \|$", page, re.MULTILINE)
    built = re.search(r"^IMAGES := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert built is not None
    assert sorted(name for row in rows for name in row.split(", ")) == sorted(built[1].split())


def test_an_image_wants_no_group_that_is_not_there() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    assert {"image-build", "image-monolith", "image-service", "compose"} <= groups.keys()
