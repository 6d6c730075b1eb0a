"""The use case: the tables of who does not own filled from the owner's, and both streams begun anew.

For when one of the two databases is another than it was: put back to yesterday, lost and made anew, failed over. No
stream goes on over that. What the owner has is read in one snapshot, what differs is written into the tables that do
not own, and the streams go on from there: see ``anew`` and ``levelling``. The owner is neither fenced nor kept waiting,
and stays who it is.

That it is the owner's database that was put back nobody may overlook: what only the other side still has would go. So
whatever tells of that is looked at first.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import psycopg

from strangler.capability import RaiseFence, Refused, Stack, State, transit
from strangler.ledger import Line, Publisher
from strangler.project import Project, TableMapping
from strangler.project.referred import going_back
from strangler.sync import anew as beginning
from strangler.sync import fence, fencing, filling, identity, install, raising, reacting, transfer, watermark
from strangler.sync.anew import Anew, anew
from strangler.sync.check import policies_of
from strangler.sync.direction import Direction, Way, directions
from strangler.sync.errors import SyncError
from strangler.sync.fence import Claim
from strangler.sync.levelling import Levelled, Levelling
from strangler.sync.mapping import condition
from strangler.sync.pgoutput import lsn_of, lsn_text
from strangler.sync.plan import Progress
from strangler.sync.rewriting import Rewritten, tagged
from strangler.sync.syncing import Asked, leading
from strangler.sync.verdicts import Tell, keeping
from strangler.sync.verify import Progress as Comparing
from strangler.sync.verify import Verdict, Verifying
from strangler.sync.walsender import Walsender


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What tells whether it is the owner that was put back.

    ``claims`` are those of the stacks' databases, None where there is none. Of the stream into the owner's,
    ``applied`` is how far that database knows it to be, None where it knows of none, ``confirmed`` how far its slot is,
    None where that is gone; the one that ``leads`` from the owner has its slot there still, or not. Where a refill has
    ``begun`` the first anew, and was cut short, none of it says anything. ``doubt`` is what the other database knows of
    the owner's server, and does not fit it: it had more from there than there is.
    """

    claims: Mapping[Stack, Claim | None]
    applied: int | None
    confirmed: int | None
    leads: bool
    begun: bool = False
    doubt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refilled:
    """What was written, by the names of the tables that do not own; ``stack`` is where."""

    stack: Stack
    tables: Mapping[str, Rewritten] = field(default_factory=dict)

    @property
    def whole(self) -> Rewritten:
        return sum(self.tables.values(), Rewritten())


def hold_words(capability: str) -> str:
    """Return why a stream does not go on while its tables are filled."""
    return (
        f"the tables that it ends in are being filled from the owner's; where nobody does that any more, run again:"
        f" strangler sync refill {capability}"
    )


def refuse(state: State, seen: Seen, *, accept_loss: bool) -> None:
    """Raise ``Refused`` where the owner's tables are not what the others may be made after."""
    owner, other = state.owner, state.owner.other
    own, others = seen.claims.get(owner), seen.claims.get(other)
    for stack, claim in ((owner, own), (other, others)):
        if claim is not None and claim.epoch > state.epoch:
            raise Refused(
                f"the {stack}'s database stands at epoch {claim.epoch}, and the ledger at {state.epoch}: restore the"
                " newer ledger first; nothing was changed"
            )
    was = f"the {owner} owns, and its database"
    if own is None:
        raise Refused(f"{was} has no fence of it: it is not the one that owned, and the {other}'s rows would go")
    if own.raised:
        raise Refused(f"{was} is fenced: it was restored from before it owned, and the {other}'s rows would go")
    if state.move is not None and own.epoch < state.move.epoch:
        raise Refused(
            f"{was} stands at epoch {own.epoch}, before the {state.move.epoch} of the move that made it the owner: it"
            f" was restored from before that, and the {other}'s rows would go"
        )
    if seen.begun or accept_loss:
        return
    doubt = seen.doubt or _behind(seen)
    if doubt is not None:
        raise Refused(
            f"{was} was put back itself, as it seems: {doubt}. What only the {other} has since would go; look at that"
            " first (strangler sync verify), and say --accept-loss where the owner's rows count all the same"
        )
    if seen.confirmed is None and not seen.leads:
        raise Refused(
            f"neither stream has its slot any more, and nothing tells whose database was put back: that of the {owner},"
            f" which owns, or the {other}'s; look at what only the {other} has (strangler sync verify), and say"
            " --accept-loss where the owner's rows count"
        )


def _behind(seen: Seen) -> str | None:
    """Return how the owner's database knows less of the stream into it than was confirmed; None where it does not."""
    if seen.applied is not None and (seen.confirmed is None or seen.confirmed <= seen.applied):
        return None
    applied = "nothing" if seen.applied is None else lsn_text(seen.applied)
    confirmed = "" if seen.confirmed is None else f", and its slot is at {lsn_text(seen.confirmed)}"
    return f"of the stream that comes into it, it knows {applied}{confirmed}"


