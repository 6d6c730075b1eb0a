"""How each container runs, as the engine says and as it looks from inside."""

from __future__ import annotations

from typing import Final

import pytest

from compose import stack
from tests.compose.running import COMPOSE, Running

SERVICES: Final = stack.services_of([COMPOSE])
LONG: Final = sorted(name for name, each in SERVICES.items() if not stack.runs_once(each))
OURS: Final = [name for name in LONG if "strangler" in SERVICES[name]["image"]]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_nobody_is_root_or_may_become_it(running: Running, service: str) -> None:
    found = running.inspect(service)
    assert found["Config"]["User"].split(":")[0] not in ("", "0", "root")
    assert any("no-new-privileges" in each for each in found["HostConfig"]["SecurityOpt"])
    assert not found["HostConfig"]["Privileged"]
    assert not found["HostConfig"]["CapAdd"]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_the_root_is_read_only_and_memory_and_processes_are_bounded(running: Running, service: str) -> None:
    host = running.inspect(service)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert 0 < host["Memory"] <= 512 * 1024 * 1024
    assert 0 < host["PidsLimit"] <= 100


@pytest.mark.parametrize("service", LONG)
def test_the_kernel_grants_no_capability(running: Running, service: str) -> None:
    status = running.run(service, "cat", "/proc/1/status")
    said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {said[f"Cap{kind}"] for kind in ("Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert said["NoNewPrivs"] == "1"
    assert "0" not in said["Uid"].split("\t")


@pytest.mark.parametrize("service", LONG)
def test_nothing_can_be_written_beside_what_is_named(running: Running, service: str) -> None:
    for place in ("/here", "/usr/local/bin/here", "/etc/here"):
        done = running.engine.run(service, "sh", "-c", f"touch {place}", check=False)
        assert done.returncode != 0
        assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr


@pytest.mark.parametrize("service", OURS)
def test_nothing_is_there_that_builds_or_fetches(running: Running, service: str) -> None:
    for tool in ("pip", "gcc", "cc", "make", "curl", "wget", "git"):
        assert running.engine.run(service, "sh", "-c", f"command -v {tool}", check=False).returncode != 0, tool


def test_only_the_proxy_is_published_and_only_on_this_machine(running: Running) -> None:
    published = {}
    for service in SERVICES:
        for port, places in (running.inspect(service)["HostConfig"]["PortBindings"] or {}).items():
            for place in places or ():
                published[service, port] = place["HostIp"]
    assert published == {("proxy", "8000/tcp"): "127.0.0.1"}


@pytest.mark.parametrize("service", ["proxy", "monolith", "catalog", "reviews", "jobs", "sync-standby"])
def test_a_container_ends_by_itself_when_it_is_asked(running: Running, service: str) -> None:
    container = running.one(service)
    running.engine.call("stop", "--time", "30", container)
    code = running.inspect(service)["State"]["ExitCode"]
    running.engine.call("start", container)
    running.until_healthy(service)
    assert code in (0, 143), code  # 137 were SIGKILL, after its time was over
