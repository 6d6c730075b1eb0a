"""A service in another language passes, and each of its variants that breaks one rule is found by that rule alone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from strangler.conforming import Bounds, Finding, Subject, Verdict, examine
from strangler.routing.table import Route
from tests.fixtures.command import Run
from tests.fixtures.ports import free_port
from tests.fixtures.project_files import STRANGLER, write
from tests.fixtures.waiting import until

STUB: Final = Path(__file__).parent / "stub" / "service.mjs"
NODE: Final = shutil.which("node")
SEED: Final = bytes(range(32))
ROUTES: Final = (Route(path="/greetings"), Route(path="/farewells"))
LIMITS: Final = Bounds(live=2, ready=2, answer=5, slow=1.2, start=10, grace=3)

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="there is no node: apt-get install nodejs"),
    pytest.mark.slow,  # all of its variants together, on a busy machine
]

# What is broken, and the rules that find it. Those of the second table show only where the check starts the service.
BROKEN: Final = {
    "live that takes its time": {"probes.live", "limits.slow"},
    "ready at any address": {"probes.honest"},
    "ready in spite of its own words": {"probes.honest"},
    "ready without anything that works": {"probes.honest", "contract.answers"},
    "no document": {"contract.document"},
    "a document of another kind": {"contract.document"},
    "a reference that leads nowhere": {"contract.document"},
    "a route that the document leaves out": {"contract.routes"},
    "a status that is not declared": {"contract.document"},
    "a field of another type": {"contract.answers"},
    "errors of no shape": {"contract.errors"},
    "a problem of another status": {"contract.errors"},
    "an end that is not announced": {"contract.deprecated"},
    "an end that is announced in words": {"contract.deprecated"},
    "an end before its announcement": {"contract.deprecated"},
    "an end that the document does not know": {"contract.deprecated"},
    "identities that nobody verifies": {"identity.refused"},
    "identities without signature": {"identity.refused"},
    "identities that never end": {"identity.refused"},
    "a forgery that is nobody's": {"identity.refused"},
    "no keys": {"identity.believed"},
    "a header that anybody can send": {"identity.absent"},
    "a visitor that stays on the connection": {"identity.absent"},
    "nonsense that it stumbles over": {"headers.nonsense"},
    "metrics in JSON": {"metrics.format"},
    "a counter that stands still": {"metrics.requests"},
    "seconds that are milliseconds": {"metrics.units"},
    "paths in labels": {"metrics.labels"},
    "heads without end": {"limits.head"},
    "body without end": {"limits.body"},
    "slow clients that keep others out": {"limits.slow"},
    "a deadline that nobody keeps": {"limits.deadline"},
}
BROKEN_ENDS: Final = {
    "ids that nobody finds again": {"headers.ids"},
    "ready until the end": {"stop.ready"},
    "an end at once": {"stop.requests"},
    "an end that is a failure": {"stop.ends"},
    "no end": {"stop.ready", "stop.ends"},
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(SEED))
    told = {**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig", "alg": "Ed25519"}
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(json.dumps({"keys": [told]}))
    return path


def environment(keys: Path, port: int, broken: str) -> dict[str, str]:
    return {"PORT": str(port), "STRANGLER_JWKS": str(keys), "BROKEN": broken}


@contextmanager
def serving(keys: Path, broken: str) -> Iterator[str]:
    """Run the stub, and yield where it answers."""
    port = free_port()
    command = [str(NODE), str(STUB)]
    running = subprocess.Popen(
        command, env={**os.environ, **environment(keys, port, broken)}, stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: answers(port), "the stub answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        running.wait()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def subject(endpoint: str) -> Subject:
    return Subject(endpoint=endpoint, routes=ROUTES, seed=SEED)


def examined(keys: Path, broken: str) -> list[Finding]:
    with serving(keys, broken) as endpoint:
        return examine(subject(endpoint), limits=LIMITS)


def run_and_examined(keys: Path, broken: str) -> list[Finding]:
    port = free_port()
    words = [f"{name}={value!r}" for name, value in environment(keys, port, broken).items()]
    command = " ".join(["/usr/bin/env", *words, f"'{NODE}'", f"'{STUB}'"])
    return examine(subject(f"http://127.0.0.1:{port}"), limits=LIMITS, command=command)


@pytest.fixture(scope="module")
def found(keys: Path) -> dict[str, list[Finding]]:
    """Every variant's findings; they are asked side by side, since they mostly wait."""
    names = ["", *BROKEN]
    ends = ["", *BROKEN_ENDS]
    with ThreadPoolExecutor(14) as pool:
        whole = pool.map(partial(examined, keys), names)
        stopped = pool.map(partial(run_and_examined, keys), ends)
        return {
            **dict(zip(names, whole, strict=True)),
            **dict(zip([each or "run" for each in ends], stopped, strict=True)),
        }


