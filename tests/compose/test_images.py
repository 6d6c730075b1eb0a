"""What the images are made of, and how much they add to their base."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Final

import pytest

from compose.stack import Engine
from tests.compose.running import ROOT

BASE: Final = "docker.io/library/python:3.11-slim-bookworm"
PAGE: Final = (ROOT / "docs" / "how-to" / "images.md").read_text(encoding="utf-8")
# Megabytes above the base, as the page says; a tenth more is taken for the same.
SAID: Final = {
    name: int(megabytes)
    for names, megabytes in re.findall(r"^\| ([a-z, ]+) \| (\d+) \|$", PAGE, re.MULTILINE)
    for name in names.split(", ")
}
LARGER: Final = 1.1


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.found("strangler-test")


def image(engine: Engine, name: str) -> dict[str, Any]:
    folder, tag = os.environ.get("STRANGLER_IMAGES", "localhost/strangler"), os.environ.get("STRANGLER_TAG", "dev")
    found: dict[str, Any] = json.loads(engine.call("image", "inspect", f"{folder}/{name}:{tag}").stdout)[0]
    return found


@pytest.mark.parametrize("name", sorted(SAID))
def test_an_image_is_no_larger_than_is_said(engine: Engine, name: str) -> None:
    base = json.loads(engine.call("image", "inspect", BASE).stdout)[0]
    above = (image(engine, name)["Size"] - base["Size"]) / 1e6
    assert above <= SAID[name] * LARGER, f"{above:.0f} MB above the base"


@pytest.mark.parametrize("name", sorted(SAID))
def test_an_image_says_what_it_is_and_how_it_is_asked_for_its_health(engine: Engine, name: str) -> None:
    found = image(engine, name)
    labels = found["Config"]["Labels"]
    for key in ("title", "description", "licenses", "revision", "version"):
        assert labels[f"org.opencontainers.image.{key}"]
    told = {**found, **found["Config"]}  # Docker says it in the one, podman in the other
    assert told["Healthcheck"]["Test"][0] == "CMD"
    assert found["Config"]["User"] == "10001:10001"
    assert found["Config"]["StopSignal"] in ("SIGTERM", "15")


@pytest.mark.parametrize("name", sorted(SAID))
def test_an_image_brings_the_list_of_its_parts(engine: Engine, name: str) -> None:
    said = engine.call(
        "run", "--rm", "--network=none", "--read-only", image(engine, name)["Id"], "cat", "/opt/venv/bom.json"
    )
    bom = json.loads(said.stdout)
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    python = {each["name"]: each["version"] for each in bom["components"] if each["purl"].startswith("pkg:pypi/")}
    assert "pip" not in python
    lists = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    installed = engine.call("run", "--rm", "--network=none", image(engine, name)["Id"], "python", "-c", lists).stdout
    assert dict(each.lower().replace("_", "-").split("==") for each in installed.split()).keys() == python.keys()
    assert any(each["purl"].startswith("pkg:deb/debian/libc6@") for each in bom["components"])
