from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
# Names that the example chooses by itself stand under these.
CHOSEN = {"ports", "environment"}


def keys(value: Any) -> Iterator[str]:
    """Yield every key of a TOML value, without the names that an author makes up."""
    if isinstance(value, list):
        for each in value:
            yield from keys(each)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in CHOSEN:
                yield from keys(inner)


def test_every_key_of_the_demos_file_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "demo.md").read_text()
    file = tomllib.loads((ROOT / "demo.toml").read_text())
    assert {key for key in keys(file) if key not in page} == set()
