"""What the reviews do beside the requests: both sides say the same of it, and each names the other's queue."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]
TOLD = """
import json
from {module} import app
from django.conf import settings
from strangler_django import deliveries
app.loader.import_default_modules()
deliveries.bind(app)
print(json.dumps({{
    "side": getattr(settings, "STRANGLER_SIDE", "monolith"),
    "work": settings.STRANGLER_BACKGROUND["reviews"],
    "queue": app.conf.task_default_queue,
    "prefix": app.conf.broker_transport_options["global_keyprefix"],
    "ticks": {{name: str(entry) for name, entry in app.conf.beat_schedule.items() if "reviews" in entry["task"]}},
    "late": app.tasks["reviews.tasks.forget_votes"].acks_late,
}}))
"""


def told(folder: str, module: str) -> dict[str, Any]:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    env = {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")},
        "PYTHONPATH": os.pathsep.join((str(ROOT / folder), str(ROOT))),
        "DEBUG": "1",
        "STRANGLER_IDENTITY_SECRET": "only for tests, and at least thirty-two bytes",
        "DATABASE_URL": nowhere,
        "REVIEWS_DATABASE_URL": nowhere,
        "CELERY_BROKER_URL": "memory://",
    }
    words = [sys.executable, "-c", TOLD.format(module=module)]
    done = subprocess.run(words, cwd=ROOT / folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def sides() -> tuple[dict[str, Any], dict[str, Any]]:
    return told("legacy_monolith", "shop.celery"), told("extracted/reviews", "reviews_service.work")


def test_both_sides_say_the_same_and_each_names_the_other_s_queue(sides: tuple[dict[str, Any], dict[str, Any]]) -> None:
    monolith, service = sides
    assert (monolith["side"], service["side"]) == ("monolith", "service")
    assert (monolith["work"].pop("queue"), service["work"].pop("queue")) == (service["queue"], monolith["queue"])
    for each in ("work", "prefix", "ticks", "late"):
        assert monolith[each] == service[each]
    assert monolith["ticks"]
    assert monolith["late"]
