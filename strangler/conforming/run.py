"""The order in which a service is asked, and the findings in the order of their rules."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from strangler.conforming import bounds, contract, exposition, probes, tokens, tracing, trust
from strangler.conforming.answer import Answer, Asked, Silence
from strangler.conforming.document import NOTHING, Document, Operation
from strangler.conforming.ending import judge_end
from strangler.conforming.finding import Finding, failed, untold
from strangler.conforming.process import NotStarted, Process, started
from strangler.conforming.stopping import Ready, Stop, judge_stop
from strangler.conforming.subject import Subject
from strangler.conforming.wire import Wire

LIVE: Final = "/health/live"
# Enough to see a pattern; a service of some hundred operations is not asked for all of them.
_MOST_READS: Final = 20
_MOST_PLACES: Final = 3
_COUNTED: Final = 5
_AGAIN: Final = 3
_FLIGHTS: Final = 8
# Long enough for every flight to be in the middle of one.
_TAKE_OFF: Final = 0.2
_GLANCE: Final = 0.02
_PIECE: Final = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long anything is waited for, in seconds."""

    live: float = 1.0
    ready: float = 3.0  # a chassis gives what it asks of others two
    answer: float = 10.0
    slow: float = 12.0  # half a head is left lying for so long, a little longer than the proxy itself leaves one
    start: float = 60.0
    grace: float = 15.0  # half of Kubernetes' terminationGracePeriodSeconds


def examine(
    subject: Subject, *, limits: Bounds | None = None, command: str = "", folder: Path = Path()
) -> list[Finding]:
    """Return what is found of a service that runs; or of the one that ``command`` starts, and then of how it stops."""
    limits = limits or Bounds()
    if not command:
        return list(_Examination(subject, limits).findings())
    wire = Wire(subject.endpoint, subject.context, own={}, patience=limits.answer)
    asked = f"{command}, at {subject.endpoint}"
    if not isinstance(wire.ask(LIVE), Silence):
        return [failed("stop.start", asked, "somebody answers there already", "stop it, or leave out --run")]
    try:
        with started(command, folder) as process:
            return list(_started(subject, limits, process, wire, asked))
    except NotStarted as exc:
        return [failed("stop.start", asked, str(exc), "name a command that serves at the service's endpoint")]


def _started(subject: Subject, limits: Bounds, process: Process, wire: Wire, asked: str) -> Iterator[Finding]:
    def answers() -> bool:
        came = wire.ask(subject.ready)
        return isinstance(came, Answer) and came.status == 200

    if not process.wait_until(answers, limits.start):
        said = process.log.strip().splitlines()[-1:] or ["nothing"]
        told = f"not ready after {limits.start:g} s" if process.code is None else f"ended with {process.code}"
        yield failed("stop.start", asked, f"{told}; it wrote last: {said[0]:.200}", "have it become ready")
        return
    examination = _Examination(subject, limits, process)
    yield from examination.findings()
    yield from judge_stop(examination.stop(process))


@dataclass(slots=True)
class _Ids:
    """By which our requests are found again."""

    request: str = field(default_factory=lambda: f"strangler-check-{os.urandom(8).hex()}")
    trace: str = field(default_factory=lambda: os.urandom(16).hex())

    @property
    def headers(self) -> dict[str, str]:
        parent = f"00-{self.trace}-{os.urandom(8).hex()}-01"
        return {"User-Agent": "strangler-check", "Accept": "*/*", "X-Request-ID": self.request, "traceparent": parent}


