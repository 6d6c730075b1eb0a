"""``[monolith.manage]``: how the monolith's own manage.py is run, which alone knows its migrations."""

from __future__ import annotations

import re
from typing import Final

from strangler.project.section import Section
from strangler.project.values import Manage

_COMMAND: Final = 'the words of a command such as ["python", "manage.py"]'
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMED: Final = "names of letters, digits and _"


def manage_of(monolith: Section) -> Manage | None:
    """Return how manage.py is run; None without the section, which means that nobody runs it."""
    section = monolith.section("manage")
    if "manage" not in monolith.values:
        return None
    given = section.section("environment")
    for name in given.values:
        if not _NAME.fullmatch(name):
            given.problem("", f"a variable named {name!r}", _NAMED)
    manage = Manage(
        command=section.texts("command", _COMMAND),
        environment={name: given.secret(name, "a text", lambda _: True) for name in given.values},
    )
    section.close()
    return manage
