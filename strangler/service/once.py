"""Work that is no request, in a service that is no Django: each piece takes effect once, where its data are owned.

What has taken effect is told by rows in a table of the capability, which is mapped, streamed and fenced as its others
are; ``strangler_django`` writes the same rows in a monolith. Such a table is

    create table wish_job (
      id varchar(255) primary key, name varchar(255) not null, done_at timestamptz not null, result text
    );

and whoever consumes a queue does

    async with database.connection() as connection, once(connection, "wish_job", message.id, "remind") as new:
        if new:
            await remind(connection, message)
    await message.acknowledge()

Where that raises ``NotOwner``, nothing was written: send the message to the owner's queue, under its id, and then
acknowledge it. While an owner moves neither side can be written, so one that comes back waits for a second or two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg
from psycopg import sql

from strangler.service.database import Connection
from strangler.service.fenced import refusal

# As strangler_django has it: one lock, whoever looks after the rows of a table.
_SEED: Final = 0x7374_7261


@asynccontextmanager
async def once(connection: Connection, table: str, key: str, name: str) -> AsyncIterator[bool]:
    """Yield whether the work ``key`` is to be done, in a transaction that also notes it, last.

    ``table`` may be qualified with a schema. Raises ``NotOwner`` where the fence stands, before, meanwhile or at the
    end, and what the work raises; nothing is written then.
    """
    records = sql.Identifier(*table.split("."))
    try:
        # A fence refuses a statement that changes nothing, too; and whoever has written keeps it from being raised.
        await connection.execute(sql.SQL("update {} set id = id where false").format(records))
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, %s))", (key, _SEED))
            known = sql.SQL("select from {} where id = %s").format(records)
            if (await connection.execute(known, (key,))).rowcount:
                yield False
                return
            yield True
            noted = sql.SQL("insert into {} values (%s, %s, clock_timestamp(), null) on conflict do nothing")
            if not (await connection.execute(noted.format(records), (key, name))).rowcount:
                raise psycopg.Rollback  # the other side's row has come meanwhile
    except psycopg.Error as error:
        if (refused := refusal(error)) is None:
            raise
        raise refused from error
