"""Two stacks that are asked the same and have to answer alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from strangler.parity.compare import Answer, Difference, differences
from strangler.parity.exempt import Exemption
from strangler.regression.case import Case
from strangler.regression.stack import Stack

# A list that is ordered otherwise differs in every line of it.
_MOST_TOLD: Final = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A case, the two answers to it, and what differs between them."""

    case: Case
    one: Answer
    other: Answer
    names: tuple[str, str]
    curl: str
    exempt: tuple[Exemption, ...] = ()
    found: tuple[Difference, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Say what differs, one line each; past the first of them only how many more there are."""
        told = tuple(each.told(*self.names) for each in self.found[:_MOST_TOLD])
        more = len(self.found) - len(told)
        return (*told, f"and {more} more") if more else told

    def __str__(self) -> str:
        return "\n".join([str(self.case), *self.lines])


class Disagreement(AssertionError):
    """Two stacks answer the same request differently. Mend one, or declare what may differ and why."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(str(comparison))
        self.comparison = comparison


Note = Callable[[Comparison], None]


def _nowhere(_: Comparison) -> None:
    """Forget a comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two stacks. ``exempt`` may differ in every answer of theirs; each comparison is told to ``note``."""

    one: Stack
    other: Stack
    exempt: tuple[Exemption, ...] = ()
    note: Note = field(default=_nowhere, repr=False)

    def ask(self, case: Case) -> tuple[Answer, Answer]:
        """Ask both, the first one first. Raises ``Unreachable``."""
        return self.one.ask(case), self.other.ask(case)

    def compare(self, case: Case) -> Comparison:
        """Ask both, and return what they say and how that differs. Raises ``Unreachable``."""
        one, other = self.ask(case)
        comparison = compared(case, (self.one, self.other), (one, other), self.exempt)
        self.note(comparison)
        return comparison

    def agree(self, case: Case) -> Answer:
        """Return the first one's answer. Raises ``Disagreement`` when the other's is another, and ``Unreachable``."""
        __tracebackhide__ = True
        comparison = self.compare(case)
        if comparison.found:
            raise Disagreement(comparison)
        return comparison.one


class BothStacks(Pair):
    """The monolith and the service."""

    __slots__ = ()

    @property
    def monolith(self) -> Stack:
        return self.one

    @property
    def service(self) -> Stack:
        return self.other


def compared(
    case: Case, stacks: tuple[Stack, Stack], answers: tuple[Answer, Answer], exempt: Iterable[Exemption] = ()
) -> Comparison:
    """Return how two answers to ``case`` differ."""
    allowed = (*exempt, *case.exemptions)
    one, other = stacks
    return Comparison(
        case=case,
        one=answers[0],
        other=answers[1],
        names=(one.name, other.name),
        curl=case.curl(one.address, {"Host": one.public_name}),
        exempt=allowed,
        found=differences(*answers, allowed),
    )
