"""Compiles the modules that every request passes through, when a wheel is built with ``STRANGLER_COMPILE=1``.

mypyc turns annotated Python into an extension module. What is built needs no other source and behaves alike; without
the variable, or without a C compiler at hand, a wheel of plain Python is built from the same files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What the modules import need not be installed where they are built.
_MYPY: Final = ("--explicit-package-bases", "--namespace-packages", "--ignore-missing-imports")
_SETUP: Final = """
from mypyc.build import mypycify
from setuptools import setup
setup(name="compiled", packages=[], py_modules=[], ext_modules=mypycify({modules}, opt_level="3", debug_level="0"))
"""


class CompiledModules(BuildHookInterface[Any]):
    """Adds extension modules to a wheel, beside the sources that they stand in for."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or os.environ.get("STRANGLER_COMPILE") != "1":
            return
        root, self._folder = Path(self.root), Path(tempfile.mkdtemp())
        for package in ("strangler", "strangler_proxy"):
            shutil.copytree(root / package, self._folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        compile_in(self._folder, self.config["modules"])
        found = {str(path): str(path.relative_to(self._folder)) for path in self._folder.rglob("*.so")}
        build_data["force_include"].update(found)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder)


def compile_in(folder: Path, modules: list[str]) -> None:
    """Compile ``modules``, files under ``folder``, each to an extension module beside it."""
    setup = folder / "setup.py"
    setup.write_text(_SETUP.format(modules=[*_MYPY, *modules]))
    subprocess.run([sys.executable, setup.name, "--quiet", "build_ext", "--inplace"], cwd=folder, check=True)
    shutil.rmtree(folder / "build")
