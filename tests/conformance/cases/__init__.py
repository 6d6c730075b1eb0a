"""The cases by what they are about."""

from tests.conformance.case import Case
from tests.conformance.cases.messages import MESSAGES
from tests.conformance.cases.refusals import REFUSALS

CASES: tuple[Case, ...] = (*MESSAGES, *REFUSALS)
