"""Pushing a committed routing table to the proxies, and hearing that every live worker routes by it.

Valkey carries the push and the quick acknowledgements; the control database carries both as well, more slowly (workers
look once a second), so that neither is needed for the other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from strangler.ledger.errors import Unacknowledged
from strangler.ledger.ledger import Change, Ledger, Publication
from strangler.project import Project

TABLE: Final = "strangler:table"
VERSION: Final = "strangler:table:version"
TABLES: Final = "strangler:tables"
WORKERS: Final = "strangler:workers"
ACKS: Final = "strangler:acks"

# A worker says every second that it is there; three missed beats and it is not waited for.
LIVE_S: Final = 3.0
# How often the workers' own words are read again while acknowledgements are awaited.
_LOOK_S: Final = 0.05
WAIT_S: Final = 5.0
_FORGET_S: Final = 3_600.0

# Never replaces a newer table by an older one: two publishers may finish in the other order than they committed.
_PUT: Final = """
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[2]) or '0') then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], ARGV[1])
return redis.call('PUBLISH', ARGV[3], ARGV[2]) + 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a worker acknowledges of a hold, by its ``id``: how many writes are under way, and how many wait."""

    id: int
    in_flight: int
    parked: int = 0

    @property
    def is_still(self) -> bool:
        return self.in_flight == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker of a proxy: which version it routes by, and when it was last heard of, in seconds before now.

    ``held`` is what it acknowledges of the holds that its table asks for, by capability.
    """

    id: str
    version: int
    age: float
    about: str
    held: Mapping[str, Held] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """How a publication arrived: by which way, at how many workers, within how many milliseconds of the command."""

    version: int
    workers: int
    pushed: bool
    ms: float


def late(workers: Iterable[Worker], version: int) -> list[Worker]:
    """Return the live workers that do not yet route by ``version``."""
    return [worker for worker in workers if worker.age <= LIVE_S and worker.version < version]


def writing(workers: Iterable[Worker], capability: str, hold: int, lease_s: float = 0.0) -> list[Worker]:
    """Return the workers that may still have writes of ``capability`` under way in spite of the hold of that id.

    One that was not heard of for as long as it is waited for, and for the lease, parks by its own clock.
    """
    silent = max(LIVE_S, lease_s)
    return [each for each in workers if each.age <= silent and not _is_still(each.held.get(capability), hold)]


def _is_still(held: Held | None, hold: int) -> bool:
    return held is not None and held.id == hold and held.is_still


def newest_words(words: Iterable[Worker]) -> dict[str, Worker]:
    """Return each worker's best word: it may be heard of twice, through Valkey and through the database."""
    best: dict[str, Worker] = {}
    for word in words:
        other = best.get(word.id)
        if other is None:
            best[word.id] = word
        else:
            best[word.id] = Worker(
                id=word.id,
                version=max(word.version, other.version),
                age=min(word.age, other.age),
                about=word.about or other.about,
                held=_newest_held(word.held, other.held),
            )
    return best


def _newest_held(one: Mapping[str, Held], other: Mapping[str, Held]) -> dict[str, Held]:
    """Return what was said last. Under one hold none begins: who said that fewer are under way said it later."""
    names = one.keys() | other.keys()
    said = {name: [each[name] for each in (one, other) if name in each] for name in names}
    return {name: max(held, key=lambda each: (each.id, -each.in_flight)) for name, held in said.items()}


