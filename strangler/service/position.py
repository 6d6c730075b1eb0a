"""How far what a request wrote is in the WAL of the service's database, told to the proxy in the answer.

The proxy has the visitor carry it, and sends later reads to a stack that has it. It is asked for when the application
begins its answer, in a statement of its own: inside of the transaction that wrote it would be too early.
"""

from __future__ import annotations

from typing import Final

HEADER: Final = "Strangler-Position"
QUERY: Final = "SELECT pg_current_wal_insert_lsn()::text"

# RFC 9110, section 9.2.1.
SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
