"""Ask for known flaws of what the images have installed: pip-audit over each lock file, trivy over each image.

    python compose/audit.py LOCK-FILE ... [--images NAME ...]

What could not be asked is said aloud, and is no failure: nobody knows the answer then. Exit code 1 means that flaws
were found.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path


def audited(lock: str) -> bool:
    """Say what is known of a lock file's distributions; return whether none has a known flaw."""
    options = ("--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json", "--requirement", lock)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "pip-audit"), *options], capture_output=True, text=True, check=False
    )
    try:
        found = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(f"SKIPPED {lock}: the advisories cannot be asked for: {done.stderr.strip()[-200:]}")
        return True
    flawed = [f"{each['name']} {each['version']}: {flaw['id']}" for each in found for flaw in each.get("vulns", ())]
    unknown = [each["name"] for each in found if "skip_reason" in each]
    print(f"{lock}: {len(found) - len(unknown)} of {len(found)} asked for, {len(flawed)} known flaws")
    if unknown:
        print(f"SKIPPED in {lock}: nothing is told of {', '.join(unknown)}")
    print(*flawed, sep="\n", end="\n" if flawed else "")
    return not flawed


def scanned(image: str) -> bool:
    """Have trivy look at an image's packages; return whether none has a grave flaw that is known."""
    if not shutil.which("trivy"):
        print(f"SKIPPED {image}: its Debian packages are not scanned, trivy is not installed")
        return True
    options = ("--severity=HIGH,CRITICAL", "--ignore-unfixed", "--exit-code=1")
    return subprocess.run(["trivy", "image", *options, image], check=False).returncode == 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("locks", nargs="+")
    parser.add_argument("--images", nargs="*", default=[])
    asked = parser.parse_args(arguments)
    good = [*map(audited, asked.locks), *map(scanned, asked.images)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
