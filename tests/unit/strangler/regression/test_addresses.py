from __future__ import annotations

from pathlib import Path

import pytest

from strangler.project import ProjectInvalid
from strangler.regression import StackAddresses
from strangler.regression.addresses import Unknown

PROJECT = """
[monolith]
endpoints = ["http://10.0.0.1:8001"]
[control]
[proxy]
listen = ["{listen}"]
[service.one]
endpoints = ["http://10.0.0.2:81", "http://10.0.0.3:81"]
"""


def project(folder: Path, *capabilities: str, listen: str = "0.0.0.0:8000") -> Path:
    file = folder / "strangler.toml"
    file.write_text(PROJECT.format(listen=listen))
    for name in capabilities:
        (folder / "migrations" / name).mkdir(parents=True)
        (folder / "migrations" / name / "capability.toml").write_text(f'service = "one"\n[[route]]\npath = "/{name}"\n')
    return file


@pytest.mark.parametrize(
    ("listen", "asked"),
    [("0.0.0.0:8000", "127.0.0.1:8000"), ("[::]:8000", "[::1]:8000"), ("10.0.0.9:80", "10.0.0.9:80")],
)
def test_a_project_tells_where_its_stacks_answer(tmp_path: Path, listen: str, asked: str) -> None:
    found = StackAddresses.of_project(project(tmp_path, "orders", listen=listen))
    assert found == StackAddresses(
        monolith="http://10.0.0.1:8001", services={"orders": "http://10.0.0.2:81"}, proxy=f"http://{asked}"
    )
    assert found.public_name == asked


def test_a_project_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProjectInvalid, match="no such file"):
        StackAddresses.of_project(tmp_path / "strangler.toml")


def test_the_only_service_needs_no_name() -> None:
    assert StackAddresses(monolith="http://m", services={"a": "http://a"}).of("service") == "http://a"


def test_one_of_several_services_is_named_by_its_capability() -> None:
    addresses = StackAddresses(monolith="http://m", services={"a": "http://a", "b": "http://b"})
    assert addresses.of("service", "b") == "http://b"
    with pytest.raises(Unknown, match=r'mark the test with capability\("NAME"\); known are a, b'):
        addresses.of("service")
    with pytest.raises(Unknown, match="no service of a capability 'c' is known; known are a, b"):
        addresses.of("service", "c")


def test_without_a_proxy_there_is_none() -> None:
    addresses = StackAddresses(monolith="http://m:1", asked_as="shop.test")
    assert addresses.public_name == "shop.test"
    with pytest.raises(Unknown, match="no address of a proxy"):
        addresses.of("proxy")
