"""The reference of problems has all that the code answers with, and nothing else: read out of the code itself."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from strangler.service import problem as shapes
from strangler_proxy import admission
from strangler_proxy import problem as proxy_problem

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "reference" / "problems.md").read_text()
VARIABLE: Final = "…"
"""What stands in the page for what differs from request to request."""

_ADMIN: Final = 403
# Where a status and a detail stand among the arguments of each call that makes a problem, or which status all have.
_CALLS: Final[dict[str, tuple[int | str, int | str]]] = {
    "_fail": (0, 1),
    "_stumble": (1, 2),
    "Refused": (0, 1),
    "Refusal": ("status", "detail"),
    "Malformed": (1, 0),
    "Problem": (0, 1),
    "answer": (1, 3),
    "_refusal": (_ADMIN, 2),
}
_MALFORMED: Final = 400
"""The status of what is raised without one: the default of ``Malformed``."""

Problem = tuple[int, str]


def problems(file: str, *calls: str) -> set[Problem]:
    """Return each status and detail that the calls of these names in a file may answer with."""
    tree = ast.parse((ROOT / file).read_text())
    return {
        found
        for scope in ast.walk(tree)
        if isinstance(scope, ast.FunctionDef)
        for call in ast.walk(scope)
        if isinstance(call, ast.Call) and _name(call.func) in calls
        for found in _of(call, scope, tree)
    }


def _of(call: ast.Call, scope: ast.FunctionDef, tree: ast.Module) -> Iterator[Problem]:
    where, what = _CALLS[_name(call.func)]
    status = ast.Constant(where) if where == _ADMIN else _argument(call, where) or ast.Constant(_MALFORMED)
    detail = _argument(call, what)
    if detail is not None and isinstance(status, ast.Constant):  # else it hands on what another call has made
        yield from ((int(str(status.value)), text) for text in _texts(detail, scope, tree))


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _argument(call: ast.Call, where: int | str) -> ast.expr | None:
    if isinstance(where, str):
        return next(each.value for each in call.keywords if each.arg == where)
    return call.args[where] if where < len(call.args) else None


def _texts(node: ast.expr, scope: ast.AST, tree: ast.Module) -> list[str]:
    """Return what an expression may say; names are looked up in function and module, and the rest is left open."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        parts = [_texts(each, scope, tree) for each in node.values]
        return ["".join(each) for each in product(*parts)]
    if isinstance(node, ast.FormattedValue):
        return _texts(node.value, scope, tree) if isinstance(node.value, ast.Name) else [VARIABLE]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, scope, tree), *_texts(node.orelse, scope, tree)]
    if isinstance(node, ast.Name):
        found = _assigned(node.id, scope) or _assigned(node.id, tree)
        return [text for each in found for text in _texts(each, scope, tree)] or [VARIABLE]
    if isinstance(node, ast.Call) and _name(node.func) == "_":  # Django's gettext
        return [re.sub(r"%\(\w+\)s", VARIABLE, each) for each in _texts(node.args[0], scope, tree)]
    if isinstance(node, ast.Call):  # of a function of this module
        inner = next((each for each in tree.body if getattr(each, "name", "") == _name(node.func)), None)
        returned = [each.value for each in ast.walk(inner) if isinstance(each, ast.Return)] if inner else []
        return [text for each in returned if each for text in _texts(each, scope, tree)] or [VARIABLE]
    return [VARIABLE]


def _assigned(name: str, scope: ast.AST) -> list[ast.expr]:
    found = []
    for node in ast.walk(scope):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            found += [node.value for each in targets if isinstance(each, ast.Name) and each.id == name]
    return found


def rows(*headings: str) -> list[list[str]]:
    """Return the cells of the tables whose second column has one of these headings."""
    found = []
    for heading in headings:
        tables = re.findall(rf"^\| status \| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
        assert tables, f"there is no table with {heading}"
        found += [line for table in tables for line in table.splitlines()]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found]


