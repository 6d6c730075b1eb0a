"""A capability through a real proxy, at shares between nothing and everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count
from typing import Final
from zlib import crc32

from strangler.capability import WHOLE
from strangler.capability import Stack as Owner
from strangler.parity.compare import Answer
from strangler.parity.exempt import declared
from strangler.regression.case import Case
from strangler.regression.pair import BothStacks, Comparison, Disagreement, Note, compared
from strangler.regression.stack import Stack
from strangler.routing.bucket import bucket
from strangler.routing.keys import Keys, sign_visitor
from tests.fixtures.proxy import KEYS
from tests.regression.stacks import Share

SHARES: Final = (Share(share=0), Share(share=WHOLE // 2), Share(share=WHOLE))
HALF: Final = SHARES[1]
MOVED: Final = Share(share=WHOLE, owner=Owner.SERVICE)
# What the proxy adds to an answer of its own, or takes out.
EXEMPT: Final = declared(
    {
        "set-cookie:strangler_visitor": "by which the proxy knows a visitor again; stacks never see it",
        "set-cookie:strangler_causal_*": "by which the proxy knows what a visitor has written; stacks never see it",
    }
)
# A Host that is none is nobody's: the proxy refuses it with 400 as both stacks do, in its own words.
NO_HOSTS: Final = ("localhost:port", "[::1", "a b")
Before = Callable[[], None]


class Remembered:
    """What the stacks answer directly to a case, asked once for all shares."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], Answer] = {}

    def ask(self, stack: Stack, case: Case, before: Before) -> Answer:
        key = (stack.address, repr(case))
        if key not in self._answers:
            before()
            self._answers[key] = stack.ask(case)
        return self._answers[key]

    def keep(self, both: BothStacks, comparison: Comparison) -> None:
        """Remember what both have just said, if it is the first time."""
        case = repr(comparison.case)
        self._answers.setdefault((both.monolith.address, case), comparison.one)
        self._answers.setdefault((both.service.address, case), comparison.other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Through:
    """The proxy at one share, and the stacks that must be heard through it."""

    share: Share
    proxy: Stack
    monolith: Stack
    service: Stack
    note: Note
    directly: Remembered = field(default_factory=Remembered)
    keys: Keys = field(default=KEYS, repr=False)

    def agree(self, case: Case, before: Before = lambda: None) -> None:
        """Assert that a visitor is told what the stack says that answers them. Raises ``Disagreement``.

        Where visitors are divided, half of all cases are asked by one whom the monolith answers, half by another.
        ``before`` puts the rows back that a case may change.
        """
        __tracebackhide__ = True
        if case.headers.get("Host") in NO_HOSTS:
            assert self.proxy.ask(case).status == 400
            return
        below = self._below(case)
        owner = self.service if below else self.monolith
        visited = self._visited(case, below)
        direct = self.directly.ask(owner, _as_passed_on(case), before)
        before()
        answers = direct, self.proxy.ask(visited)
        comparison = compared(visited, (owner, self.proxy), answers, EXEMPT)
        self.note(comparison)
        if comparison.found:
            raise Disagreement(comparison)

    def _below(self, case: Case) -> bool:
        """Return whether the service answers."""
        if case.unsafe:
            return self.share.owner is Owner.SERVICE
        return crc32(repr(case).encode()) % 2 == 1 if self._divided else self.share.share == WHOLE

    @property
    def _divided(self) -> bool:
        return 0 < self.share.share < WHOLE

    def _visited(self, case: Case, below: bool) -> Case:
        if not self._divided:
            return case
        cookie = _visitor(self.keys, self.share.capability, self.share.share, below)
        given = case.headers.get("Cookie")
        return replace(case, headers={**case.headers, "Cookie": f"{cookie}; {given}" if given else cookie})


def _as_passed_on(case: Case) -> Case:
    """Return the case as a stack sees it: what a client says about itself the proxy believes from balancers only."""
    kept = {name: value for name, value in case.headers.items() if not name.lower().startswith("x-forwarded-")}
    return replace(case, headers=kept)


@lru_cache
def _visitor(keys: Keys, capability: str, share: int, below: bool) -> str:
    """Return the cookie of a visitor whom the service answers at ``share`` (below), or the monolith."""
    names = (f"{number:032x}" for number in count())
    found = next(name for name in names if (bucket(capability, name) < share) is below)
    return f"strangler_visitor={sign_visitor(found, keys)}"


def by_stack(samples: Mapping[str, float]) -> Counter[str]:
    """Return how many requests each stack has answered, of the samples of a counter by their labels."""
    counts: Counter[str] = Counter()
    for labels, number in samples.items():
        stack = next(part for part in labels.strip("{}").split(",") if part.startswith("stack="))
        counts[stack.partition("=")[2].strip('"')] += int(number)
    return counts
