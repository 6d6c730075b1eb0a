"""The reference of the ledger has every kind of line that the code writes, with all its evidence, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Final

from strangler.cutover import retiring
from strangler.cutover.forcing import Loss
from strangler.cutover.gates import WRITERS
from strangler.cutover.proving import Proof
from strangler.ledger.ledger import _TABLES_KEPT, NAMES
from strangler.sync import verdicts
from strangler.sync.lost import NAMED, Lost
from strangler.sync.rewriting import Rewritten

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "reference" / "ledger.md").read_text()
PROPOSED: Final = {retiring.ACTION}
"""The actions of which one person proposes them and another confirms."""


def rows(heading: str) -> list[list[str]]:
    tables = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for table in tables for line in table.splitlines()]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@cache
def nodes() -> tuple[ast.AST, ...]:
    """Return all of the toolkit's code that writes lines into a history."""
    texts = (file.read_text() for file in (ROOT / "strangler").rglob("*.py"))
    return tuple(
        node
        for text in texts
        if "vidence" in text or "Line(" in text or "propose(" in text
        for node in ast.walk(ast.parse(text))
    )


def calls(*names: str) -> Iterator[ast.Call]:
    for node in nodes():
        if isinstance(node, ast.Call) and (getattr(node.func, "id", "") or getattr(node.func, "attr", "")) in names:
            yield node


def constants(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def written() -> set[str]:
    """Return the kinds of lines that the code writes beside the steps."""
    found: set[str] = set()
    for call in calls("Line", "_note"):
        if len(call.args) < 2:
            continue
        kinds = {each for each in constants(call.args[1]) if re.fullmatch(r"-?[a-z]+(-[a-z]+)*", each)}
        found |= {each for each in kinds if not each.startswith("-")}
        found |= {f"{action}{each}" for each in kinds if each.startswith("-") for action in PROPOSED}
    return found


def keys(node: ast.AST) -> set[str]:
    """Return the keys of the outermost dictionaries of an expression."""
    if isinstance(node, ast.Dict):
        own = {key.value for key in node.keys if isinstance(key, ast.Constant)}
        spread = (value for key, value in zip(node.keys, node.values, strict=True) if key is None)
        return {str(each) for each in own}.union(*map(keys, spread))
    if isinstance(node, ast.IfExp):
        return keys(node.body) | keys(node.orelse)
    return set()


def evidence() -> set[str]:
    """Return the keys of all evidence: of dictionaries that are called so, given as such, or set into one."""
    found = {WRITERS, *(each.name for each in fields(Rewritten))}
    return found.union(*(each for node in nodes() for each in _evidence(node)))


def _evidence(node: ast.AST) -> Iterator[set[str]]:
    match node:
        case ast.keyword(arg="evidence" | "asked"):
            yield keys(node.value)
        case ast.Assign(targets=[ast.Name(id="evidence")]):
            yield keys(node.value)
        case ast.Assign(targets=[ast.Subscript(value=ast.Attribute(attr="_evidence"), slice=key)]):
            yield constants(key)
        case ast.Call(func=ast.Name(id="_note" | "_change")):
            yield from map(keys, node.args)
        case ast.FunctionDef(name="_evidence"):
            yield from (keys(each.value) for each in ast.walk(node) if isinstance(each, ast.Return) and each.value)


def test_every_kind_of_line_is_in_the_reference_and_nothing_else() -> None:
    kinds = [quoted(cells[0])[0] for cells in rows("kind")]
    assert len(set(kinds)) == len(kinds)
    assert set(kinds) == {*NAMES.values(), *written()}


def test_every_key_of_evidence_is_in_the_reference_and_nothing_else() -> None:
    assert {quoted(cells[0])[0] for cells in rows("key")} == evidence()


def test_no_kind_has_evidence_that_is_not_explained() -> None:
    explained = {quoted(cells[0])[0] for cells in rows("key")}
    named = {key for cells in rows("kind") for key in quoted(cells[2])}
    assert named | {"why"} == explained


def test_what_is_within_a_loss_and_a_proof_is_told() -> None:
    told = {quoted(cells[0])[0]: quoted(cells[1]) for cells in rows("key")}
    proof = Proof(since=0, compared={}, fenced=0, seconds=0, sequences={}).to_json()
    loss = Loss(why="", position=None, until=None, age_s=None).to_json()
    lost = {**Lost(since=0, why="gone").to_json(), "keys": 0, "named": []}
    assert set(told["proof"]) == proof.keys()
    assert set(told["loss"]) == loss.keys()
    assert set(told["lost"]) == lost.keys()


def test_what_is_kept_is_as_much_as_the_page_says() -> None:
    assert f"the last {_TABLES_KEPT} versions" in PAGE
    assert f"the last {verdicts._KEPT}, and" in PAGE
    assert f"up to {NAMED:,} `named`" in PAGE
