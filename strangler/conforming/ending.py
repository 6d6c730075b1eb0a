"""Whether what is about to go says so: ``Deprecation`` (RFC 9745) and ``Sunset`` (RFC 8594)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from strangler.conforming.answer import Answer, Asked
from strangler.conforming.document import Operation
from strangler.conforming.finding import Finding, failed, passed

# A date of structured fields (RFC 9651, section 3.3.7): seconds since 1970.
_DATE: Final = re.compile(r"@(-?[0-9]{1,12})")
RULE: Final = "contract.deprecated"


def judge_end(operation: Operation, target: str, came: Asked) -> Finding | None:
    """Say whether the document and the headers agree that ``operation`` is deprecated; None where neither says so."""
    if not isinstance(came, Answer) or came.status >= 500:
        return None
    declared = operation.told.get("deprecated") is True
    since, sunset = came.header("deprecation"), came.header("sunset")
    if not (declared or since or sunset):
        return None
    asked = f"GET {target}, which the document calls {'deprecated' if declared else 'current'}"
    told = f"Deprecation: {since or 'none'}, Sunset: {sunset or 'none'}"
    wanted = _wrong(declared, since, sunset)
    return failed(RULE, asked, told, wanted) if wanted else passed(RULE, asked, told)


def _wrong(declared: bool, since: str, sunset: str) -> str:
    """Return what would do; "" when all is well."""
    if not since:
        return "send Deprecation with the date since when, as in @1767225600" if declared or sunset else ""
    if not declared:
        return "say deprecated: true of the operation in the document"
    begins = _DATE.fullmatch(since)
    if begins is None:
        return "write the date as RFC 9745 has it: @ and the seconds since 1970"
    return _wrong_sunset(int(begins[1]), sunset) if sunset else ""


def _wrong_sunset(since: int, sunset: str) -> str:
    try:
        ends = parsedate_to_datetime(sunset)
    except ValueError:
        return "write Sunset as an HTTP date, as in Thu, 31 Dec 2026 23:59:59 GMT"
    if ends.tzinfo is None or ends < datetime.fromtimestamp(since, UTC):
        return "let Sunset, in GMT, not be earlier than Deprecation"
    return ""
