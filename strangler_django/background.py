"""Work of a capability that is no request: its tasks and commands, and what becomes of one that a fence refuses.

Its data have one owner, and only there such work may run. Nobody is asked who that is: the database's fence answers,
and what it refuses has written nothing. A task goes on to the owner's queue; a command says where to run it.

What keeps a task from running twice is a row in a table **of the capability**, written in the transaction of the task's
effects. It is streamed as they are, fenced as they are, and moves as they do: so at any instant the owner, and nobody
else, may write it, and holds those of all tasks that ever took effect, on whichever side they did.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from importlib.util import find_spec
from typing import Any, Callable, Mapping, NamedTuple

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS

from strangler_django.fence import Refusal, refusal

SETTING = "STRANGLER_BACKGROUND"
MONOLITH, SERVICE = "monolith", "service"
LONGEST_S = 10.0
"""So long a task that was refused again and again waits until it is tried once more, at most."""
FOREIGN_TRIES = 10
"""So often one that met another capability's fence is tried again: for 55 seconds, and an owner moves within two."""
_DEEPEST = 20  # errors that caused one another


@dataclass(frozen=True)
class Work:
    """What of a capability runs in the background on this side, and where the other side takes its tasks from.

    ``tasks`` and ``commands`` are names, each whole, or as the beginning that several have with ``*`` after it, as in
    the capability's files. ``record`` is the model of the table, as ``app.Model``. ``queue`` is the other side's, at
    ``broker``; empty: this side's.
    """

    capability: str
    tasks: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    record: str = ""
    queue: str = ""
    broker: str = field(default="", repr=False)
    broker_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    database: str = DEFAULT_DB_ALIAS

    def has_task(self, name: str) -> bool:
        return any(_means(each, name) for each in self.tasks)

    def has_command(self, name: str) -> bool:
        return any(_means(each, name) for each in self.commands)


class Step(Enum):
    """What becomes of a task that did not end well."""

    FAIL = "fail"
    HERE = "here"
    OWNER = "owner"


class Next(NamedTuple):
    """Where a task is tried again, and after how many seconds."""

    step: Step
    countdown_s: float = 0.0


def after(found: Refusal | None, capability: str, side: str, hops: int) -> Next:
    """Return what becomes of a capability's task on ``side`` that a fence has refused, as ``hops`` times before.

    While an owner moves neither side can be written, and whoever is sent there comes back: so it waits a little longer
    each time, and there is no last time. Another capability's fence will not move with this one: in the end it fails.
    """
    if found is None:
        return Next(Step.FAIL)
    if found.capability not in ("", capability):
        return Next(Step.HERE, min(hops + 1.0, LONGEST_S)) if hops < FOREIGN_TRIES else Next(Step.FAIL)
    if found.owner in (MONOLITH, SERVICE) and found.owner != side:
        return Next(Step.OWNER, min(float(hops), LONGEST_S))
    return Next(Step.HERE, min(hops + 1.0, LONGEST_S))


def refused(error: BaseException | None) -> Refusal | None:
    """Return what a fence said where its refusal is, or has led to, ``error``."""
    for _ in range(_DEEPEST):
        found = refusal(error)
        if found is not None or error is None:
            return found
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


# --- settings ---


def connect() -> None:
    """Have commands and, where there is Celery, tasks run where their capability's data are owned."""
    if not getattr(settings, SETTING, None):
        return
    from strangler_django import commands

    register(check)
    commands.connect()
    if find_spec("celery"):
        from strangler_django import deliveries

        deliveries.connect()


def check(**_: object) -> list[CheckMessage]:
    """Say at the start what is amiss with the settings."""
    from strangler_django import records

    try:
        side()
        for work in works():
            records.model(work)
    except ImproperlyConfigured as error:
        return [Error(str(error), id="strangler_django.E010")]
    return []


def side() -> str:
    """Return which side this is, by ``STRANGLER_SIDE``. Raises ``ImproperlyConfigured``."""
    found = getattr(settings, "STRANGLER_SIDE", MONOLITH)
    if found not in (MONOLITH, SERVICE):
        raise ImproperlyConfigured(f'STRANGLER_SIDE is {found!r}; write "{MONOLITH}" or "{SERVICE}"')
    return str(found)


def works() -> tuple[Work, ...]:
    """Return the work of all capabilities, by the settings. Raises ``ImproperlyConfigured``."""
    return parse(getattr(settings, SETTING, {}))


def of_task(name: str, among: tuple[Work, ...]) -> Work | None:
    """Return whose task has this name. Raises ``ImproperlyConfigured`` where it is two capabilities'."""
    return _one(f"the task {name}", [each for each in among if each.has_task(name)])


def of_command(name: str, among: tuple[Work, ...]) -> Work | None:
    """Return whose command has this name. Raises ``ImproperlyConfigured`` where it is two capabilities'."""
    return _one(f"the command {name}", [each for each in among if each.has_command(name)])


def parse(setting: object) -> tuple[Work, ...]:
    """Return what the setting says. Raises ``ImproperlyConfigured`` with what was found, and what would do."""
    if not isinstance(setting, Mapping):
        raise ImproperlyConfigured(f'{SETTING} is {type(setting).__name__}; write {{"reviews": {{"tasks": [...]}}}}')
    return tuple(_work(name, given) for name, given in setting.items())


def _work(name: object, given: object) -> Work:
    where = f"{SETTING}[{name!r}]"
    if not isinstance(name, str) or not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{where} is {type(given).__name__}; a capability has a name, and a dictionary")
    unknown = sorted(map(str, given.keys() - _KEYS.keys()))
    if unknown:
        raise ImproperlyConfigured(f"{where} has {', '.join(unknown)}; known are {', '.join(_KEYS)}")
    found = Work(capability=name, **{key: _KEYS[key](f"{where}[{key!r}]", value) for key, value in given.items()})
    if not found.record:
        raise ImproperlyConfigured(f'{where} has no "record"; name the model that notes what has run, as "app.Model"')
    if found.tasks and not found.queue:
        raise ImproperlyConfigured(f'{where} has no "queue"; name the one that the other side takes tasks from')
    return found


def _means(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _names(where: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) and each for each in value):
        raise ImproperlyConfigured(f"{where} is {value!r}; a list of names is wanted")
    for each in value:
        if "*" in each[:-1]:
            raise ImproperlyConfigured(f"{where} has {each!r}; * stands at the end, where it is a beginning")
    return tuple(value)


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise ImproperlyConfigured(f"{where} is a {type(value).__name__}; text is wanted")
    return value


def _options(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ImproperlyConfigured(f"{where} is a {type(value).__name__}; a dictionary is wanted")
    return value


_KEYS: Mapping[str, Callable[[str, object], Any]] = {
    "tasks": _names,
    "commands": _names,
    "record": _text,
    "queue": _text,
    "broker": _text,
    "broker_options": _options,
    "database": _text,
}


def _one(what: str, found: list[Work]) -> Work | None:
    if len(found) > 1:
        names = " and ".join(each.capability for each in found)
        raise ImproperlyConfigured(f"{SETTING} gives {what} to {names}; it can belong to one")
    return found[0] if found else None
