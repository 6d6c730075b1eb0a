"""``top``: what proxies do now, by capability and stack, as long as one looks."""

from __future__ import annotations

import json
import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, Final

import httpx
import typer
from rich.live import Live
from rich.text import Text

from strangler.cli.frame import Frame, Reading, frame, parse, to_json
from strangler.cli.screen import SORTS, screen
from strangler.cli.shell import AsJson, Failure, out, shell, until_interrupted

# A proxy that takes longer to tell how it is counts as away.
_PATIENCE_S: Final = 2.0
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- listened on, not asked at
_ARROW: Final = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O.)")  # and other keys that are several characters at once
_NAMES: Final = {word: key for key, (word, _) in SORTS.items()}


def _parse_sort(text: str) -> str:
    if text not in _NAMES:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(map(repr, _NAMES))}")
    return text


def top(
    context: typer.Context,
    admin: Annotated[
        list[str] | None,
        typer.Option("--admin", help="A proxy's admin port; repeatable. strangler.toml's by default.", metavar="URL"),
    ] = None,
    interval: Annotated[
        float, typer.Option("--interval", help="Seconds between two looks.", min=0.1, max=3600.0)
    ] = 1.0,
    sort: Annotated[
        str, typer.Option("--sort", help=f"By what: {', '.join(_NAMES)}.", parser=_parse_sort, metavar="WHAT")
    ] = "name",
    once: Annotated[bool, typer.Option("--once", help="Show one interval and leave.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what proxies do now, by capability and stack."""
    bases = [_base(each) for each in admin or [shell(context).project().proxy.admin]]
    names = [base.partition("://")[2] for base in bases]
    with httpx.Client(timeout=_PATIENCE_S) as client, ThreadPoolExecutor(len(bases)) as threads:

        def look() -> list[Reading]:
            return list(threads.map(lambda base: _reading(client, base), bases))

        if once:
            _once(names, look, interval, _NAMES[sort], as_json)
            return
        with until_interrupted():
            if as_json or not out.is_terminal:
                for each in _frames(names, look, interval):
                    _say(each, _NAMES[sort], as_json)
            else:
                _live(names, look, interval, _NAMES[sort])


def _base(admin: str) -> str:
    """Return the URL of an admin port that may be written as ``[proxy] admin`` is."""
    try:
        url = httpx.URL(admin if "://" in admin else f"http://{admin}")
    except httpx.InvalidURL as exc:
        raise typer.BadParameter(f"{admin!r} is no admin port ({exc}); http://HOST:PORT is") from exc
    return str(url.copy_with(host=_ANYWHERE.get(url.host, url.host))).rstrip("/")


def _reading(client: httpx.Client, base: str) -> Reading:
    try:
        response = client.get(f"{base}/metrics")
        response.raise_for_status()
        series = parse(response.text)
    except httpx.TimeoutException:
        return Reading(at=time.monotonic(), why=f"no answer in {_PATIENCE_S:g} s")
    except httpx.HTTPStatusError as exc:
        return Reading(at=time.monotonic(), why=f"it answers {exc.response.status_code}")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
        return Reading(at=time.monotonic(), why=str(exc) or type(exc).__name__)
    return Reading(at=time.monotonic(), series=series or None, why="nothing of a proxy's is there")


def _once(names: Sequence[str], look: Callable[[], list[Reading]], interval: float, sort: str, as_json: bool) -> None:
    shown = next(_frames(names, look, interval))
    _say(shown, sort, as_json)
    if all(proxy.away is not None for proxy in shown.proxies):
        raise Failure("no proxy answers")


def _frames(names: Sequence[str], look: Callable[[], list[Reading]], interval: float) -> Iterator[Frame]:
    before = look()
    while True:
        time.sleep(interval)
        after = look()
        yield frame(names, before, after)
        before = after


def _say(shown: Frame, sort: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(to_json(shown)))
    else:
        out.print(screen(shown, out.width, sort))


# --- live ---


def _live(names: Sequence[str], look: Callable[[], list[Reading]], interval: float, sort: str) -> None:
    before, shown = look(), None
    due = time.monotonic() + interval
    with _keys() as key, Live(Text("…"), console=out, screen=True, auto_refresh=False) as live:
        while (pressed := key(due - time.monotonic())) != "q":
            sort = pressed if pressed in SORTS else sort
            if time.monotonic() >= due:
                after = look()
                before, shown = after, frame(names, before, after)
                due = time.monotonic() + interval
            if shown is not None:
                live.update(screen(shown, out.width, sort, height=out.height), refresh=True)


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Yield what waits for a key for so many seconds and returns it, or ""; without a keyboard it only waits."""
    if not sys.stdin.isatty():
        yield _pause
        return
    fd = sys.stdin.fileno()
    usual = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield _pressed
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, usual)


def _pause(seconds: float) -> str:
    time.sleep(max(0.0, seconds))
    return ""


def _pressed(seconds: float) -> str:
    fd = sys.stdin.fileno()
    ready, _, _ = select.select([fd], [], [], max(0.0, seconds))
    if not ready:
        return ""
    came = os.read(fd, 64).decode(errors="replace")
    keys = _ARROW.sub("", came)
    return "q" if "q" in keys or not came else keys[-1:]  # nothing at all: the terminal is gone
