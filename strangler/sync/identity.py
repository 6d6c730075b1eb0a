"""Whether a stream is still the one that was begun: a slot or publication made anew loses rows without a word.

A recreated slot takes the position of its predecessor and skips what lies between; a table that was taken out of a
publication and put back has a hole. So what identifies them is kept with the watermark and compared.
"""

from __future__ import annotations

from typing import Any

import psycopg

from strangler.sync.errors import StreamBroken
from strangler.sync.pgoutput import lsn_of, lsn_text
from strangler.sync.walsender import Server, Walsender
from strangler.sync.watermark import Standing

_PUBLICATION = """
select jsonb_build_object('oid', p.oid::bigint, 'tables',
  (select jsonb_agg(jsonb_build_array(r.prrelid::bigint, r.oid::bigint, r.xmin::text) order by r.prrelid)
   from pg_publication_rel r where r.prpubid = p.oid))
from pg_publication p where p.pubname = %s
"""
_SLOT = """
select plugin, database = current_database(), confirmed_flush_lsn::text, wal_status
from pg_replication_slots where slot_name = %s
"""
_ANEW = (
    "rows between may be missing: strangler sync refill fills the tables from the owner's; or remove this sync and"
    " start it anew"
)


def publication(source: psycopg.Connection, name: str) -> Any:
    """Return what identifies a publication and its tables; None where there is none."""
    row = source.execute(_PUBLICATION, [name]).fetchone()
    return row[0] if row else None


def prove_server(server: Server, at: Standing, mapping: str) -> None:
    """Raise ``StreamBroken`` when what ``at`` was begun with is not what is there; ``mapping`` is a digest of it."""
    if at.given_up is not None:
        raise StreamBroken(at.given_up)
    if mapping != at.mapping:
        raise StreamBroken(
            f"the mapping has changed since {at.name} was begun, and the rows that are here were made by that one;"
            " put it back, or remove this sync and start it anew"
        )
    if server.system != at.system:
        raise StreamBroken(f"{at.name} was begun on another server ({at.system}, and this is {server.system}); {_ANEW}")


def prove_history(sender: Walsender, source: psycopg.Connection, server: Server, at: Standing) -> None:
    """Raise ``StreamBroken`` when the server is another than before, and lacks something that was applied.

    A standby that has become the server goes on from all that it had: where that is more than was applied, and the slot
    came along with it, nothing is missing.
    """
    lacks = lacking(sender, server, at)
    if lacks is not None:
        raise StreamBroken(f"{lacks}; {_ANEW}")
    if server.timeline == at.timeline:
        return
    since = _since(server, at)
    if at.copying:  # a chunk is ahead of the stream, and may have what the new server lacks
        raise StreamBroken(f"{since}, while its tables were copied; {_ANEW}")
    try:
        prove_slot(source, at)
    except StreamBroken as exc:
        raise StreamBroken(f"{since}, and {exc}") from exc


def lacking(sender: Walsender, server: Server, at: Standing) -> str | None:
    """Return why a server lacks something that was applied, or may; None where it has all of it.

    Two standbys that were promoted from one server, one after the other, may call their timelines alike.
    """
    if server.timeline == at.timeline:
        if at.lsn <= server.position:
            return None
        return f"the server ends at {lsn_text(server.position)}, before the {lsn_text(at.lsn)} that was applied"
    try:
        left = sender.left_at(at.timeline, server.timeline) if server.timeline > at.timeline else None
    except StreamBroken as exc:
        return f"{_since(server, at)}, and whether it has what was applied cannot be told: {exc}"
    if left is None:
        return f"{_since(server, at)}, from another past than this stream's"
    if at.lsn > left:
        return f"{_since(server, at)} at {lsn_text(left)}, and lacks what was applied from there to {lsn_text(at.lsn)}"
    return None


def _since(server: Server, at: Standing) -> str:
    return f"the server was promoted or restored since (timeline {server.timeline} after {at.timeline})"


def prove_publication(source: psycopg.Connection, at: Standing) -> None:
    """Raise ``StreamBroken`` when the publication is not the one of the beginning: rows are left out without a word."""
    if publication(source, at.name) != at.publication:
        raise StreamBroken(f"publication {at.name} was dropped, made anew or altered; {_ANEW}")


def prove_slot(source: psycopg.Connection, at: Standing) -> None:
    """Raise ``StreamBroken`` when the slot is not the one of the beginning, or keeps no longer what is needed."""
    row = source.execute(_SLOT, [at.name]).fetchone()
    if row is None:
        raise StreamBroken(f"slot {at.name} is gone; {_ANEW}")
    plugin, here, confirmed, wal = row
    if plugin != "pgoutput" or not here:
        raise StreamBroken(f"slot {at.name} is another database's, or another plugin's; {_ANEW}")
    if wal == "lost":
        raise StreamBroken(f"slot {at.name} was given up by the server, which needed the space; {_ANEW}")
    if confirmed is not None and lsn_of(confirmed) > at.lsn:
        raise StreamBroken(
            f"slot {at.name} is at {confirmed}, past the {lsn_text(at.lsn)} that was applied: it was made anew; {_ANEW}"
        )
