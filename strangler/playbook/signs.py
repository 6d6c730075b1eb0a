"""What can go wrong around a step, how that shows, and where the documentation tells what to do. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from strangler.playbook.link import Link, alarm, how_to
from strangler.playbook.step import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """How it shows, what it means, and where to read on."""

    shows: str
    means: str
    link: Link


def _sign(shows: str, means: str, link: Link) -> Sign:
    return Sign(shows=shows, means=means, link=link)


_REASONS: Final = how_to("sync", "what-to-do-when", "Keep both databases equal: What to do when")
_CHECK: Final = how_to("sync", "check", "Keep both databases equal: Check")
_GATES: Final = how_to("cutover", "see-whether-it-would-begin", "Move the owner: See whether it would begin")
_KILLED: Final = how_to("cutover", "when-the-command-was-killed", "Move the owner: When the command was killed")
_FORCE: Final = how_to("forced-rollback", "1-can-it-wait", "Go back by force")
_PASSED: Final = how_to(
    "cutover", "when-somebody-got-past-the-monoliths-fence", "Move the owner: When somebody got past the fence"
)

_STOPPED: Final = _sign(
    "alarm StranglerStreamStopped; “stopped” in sync status",
    "a row cannot be applied, a table was altered, or somebody wrote to the copy",
    alarm("StranglerStreamStopped"),
)
_AWAY: Final = _sign(
    "alarm StranglerSyncAway or StranglerStreamAway; “nobody applies”",
    "sync run has ended: nothing is lost, servers keep WAL",
    alarm("StranglerStreamAway"),
)
_WAL: Final = _sign(
    "alarm StranglerSlotKeepsMuch or StranglerTransactionKeepsWal",
    "a server keeps WAL, and its disk fills",
    alarm("StranglerSlotKeepsMuch"),
)
_LATE: Final = _sign(
    "alarm StranglerStreamLate; “behind” in sync status",
    "readers of the copy see what was some while ago",
    alarm("StranglerStreamLate"),
)
_DIFFER: Final = _sign(
    "alarm StranglerSidesDiffer; “different in” beside the last verify",
    "somebody wrote past the stream",
    alarm("StranglerSidesDiffer"),
)
_FAILS: Final = _sign(
    "alarm StranglerStackFails, StranglerBreakerOpen or StranglerServiceSlower",
    "the service answers badly; the proxy falls back to the monolith for reads where it can",
    alarm("StranglerStackFails", "proxy"),
)
_TABLES: Final = _sign(
    "“workers do not route by version”; alarm StranglerTablesDiffer",
    "it is committed, and a proxy has not heard of it yet",
    alarm("StranglerTablesDiffer", "proxy"),
)
_STUCK: Final = _sign(
    "alarm StranglerMoveStuck",
    "whoever moved the owner has left it, and writes are turned away",
    alarm("StranglerMoveStuck"),
)
_UNFENCED: Final = _sign(
    "alarm StranglerServiceUnfenced",
    "after a rollback by force the service's database may be written when it comes back",
    alarm("StranglerServiceUnfenced"),
)
_REACTION: Final = _sign(
    "alarm StranglerReactionLate; “changes wait” in sync status",
    "what signals did runs late, and nothing of it is lost",
    alarm("StranglerReactionLate"),
)

_SIGNS: Final[Mapping[Key, tuple[Sign, ...]]] = {
    Key.LOOK: (_AWAY, _sign("“does not answer”", "a database or its network is away; the proxies route on", _REASONS)),
    Key.PUBLISH: (
        _sign(
            "“found ...; wanted ...”",
            "a file says what cannot be",
            Link(page="reference/configuration", anchor="", title="Files"),
        ),
        _TABLES,
    ),
    Key.START: (
        _sign(
            "“✗ monolith's database: ...”",
            "a right, a setting or a table stands in the way; the SQL is printed",
            _CHECK,
        ),
        _sign(
            "“waits for transactions that write”", "a slot begins when they have ended, in any database there", _REASONS
        ),
        _sign("“does not come back as it was”", "the mapping would lose something on the way back", _CHECK),
        _WAL,
    ),
    Key.COPY: (
        _sign("“no worker takes chunks”", "Celery's workers are not running: say --inline", _REASONS),
        _sign("stage stays syncing, rows side by side", "somebody writes to the service's tables", _REASONS),
        _WAL,
    ),
    Key.STREAM: (_STOPPED, _AWAY, _LATE, _WAL, _DIFFER),
    Key.OBSERVE: (
        _sign(
            "“the fence of ... waited for ...; nothing is changed”",
            "somebody writes these tables in a long transaction",
            how_to("observe-writers", "what-it-may-say", "See who writes: What it may say"),
        ),
        _AWAY,
    ),
    Key.READS: (_FAILS, _LATE, _STOPPED, _TABLES),
    Key.CUTOVER: (
        _sign("“stays with its owner: GATE: ...”", "a gate does not hold; nothing was begun", _GATES),
        _sign("“(aborted)”", "it was not done within the pause, and everything was taken back", _GATES),
        _STUCK,
        _sign(
            "an error of SQLSTATE SF001 in a log",
            "a writer past the proxy meets the fence",
            how_to("observe-writers", "read-the-report", "See who writes: Read the report"),
        ),
        _REACTION,
    ),
    Key.MOVE: (_STUCK, _sign("“is being moved”", "a command was killed, or is still at it", _KILLED)),
    Key.BAR: (_sign("writes are answered with 503, or fail", "the service's database is away", _FORCE), _UNFENCED),
    Key.CLEAR: (
        _sign("alarm StranglerKilled", "it was killed, and nobody has cleared that", alarm("StranglerKilled", "proxy")),
    ),
    Key.RETIRE: (
        _sign(
            "“propose it anew”",
            "it was changed since it was proposed, or a week is over",
            how_to("retire", "", "Retire the monolith's side"),
        ),
        _sign("“may have been passed”", "somebody got past the monolith's fence", _PASSED),
        _STOPPED,
        _REACTION,
        _FAILS,
    ),
    Key.COPY_KEPT: (_STOPPED, _AWAY, _WAL),
    Key.END: (
        _FAILS,
        _sign(
            "SQLSTATE SF001",
            "code of the monolith still writes there",
            how_to("retire", "drop-the-monoliths-tables", "Retire: Drop the tables"),
        ),
    ),
}
_BARE: Final = (_FAILS, _TABLES)


def signs(key: Key, *, has_tables: bool) -> tuple[Sign, ...]:
    """Return what can go wrong around a step; of what has no tables, no stream can."""
    if not has_tables and key in (Key.READS, Key.END):
        return _BARE
    return _SIGNS[key]


def every() -> tuple[Sign, ...]:
    """Return all signs, each once."""
    return tuple(dict.fromkeys(each for found in _SIGNS.values() for each in found))
