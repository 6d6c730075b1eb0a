"""What the pages of ``--help`` have beside each verb: what it is for, an example or two, and where it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import typer
from rich.markup import escape

LOOK: Final = "Look"
PREPARE: Final = "Set up and run"
TABLES: Final = "Tables, and who writes them"
MOVE: Final = "Move"
BACK: Final = "Go back"

PANELS: Final[Mapping[str, str]] = {
    "status": LOOK,
    "playbook": LOOK,
    "top": LOOK,
    "history": LOOK,
    "check": PREPARE,
    "publish": PREPARE,
    "up": PREPARE,
    "proxy": PREPARE,
    "local": PREPARE,
    "demo": PREPARE,
    "set": MOVE,
    "override": MOVE,
    "cutover": MOVE,
    "resume": MOVE,
    "retire": MOVE,
    "kill": BACK,
    "rollback": BACK,
    "sync": TABLES,
    "fence": TABLES,
}

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "check": ("check", "check --service reviews --run 'python -m reviews serve'"),
    "cutover": (
        "cutover reviews --dry-run --reason rehearsal",
        "cutover reviews --reason 'it has answered well for a week'",
    ),
    "demo": ("demo", "demo --port-base 9000 --reset", "demo --tour --exit"),
    "history": ("history", "history reviews --limit 100 --json"),
    "kill": ("kill reviews --reason 'wrong prices'", "kill reviews --clear --reason mended"),
    "local": ("local shop reviews",),
    "override": ("override reviews --for 30m", "override reviews --stack monolith"),
    "playbook": ("playbook reviews", "playbook reviews --html reviews.html"),
    "proxy": ("proxy --origin http://127.0.0.1:8001", "proxy --check", "proxy --takeover"),
    "publish": ("publish", "publish --reason 'reviews have a route more'"),
    "resume": ("resume reviews --reason 'its terminal was closed'",),
    "retire": ("retire reviews --reason 'three months without a way back'", "retire reviews --confirm"),
    "rollback": ("rollback reviews --dry-run --reason rehearsal", "rollback reviews --reason 'wrong totals'"),
    "set": ("set reviews --reads 1% --reason 'first readers'", "set reviews --cohort staff=service --reason 'we look'"),
    "status": ("status", "status --watch"),
    "top": ("top", "top --admin http://10.0.0.4:8900 --once"),
    "up": ("up",),
    "fence allow": ("fence allow reviews --writer command:reindex --reason 'is run by hand, and not that day'",),
    "fence observe": ("fence observe reviews --for 7d",),
    "fence raise": ("fence raise reviews --reason 'a migration had taken it off'",),
    "fence report": ("fence report reviews",),
    "fence status": ("fence status", "fence status reviews"),
    "sync backfill": ("sync backfill reviews", "sync backfill reviews --inline --max-lag 30"),
    "sync check": ("sync check reviews",),
    "sync map": ("sync map reviews --tables reviews_review,reviews_photo --service reviews --write",),
    "sync refill": ("sync refill reviews --reason 'its database was put back to yesterday'",),
    "sync remove": ("sync remove reviews --reason 'it moves another year'",),
    "sync repair": ("sync repair reviews --dry-run --reason looking", "sync repair reviews --reason 'a stray script'"),
    "sync run": ("sync run",),
    "sync start": ("sync start reviews --reason 'its readers move in spring'",),
    "sync status": ("sync status", "sync status reviews --watch"),
    "sync verify": ("sync verify reviews", "sync verify reviews --changed-since last --json"),
}

WAY: Final = (
    "The usual way: check, sync map, sync check, sync start, sync run, sync backfill, set, fence observe, cutover,"
    " retire.",
    "What is next for a capability, and how to go back from there: strangler playbook CAPABILITY.",
)


def furnish(app: typer.Typer, above: str = "") -> None:
    """Give each verb of ``app`` and its groups a place on the page of help, and examples on its own."""
    for verb in app.registered_commands:
        name = verb.name or (verb.callback.__name__ if verb.callback else "")
        verb.rich_help_panel = None if above else PANELS[name]
        lines = [f"strangler {words}" for words in EXAMPLES[f"{above}{name}"]]
        verb.epilog = paragraphs("For example:", *lines)
    for group in app.registered_groups:
        assert group.name is not None  # noqa: S101 -- main.py names each
        assert group.typer_instance is not None  # noqa: S101 -- and each is one
        group.rich_help_panel = PANELS[group.name]
        furnish(group.typer_instance, f"{group.name} ")


def paragraphs(*lines: str) -> str:
    """Return lines that Typer leaves apart: it joins those of one paragraph."""
    return "\n\n".join(escape(line) for line in lines)
