"""What is written where there is no terminal, and what the live line says."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from strangler.demo.family import Child
from strangler.demo.pulse import by_stack
from strangler.demo.view import Line, Poster, Steps


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, force_terminal=terminal, width=100, color_system=None), written


def test_a_step_is_one_line_with_its_count_and_time() -> None:
    plain, written = console()
    with Steps(plain) as steps, steps.step("shop: rows") as step:
        step.tell(0, 0)
        step.tell(1_500, 5_000, "products")
    line = written.getvalue()
    assert line.startswith("✓ shop: rows, 1,500/5,000 products (0.")
    assert line.count("\n") == 1


def test_a_step_that_fails_is_not_ticked_off() -> None:
    plain, written = console()
    with pytest.raises(RuntimeError), Steps(plain) as steps, steps.step("shop: rows"):
        raise RuntimeError
    assert written.getvalue() == ""


def test_steps_show_bars_on_a_terminal() -> None:
    terminal, written = console(terminal=True)
    with Steps(terminal) as steps, steps.step("shop: rows") as step:
        step.tell(1_500, 5_000, "products")
    assert "✓ shop: rows" in written.getvalue()
    assert "1,500/5,000 products" in written.getvalue()


def test_the_poster_says_what_runs_where_and_what_to_try(tmp_path: Path) -> None:
    plain, written = console()
    proxy = Child(
        name="proxy",
        command=["proxy"],
        folder=tmp_path,
        environment={},
        log=tmp_path / "log" / "proxy.log",
        address="http://127.0.0.1:8000",
    )
    hints = [("curl http://127.0.0.1:8000/[en]/", "a page")]
    Poster(members=[proxy], hints=hints, root=tmp_path, address=proxy.address, seconds=4.21).print(plain)
    said = written.getvalue()
    assert "proxy" in said
    assert "log/proxy.log" in said
    assert "curl http://127.0.0.1:8000/[en]/" in said
    assert "http://127.0.0.1:8000 is ready after 4.2 s." in said


def test_without_a_terminal_the_line_is_written_when_it_changes() -> None:
    plain, written = console()
    with Line(plain) as line:
        for share, rate in ((0, 1), (0, 2), (25, 3), (25, 4)):
            line.show(Text(f"search {share} %"), Text(f"{rate}/s"))
        line.say("shop ended [SIGKILL]")
    assert written.getvalue().splitlines()[:2] == ["search 0 %", "search 25 %"]
    assert written.getvalue().splitlines()[2].endswith(" shop ended [SIGKILL]")


def test_requests_are_summed_by_stack() -> None:
    metrics = """# HELP strangler_proxy_requests_total Requests answered
strangler_proxy_requests_total{capability="a",stack="monolith",why="owner",status_class="2xx"} 3.0
strangler_proxy_requests_total{capability="a",stack="service",why="share",status_class="2xx"} 4.0
strangler_proxy_requests_total{capability="",stack="monolith",why="default",status_class="3xx"} 5.0
strangler_proxy_requests_created{stack="monolith"} 7.0
"""
    assert by_stack(metrics) == {"monolith": 8.0, "service": 4.0}
