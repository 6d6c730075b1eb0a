"""Real requests to both stacks, for a team's tests: a pytest plugin, and what it reports."""

from strangler.regression.addresses import StackAddresses
from strangler.regression.case import Case, File, Form, Json, Multipart, Via
from strangler.regression.pair import BothStacks, Disagreement, Pair
from strangler.regression.stack import Stack, Unreachable

__all__ = [
    "BothStacks",
    "Case",
    "Disagreement",
    "File",
    "Form",
    "Json",
    "Multipart",
    "Pair",
    "Stack",
    "StackAddresses",
    "Unreachable",
    "Via",
]
