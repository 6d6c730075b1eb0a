"""Write what an image is made of as a CycloneDX 1.6 document: Python's distributions, and Debian's packages.

    python sbom.py NAME FOLDER-OF-DISTRIBUTIONS DPKG-STATUS > bom.json

It runs in the stage that builds, and needs nothing but Python. The document says nothing of the moment, so that two
builds of the same are the same. The format: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from email.parser import HeaderParser
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]


def document(name: str, components: list[Component]) -> dict[str, Any]:
    """Return the document of the image ``name``, whose ``components`` are sorted by their reference."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": name, "name": name}},
        "components": sorted(components, key=lambda each: str(each["bom-ref"])),
    }


def of_python(folder: str) -> Iterator[Component]:
    """Yield the distributions in a ``site-packages``."""
    for found in distributions(path=[folder]):
        name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
        yield component(name, found.version, f"pkg:pypi/{name}@{quote(found.version)}", licence_of(found))


def licence_of(found: Distribution) -> str:
    """Return the SPDX expression that a distribution states, empty where it states none."""
    return str(found.metadata["License-Expression"] or "") if "License-Expression" in found.metadata else ""


def of_debian(status: Path) -> Iterator[Component]:
    """Yield what ``/var/lib/dpkg/status`` says is installed."""
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        said = HeaderParser().parsestr(paragraph)
        if said.get("Status", "").endswith(" installed"):
            name, version, machine = said["Package"], said["Version"], said["Architecture"]
            yield component(name, version, f"pkg:deb/debian/{name}@{quote(version)}?arch={machine}", "")


def component(name: str, version: str, purl: str, licence: str) -> Component:
    licences = {"licenses": [{"expression": licence}]} if licence else {}
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, **licences}


def main(name: str, folder: str, status: str) -> None:
    print(json.dumps(document(name, [*of_python(folder), *of_debian(Path(status))]), indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:4])
