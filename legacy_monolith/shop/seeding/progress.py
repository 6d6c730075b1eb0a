from collections.abc import Iterable, Iterator
from typing import TextIO

WIDTH = 30
REFRESH_EVERY = 500


def bar(rows: Iterable, total: int, label: str, stream: TextIO | None) -> Iterator:
    """Pass `rows` on and draw on `stream` how many of `total` have gone by; None draws nothing."""
    for done, row in enumerate(rows, start=1):
        yield row
        if stream and (done % REFRESH_EVERY == 0 or done == total):
            _draw(done, total, label, stream)
    if stream:
        stream.write("\n")


def _draw(done: int, total: int, label: str, stream: TextIO) -> None:
    filled = WIDTH * done // max(total, 1)
    stream.write(f"\r{label:<11}[{'#' * filled}{'.' * (WIDTH - filled)}] {done:,}/{total:,}")
    stream.flush()
