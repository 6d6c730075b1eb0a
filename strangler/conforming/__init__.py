"""What a machine can tell of whether a service may be put behind the proxy: asked of it over HTTP, in any language.

What gets answers (``wire``, ``process``) stands apart from what judges them: all other modules but ``run`` take answers
and return findings.
"""

from strangler.conforming.finding import Finding, Verdict
from strangler.conforming.run import Bounds, examine
from strangler.conforming.subject import Subject

__all__ = ["Bounds", "Finding", "Subject", "Verdict", "examine"]
