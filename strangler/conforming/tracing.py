"""Whether a request can be found again by its id, as far as that is visible from outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from strangler.conforming.answer import Answer, Asked
from strangler.conforming.finding import Finding, failed, passed, untold


def judge_ids(request_id: str, trace_id: str, came: Iterable[Asked], log: str | None) -> Finding:
    """Say where one of the ids of our requests came back; ``log`` is what the process wrote, where it is ours."""
    rule, asked = "headers.ids", "requests with X-Request-ID and traceparent"
    for each in came:
        if isinstance(each, Answer) and (where := _where(each, (request_id, trace_id))):
            return passed(rule, asked, where)
    if log is None:
        wanted = "start it with --run to have what it writes looked at, or send X-Request-ID back"
        return untold(rule, asked, "no answer repeats one", wanted)
    if request_id in log or trace_id in log:
        return passed(rule, asked, "they stand in its log")
    return failed(rule, asked, "no answer and no line that it writes repeats one", "log the ids of every request")


def _where(answer: Answer, ids: Iterable[str]) -> str | None:
    for each in ids:
        for name, value in answer.headers:
            if each in value:
                return f"the header {name} of an answer repeats it"
        if each.encode() in answer.body:
            return f"the body of an answer ({answer.status}) repeats it"
    return None


def judge_nonsense(usual: Asked, came: Iterable[tuple[str, Asked]]) -> Iterator[Finding]:
    """Say whether a request with a header that makes no sense is answered as one without."""
    rule = "headers.nonsense"
    for name, each in came:
        asked = f"a request whose {name} makes no sense"
        if isinstance(each, Answer) and isinstance(usual, Answer) and each.status == usual.status:
            yield passed(rule, asked, str(each))
        else:
            yield failed(
                rule, asked, f"{each}, where {usual} comes without", "take such a header as if it were not there"
            )
