"""How a case is called in the list of tests."""

from __future__ import annotations

from strangler.regression import Case


def shown(case: Case) -> str:
    """Return a short name in ASCII."""
    return ascii(str(case))[1:-1][:70]
