"""Where streams stand, also where nobody answers who would know."""

from __future__ import annotations

import socket
import time

from strangler.sync.status import status
from tests.fixtures.books import Shop

PATIENCE_S = 5.0  # for one database that does not answer


def test_a_database_that_does_not_answer_is_waited_for_once(shop: Shop) -> None:
    """Prometheus asks for all capabilities at once, and by default gives up after 10 s."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = shop.file.parent / "env"
        lines = [line for line in env.read_text().splitlines() if not line.startswith("SOURCE=")]
        env.write_text("\n".join([*lines, f"SOURCE=postgresql://a:b@127.0.0.1:{silent.getsockname()[1]}/c"]))
        project = shop.project
        began = time.monotonic()
        [found] = status(project)
        seconds = time.monotonic() - began
    assert PATIENCE_S * 0.9 < seconds < PATIENCE_S * 1.9
    assert found.forward.problem is not None
    assert found.back.problem is not None
    assert found.lasting is not None, "the control database answers"
