"""What a service promises: that its document is one, covers its routes, and that answers are those declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from strangler.conforming.answer import Answer, Asked
from strangler.conforming.document import Document, Operation, faults
from strangler.conforming.finding import Finding, failed, passed, untold
from strangler.conforming.shape import misfits
from strangler.routing.table import Kind, Route

DOCUMENT: Final = "/openapi.json"
PROBLEM: Final = "application/problem+json"
_MOST_TOLD: Final = 3
_PROBLEM_TYPES: Final[Mapping[str, type]] = {
    "type": str,
    "title": str,
    "status": int,
    "detail": str,
    "instance": str,
}


def judge_document(came: Asked) -> tuple[Finding, Document | None]:
    """Return what there is to say of the document, and the document when it is one."""
    rule, asked = "contract.document", f"GET {DOCUMENT}"
    wanted = f"answer {DOCUMENT} with an OpenAPI document 3.x, as application/json"
    if not isinstance(came, Answer) or came.status != 200:
        return failed(rule, asked, str(came), wanted), None
    try:
        raw = came.told
    except ValueError as exc:
        return failed(rule, asked, f"no JSON: {exc}", wanted), None
    found = faults(raw)
    if found:
        return failed(rule, asked, some(found), "mend the document"), None
    document = Document(raw)
    return passed(rule, asked, f"OpenAPI {raw['openapi']}, {len(document.operations)} operations"), document


def some(found: Iterable[str]) -> str:
    """Return the first of ``found`` as one text."""
    listed = list(islice(found, _MOST_TOLD + 1))
    return "; ".join(listed[:_MOST_TOLD]) + ("; and more" if len(listed) > _MOST_TOLD else "")


def judge_coverage(document: Document, routes: Iterable[Route]) -> Finding:
    """Say which of ``routes`` have nothing in the document."""
    routes = list(routes)
    rule, asked = "contract.routes", f"whether the document has something under each of {len(routes)} routes"
    bare = [each.path for each in routes if not any(is_under(one, each) for one in document.operations)]
    if bare:
        return failed(rule, asked, f"nothing under {', '.join(bare)}", "describe what is answered there, or drop it")
    return passed(rule, asked, "all are covered")


def is_under(operation: Operation, route: Route) -> bool:
    """Return whether ``operation`` has addresses under ``route``, and a method that it takes."""
    steps = [each for each in operation.path.split("/") if each]
    if len(steps) < len(route.segments) or not route.takes(operation.method):
        return False
    return all(one is None or _may_be(step, one, operation) for step, one in zip(steps, route.segments, strict=False))


def _may_be(step: str, literal: str, operation: Operation) -> bool:
    if not step.startswith("{"):
        return step == literal
    for each in operation.parameters:
        if each["in"] == "path" and each["name"] == step[1:-1]:
            listed = each.get("schema", {}).get("enum")
            return listed is None or literal in listed
    return True


def is_read(operation: Operation, routes: Iterable[Route]) -> bool:
    """Return whether asking for ``operation`` changes nothing: a GET under no route of those that write."""
    return operation.method == "GET" and not any(
        each.kind is Kind.WRITES and is_under(operation, each) for each in routes
    )


def judge_answer(document: Document, operation: Operation, target: str, came: Asked) -> Finding:
    """Say whether what came from ``target`` is what ``operation`` declares."""
    rule, asked = "contract.answers", f"GET {target}"
    if not isinstance(came, Answer):
        return failed(rule, asked, str(came), "answer it")
    wrong = why_undeclared(document, operation, came)
    if wrong is None:
        return passed(rule, asked, f"{came}, as {operation.path} declares")
    if came.status in (502, 503, 504) and is_problem(came):
        return untold(rule, asked, f"{came}: what it needs is away", "ask again when it answers")
    return failed(rule, asked, f"{came}: {wrong}", f"declare it in {DOCUMENT}, or answer as declared")


def why_undeclared(document: Document, operation: Operation, came: Answer) -> str | None:
    """Return what of an answer ``operation`` does not declare; None when it declares all of it."""
    declared = document.response(operation, came.status)
    if declared is None:
        return f"{operation} declares no {came.status}"
    content = declared.get("content")
    if not content or not came.body:
        return None
    media = next((each for name, each in content.items() if _is_like(came.media, name)), None)
    if media is None:
        return f"its {came.status} is {came.media or 'of no media type'}, declared is {' or '.join(content)}"
    return _misshapen(document, media, came)


def _is_like(media: str, declared: str) -> bool:
    name = declared.partition(";")[0].strip().lower()
    return name in ("*/*", media) or (name.endswith("/*") and media.startswith(name[:-1]))


def _misshapen(document: Document, media: Mapping[str, Any], came: Answer) -> str | None:
    if not came.is_json or "schema" not in media:
        return None
    try:
        told = came.told
    except ValueError as exc:
        return f"it is no JSON: {exc}"
    return some(misfits(told, media["schema"], document.resolve)) or None


def judge_errors(document: Document, came: Iterable[tuple[str, Operation | None, Answer]]) -> Iterator[Finding]:
    """Say of each error whether it is a problem (RFC 9457) or declared; ``None`` is an address of no operation."""
    rule = "contract.errors"
    there = False
    for asked, operation, answer in came:
        if answer.status < 400:
            continue
        there = True
        if answer.media == PROBLEM:
            wrong = why_no_problem(answer)
        elif operation is None:
            wrong = None if _is_declared_somewhere(document, answer) else "declared nowhere, and no problem"
        else:
            wrong = why_undeclared(document, operation, answer)
        if wrong is None:
            yield passed(rule, asked, f"{answer}: {'a problem' if answer.media == PROBLEM else 'as declared'}")
        else:
            yield failed(rule, asked, f"{answer}: {wrong}", f"answer errors as {PROBLEM}, or declare their shape")
    if not there:
        yield untold(rule, "what is not there", "no error was answered")


def _is_declared_somewhere(document: Document, answer: Answer) -> bool:
    return any(
        (document.response(each, answer.status) or {}).get("content") and why_undeclared(document, each, answer) is None
        for each in document.operations
    )


def is_problem(answer: Answer) -> bool:
    return answer.media == PROBLEM and why_no_problem(answer) is None


def why_no_problem(answer: Answer) -> str | None:
    """Return why a body is no problem document, None for one that is (RFC 9457, section 3.1)."""
    try:
        told = answer.told
    except ValueError:
        return "it is no JSON"
    if not isinstance(told, dict):
        return "it is no object"
    wrong = [name for name, kind in _PROBLEM_TYPES.items() if name in told and type(told[name]) is not kind]
    if wrong:
        return f"its {wrong[0]} is {told[wrong[0]]!r:.60}"
    if told.get("status", answer.status) != answer.status:
        return f"it says status {told['status']} and is {answer.status}"
    return None
