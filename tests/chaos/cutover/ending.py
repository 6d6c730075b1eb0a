"""A process that is told to end by the end of its input: it ends by itself, too, when who started it has died."""

from __future__ import annotations

import sys
import threading


def input_ended() -> threading.Event:
    """Return what is set once standard input ends."""
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    return over
