"""The reference shows each bound of the proxy with the value that it has when it is left out."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict
from pathlib import Path

from strangler.project.limits import Limits, Shed, Timeouts

PAGE = Path(__file__).parents[3] / "docs/reference/configuration.md"


def test_each_bound_is_shown_with_its_default() -> None:
    example = re.search(r"```toml[^\n]*\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    proxy = tomllib.loads(example[1])["proxy"]
    assert proxy["timeouts"] == asdict(Timeouts())
    assert proxy["limits"] == asdict(Limits())
    assert proxy["shed"]["lateness"] == Shed().lateness
