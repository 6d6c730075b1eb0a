"""Which stack may write a capability's data now, as the monolith's own database has it.

The answer is that of the fence, which decides: where it is raised here, a write is refused here. While the owner moves
it is raised in both databases, and nobody can write: then this names the service, which refuses for these moments, too.
So whoever is refused asks again and tries again, a bounded number of times.

Asked each time, since an answer that is kept is wrong when it matters: two small reads.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

MONOLITH = "monolith"
SERVICE = "service"

# Told by the catalogue alone: an error would end the transaction in which this is asked.
_MAY_READ = """
select current_user::text, has_schema_privilege(n.oid, 'usage')
       and has_column_privilege(c.oid, 'capability', 'select') and has_column_privilege(c.oid, 'raised', 'select')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'strangler_sync' and c.relname = 'claim'
"""
_TO_READ = (
    "the role {0} may not read who owns {1}: start strangler sync run again, which lets those read it who may write its"
    ' tables; or run there: grant usage on schema strangler_sync to "{0}"; grant select (capability, owner, epoch,'
    ' raised) on strangler_sync.claim to "{0}"'
)
_RAISED = "select raised from strangler_sync.claim where capability = %s"


class OwnerUnknown(ImproperlyConfigured):
    """The application's role may not read who owns: ``strangler sync run``, started again, gives it that right."""


def owner(capability: str, using: str = DEFAULT_DB_ALIAS) -> str:
    """Return ``MONOLITH`` or ``SERVICE``: who may write the capability's data, by the database ``using``.

    What no stream was ever begun for is the monolith's. Raises ``OwnerUnknown``.
    """
    connection = connections[using]
    if connection.vendor != "postgresql":
        return MONOLITH
    with connection.cursor() as cursor:
        cursor.execute(_MAY_READ)
        found = cursor.fetchone()
        if found is None:
            return MONOLITH
        if not found[1]:
            raise OwnerUnknown(_TO_READ.format(found[0], capability))
        cursor.execute(_RAISED, [capability])
        row = cursor.fetchone()
    return SERVICE if row is not None and row[0] else MONOLITH
