"""The demo as a person has it: one command, then curl, toggles, accidents and Ctrl-C."""

from __future__ import annotations

import json
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.family import MONOLITH, POSTGRES, SYNC, Demo, copied, free_base, gone
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow

TOGGLES = 9  # steps of the tour before the owner of another capability moves
WHOLE_WAY = [
    "syncing",
    "verify",
    "25 %",
    "who writes",
    "dry run",
    "cutover",
    "written there",
    "rollback",
    "written here",
    "cutover again",
    "both sides",
    "all kept",
]
# What makes a first start long. How long a start takes says more of what runs beside it: ten seconds, or twenty.
ONCE = ("monolith: rows", "streams begun", "rows copied to its service", "both sides compared")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One family for all tests here: it is the dearest thing that they start."""
    with Demo(copied(tmp_path_factory.mktemp("demo")), free_base()) as running:
        yield running


def test_answers_pages_and_api_through_the_proxy(demo: Demo) -> None:
    page = demo.get("/en/")
    product = demo.get("/api/catalog/products/1/")
    assert (page.status_code, product.status_code, product.json()["id"]) == (200, 200, 1)
    assert "text/html" in page.headers["content-type"]


def test_says_what_was_done_what_runs_where_and_what_to_try(demo: Demo) -> None:
    said = demo.text()
    assert [step for step in ONCE if step not in said] == []
    for name in ("PostgreSQL", "Valkey", "monolith", "catalog", "proxy"):
        assert name in said
    assert f"http://127.0.0.1:{demo.base}" in said
    assert "set catalog --reads 25%" in said
    assert "Ctrl-C" in said


def test_another_terminal_needs_no_exports(demo: Demo) -> None:
    done = demo.run("check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_copy_is_streamed_and_every_worker_routes_by_it(demo: Demo) -> None:
    status = demo.status()
    assert status["capabilities"]["catalog"]["data"] == "streamed"
    assert [worker["live"] for worker in status["workers"]] == [True, True]


def test_prometheus_is_told_that_the_streams_follow(demo: Demo) -> None:
    def told() -> dict[str, str]:
        lines = httpx.get(f"http://127.0.0.1:{demo.base + SYNC}/metrics").text.splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if line.startswith("strangler_sync_follows"))

    until(lambda: list(told().values()) == ["1.0"] * 4, "all four follow")


def test_a_toggle_moves_readers_at_once_and_a_kill_brings_them_back(demo: Demo) -> None:
    def answered_by() -> str:
        """Return whose access log grew."""
        before = {stack: demo.requests(stack) for stack in ("monolith", "catalog")}
        assert demo.get("/api/catalog/categories/").status_code == 200
        until(lambda: any(demo.requests(stack) > count for stack, count in before.items()), "it is logged")
        return next(stack for stack, count in before.items() if demo.requests(stack) > count)

    assert answered_by() == "monolith"
    said = demo.run("set", "catalog", "--reads", "100%", "--reason", "test")
    assert "2 workers route by it" in said.stdout, said.stderr
    assert answered_by() == "catalog"
    assert demo.run("kill", "catalog", "--reason", "test").returncode == 0
    assert answered_by() == "monolith"
    assert demo.run("kill", "catalog", "--clear", "--reason", "test").returncode == 0


def test_secrets_are_readable_by_their_owner_only(demo: Demo) -> None:
    local = demo.folder / ".local"
    files = [local / "demo.env", *(local / "secrets").iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    secrets = [
        line.partition("=")[2] for line in (local / "demo.env").read_text().splitlines() if not line[-4:].isdigit()
    ]
    assert not [secret for secret in secrets if secret in demo.text()]


@pytest.mark.parametrize(
    "words",
    [
        ("gunicorn",),
        ("catalog_service",),
        ("strangler_proxy.worker",),
        ("-m strangler --project", " proxy"),
        ("sync run",),
        ("celery",),
    ],
)
def test_what_is_killed_comes_back(demo: Demo, words: tuple[str, ...]) -> None:
    victim = demo.member(*words)
    victim.kill()
    until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, "it is dead")
    until(lambda: any(each.pid != victim.pid for each in _members(demo, words)), "another one runs", 20)
    until(lambda: _answers(demo, "/api/catalog/products/1/"), "all is well again", 20)


@pytest.mark.parametrize("words", [("valkey-server",), ("postgres", "-D")])
def test_an_engine_that_is_killed_comes_back_with_its_data(demo: Demo, words: tuple[str, ...]) -> None:
    demo.member(*words).kill()
    until(lambda: _answers(demo, "/api/catalog/products/1/") and _toggles(demo), "all is well again", 30)


def test_a_taken_port_is_named_before_anything_is_started(demo: Demo, tmp_path: Path) -> None:
    base = free_base()
    with socket.create_server(("127.0.0.1", base + MONOLITH)):
        other = Demo(copied(tmp_path), base)
        done = other.run("demo", "--port-base", str(base))
    assert done.returncode == 1
    assert str(base + MONOLITH) in done.stderr
    assert "monolith" in done.stderr
    assert "--port-base" in done.stderr
    assert not (tmp_path / ".local" / "postgres").exists()


def test_a_second_demo_in_the_same_folder_is_refused(demo: Demo) -> None:
    done = demo.run("demo", "--port-base", str(free_base()))
    assert done.returncode == 1
    assert str(demo.process and demo.process.pid) in done.stderr
    assert _answers(demo, "/en/")


def test_ctrl_c_stops_the_family_and_the_second_start_makes_nothing_anew(demo: Demo) -> None:
    # What was killed before is back, and the stream that readers rely on follows again within moments.
    until(lambda: demo.run("set", "catalog", "--reads", "40%", "--reason", "test").returncode == 0, "it is set", 30)
    family = demo.family()
    assert len(family) > 10
    assert demo.stop() == 0
    assert not gone(family)
    assert "everything that was started has stopped" in demo.text()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", demo.base + POSTGRES))
    demo.start()
    assert "monolith answers" in demo.text()
    assert [step for step in ONCE if step in demo.text()] == []
    assert demo.status()["capabilities"]["catalog"]["share"] == 4_000


def test_the_children_die_with_it(demo: Demo) -> None:
    family = demo.family()
    demo.kill()
    assert not gone(family)


def test_it_is_stopped_while_it_starts(demo: Demo) -> None:
    demo.begin()
    until(lambda: "routing table in force" in demo.text() or demo.ended(), "it is in the middle of its start", 60)
    assert not demo.ended(), demo.text()
    family = demo.family()
    assert demo.stop(signal.SIGTERM) == 0
    assert not gone(family)


def test_a_small_tour_holds(demo: Demo) -> None:
    demo.stop()
    report = demo.folder / "report.json"
    words = ("demo", "--port-base", str(demo.base), "--tour", "--exit", "--visitors", "300", "--report", str(report))
    done = demo.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert told["failures"] == 0
    assert told["requests"] == sum(step["requests"] for step in told["steps"])
    toggled, moved = told["steps"][:TOGGLES], told["steps"][TOGGLES:]
    asked = {step["name"]: step["asked_share"] for step in toggled}
    assert list(asked) == ["0 %", "syncing", "10 %", "cohort", "50 %", "100 %", "killed", "cleared", "verify"]
    assert [asked[name] for name in ("0 %", "10 %", "50 %", "100 %", "killed", "cleared")] == [0, 0.1, 0.5, 1, 0, 0]
    assert [step["name"] for step in moved] == WHOLE_WAY
    for step in told["steps"]:
        assert step["failures"] == 0
        assert step["visitors"] >= 30
        # A hundred visitors at 25 % are off by 12 points once in two hundred times: 3.5 deviations are 15 of them.
        assert abs(step["observed_share"] - step["asked_share"]) <= step["tolerance"] < 0.16
        assert 0 < step["p50_ms"] <= step["p99_ms"]
        if "found" in step:
            assert step["found"]["holds"], step
        else:
            assert 0 < step["ack_ms"] < 1_000
    found = {step["name"]: step["found"] for step in moved if "found" in step}
    assert all(found[name]["rows"] > 1_000 and found[name]["equal"] for name in ("syncing", "verify", "both sides"))
    owners = [found[name]["owner"] for name in ("cutover", "rollback", "cutover again")]
    assert owners == ["service", "monolith", "service"]
    assert all(0 < found[name]["pause_ms"] < 10_000 for name in ("cutover", "rollback", "cutover again"))
    kept = found["all kept"]
    assert kept["acknowledged_writes"] > 20
    assert not any(kept[name] for name in ("lost", "doubled", "failed", "wrong_ratings"))


def _members(demo: Demo, words: tuple[str, ...]) -> list[psutil.Process]:
    found = []
    for each in demo.family():
        with suppress(psutil.Error):
            if all(word in " ".join(each.cmdline()) for word in words) and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


def _answers(demo: Demo, path: str) -> bool:
    with suppress(httpx.HTTPError):
        return demo.get(path).status_code == 200
    return False


def _toggles(demo: Demo) -> bool:
    done = demo.run("set", "catalog", "--reads", "0%", "--reason", "test")
    return done.returncode == 0 and "Valkey does not answer" not in done.stdout
