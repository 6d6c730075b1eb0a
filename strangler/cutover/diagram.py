"""Draws the protocol from its tables, so that the picture in the documentation cannot differ from what runs.

``python -m strangler.cutover.diagram`` prints what stands in ``docs/explanation/cutover.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from strangler.capability import Phase
from strangler.cutover.protocol import DURING, FAILING, LEDGER, NEXT, PLACE, RAISING, End, Step

_SETTLED = "settled"


def mermaid() -> str:
    """Return a Mermaid state diagram: the phases with the steps within each, and the steps that lead to the next."""
    return "\n".join(("stateDiagram-v2", "    [*] --> settled", *_phases(), *_writes(), ""))


def table() -> str:
    """Return a Markdown table of all steps: in which phase, where, and what follows."""
    rows = [f"| {step} | {DURING[step] or _SETTLED} | {PLACE[step]} | {_then(step)} | {_else(step)} |" for step in NEXT]
    return "\n".join(("| step | phase | performed in | done | failed |", "|---|---|---|---|---|", *rows, ""))


def _phases() -> Iterator[str]:
    for phase in Phase:
        steps = [step for step in NEXT if DURING[step] is phase and step not in LEDGER]
        if steps:
            yield f"    state {phase} {{"
            yield from (f"        {_name(step)} : {step} ({PLACE[step]})" for step in steps)
            yield "        " + " --> ".join(("[*]", _name(steps[0])))
            yield from (f"        {_name(one)} --> {_name(other)}" for one, other in pairwise(steps))
            yield f"        {_name(steps[-1])} --> [*]"
            yield "    }"


def _writes() -> Iterator[str]:
    for step, (before, after) in LEDGER.items():
        epoch = ", epoch + 1" if step in RAISING else ""
        yield f"    {before or _SETTLED} --> {after} : {step}{epoch}"
    yield from (f"    {phase} --> {_SETTLED}" for phase in Phase if phase.is_settled)


def _name(step: Step) -> str:
    return step.replace(" ", "_")


def _then(step: Step) -> str:
    after = NEXT[step]
    return f"**{after}**" if isinstance(after, End) else after


def _else(step: Step) -> str:
    after = FAILING.get(step, step)
    if isinstance(after, End):
        return f"**{after}**"
    return "again" if after is step else after


if __name__ == "__main__":
    print(mermaid(), table(), sep="\n")