class Broker:
    """Valkey, as far as publishing needs it. Every call may raise ``redis.RedisError``."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(
            url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0)
        )
        self._acks: redis.client.PubSub | None = None

    def close(self) -> None:
        if self._acks is not None:
            self._acks.close()
        self._client.close()

    def listen(self) -> None:
        """Subscribe to acknowledgements; done before publishing, so that none is missed."""
        if self._acks is None:
            self._acks = self._client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
            self._acks.subscribe(ACKS)

    def put(self, publication: Publication) -> None:
        """Store and push a table, unless a newer one is there."""
        self._client.eval(_PUT, 2, TABLE, VERSION, publication.version, publication.sealed, TABLES)

    def version(self) -> int:
        return int(self._client.get(VERSION) or 0)

    def workers(self) -> list[Worker]:
        seconds, micros = self._client.time()
        raw: Any = self._client.hgetall(WORKERS)
        now = seconds + micros / 1e6
        return [_worker(name.decode(), json.loads(text), now) for name, text in raw.items()]

    def forget(self, workers: Iterable[str]) -> None:
        names = list(workers)
        if names:
            self._client.hdel(WORKERS, *names)

    def acknowledged(self, wait_s: float) -> Worker | None:
        """Return the next acknowledgement heard within ``wait_s`` seconds."""
        if self._acks is None:
            return None
        message = self._acks.get_message(timeout=wait_s)
        if message is None or message["type"] != "message":
            return None
        word = json.loads(message["data"])
        return Worker(id=word["worker"], version=int(word["version"]), age=0.0, about="", held=_held(word))


def _worker(name: str, word: dict[str, Any], now: float) -> Worker:
    age = max(0.0, now - float(word["seen_at"]))
    return Worker(id=name, version=int(word["version"]), age=age, about=str(word["about"]), held=_held(word))


def _held(word: Mapping[str, Any]) -> dict[str, Held]:
    return {
        name: Held(id=int(each["id"]), in_flight=int(each["in_flight"]), parked=int(each["parked"]))
        for name, each in (word.get("held") or {}).items()
    }


class Publisher:
    """The ledger with the way to the proxies: changes go through here, so that "done" means routed by."""

    def __init__(self, ledger: Ledger, broker: Broker) -> None:
        self.ledger = ledger
        self.broker = broker

    @classmethod
    def open(cls, project: Project) -> Publisher:
        """Connect to the control database; Valkey is connected to when it is needed. Raises as ``Ledger.open``."""
        broker = Broker(project.control.redis.reveal())
        return cls(Ledger.open(project), broker)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *exc: object) -> None:
        self.broker.close()
        self.ledger.connection.close()

    def change(
        self, change: Change, project: Project, *, wait_s: float | None = WAIT_S
    ) -> tuple[Publication, Acknowledgement]:
        """Make a transition, push it, and wait until every live worker routes by it (``wait_s`` None: do not).

        Raises what ``Ledger.apply`` raises, and ``Unacknowledged`` when the time is over: then it is committed.
        """
        started = time.monotonic()
        self.listen()
        publication = self.ledger.apply(change, project.capabilities.get(change.capability))
        return publication, self.push(publication, started=started, wait_s=wait_s)

    def enrol(
        self, project: Project, *, who: str, reason: str, wait_s: float | None = WAIT_S, drop: Collection[str] = ()
    ) -> tuple[Publication | None, Acknowledgement | None]:
        """Bring the project's files into force; both are None when they already were."""
        started = time.monotonic()
        self.listen()
        publication = self.ledger.enrol(project, who=who, reason=reason, above=self._seen(), drop=drop)
        if publication is None:
            self.repair()
            return None, None
        return publication, self.push(publication, started=started, wait_s=wait_s)

    def push(self, publication: Publication, *, started: float, wait_s: float | None) -> Acknowledgement:
        pushed = True
        try:
            self.broker.put(publication)
        except redis.RedisError:
            pushed = False
        if wait_s is None:
            return Acknowledgement(version=publication.version, workers=0, pushed=pushed, ms=_ms(started))
        version = publication.version
        heard, waiting = self._await(
            lambda words: late(words, version), pushed=pushed, deadline=time.monotonic() + wait_s
        )
        if waiting:
            raise Unacknowledged(_unacknowledged(version, waiting, len(heard)))
        workers = sum(worker.age <= LIVE_S for worker in heard)
        return Acknowledgement(version=version, workers=workers, pushed=pushed, ms=_ms(started))

    def await_hold(self, capability: str, hold: int, *, lease_s: float, deadline: float) -> list[Worker]:
        """Wait until no worker has a write of ``capability`` under way; return all that were heard of.

        Raises ``Unacknowledged`` naming those that have at ``deadline``, on the monotonic clock.
        """
        self.listen()
        heard, waiting = self._await(
            lambda words: writing(words, capability, hold, lease_s), pushed=True, deadline=deadline
        )
        if waiting:
            raise Unacknowledged(_unheld(capability, hold, waiting, len(heard)))
        return heard

    def repair(self) -> bool:
        """Push the table in force again when the broker has an older one; return whether that was done.

        Forgets workers that were not heard of for an hour, in passing. A broker that is down is left for the next
        time: the workers look into the control database meanwhile.
        """
        newest = self.ledger.newest()
        try:
            self.broker.forget(worker.id for worker in self.broker.workers() if worker.age > _FORGET_S)
            if newest is None or self.broker.version() >= newest.version:
                return False
            self.broker.put(newest)
        except redis.RedisError:
            return False
        return True

    def workers(self) -> list[Worker]:
        """Return every worker heard of within a minute, by whichever way it was heard."""
        words = [*self._from_broker(), *self._from_database()]
        return sorted((w for w in newest_words(words).values() if w.age < 60), key=lambda worker: worker.id)

    def _await(
        self, waits_for: Callable[[Iterable[Worker]], list[Worker]], *, pushed: bool, deadline: float
    ) -> tuple[list[Worker], list[Worker]]:
        """Hear workers until none is waited for, or ``deadline``; return all, and those that are waited for still."""
        heard: dict[str, Worker] = {}
        look = 0.0
        while True:
            # The quick way first: an acknowledgement costs no query. Who else is live is looked up now and then.
            if time.monotonic() >= look:
                heard = newest_words([*heard.values(), *self.workers()])
                look = time.monotonic() + _LOOK_S
            waiting = waits_for(heard.values())
            if not waiting or time.monotonic() > deadline:
                return list(heard.values()), waiting
            word = self._next_word(pushed)
            if word is not None and word.id in heard:
                heard = newest_words([*heard.values(), word])

    def _next_word(self, pushed: bool) -> Worker | None:
        if pushed:
            try:
                return self.broker.acknowledged(_LOOK_S)
            except redis.RedisError:
                pass
        time.sleep(_LOOK_S)
        return None

    def listen(self) -> None:
        """Be ready to hear acknowledgements: to connect for them takes its time, too."""
        try:
            self.broker.listen()
        except redis.RedisError:
            return  # the control database carries acknowledgements too

    def _seen(self) -> int:
        try:
            seen = self.broker.version()
        except redis.RedisError:
            seen = 0
        return seen

    def _from_broker(self) -> list[Worker]:
        try:
            return self.broker.workers()
        except redis.RedisError:
            return []

    def _from_database(self) -> list[Worker]:
        try:
            rows = self.ledger.connection.execute(
                "select id, version, extract(epoch from clock_timestamp() - seen_at)::float8, about,"
                " to_jsonb(worker) -> 'held' from strangler.worker"  # by way of JSON: before an upgrade it has none
            ).fetchall()
        except psycopg.OperationalError:  # what was committed stays so; the broker's word will do
            return []
        return [
            Worker(id=row[0], version=row[1], age=max(0.0, row[2]), about=row[3], held=_held({"held": row[4]}))
            for row in rows
        ]


def _unacknowledged(version: int, waiting: list[Worker], heard: int) -> str:
    names = ", ".join(f"{worker.about or worker.id} (at version {worker.version})" for worker in waiting)
    return (
        f"version {version} is committed and published, but {len(waiting)} of {heard} live workers "
        f"have not acknowledged it: {names}"
    )


def _unheld(capability: str, hold: int, waiting: list[Worker], heard: int) -> str:
    names = ", ".join(f"{each.about or each.id} ({_under_way(each.held.get(capability), hold)})" for each in waiting)
    return f"{len(waiting)} of {heard} workers may still write to {capability}: {names}"


def _under_way(held: Held | None, hold: int) -> str:
    if held is None or held.id != hold:
        return "has not acknowledged the hold"
    return f"{held.in_flight} under way"


def _ms(started: float) -> float:
    return (time.monotonic() - started) * 1_000
