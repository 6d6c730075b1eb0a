"""A playbook as a value: everything that a page of it says. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from strangler.cutover.gates import Verdict
from strangler.ledger import Entry
from strangler.playbook.deciding import next_step
from strangler.playbook.facts import Facts, Recorded
from strangler.playbook.going_back import GoingBack, going_back
from strangler.playbook.road import Stop, road
from strangler.playbook.signs import Sign, signs
from strangler.playbook.standing import Row, standing, warnings
from strangler.playbook.step import Other, Step
from strangler.playbook.telling import clock, line, percent
from strangler.playbook.typed import Typed

_TOLD: Final = 30
"""So many entries of the history are on a page; strangler history has them all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An entry of the history, as a page has it."""

    at: str
    what: str
    who: str
    why: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """What is known of a capability ``at`` a time, and what is done next. ``before`` stands before each verb."""

    name: str
    at: str
    before: tuple[str, ...]
    stage: str
    step: Step
    signs: tuple[Sign, ...]
    back: GoingBack
    standing: tuple[Row, ...]
    warnings: tuple[str, ...]
    unseen: tuple[tuple[str, str], ...]
    road: tuple[Stop, ...]
    decisions: tuple[Decision, ...]

    def line(self, typed: Typed) -> str:
        """Return a command line of this installation."""
        return typed.line(self.before)

    @property
    def commands(self) -> tuple[Typed, ...]:
        """Every command that stands in it."""
        found = [self.step.typed, self.back.typed, *(each.typed for each in (*self.step.others, *self.back.others))]
        return tuple(each for each in found if each is not None)

    def to_json(self) -> dict[str, Any]:
        return {
            "capability": self.name,
            "at": self.at,
            "stage": self.stage,
            "next": {
                "step": str(self.step.key),
                "title": self.step.title,
                "does": self.step.does,
                "command": self._said(self.step.typed),
                "gates": [each.to_json() for each in self.step.gates],
                "notes": list(self.step.notes),
                "others": self._others(self.step.others),
            },
            "signs": [
                {"shows": each.shows, "means": each.means, "page": each.link.page, "anchor": each.link.anchor}
                for each in self.signs
            ],
            "back": {
                "says": self.back.says,
                "command": self._said(self.back.typed),
                "readers": self.back.readers,
                "writers": self.back.writers,
                "lost": self.back.lost,
                "others": self._others(self.back.others),
            },
            "standing": dict(self.standing),
            "warnings": list(self.warnings),
            "unseen": dict(self.unseen),
            "road": [{"title": each.title, "mark": str(each.mark), "says": each.says} for each in self.road],
            "decisions": [
                {"at": each.at, "what": each.what, "who": each.who, "why": each.why, "epoch": each.epoch}
                for each in self.decisions
            ],
        }

    def _said(self, typed: Typed | None) -> str | None:
        return None if typed is None else self.line(typed)

    def _others(self, others: Sequence[Other]) -> list[dict[str, str]]:
        return [{"when": each.when, "command": self.line(each.typed)} for each in others]


def playbook(facts: Facts) -> Playbook:
    """Return the playbook of a capability, out of what was found of it."""
    step, state = next_step(facts), facts.state
    unpublished = "not known" if not isinstance(facts.ledger, Recorded) else "not published"
    return Playbook(
        name=facts.name,
        at=clock(facts.at),
        before=facts.before,
        stage=unpublished if state is None else str(state.stage),
        step=step,
        signs=signs(step.key, has_tables=facts.has_tables),
        back=going_back(facts),
        standing=standing(facts),
        warnings=warnings(facts),
        unseen=tuple((name, line(why)) for name, why in facts.unseen.items()),
        road=road(facts),
        decisions=tuple(_decided(facts)),
    )


def _decided(facts: Facts) -> list[Decision]:
    entries = facts.ledger.entries if isinstance(facts.ledger, Recorded) else ()
    return [
        Decision(at=clock(each.at), what=_what(each), who=line(each.who), why=line(each.reason), epoch=each.epoch)
        for each in entries[:_TOLD]
    ]


def _what(entry: Entry) -> str:
    """Return what was done: the ledger's word for it, what of the reads it changed, and who had proposed it."""
    parts = [entry.command]
    before, after = entry.before, entry.after
    if before is not None and after is not None:
        if before.share != after.share:
            parts.append(f"{percent(before.share)} → {percent(after.share)}")
        if before.stage is not after.stage:
            parts.append(f"{before.stage} → {after.stage}")
    if proposer := entry.evidence.get("proposed_by"):
        parts.append(f"(proposed by {line(str(proposer))})")
    return " ".join(parts)


def failing(gates: Sequence[Verdict]) -> int:
    """Return how many of the gates do not hold."""
    return sum(each.outcome != "pass" for each in gates)