def wrong(findings: list[Finding]) -> dict[str, str]:
    """Return what fails, by rule, as a person would read it."""
    return {each.rule: f"{each.asked}: {each.came}" for each in findings if each.verdict is Verdict.FAIL}


def test_a_service_in_another_language_passes_every_rule(found: dict[str, list[Finding]]) -> None:
    assert wrong(found["run"]) == {}
    assert [each for each in found["run"] if each.verdict is Verdict.INCONCLUSIVE] == []


def test_one_that_runs_already_passes_too(found: dict[str, list[Finding]]) -> None:
    assert wrong(found[""]) == {}
    assert {each.rule for each in found["run"]} - {each.rule for each in found[""]} == {
        "stop.ready",
        "stop.requests",
        "stop.ends",
    }


@pytest.mark.parametrize("broken", [*BROKEN, *BROKEN_ENDS])
def test_a_broken_rule_is_found_by_its_name(found: dict[str, list[Finding]], broken: str) -> None:
    failures = wrong(found[broken])
    assert set(failures) == {**BROKEN, **BROKEN_ENDS}[broken], failures
    told = [each for each in found[broken] if each.verdict is Verdict.FAIL]
    assert all(each.would_do for each in told)


def test_every_rule_is_broken_by_some_variant(found: dict[str, list[Finding]]) -> None:
    rules = {each.rule for each in found["run"]}
    hurt = set().union(*BROKEN.values(), *BROKEN_ENDS.values())
    # A proxy stands in front of slow heads, so that patience is told and never fails; the others need the rest broken.
    assert rules - hurt == {"probes.ready", "limits.patience"}


def test_nobody_answers(keys: Path) -> None:
    (finding,) = examine(subject(f"http://127.0.0.1:{free_port()}"), limits=LIMITS)
    assert (finding.rule, finding.verdict) == ("probes.live", Verdict.FAIL)
    assert "refused" in finding.came


def test_a_command_is_not_run_where_somebody_answers_already(keys: Path) -> None:
    with serving(keys, "") as endpoint:
        (finding,) = examine(subject(endpoint), limits=LIMITS, command="false")
    assert (finding.rule, finding.came) == ("stop.start", "somebody answers there already")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("no-such-command-of-ours", "cannot be run"),
        ("sh -c 'echo out of order; exit 3'", "ended with 3; it wrote last: out of order"),
        ("'", "cannot be run"),
    ],
)
def test_a_command_that_does_not_serve(command: str, told: str) -> None:
    (finding,) = examine(subject(f"http://127.0.0.1:{free_port()}"), limits=LIMITS, command=command)
    assert (finding.rule, finding.verdict) == ("stop.start", Verdict.FAIL)
    assert told in finding.came


@pytest.fixture
def terminal(tmp_path: Path, command: Callable[[Path], Run], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A terminal in a project whose service is the stub, at the address in $AT; its secret is not set."""
    for name in ("STRANGLER_SECRET", "STRANGLER_DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    files = {
        "strangler.toml": STRANGLER.replace("[service.catalog]", "[service.greetings]").replace(
            "http://127.0.0.1:8101", "http://127.0.0.1:$AT"
        ),
        "migrations/catalog/capability.toml": 'service = "greetings"\n[[route]]\npath = "/greetings"\n',
    }
    file = write(tmp_path, files)
    (tmp_path / "migrations" / "catalog" / "mapping.toml").unlink()
    return command(file)


def test_the_command_line_says_each_finding_and_fails_with_one(
    terminal: Run, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(keys, "paths in labels") as endpoint:
        monkeypatch.setenv("AT", endpoint.rpartition(":")[2])
        code, out, _ = terminal("check", "--service", "greetings")
        machine = terminal("check", "--service", "greetings", "--json")
    assert code == 1
    assert f"greetings at {endpoint}" in out
    assert "→ label requests by the template of their route" in out
    found = {each["rule"]: each for each in json.loads(machine[1])}
    assert (machine[0], found["metrics.labels"]["verdict"]) == (1, "fail")
    assert found["identity.believed"]["came"] == "the installation's secret, or the package joserfc, is not here"
    assert {each["endpoint"] for each in json.loads(machine[1])} == {endpoint}


def test_the_command_line_starts_what_it_is_told(terminal: Run, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    for name, value in {**environment(keys, port, ""), "AT": str(port)}.items():
        monkeypatch.setenv(name, value)
    code, out, _ = terminal("check", "--service", "greetings", "--run", f"'{NODE}' '{STUB}'", "--grace", "5")
    assert (code, "stop.ends" in out, "0 fail" in out) == (0, True, True), out


def test_a_misuse_is_told(terminal: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AT", "1")
    assert "there is no service named 'greeting'; there: greetings" in terminal("check", "--service", "greeting")[2]
    assert terminal("check", "--run", "true")[0] == 2
