"""Paired rounds: two sides measured one after the other, who goes first in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import TypeVar

T = TypeVar("T")


def paired(rounds: int, ours: Callable[[], T], peer: Callable[[], T]) -> list[tuple[T, T]]:
    """Return what both sides measured in each round, ours first in each pair."""
    return [pair(number, ours, peer) for number in range(rounds)]


def in_turns(rounds: int, *sides: Callable[[], T]) -> list[tuple[T, ...]]:
    """Return what each of ``sides`` measured in each round, in their order; each goes first in its turn."""
    found = []
    for number in range(rounds):
        first = number % len(sides)
        measured = [side() for side in (*sides[first:], *sides[:first])]
        found.append((*measured[len(sides) - first :], *measured[: len(sides) - first]))
    return found


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
