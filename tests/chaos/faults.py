"""One stack or many clients do wrong, and what that does to traffic that has nothing to do with them is measured.

A proxy with one worker, two stacks of their own processes, attackers in a process of their own, and innocent requests
to the stack that works, one after the other on three connections.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from strangler.capability import Data, Stage, State
from strangler.project.limits import Timeouts
from strangler.routing.table import Capability, Route, seal
from strangler_proxy.settings import PIPE, Entry, Settings
from tests.chaos.traffic import Traffic
from tests.fixtures.proxy import ProxyProcess, routing_table
from tests.fixtures.waiting import until

SECONDS: Final = 6.0
_INNOCENT: Final = "127.0.0.9"
_KINDS: Final = {"first": "/", "second": "/", "third": "/"}
# So that what is waited for happens while it is looked at; the defaults are 60 and 10 seconds.
_TIMEOUTS: Final = Timeouts(first_byte=1.0, request_headers=3.0)
_CODE: Final = """
import json, resource
from strangler_proxy import main
from strangler_proxy.settings import Settings
if int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]), int(sys.argv[2])))
sys.exit(main._run(Settings.from_json(json.loads(sys.argv[1])), "127.0.0.1:0", 1))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """What goes wrong: the stack of /shelf answers ``origin``, clients do ``attack``; ``descriptors`` 0 is no limit."""

    what: str
    origin: str = "well"
    attack: str = "asks"
    descriptors: int = 0


WRONGS: Final = (
    Wrong(what="nothing"),
    Wrong(what="the stack dies in the middle of each body", origin="dies"),
    Wrong(what="the stack accepts and never answers", origin="never"),
    Wrong(what="the stack answers garbage", origin="garbage"),
    Wrong(what="the stack resets each connection", origin="resets"),
    Wrong(what="the stack sends one byte a second", origin="drips"),
    Wrong(what="5,000 clients send a byte of their head a second", attack="writes slowly"),
    Wrong(what="400 clients stay, with 256 descriptors", attack="holds", descriptors=256),
    Wrong(what="100 clients connect for each request, without pause", attack="floods"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What became of the guilty and of the innocent. Times in milliseconds; ``again`` until a stranger was served."""

    wrong: Wrong
    guilty: dict[str, int]
    requests: int
    failures: Counter[str]
    p50: float
    p99: float
    slowest: float
    again: float

    @property
    def row(self) -> str:
        what = ", ".join(f"{count} × {failure}" for failure, count in sorted(self.failures.items())) or "–"
        guilty = ", ".join(f"{count:,} × {each}" for each, count in sorted(self.guilty.items())) or "–"
        times = f"{self.p50:.1f} | {self.p99:.1f} | {self.slowest:.0f}"
        return f"| {self.wrong.what} | {guilty} | {self.requests:,} | {what} | {times} | {self.again:.0f} |"


HEADER: Final = (
    "| what goes wrong | what came of it | innocent requests | failed | p50 ms | p99 ms | slowest ms | stranger ms |"
    "\n|---|---|---|---|---|---|---|---|"
)


def faults() -> Iterator[Fault]:
    """Do one wrong after the other, each to a proxy of its own, and yield what it did."""
    for wrong in WRONGS:
        yield fault(wrong)


def fault(wrong: Wrong) -> Fault:
    """Do ``wrong`` for some seconds, and measure."""
    with ExitStack() as stack:
        monolith, shelf = (stack.enter_context(_origin(how)) for how in ("well", wrong.origin))
        proxy = stack.enter_context(_proxy(wrong, monolith, shelf))
        with Traffic(port=proxy.port, kinds=_KINDS, source=_INNOCENT) as traffic:
            until(lambda: traffic.count() > 100, "the innocent are served")
            begun = time.monotonic()
            guilty = _attacked(wrong, proxy.port)
            ended = time.monotonic()
            again = _served_again(proxy.port)
        # Looked at when the last has its answer: one that hung is counted, too.
        seen = [each for each in traffic.outcomes if begun < each.at < ended]
    times = sorted(each.seconds * 1_000 for each in seen)
    return Fault(
        wrong=wrong,
        guilty=guilty,
        requests=len(seen),
        failures=Counter(each.failure for each in seen if each.failure),
        p50=statistics.median(times),
        p99=times[int(len(times) * 0.99)],
        slowest=times[-1],
        again=again,
    )


@contextmanager
def _origin(how: str) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.chaos.origins", how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def _proxy(wrong: Wrong, monolith: str, shelf: str) -> ProxyProcess:
    state = State(stage=Stage.CANARY, share=10_000, data=Data.NONE)
    capability = Capability(name="shelf", service="shelf", routes=(Route(path="/shelf"),), state=state)
    table = seal(routing_table(monolith, [capability], shelf=shelf), PIPE).decode()
    entry = Entry(addresses=("127.0.0.1:0",))
    settings = Settings(worker="", table=table, timeouts=_TIMEOUTS, entry=entry)
    return ProxyProcess(_CODE, json.dumps(settings.to_json()), str(wrong.descriptors))


def _attacked(wrong: Wrong, port: int) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.chaos.attacks", wrong.attack, str(port), str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=6 * SECONDS, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def _served_again(port: int) -> float:
    """Return how many milliseconds after the attack a client that was never seen before is answered."""
    with Traffic(port=port, kinds={"stranger": "/"}, source="127.0.0.10") as stranger:
        until(lambda: any(each.failure is None for each in stranger.outcomes), "a stranger is served", 15)
    found = next(each for each in stranger.outcomes if each.failure is None)
    return (found.at + found.seconds - stranger.outcomes[0].at) * 1_000