def refill(
    asked: Asked, project: Project, publisher: Publisher, *, accept_loss: bool = False, chunk_rows: int | None = None
) -> Generator[Progress, None, Refilled]:
    """Make the tables of who does not own what the mapping makes of the owner's, and yield how far that is.

    Run again, it begins anew, and writes what differs still. Raises ``Refused`` where the owner is being moved, nothing
    is streamed, or the owner's database was put back; and as a stream's beginning and ``levelling`` do.
    """
    state = publisher.ledger.state(asked.capability)
    transit(state, RaiseFence())
    forward, back = directions(project.capabilities[asked.capability], project)
    ahead, into = (forward, back) if state.owner is Stack.MONOLITH else (back, forward)
    words = hold_words(asked.capability)
    done: dict[str, Rewritten] = {}
    with _alone(ahead):
        refuse(state, _look(ahead, into, words), accept_loss=accept_loss)
        _shut(asked, project, publisher, ahead, state.epoch)
        with ahead.open() as ends:
            for database, direction in zip(ends, (into, ahead), strict=True):
                beginning.hold(database, direction.name, words)
        for direction in (into, ahead):
            # What is a reference is the monolith's always.
            tables = [each for each in direction.tables if each.reference or direction is ahead]
            with anew(direction, words) as begun:
                if tables:
                    done |= yield from _filled(begun, tables, _wheres(forward, direction), chunk_rows)
                begun.open()
    found = Refilled(stack=state.owner.other, tables=done)
    evidence = {"stack": str(found.stack), **asdict(found.whole), "accept_loss": accept_loss}
    publisher.ledger.note(Line(asked.capability, "sync-refill", asked.who, asked.reason, evidence))
    return found


def prove(capability: str, project: Project, tell: Tell) -> Generator[Comparing, None, Verdict]:
    """Compare all rows as the stream from the owner makes them, once both go on, and keep the verdict."""
    stream = leading(capability, project)
    for each in directions(project.capabilities[capability], project):
        filling.catch_up(each)

    def settle() -> None:
        filling.catch_up(stream)

    asked = Verifying(capability=capability, settle=settle, proving=True, way=stream.way)
    return (yield from keeping(asked, project, tell))


def _look(ahead: Direction, into: Direction, words: str) -> Seen:
    with ahead.open() as (owner, other):
        own = into.stack
        claims = {own: fence.standing(owner, ahead.capability), own.other: fence.standing(other, ahead.capability)}
        # The slot first: what is confirmed meanwhile was applied before.
        confirmed = _confirmed(other, into.name)
        at = watermark.standing(owner, into.name) if watermark.exists(owner) else None
        return Seen(
            claims=claims,
            applied=None if at is None else at.lsn,
            confirmed=confirmed,
            leads=_confirmed(owner, ahead.name) is not None,
            begun=at is not None and at.given_up == words,
            doubt=_doubt(owner, other, ahead),
        )


def _doubt(owner: psycopg.Connection, other: psycopg.Connection, ahead: Direction) -> str | None:
    """Return what the stream from the owner has brought to the other database, and the owner's server lacks."""
    at = watermark.standing(other, ahead.name) if watermark.exists(other) else None
    if at is None or not at.system:  # none was begun, or it is held only
        return None
    with Walsender(ahead.source_url, f"strangler {ahead.capability} refill") as sender:
        server = sender.server()
        if server.system != at.system:
            return f"the stream from it was begun on another server ({at.system}, and this is {server.system})"
        lacks = identity.lacking(sender, server, at)
    # A database that is made anew and filled from a dump has lost its slots, and has its publications anew.
    if _confirmed(owner, ahead.name) is None and identity.publication(owner, ahead.name) != at.publication:
        lacks = lacks or "neither the slot nor the publication of the stream from it is there as it was"
    return lacks


@contextmanager
def _alone(ahead: Direction) -> Iterator[None]:
    """Keep a second refill off. Raises ``SyncError``."""
    with transfer.open_database(ahead.target_url, ahead.target, "strangler refill") as other:
        row = other.execute(
            "select pg_try_advisory_lock(hashtextextended(%s, 0))", [f"strangler refill {ahead.capability}"]
        ).fetchone()
        if row is None or not row[0]:
            raise SyncError(f"{ahead.capability} is being refilled by somebody else; nothing was changed")
        yield


def _confirmed(source: psycopg.Connection, slot: str) -> int | None:
    """Return how far a slot of this database is, None where it has none of that name."""
    row = source.execute(
        "select confirmed_flush_lsn::text from pg_replication_slots"
        " where slot_name = %s and database = current_database()",
        [slot],
    ).fetchone()
    return lsn_of(row[0]) if row is not None and row[0] is not None else None


def _shut(asked: Asked, project: Project, publisher: Publisher, ahead: Direction, epoch: int) -> None:
    """Have nobody write the tables that are filled. Raises ``Conflict`` where the ledger is past ``epoch``."""
    with ahead.open() as ends:
        for database in ends:
            install.prepare(database)
        fencing.install(ends[1], fencing.fence_of(ahead))
    raising.raise_anew(asked, project, publisher, epoch=epoch)


def _wheres(forward: Direction, direction: Direction) -> Mapping[str, str]:
    """Return which of the target's rows are mapped at all, where a condition tells."""
    if direction.way is Way.FORWARD:
        return {}
    return {each.source: each.where for each in going_back(forward.tables) if each.where is not None}


def _filled(
    begun: Anew, tables: Sequence[TableMapping], wheres: Mapping[str, str], chunk_rows: int | None
) -> Generator[Progress, None, dict[str, Rewritten]]:
    direction, target = begun.direction, begun.target
    policies = policies_of(direction, begun.projections, target)
    chosen = [
        Levelled(
            projection=each,
            policies=policies[each.mapping.target],
            belongs=condition(wheres.get(each.mapping.target)),
        )
        for each in begun.projections
        if each.mapping in tables
    ]
    own = any(not each.reference for each in tables)

    def sound() -> None:
        begun.prove()
        if own:
            watermark.refuse_unfenced(target, direction)

    with tagged(target, direction.name):
        reacting.note(target)
        levelling = Levelling(direction, begun.source, target, begun.projections, chosen, sound)
        yield from levelling.run(chunk_rows)
    return levelling.done
