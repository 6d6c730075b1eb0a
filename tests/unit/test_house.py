"""The toolkit knows nothing of the worked example: a demo that needs a special case is a defect of the toolkit."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ("legacy_monolith", "catalog_service", "gunicorn", "manage.py")
MODULES = sorted(
    path for room in ("strangler", "strangler_proxy", "strangler_django") for path in (ROOT / room).rglob("*.py")
)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_of_the_toolkit_names_the_example(module: Path) -> None:
    tree = ast.parse(module.read_text())
    names = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, ast.Module)}
    for name in names - docstrings:
        for word in EXAMPLE:
            assert word not in name, f"{module.name} names {word}: {name[:80]!r}"
