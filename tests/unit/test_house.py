"""The toolkit knows nothing of the worked example, nor the shop of the toolkit: a special case would be a defect."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ("legacy_monolith", "catalog_service", "gunicorn")
# Every Django project has one, of which sentences may speak; which one is run, a project's files say.
COMMAND = re.compile(r"\S*manage\.py")
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
        assert not COMMAND.fullmatch(name), f"{module.name} names {name}"


def imported(module: Path) -> set[str]:
    """Return the packages that a module imports from."""
    nodes = list(ast.walk(ast.parse(module.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_the_shop_needs_nothing_of_the_toolkit() -> None:
    """It is a project of its own, which runs without; what the toolkit offers a monolith is used where it is there.

    One module looks whether it is, and the wheel's own command is all that ever imports reactions.
    """
    shop = ROOT / "legacy_monolith"
    modules = [
        each for each in shop.rglob("*.py") if each.name != "reactions.py" and each != shop / "shop/elsewhere.py"
    ]
    packages = set().union(*map(imported, modules))
    assert "django" in packages
    assert not packages & {"strangler", "strangler_proxy", "strangler_django"}
    assert not set().union(*map(imported, shop.rglob("*.py"))) & {"strangler", "strangler_proxy"}