class _Examination:
    """One service, asked once; answers are kept for the rules that come later."""

    def __init__(self, subject: Subject, limits: Bounds, process: Process | None = None) -> None:
        self._subject = subject
        self._limits = limits
        self._process = process
        self._ids = _Ids()
        self._wire = Wire(subject.endpoint, subject.context, own=self._ids.headers, patience=limits.answer)
        self._seen: list[Asked] = []
        self._document: Document | None = None
        self._reads: list[tuple[Operation, str, Asked]] = []
        self._errors: list[tuple[str, Operation | None, Answer]] = []
        self._word = f"{NOTHING}-{os.urandom(4).hex()}"

    def findings(self) -> Iterator[Finding]:
        live = self._ask(LIVE)
        yield probes.judge_probe("probes.live", LIVE, live, seconds=self._limits.live)
        if isinstance(live, Silence) and live.refused:
            return
        with ThreadPoolExecutor(1) as beside:
            # It takes longest, and only waits.
            patience = beside.submit(self._patience)
            yield from self._in_turn()
            yield bounds.judge_patience(patience.result(), self._limits.slow)

    def _in_turn(self) -> Iterator[Finding]:
        ready = self._ask(self._subject.ready)
        yield probes.judge_probe("probes.ready", self._subject.ready, ready, seconds=self._limits.ready)
        found, self._document = contract.judge_document(self._ask(contract.DOCUMENT))
        contracts = list(self._contract()) if self._document is not None else []
        elsewhere = self._ask(f"{self._subject.ready}-{self._word}")
        reads = [came for _, _, came in self._reads]
        yield from probes.judge_honesty(self._subject.ready, ready, elsewhere, reads)
        yield found
        yield from contracts
        yield from trust.judge_identity([*self._places()])
        yield from self._headers()
        yield from self._metrics()
        yield from self._bounds()

    def _ask(self, target: str, headers: dict[str, str] | None = None) -> Asked:
        came = self._wire.ask(target, headers)
        self._seen.append(came)
        return came

    # --- contract ---

    def _contract(self) -> Iterator[Finding]:
        document = self._document
        assert document is not None  # noqa: S101 -- asked only then
        yield contract.judge_coverage(document, self._subject.routes)
        for operation, target in self._targets(document):
            came = self._ask(target)
            self._reads.append((operation, target, came))
            self._note(f"GET {target}", operation, came)
            yield contract.judge_answer(document, operation, target, came)
            if (found := judge_end(operation, target, came)) is not None:
                yield found
        if not self._reads:
            told = "no GET that the document tells all parameters of"
            yield untold("contract.answers", "nothing", told, "give parameters an example or a default")
        for operation, target in self._nowhere(document):
            self._note(f"GET {target}", operation, self._ask(target))
        self._note(f"GET {self._unknown}", None, self._ask(self._unknown))
        yield from contract.judge_errors(document, self._errors)

    def _note(self, asked: str, operation: Operation | None, came: Asked) -> None:
        if isinstance(came, Answer):
            self._errors.append((asked, operation, came))

    def _targets(self, document: Document) -> list[tuple[Operation, str]]:
        reads = [each for each in document.operations if contract.is_read(each, self._subject.routes)]
        return [(each, target) for each in reads if (target := document.target(each))][:_MOST_READS]

    def _nowhere(self, document: Document) -> list[tuple[Operation, str]]:
        reads = [each for each in document.operations if contract.is_read(each, self._subject.routes)]
        return [(each, target) for each in reads if (target := document.missing(each))][:_MOST_READS]

    @cached_property
    def _unknown(self) -> str:
        """An address under the service's first route, at which there is nothing."""
        first = next(iter(self._subject.routes), None)
        steps = [each or NOTHING for each in first.segments] if first is not None else []
        return "/" + "/".join([*steps, self._word])

    # --- identity ---

    def _places(self) -> Iterator[trust.Place]:
        known = [target for _, target, came in self._reads if isinstance(came, Answer)]
        for target in [*known[:_MOST_PLACES], self._unknown]:
            made = tokens.made(self._subject.seed, time.time())  # anew: they are good for half a minute
            sent = {kind: {tokens.HEADER: token} for kind, token in made.items()}
            valid = sent.get(tokens.VALID)
            yield trust.Place(
                target=target,
                anonymous=self._ask(target),
                again=self._ask(target),
                tokens={kind: self._ask(target, headers) for kind, headers in sent.items()},
                claimed=self._ask(target, dict(trust.CLAIMS)),
                after=None if valid is None else self._wire.ask_after(target, valid),
            )

    # --- headers, metrics ---

    def _headers(self) -> Iterator[Finding]:
        target = self._reads[0][1] if self._reads else self._unknown
        usual = self._ask(target)
        nonsense = {
            "traceparent": "ff-nonsense",
            "X-Request-ID": "a" * 4_000,
            "Strangler-Deadline": "soon",
        }
        log = self._process.log if self._process is not None else None
        yield tracing.judge_ids(self._ids.request, self._ids.trace, self._seen, log)
        yield from tracing.judge_nonsense(
            usual, [(name, self._ask(target, {name: value})) for name, value in nonsense.items()]
        )

    def _metrics(self) -> Iterator[Finding]:
        target = self._reads[0][1] if self._reads else self._unknown
        before = self._ask(exposition.METRICS)
        for each in [*[target] * (_COUNTED - 1), self._unknown]:
            self._ask(each)
        after = self._ask(exposition.METRICS)
        yield from exposition.judge_metrics(before, after, asked=_COUNTED, told=self._word)

    # --- limits ---

    def _bounds(self) -> Iterator[Finding]:
        head = self._head("GET", LIVE)
        yield bounds.judge_head(self._wire.send(_large_head(head), seconds=self._limits.answer))
        yield self._judge_body()
        yield self._judge_slow(head)
        yield self._judge_deadline()

    def _head(self, method: str, target: str) -> bytes:
        """Return a request's head without the empty line that ends it."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._wire.endpoint.authority}"]
        lines += [f"{name}: {value}" for name, value in self._ids.headers.items()]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def _judge_body(self) -> Finding:
        method, target = self._written()
        came = self._wire.send(_large_body(self._head(method, target)), seconds=self._limits.ready)
        return bounds.judge_body(f"{method} {target}", came)

    def _written(self) -> tuple[str, str]:
        """Return an operation that takes a body; else one that should not."""
        document = self._document
        for each in document.operations if document is not None else ():
            target = document.target(each) if document is not None else None
            if each.method in ("POST", "PUT", "PATCH") and target is not None:
                return each.method, target
        return "POST", self._unknown

    def _judge_slow(self, head: bytes) -> Finding:
        with ExitStack() as held:
            count = 0
            for _ in range(bounds.SLOW_CLIENTS):
                try:
                    slow = held.enter_context(closing(self._wire.open()))
                    slow.sendall(head)
                    count += 1
                except OSError:
                    break
            return bounds.judge_slow(self._ask(LIVE), usual=self._limits.live, held=count)

    def _patience(self) -> float | None:
        """Return after how many seconds half a head is sent away, None for not while we wait."""
        began = time.monotonic()
        came = self._wire.send([self._head("GET", LIVE)], seconds=self._limits.slow)
        waited = time.monotonic() - began
        return waited if waited < self._limits.slow and (came.closed or came.status is not None) else None

    def _judge_deadline(self) -> Finding:
        answered = [(target, came) for _, target, came in self._reads if isinstance(came, Answer)]
        if not answered:
            return untold("limits.deadline", "nothing", "no documented GET could be asked")
        target, _ = max(answered, key=lambda each: each[1].seconds)
        # Again, and the quickest: what is asked for first, or on a busy machine, may be slow for that alone.
        usual = self._quickest(target, {})
        came = self._quickest(target, {"Strangler-Deadline": str(bounds.DEADLINE_MS)})
        return bounds.judge_deadline(target, usual, came)

    def _quickest(self, target: str, headers: dict[str, str]) -> Asked:
        came = [self._ask(target, headers) for _ in range(_AGAIN)]
        return min(came, key=lambda each: each.seconds if isinstance(each, Answer) else self._limits.answer)

    # --- the end ---

    def stop(self, process: Process) -> Stop:
        """Ask the process to stop while requests are under way, and return what was seen."""
        answered = [(target, came.seconds) for _, target, came in self._reads if isinstance(came, Answer)]
        target, usual = max(answered, key=lambda each: each[1], default=(self._unknown, 0.0))
        flights = Flights(self._wire, target)
        with ThreadPoolExecutor(_FLIGHTS) as pool:
            asked = [pool.submit(flights.fly) for _ in range(_FLIGHTS)]
            time.sleep(_TAKE_OFF + min(usual / 2, _TAKE_OFF))
            flights.landing.set()
            process.ask_to_stop()
            began = time.monotonic()
            ready = list(self._watch(process, began))
            code = process.ends(max(0.0, self._limits.grace - (time.monotonic() - began)))
            seconds = time.monotonic() - began
            came = [each.result() for each in asked]
        return Stop(target=target, ready=ready, flights=came, code=code, seconds=seconds, grace=self._limits.grace)

    def _watch(self, process: Process, began: float) -> Iterator[Ready]:
        """Ask for ready until the process has ended, or its time is over."""
        wire = Wire(self._subject.endpoint, self._subject.context, own=self._ids.headers, patience=self._limits.ready)
        while process.code is None and (at := time.monotonic() - began) < self._limits.grace:
            yield Ready(at=at, came=wire.ask(self._subject.ready))
            time.sleep(_GLANCE)


class Flights:
    """Requests one after the other, until ``landing``; those that are under way then are what counts."""

    def __init__(self, wire: Wire, target: str) -> None:
        self.landing = threading.Event()
        self._wire = wire
        self._target = target

    def fly(self) -> Asked:
        """Return what came of the request that was under way at ``landing``."""
        came: Asked = Silence(why="no connection", refused=True)
        while not self.landing.is_set():
            try:
                kept = self._wire.kept()
            except OSError as exc:
                return Silence(why=str(exc), refused=True)
            with closing(kept):
                while not kept.is_over and not self.landing.is_set():
                    came = kept.ask(self._target)
        return came


def _large_head(head: bytes) -> Iterator[bytes]:
    yield head
    for number in range(bounds.HEAD_BYTES // _PIECE):
        yield b"X-Filler-%d: %b\r\n" % (number, b"a" * (_PIECE - 20))
    yield b"\r\n"


def _large_body(head: bytes) -> Iterator[bytes]:
    yield head + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % bounds.DECLARED_BYTES
    yield b"["
    for _ in range(bounds.BODY_BYTES // _PIECE):
        yield b" " * _PIECE
