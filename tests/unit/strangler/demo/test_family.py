"""Members of a family, as real processes: waited for, healed, stopped in order."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from strangler.demo.family import Child, ChildFailed, Family, together
from tests.fixtures.waiting import until

SLEEPS = "import time; time.sleep(60)"
PATIENT = (
    "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True));"
    "print('up', flush=True); time.sleep(60)"
)


@pytest.fixture
def family() -> Iterator[Family]:
    made = Family()
    yield made
    made.hurry = True
    made.stop()


def child(name: str, code: str, folder: Path, wave: int = 1, ready: str = "") -> Child:
    return Child(
        name=name,
        command=[sys.executable, "-c", code],
        folder=folder,
        environment={"WHO": name},
        log=folder / f"{name}.log",
        ready=ready,
        wave=wave,
    )


def healed(family: Family, told: list[str]) -> bool:
    family.heal(told.append)
    return True


def test_a_command_runs_to_its_end_and_is_no_member_afterwards(family: Family, tmp_path: Path) -> None:
    done = child("seed", "import os; print(os.environ['WHO'])", tmp_path)
    together([family.run(done)])
    assert done.log.read_text() == "seed\n"
    assert family.members == []


def test_a_command_that_fails_is_told_with_the_end_of_its_log(family: Family, tmp_path: Path) -> None:
    failing = child("seed", "print('no table'); raise SystemExit(3)", tmp_path)
    with pytest.raises(ChildFailed, match=r"(?s)seed failed \(exit code 3\).*no table"):
        together([family.run(failing)])


def test_lanes_run_at_once(family: Family, tmp_path: Path) -> None:
    begun = time.monotonic()
    waits = "import time; time.sleep(2)"
    together([family.run(child(name, waits, tmp_path)) for name in "abcd"])
    assert time.monotonic() - begun < 7.5  # one after the other they take eight


def test_a_member_that_ends_while_starting_is_told_with_the_end_of_its_log(family: Family, tmp_path: Path) -> None:
    failing = child("proxy", "raise SystemExit('port taken')", tmp_path, ready="http://127.0.0.1:9/")
    family.add(failing)
    with pytest.raises(ChildFailed, match=r"(?s)proxy ended while starting \(exit code 1\).*port taken"):
        together([failing.until_ready()])


def test_a_member_that_is_never_ready_is_told(family: Family, tmp_path: Path) -> None:
    slow = child("proxy", SLEEPS, tmp_path, ready="http://127.0.0.1:9/")
    family.add(slow)
    with pytest.raises(ChildFailed, match="proxy was not ready within 0 s; its log is "):
        together([slow.until_ready(0.1)])


def test_a_killed_member_is_started_again_and_said_so(family: Family, tmp_path: Path) -> None:
    member = child("shop", SLEEPS, tmp_path)
    family.add(member)
    first, told = member.pid, list[str]()
    psutil.Process(first).kill()
    until(lambda: healed(family, told) and member.pid != first and member.exit_code is None, "it runs again")
    assert told == [
        "shop ended (SIGKILL); it is started again in 0.2 s",
        f"shop runs again, pid {member.pid}",
    ]


def test_pauses_grow_for_a_member_that_keeps_ending(family: Family, tmp_path: Path) -> None:
    member = child("shop", "raise SystemExit('broken')", tmp_path)
    family.add(member)
    told: list[str] = []
    until(lambda: healed(family, told) and sum("ended" in line for line in told) == 3, "three ends")
    ends = [line for line in told if "ended" in line]
    assert [f"in {pause} s" in line for pause, line in zip(("0.2", "0.4", "0.8"), ends, strict=True)] == [True] * 3
    assert all("broken" in line for line in ends)


def test_members_stop_wave_by_wave(family: Family, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    code = (
        "import signal, sys, time, os\n"
        f"def leave(*_): open({str(marks)!r}, 'a').write(os.environ['WHO'] + chr(10)); sys.exit()\n"
        "signal.signal(signal.SIGTERM, leave); print('up', flush=True); time.sleep(60)"
    )
    members = [
        child("engine", code, tmp_path, wave=2),
        child("stack", code, tmp_path),
        child("proxy", code, tmp_path, 0),
    ]
    for member in members:
        family.add(member)
    until(lambda: all(member.log.read_text() for member in members), "all are up")
    family.stop()
    assert marks.read_text().split() == ["proxy", "stack", "engine"]
    assert [member.exit_code for member in members] == [0, 0, 0]


def test_whoever_does_not_leave_is_ended_with_all_that_it_started(family: Family, tmp_path: Path) -> None:
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPS!r}]); {PATIENT}"
    member = child("stack", code, tmp_path)
    family.add(member)
    until(lambda: "up" in member.log.read_text(), "it is up")
    assert member.pid is not None
    grandchildren = psutil.Process(member.pid).children()
    family.hurry = True
    family.stop()
    assert member.exit_code == -signal.SIGKILL
    assert psutil.wait_procs(grandchildren, timeout=5)[1] == []
