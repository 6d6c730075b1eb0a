"""A Django project's own tests against a server that tells what it was asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.proxy import Origin, Served

PROJECT = {
    "settings.py": """
from pathlib import Path
SECRET_KEY = "only for tests"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "real.sqlite3",
                         "TEST": {"NAME": str(Path(__file__).with_name("test.sqlite3"))}}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
ROOT_URLCONF = "urls"
USE_TZ = True
""",
    "urls.py": "urlpatterns = []\n",
    "pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = settings\npythonpath = .\naddopts = -p no:cacheprovider -rs\n",
    "test_own.py": """
import pytest
from django.contrib.auth.models import User

def lines(response):
    return response.content.decode("latin-1").split("\\r\\n")

def test_a_request_is_what_the_client_says(client):
    response = client.get("/a%20b/ü/?q=ü&r=%2F", headers={"X-One": "1"})
    assert lines(response)[0] == "GET /a%20b/%C3%BC/?q=%C3%BC&r=%2F HTTP/1.1"
    assert {"Host: testserver", "X-One: 1"} <= set(lines(response))
    assert (response.status_code, response.headers["X-Told"]) == (200, "here")
    assert not {"Date", "Content-Length"} - set(response.headers) - {"Date"}

def test_a_write_is_no_forgery(client):
    client.cookies["kept"] = "yes"
    told = lines(client.post("/", {"a": "1"}))
    token = next(line for line in told if line.startswith("X-Csrftoken: ")).partition(": ")[2]
    assert f"Cookie: kept=yes; csrftoken={token}" in told

def test_what_is_made_is_committed_and_gone_again(client, db):
    assert not User.objects.exists()
    client.force_login(User.objects.create_user("ann"))
    assert any(line.startswith("Cookie: sessionid=") for line in lines(client.get("/")))

def test_nothing_was_left(db):
    assert not User.objects.exists()

@pytest.mark.in_process("it looks inside")
def test_of_the_process(client):
    raise AssertionError("never run")

def test_of_queries(client, django_assert_num_queries):
    raise AssertionError("never run")
""",
}


def tell(origin: Origin, served: Served) -> None:
    """Answer with the head that came."""
    while True:
        head = served.head()
        served.body(head)
        served.answer(head.rstrip(), "X-Told: here", "Date: now")


def own_tests(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    for name, text in PROJECT.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "strangler.regression.live", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "DJANGO"))}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_test_client_speaks_to_a_server(tmp_path: Path) -> None:
    with Origin(tell) as origin:
        done = own_tests(tmp_path, "--live", origin.url, "--reuse-db")
    assert "4 passed, 2 skipped" in done.stdout, done.stdout
    assert "in process only: it looks inside" in done.stdout
    assert "in process only: it counts the queries of this process" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--live", "http://127.0.0.1:1"], "--live wants --reuse-db"),
        (["--live", "127.0.0.1:1", "--reuse-db"], "--live is '127.0.0.1:1'; an address such as"),
        (["--live", "https://127.0.0.1", "--reuse-db"], "an address such as http://127.0.0.1:8000 is wanted"),
        (
            ["--live", "http://127.0.0.1:1", "--reuse-db", "-n1", "--max-worker-restart=0"],
            "--live runs in one process",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = own_tests(tmp_path, *arguments)
    assert done.returncode != 0
    assert said in done.stdout + done.stderr
    assert "passed" not in done.stdout
