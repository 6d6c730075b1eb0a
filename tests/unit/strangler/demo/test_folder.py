"""The demo's folder: one holder, private secrets, notes of what was done."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from strangler.demo.folder import Folder, FolderTaken


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_one_demo_holds_a_folder_at_a_time(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "local")
    code = (
        "import sys, pathlib; from strangler.demo.folder import Folder;"
        "Folder(pathlib.Path(sys.argv[1])).hold(); print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FolderTaken, match=f"pid {other.pid}"):
            folder.hold()
        other.kill()
    folder.hold()


def test_secrets_are_made_once_and_are_private(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first = folder.secret("password of shop")
    assert len(first) > 40
    assert folder.secret("password of shop") == first
    assert folder.secret("KEY") != first
    assert {mode(path) for path in (tmp_path / "secrets").iterdir()} == {0o600}


def test_the_env_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write_env({"B": "2", "A": "1"})
    folder.write_env({"A": "1", "C": "a=b"})
    assert (tmp_path / "demo.env").read_text() == "A=1\nC=a=b\n"
    assert mode(tmp_path / "demo.env") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["demo.env"]


def test_what_was_done_is_done_until_the_reset(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "local")
    folder.hold()
    folder.start_logs()
    folder.note_done("seed", "--scale=1")
    assert folder.was_done("seed", "--scale=1")
    assert not folder.was_done("seed", "--scale=2")
    folder.reset()
    assert not folder.was_done("seed", "--scale=1")
    assert [path.name for path in folder.path.iterdir()] == ["demo.lock"]


def test_logs_begin_empty(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.start_logs()
    folder.log("the proxy").write_text("of the last run")
    folder.start_logs()
    assert folder.log("the proxy") == tmp_path / "log" / "the-proxy.log"
    assert not folder.log("the proxy").exists()
