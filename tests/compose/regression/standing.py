"""How the capabilities stand in the containers, and the rows of those who own them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psycopg

from compose import stack
from strangler.capability import WHOLE, Stack
from strangler.parity.compare import Answer
from strangler.project import Project
from strangler.regression.case import Case
from strangler.regression.stack import Stack as Asked
from tests.compose.running import Running
from tests.fixtures.reviewed import everything, left, restore_over, restore_what_differs
from tests.fixtures.waiting import until
from tests.regression.stacks import Share
from tests.regression.through import Before, Remembered

_VERB: Final = {Stack.SERVICE: "cutover", Stack.MONOLITH: "rollback"}


class ShopInContainers:
    """The databases by their URLs, for their servers' administrators, and the shop's commands where the shop runs."""

    def __init__(self, running: Running, project: Project) -> None:
        self._running = running
        self.project = project

    @property
    def monolith(self) -> str:
        return self._url("shop-database", "monolith-data", "shop_admin_password", "shop")

    def service(self, name: str) -> str:
        return self._url("services-database", "services-data", "services_admin_password", name)

    def _url(self, server: str, network: str, secret: str, base: str) -> str:
        word = (stack.SECRETS / secret).read_text(encoding="utf-8")
        return f"postgresql://postgres:{word}@{self._running.place(server, network)}:5432/{base}"

    def run(self, arguments: Sequence[str], folder: Path) -> str:
        return self._running.run("monolith", "python", *arguments)


class Standing:
    """Shares and owners, changed by the command line where a test wants others than there are."""

    def __init__(self, running: Running, project: Project) -> None:
        self._running = running
        self._born = {name for name, each in project.capabilities.items() if each.born is Stack.SERVICE}
        self._shares: dict[str, int] = {}
        self._moved: set[str] = set()

    @property
    def changed(self) -> set[str]:
        """The capabilities that do not stand as they did."""
        return self._moved | self._shares.keys()

    def owner(self, capability: str) -> Stack:
        return Stack.SERVICE if capability in self._moved | self._born else Stack.MONOLITH

    def at(self, share: Share) -> None:
        """Return when every worker routes by this share and this owner."""
        name = share.capability
        if name in self._born:
            return
        self.owned(name, share.owner)
        if share.owner is Stack.MONOLITH and self._shares.get(name, 0) != share.share:
            percent = f"{share.share * 100 / WHOLE:g}%"
            self._running.strangler("set", name, "--reads", percent, "--reason", "a test")
            self._shares[name] = share.share

    def owned(self, capability: str, owner: Stack) -> None:
        """Return when ``owner`` owns the data."""
        if self.owner(capability) is owner:
            return
        self._running.move(_VERB[owner], capability, owner.value)
        self._moved ^= {capability}

    def begin(self, capability: str) -> None:
        """Have everything as it was."""
        if capability not in self._born:
            self.owned(capability, Stack.MONOLITH)
            self._running.strangler("set", capability, "--reads", "0%", "--reason", "tests are over")
            self._shares.pop(capability, None)


class Rows:
    """The reviews in the databases of both stacks; whoever owns them has them put back, and the sync the other."""

    def __init__(self, shop: ShopInContainers, standing: Standing, exits: ExitStack) -> None:
        urls = {Stack.MONOLITH: shop.monolith, Stack.SERVICE: shop.service("reviews")}
        self._of = {each: exits.enter_context(psycopg.connect(url, autocommit=True)) for each, url in urls.items()}
        self._standing = standing
        restore_over(self._of[Stack.MONOLITH])
        self._whole = everything(self._of[Stack.MONOLITH])
        self.settled()

    def again(self) -> None:
        """Make them what they were before anything was written."""
        restore_what_differs(self._of[self._standing.owner("reviews")], self._whole)

    def left(self) -> list[list[tuple[object, ...]]]:
        """Return those of the monolith, and those of the service."""
        return [left(each) for each in self._of.values()]

    def settled(self) -> list[tuple[object, ...]]:
        """Return them once both sides have the same: what one had written, and the sync has carried over."""
        until(self._equal, "the other side has the rows that were written", seconds=30)
        return left(self._of[self._standing.owner("reviews")])

    def _equal(self) -> bool:
        one, other = (everything(each) for each in self._of.values())
        return one == other


class Told(Remembered):
    """What the stacks say directly; to a write whoever owns the reviews then, with the rows that it leaves."""

    def __init__(self, standing: Standing, rows: Rows) -> None:
        super().__init__()
        self._standing = standing
        self._rows = rows
        self._left: dict[tuple[str, str], list[tuple[object, ...]]] = {}

    def ask(self, stack: Asked, case: Case, before: Before) -> Answer:
        key = (stack.address, repr(case))
        if case.unsafe and key not in self._left:
            self._standing.owned("reviews", Stack(stack.name))
            answer = super().ask(stack, case, before)
            self._left[key] = self._rows.settled()
            return answer
        return super().ask(stack, case, before)

    def left(self, stack: Asked, case: Case) -> list[tuple[object, ...]]:
        """Return what was left by a case that was asked."""
        return self._left[stack.address, repr(case)]
