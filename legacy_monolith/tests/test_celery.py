import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from celery.schedules import crontab

from shop.celery import app

PROJECT = Path(__file__).parent.parent
TELL = (
    "import json; from shop import celery_app; conf = celery_app.conf; "
    "print(json.dumps([conf.broker_url, conf.task_always_eager, conf.accept_content, conf.task_serializer]))"
)


def told(**environment):
    given = {name: value for name, value in os.environ.items() if not name.startswith("CELERY")}
    command = [sys.executable, "-c", TELL]
    done = subprocess.run(command, cwd=PROJECT, env=given | environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_without_a_broker_tasks_run_inline():
    assert told() == ["memory://", True, ["json"], "json"]


def test_a_broker_is_named_by_the_environment_or_a_file(tmp_path):
    path = tmp_path / "broker"
    path.write_text("redis://broker.example:6379/1\n")
    expected = ["redis://broker.example:6379/1", False, ["json"], "json"]
    assert told(CELERY_BROKER_URL="redis://broker.example:6379/1") == expected
    assert told(CELERY_BROKER_URL_FILE=str(path)) == expected


@pytest.mark.parametrize("entry", app.conf.beat_schedule.values(), ids=lambda entry: entry["task"])
def test_the_clock_starts_tasks_that_exist(entry):
    module, _, _ = entry["task"].rpartition(".")
    import_module(module)
    assert app.tasks[entry["task"]].name == entry["task"]


def test_what_runs_each_hour_or_more_often_is_not_piled_up():
    for entry in app.conf.beat_schedule.values():
        if not isinstance(entry["schedule"], crontab):
            assert entry["options"]["expires"] <= entry["schedule"]


def test_no_task_runs_for_ever():
    assert app.conf.task_soft_time_limit < app.conf.task_time_limit <= 600
