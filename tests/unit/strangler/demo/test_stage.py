"""What is started here, and what exists already."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from strangler.demo.folder import Folder
from strangler.demo.script import Database, Role, Setting
from strangler.demo.stage import Stage
from strangler.local import PortTaken
from strangler.project import ProjectInvalid

PORTS = {"PROXY_PORT": 0, "ADMIN_PORT": 900, "POSTGRES_PORT": 432, "VALKEY_PORT": 379}
SHOP = Database(
    name="shop", owner="shop", variable="SHOP_URL", roles=(Role(name="r", variable="READER_URL", may="read"),)
)


def stage(folder: Path, base: int = 20_000, **outside: str) -> Stage:
    setting = Setting(ports=PORTS, secrets=(), redis="REDIS_URL", databases=(SHOP,))
    return Stage(folder=Folder(folder), setting=setting, port_base=base, outside=outside)


def test_a_family_has_its_ports_from_one_base(tmp_path: Path) -> None:
    assert stage(tmp_path).ports == {
        "PROXY_PORT": 20_000,
        "ADMIN_PORT": 20_900,
        "POSTGRES_PORT": 20_432,
        "VALKEY_PORT": 20_379,
    }


def test_servers_that_exist_are_not_started(tmp_path: Path) -> None:
    one = stage(tmp_path, SHOP_URL="postgresql://a", READER_URL="postgresql://b", REDIS_URL="redis://c")
    assert (one.own_databases, one.own_valkey) == ([], False)
    assert list(one.ports) == ["PROXY_PORT", "ADMIN_PORT"]


def test_a_url_in_a_file_counts_too(tmp_path: Path) -> None:
    assert not stage(tmp_path, REDIS_URL_FILE="/run/secrets/redis").own_valkey


def test_half_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectInvalid, match="READER_URL in the environment without SHOP_URL"):
        _ = stage(tmp_path, READER_URL="postgresql://b").ports


def test_a_taken_port_is_named_with_who_wanted_it_and_a_family_that_is_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        base = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {base} \(proxy\).*--port-base \d+000"):
            stage(tmp_path, base=base).refuse_taken()