def told(*headings: str) -> set[Problem]:
    cells = rows(*headings)
    assert len({tuple(each[:2]) for each in cells}) == len(cells), "one stands there twice"
    return {(int(each[0]), each[1]) for each in cells}


PROXY: Final = (
    ("strangler_proxy/forward.py", "_fail", "_stumble"),
    ("strangler_proxy/admission.py", "Refusal"),
    ("strangler_proxy/downstream.py", "Refused"),
    ("strangler_proxy/http1/head.py", "Refused"),
)
BODY: Final = ("strangler_proxy/http1/body.py", "Malformed")
CHASSIS: Final = (("strangler/service/problem.py", "Problem"), ("strangler/service/panel.py", "Problem"))
DJANGO: Final = (("strangler_django/fence.py", "answer"), ("strangler_django/admin.py", "_refusal"))
# Where problems are written, or handed on that others have made: whoever comes anew has to be looked through above.
WRITERS: Final = {
    "strangler_proxy/downstream.py",
    "strangler_proxy/forward.py",
    "strangler/service/problem.py",
    "strangler/service/panel.py",
    "strangler/service/chassis.py",
    "strangler/service/wsgi.py",
    "strangler/service/django.py",
    "strangler_django/fence.py",
    "strangler_django/admin.py",
}


def of_all(*files: tuple[str, ...]) -> set[Problem]:
    return {found for file, *calls in files for found in problems(file, *calls)}


def test_every_problem_of_the_proxy_is_in_the_reference_and_nothing_else() -> None:
    assert told("detail") == of_all(*PROXY, *CHASSIS)
    assert told("detail of the body") == of_all(BODY)


def test_every_problem_of_the_monolith_is_in_the_reference_and_nothing_else() -> None:
    assert told("detail of the monolith", "detail of the page") == of_all(*DJANGO)


def test_nobody_else_writes_problems() -> None:
    made = re.compile(r"write_problem\(Problem|write_problem\(|problem\.(?:of|answer)\(|\bProblem\(\w+, ")
    files = (
        each for root in ("strangler", "strangler_proxy", "strangler_django") for each in (ROOT / root).rglob("*.py")
    )
    found = {str(each.relative_to(ROOT)) for each in files if made.search(each.read_text())}
    assert found - {"strangler_proxy/problem.py"} == WRITERS


def test_who_may_ask_again_is_told_when() -> None:
    waits = {cells[1]: cells[2] for cells in rows("detail") if cells[0] in ("429", "503") and len(cells) == 4}
    for refusal in (admission.turned_away(), admission.read_only()):
        assert waits.pop(refusal.detail) == str(refusal.retry_after)
    shed = admission._too_busy()
    assert waits.pop(shed.detail) == f"1 to {admission._SHED_FOR}, by chance"
    assert {waits[detail] for status, detail in of_all(PROXY[0]) if status == 503} == {"1"}


@pytest.mark.parametrize(
    "made", [shapes.unavailable(), shapes.elsewhere("books"), shapes.untrusted("…"), shapes.defect()]
)
def test_a_problem_of_the_chassis_has_the_headers_that_are_told(made: shapes.Problem) -> None:
    detail = json.loads(bytes(made.body))["detail"]
    [cells] = [cells for cells in rows("detail") if cells[1] == detail]
    written = dict(each.split(": ", 1) for each in re.findall(r"`([^`]+)`", cells[2]))
    framework = {"content-type", "content-length"}
    assert {name.lower(): value for name, value in written.items()} == {
        name: value for name, value in made.headers.items() if name not in framework
    }


def test_every_member_is_told_and_no_other() -> None:
    [table] = re.findall(r"^\| member \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    members = set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE))
    mine = json.loads(proxy_problem._json(proxy_problem.Problem(status=503, detail=""), "id"))
    theirs = json.loads(bytes(shapes.elsewhere("books").body))
    assert members == mine.keys() | theirs.keys()
