"""A listener that is given up turns clients away where the kernel lets it, and is closed in any case."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_AS_NOBODY = """
import os, socket
from strangler_proxy.listening import turn_away
with socket.create_server(("127.0.0.1", 0)) as listener:
    os.setgroups([])
    os.setresuid(65534, 65534, 65534)
    turn_away(listener)
print("closed")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_proxy_without_rights_gives_its_listener_up() -> None:
    done = subprocess.run([sys.executable, "-c", _AS_NOBODY], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("closed\n", "")
