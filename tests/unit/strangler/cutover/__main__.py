"""Walks further than a test may take, and tells how each planted fault shows. ``make explore`` runs it, for minutes."""

from __future__ import annotations

import sys
import time
from dataclasses import astuple

from tests.unit.strangler.cutover.exploring import PROMISE, Broken, Explored, explore
from tests.unit.strangler.cutover.found import DEFENCE_IN_DEPTH, FOUND, FURTHER, WHOLE
from tests.unit.strangler.cutover.world import Bounds


def _told(what: str, bounds: Bounds, explored: Explored, seconds: float) -> str:
    found = explored.broken or "kept"
    within = "{} writes, {} conductors, {} late, {} batches".format(*astuple(bounds))
    return f"{what}; {within}: {explored.states:,} worlds, {explored.depth} deep, {seconds:.0f} s: {found}"


def main() -> int:
    for fault, (bounds, worst) in FOUND.items():
        began = time.monotonic()
        explored = explore(bounds, fault, looking_for=PROMISE if worst in PROMISE else frozenset(Broken))
        print(_told(fault, bounds, explored, time.monotonic() - began), *explored.story, "", sep="\n")
    kept = True
    for fault in DEFENCE_IN_DEPTH:
        began = time.monotonic()
        print(
            _told(fault, WHOLE, explored := explore(WHOLE, fault), time.monotonic() - began), *explored.story, sep="\n"
        )
    for bounds in (WHOLE, *FURTHER):
        began = time.monotonic()
        explored = explore(bounds)
        print(_told("the protocol", bounds, explored, time.monotonic() - began), *explored.story, sep="\n", flush=True)
        kept = kept and explored.exhausted
    return not kept


if __name__ == "__main__":
    sys.exit(main())
