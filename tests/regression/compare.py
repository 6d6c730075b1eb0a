"""Where the cases of a capability find ``Case``, until all of them ask ``strangler.regression`` for it."""

from strangler.regression.case import Case

__all__ = ["Case"]
