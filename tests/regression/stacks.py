"""The shop's stacks as processes, each started when it is asked for first and shared by what a test process runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from strangler.capability import BORN, WHOLE, Data, Stack, Stage, State
from strangler.regression.addresses import MONOLITH as THE_MONOLITH
from strangler.regression.addresses import Unknown
from strangler.routing.keys import Keys
from strangler.routing.table import MONOLITH as UPSTREAM
from strangler.routing.table import RoutingTable, seal
from strangler_proxy.settings import PIPE
from strangler_proxy.vouch import Signer
from tests.fixtures.proxy import SECRET, ProxyProcess
from tests.fixtures.shop import MONOLITH, SERVICES, Shop
from tests.regression.own.process import Process

PUBLIC_NAME: Final = "localhost:8000"
BETWEEN: Final = "what monolith and proxy share, in tests only"
GUNICORN: Final = ("-m", "gunicorn", "--workers=1", "--threads=2", "--log-level=warning", "--bind=127.0.0.1:{port}")
_PROXY: Final = """
from strangler_proxy.main import _run
table, secret, between = sys.argv[1:]
asking = Asking(secret=between, session_cookie="sessionid", path="/.strangler/identity/")
entry = Entry(addresses=("127.0.0.1:0",))
settings = Settings(worker="", table=open(table).read(), links=Links(secret=secret), identity=asking, entry=entry)
sys.exit(_run(settings, "127.0.0.1:0", 1))
"""
SIGNER: Final = Signer(Keys.derive(SECRET).identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A capability, how much of its reads the service answers, in basis points, and who owns its data."""

    capability: str = ""
    share: int
    owner: Stack = Stack.MONOLITH

    def __str__(self) -> str:
        return "moved" if self.owner is Stack.SERVICE else f"{self.share * 100 // WHOLE}%"


def proxied(table: RoutingTable, place: Path, exits: ExitStack) -> ProxyProcess:
    """Run a proxy that routes by ``table``, kept in the file ``place``, and knows visitors as the shop does."""
    place.write_text(seal(table, PIPE).decode())
    process = exits.enter_context(ProxyProcess(_PROXY, str(place), SECRET, BETWEEN))
    assert process.said, (process.end(), process.errors)
    return process


class ShopStacks:
    """Where the shop's stacks answer: the addresses that the plugin's fixtures go to."""

    public_name: Final = PUBLIC_NAME

    def __init__(self, shop: Shop, folder: Path, exits: ExitStack) -> None:
        self._shop = shop
        self._folder = folder
        self._exits = exits
        self._numbers = count(1)
        self._running: dict[str, str] = {}
        self._proxies: dict[Share, ProxyProcess] = {}
        (folder / "jwks.json").write_text(json.dumps({"keys": [SIGNER.public()]}))

    def of(self, stack: str, capability: str | None = None) -> str:
        if stack == THE_MONOLITH:
            return self.monolith
        files = self._shop.project.capabilities.get(capability or "")
        if files is None:
            raise Unknown(f"the shop has no capability {capability!r}")
        return self.service(files.service)

    @property
    def monolith(self) -> str:
        if UPSTREAM not in self._running:
            said = {"STRANGLER_IDENTITY_SECRET": BETWEEN}
            self._running[UPSTREAM] = self._started(UPSTREAM, GUNICORN, MONOLITH, said, self._exits)
        return self._running[UPSTREAM]

    def service(self, name: str) -> str:
        if name not in self._running:
            self._running[name] = self.run(name, SERVICES / name, self._exits)
        return self._running[name]

    def run(self, name: str, folder: Path, exits: ExitStack) -> str:
        """Run a service whose code is in ``folder``, and return where it answers until ``exits`` ends it."""
        self._shop.service(name)  # makes its database
        serve = ("-m", f"{name}_service", "serve", "--listen=127.0.0.1:{port}")
        log = f"--request-log={self._folder / f'{name}-requests'}"
        said = {"STRANGLER_JWKS": str(self._folder / "jwks.json"), "CATALOG_URL": self.monolith}
        return self._started(name, (*serve, log), folder, said, exits)

    def proxy(self, share: Share) -> ProxyProcess:
        """Return a proxy that sends so much to the service."""
        if share not in self._proxies:
            place = self._folder / f"{share.capability}-{share}.table"
            self._proxies[share] = proxied(self._table(share), place, self._exits)
        return self._proxies[share]

    def _table(self, share: Share) -> RoutingTable:
        files = self._shop.project.capabilities[share.capability]
        stage = Stage.CANARY if share.share else Stage.MONOLITH
        state = State(share=share.share, stage=stage, data=Data.NONE)
        if Stack.SERVICE in (share.owner, files.born):
            state = BORN  # whoever was moved stands where those begin that were born there
        upstreams = {UPSTREAM: (self.monolith,), files.service: (self.service(files.service),)}
        return RoutingTable(version=1, upstreams=upstreams, capabilities=(files.routed(state),))

    def _started(
        self, name: str, command: Sequence[str], folder: Path, said: Mapping[str, str], exits: ExitStack
    ) -> str:
        environment = {**self._shop.environment, "MEDIA_ROOT": str(self._folder / "media"), **said}
        log = self._folder / f"{name}-{next(self._numbers)}.log"
        return exits.enter_context(Process.started(command, folder, environment, log)).url
