"""Paired rounds: two sides measured one after the other, who goes first in turns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import TypeVar

T = TypeVar("T")


def paired(rounds: int, ours: Callable[[], T], peer: Callable[[], T]) -> list[tuple[T, T]]:
    """Return what both sides measured in each round, ours first in each pair."""
    return [pair(number, ours, peer) for number in range(rounds)]


def goes_on(span: int) -> bool:
    """Return whether what is measured goes on in a span of that number, or is stopped: on, off, off, on, and so on.

    Each pair of spans has both, and who is first takes turns: what one leaves behind meets both alike.
    """
    return span % 4 in (0, 3)


def tails(
    timed: Iterable[tuple[float, float]], began: Sequence[float], counted: tuple[float, float]
) -> list[tuple[float, float]]:
    """Return the 99th percentiles of each pair of spans: what went on first, what was stopped second.

    ``timed`` are when something was due and how long it took; of a span that ``began`` then, what is due between the
    two instants of ``counted`` after it does count. An odd span at the end has no other.
    """
    found: list[list[float]] = [[] for _ in began]
    for due, took in timed:
        number = bisect_right(began, due) - 1
        if number >= 0 and counted[0] <= due - began[number] < counted[1]:
            found[number].append(took)
    each = [percentile(values, 0.99) for values in found[: len(found) // 2 * 2]]
    pairs = zip(each[::2], each[1::2], strict=True)
    return [pair if goes_on(2 * number) else pair[::-1] for number, pair in enumerate(pairs)]


def pair(number: int, ours: Callable[[], T], peer: Callable[[], T]) -> tuple[T, T]:
    """Return what both measured in the round of that number.

    Odd rounds begin with the peer: what a side leaves behind (warm caches, a busy disk) meets both alike.
    """
    if number % 2:
        theirs = peer()
        return ours(), theirs
    mine = ours()
    return mine, peer()


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest of ``values`` that a ``share`` of them (above 0, at most 1) does not exceed: nearest rank."""
    ranked = sorted(values)
    if not ranked or not 0 < share <= 1:
        raise ValueError(f"there is no percentile {share} of {len(ranked)} values")
    return ranked[ceil(len(ranked) * share) - 1]


def delays(committed: Sequence[float], seen: Iterable[tuple[float, int]]) -> list[float]:
    """Return how long each transaction was under way, in the units of the clock, in their order.

    ``committed`` tells when each was sent, ``seen`` how many of them were visible at which instant. They become visible
    in their order; those that never did have no delay.
    """
    found: list[float] = []
    for at, count in seen:
        found += [at - sent for sent in committed[len(found) : count]]
    return found
