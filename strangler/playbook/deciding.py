"""Which step comes next. No I/O.

What is wrong is mended first, in the order in which it keeps the rest from being done; then the road goes on. A step
that the transition table refuses is never said: its reason is said in its place.
"""

from __future__ import annotations

from dataclasses import replace

from strangler.capability import Refused, State, transit
from strangler.playbook.facts import Facts, Unseen
from strangler.playbook.going_on import going_on
from strangler.playbook.mending import mending, publish
from strangler.playbook.step import Key, Step
from strangler.playbook.telling import sentence
from strangler.playbook.typed import typed


def next_step(facts: Facts) -> Step:
    """Return what comes next, as far as it can be known."""
    if isinstance(facts.ledger, Unseen):
        return Step(
            key=Key.LOOK,
            title="Have the ledger answer again",
            does=f"{sentence(facts.ledger.why)}. Where {facts.name} stands is not known, and nothing can be decided;"
            " the proxies go on with the last table that they were given.",
            typed=typed("check"),
        )
    state = facts.ledger.state
    if state is None:
        return publish(facts, f"{facts.name} is not published yet: nothing routes by its files")
    return _lawful(mending(facts, state) or going_on(facts, state), facts, state)


def _lawful(step: Step, facts: Facts, state: State) -> Step:
    """Return the step, or in its place why it is refused."""
    try:
        for each in step.asks:
            transit(state, each)
    except Refused as exc:
        return replace(
            step,
            does=f"This is refused as {facts.name} stands: {exc}.",
            typed=typed("history", facts.name),
            asks=(),
            others=(),
            gates=(),
            measure=None,
        )
    return step
