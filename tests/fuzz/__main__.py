"""``python -m tests.fuzz SECONDS [TARGET ...]`` fuzzes each target for so long; what it found stays in build/fuzz."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

FOLDER: Final = Path("build/fuzz")
_LONGEST: Final = 8192
_SLOWEST_S: Final = 5


def main(seconds: int, names: list[str]) -> int:
    """Fuzz ``names`` one after the other, each in a process of its own; 1 when one has failed."""
    from tests.fuzz.targets import TARGETS

    for name in names or list(TARGETS):
        command = [sys.executable, "-m", "tests.fuzz", "--target", name, str(seconds)]
        if subprocess.run(command, check=False).returncode:
            print(f"{name}: an input that fails is in {FOLDER / name}; the report is above", file=sys.stderr)
            return 1
    return 0


def fuzz(name: str, seconds: int) -> None:
    """Fuzz one target, and end the process: 0 when nothing was found."""
    import atheris

    with atheris.instrument_imports(include=["strangler_proxy"]):
        from tests.fuzz.seeds import WORDS, seeds
        from tests.fuzz.targets import TARGETS

    corpus = FOLDER / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for at, seed in enumerate(seeds(name)):
        (corpus / f"case-{at}").write_bytes(seed)
    words = FOLDER / name / "words"
    words.write_text("\n".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in WORDS) + "\n")
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST}",
        f"-timeout={_SLOWEST_S}",
        f"-dict={words}",
        f"-artifact_prefix={FOLDER / name}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([name, *options, str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1] == "--target":
        fuzz(sys.argv[2], int(sys.argv[3]))
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
