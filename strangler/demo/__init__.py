"""A whole family of processes on one machine: both stacks, the engines, and the toolkit in front of them.

What it starts needs the extras ``jobs`` and ``proxy``: importing it without them raises ``ImportError``, so that
whoever asks for it hears that at once, and not from the log of a process that does not come up.
"""

from __future__ import annotations

from importlib.util import find_spec

for _name in ("celery", "httptools", "uvicorn", "uvloop"):
    if find_spec(_name) is None:
        raise ModuleNotFoundError(f"No module named {_name!r}", name=_name)
