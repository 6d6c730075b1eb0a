"""Those who write, read and watch while the owner moves: each a process that ends when its input does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.chaos.cutover.bed import WORD, Bed

_END_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many clients there are, how long each thinks at most, and how many tasks Celery gets."""

    clients: int = 32
    think_s: float = 0.3
    tasks_per_s: float = 5.0
    seed: int = 1
    watched: bool = True


class Crowd:
    def __init__(self, bed: Bed, load: Load) -> None:
        self._bed = bed
        log, module, source = str(bed.acknowledgements), [sys.executable, "-m"], bed.servers["source"]
        through = {
            "proxy": f"http://127.0.0.1:{bed.proxy_port}",
            "clients": load.clients,
            "think_s": load.think_s,
            "seed": load.seed,
            "log": log,
            "requests": str(bed.requests),
            "broker": bed.valkey.url,
            "tasks_per_s": load.tasks_per_s,
        }
        database = {"HOST": "127.0.0.1", "PORT": source.port, "NAME": "shop", "USER": "owner", "PASSWORD": WORD}
        beside = {"database": database, "log": log, "seed": load.seed}
        self._children = {
            "load": bed.start("load", [*module, "tests.chaos.cutover.load"], json.dumps(through)),
            "bypass": bed.start("bypass", [*module, "tests.chaos.cutover.bypass"], json.dumps(beside)),
        }
        if load.watched:
            urls = {"monolith": source.url("shop"), "service": bed.servers["target"].url("shop")}
            watch = [*module, "tests.chaos.cutover.watching", log]
            self._children["watch"] = bed.start("watch", watch, json.dumps(urls))

    def end(self) -> list[str]:
        """Have all of them end, and return who did not do so well."""
        for child in self._children.values():
            assert child.stdin is not None
            with suppress(BrokenPipeError):
                child.stdin.close()
        return [told for name, child in self._children.items() if (told := self._ended(name, child))]

    def _ended(self, name: str, child: subprocess.Popen[bytes]) -> str:
        try:
            code = child.wait(_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            code = child.wait()
        return f"{name} ended with {code}: {self._bed.log_of(name)[-2_000:]}" if code else ""
