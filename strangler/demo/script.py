"""``demo.toml``: what runs on one machine, so that the toolkit need not know any example.

It is read twice: first for what has to exist before anything can be named (ports, secrets, databases), then, with the
variables that these gave, for the processes and the tour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, cast

from strangler.project import Problem, ProjectInvalid
from strangler.project.section import Environment, Section, read, shown

POSTGRES_PORT: Final = "POSTGRES_PORT"
VALKEY_PORT: Final = "VALKEY_PORT"
ADMIN_PORT: Final = "ADMIN_PORT"
PROXY_PORT: Final = "PROXY_PORT"
_NEEDED: Final = (PROXY_PORT, ADMIN_PORT, POSTGRES_PORT, VALKEY_PORT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role besides the owner, what it may do with the tables, and the variable that gets its URL."""

    name: str
    variable: str
    may: Literal["read", "write", "sync"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database, the role that owns it, and the variable that gets the owner's URL."""

    name: str
    owner: str
    variable: str
    roles: tuple[Role, ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        return (self.variable, *(role.variable for role in self.roles))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What has to exist first. ``ports`` are offsets from the base; ``secrets`` are variables given random values."""

    ports: Mapping[str, int]
    secrets: tuple[str, ...]
    redis: str
    databases: tuple[Database, ...]

    @property
    def streams(self) -> bool:
        """Whether there is a role that may stream rows, so that copies are followed."""
        return any(role.may == "sync" for database in self.databases for role in database.roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """A command that has to end well before a process starts: at every start, or ``once`` until the next reset.

    ``progress``: it writes how far it is, as "1,500/5,000".
    """

    says: str
    command: tuple[str, ...]
    once: bool = False
    progress: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process of the example: what runs ``before`` it, then the command until the end.

    One that answers nobody has no ``address``, and is ``ready`` as soon as it runs.
    ``access_line`` finds the groups ``path`` and ``trace`` in a line of ``access_log``.
    """

    name: str
    folder: Path
    command: tuple[str, ...]
    before: tuple[Before, ...]
    environment: Mapping[str, str]
    address: str
    ready: str
    access_log: Path | None = None
    access_line: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """A command of the example's that works beside the tour: until it is ended, or to its end."""

    folder: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """A capability whose owner moves there and back, and the ``paths`` that are read meanwhile.

    ``clients`` write through the proxy until they are ended, and print a line for each write that was acknowledged.
    ``check`` holds the stacks against these lines, says in a line of JSON what it counted, and fails where a write is
    lost or came twice, or what follows from it is not so.
    """

    capability: str
    paths: tuple[str, ...]
    clients: Works
    check: Works


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """What the tour requests: ``paths`` of the capability that moves, and ``others``; and who writes meanwhile.

    ``writer`` changes the monolith's rows all the time, ``move`` is what follows the toggles.
    """

    capability: str
    cohort: str
    cohort_header: tuple[str, str]
    paths: tuple[str, ...]
    others: tuple[str, ...]
    writer: Works | None = None
    move: Ownership | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The processes in the order in which they are started, what to try, and the tour."""

    processes: tuple[Process, ...]
    hints: tuple[tuple[str, str], ...]
    tour: Tour | None


def read_setting(path: Path) -> Setting:
    """Return what ``path`` wants to exist first. Raises ``ProjectInvalid`` with every problem."""
    problems: list[Problem] = []
    top = read(path, path.name, Environment({}), problems)
    ports = top.section("ports")
    offsets = {
        name: ports.number(name, "an offset from the base port, from 0 to 999", 0, 0, 999) for name in ports.values
    }
    for name in _NEEDED:
        if name not in offsets:
            ports.problem(name, "nothing", "an offset from the base port, from 0 to 999")
    taken = sorted(offsets.values())
    for one, other in pairwise(taken):
        if one == other:
            ports.problem("", f"offset {one} twice", "one for each")
    setting = Setting(
        ports=offsets,
        secrets=top.texts("secrets", 'names of variables such as ["SECRET_KEY"]', default=()),
        redis=top.text("redis", "the variable that gets Valkey's URL", default="REDIS_URL"),
        databases=tuple(_database(each) for each in top.sections("database")),
    )
    if problems:
        raise ProjectInvalid(tuple(problems))
    return setting


def _database(section: Section) -> Database:
    database = Database(
        name=section.text("name", "the database's name"),
        owner=section.text("owner", "the role that owns it"),
        variable=section.text("variable", "the variable that gets the owner's URL"),
        roles=tuple(_role(each) for each in section.sections("role")),
    )
    section.close()
    return database


def _role(section: Section) -> Role:
    wanted = '"read", "write" or "sync"'
    may = section.text("may", wanted)
    if may not in ("read", "write", "sync"):
        section.problem("may", shown(may), wanted)
    role = Role(
        name=section.text("name", "the role's name"),
        variable=section.text("variable", "the variable that gets its URL"),
        may=cast('Literal["read", "write", "sync"]', may),
    )
    section.close()
    return role


def read_script(path: Path, variables: Mapping[str, str]) -> Script:
    """Return what ``path`` runs, with ``variables`` put in. Raises ``ProjectInvalid`` with every problem."""
    problems: list[Problem] = []
    top = read(path, path.name, Environment(variables), problems)
    for key in ("ports", "secrets", "redis", "database"):
        top.has(key)  # read_setting has read these
    root = path.parent.resolve()
    script = Script(
        processes=tuple(_process(each, root) for each in top.sections("process")),
        hints=tuple(_hint(each) for each in top.sections("hint")),
        tour=_tour(top.section("tour"), root) if top.has("tour") else None,
    )
    top.close()
    if problems:
        raise ProjectInvalid(tuple(problems))
    return script


def _process(section: Section, root: Path) -> Process:
    log = section.text("access_log", "the path of the file with a line a request", default="")
    environment = section.section("environment")
    process = Process(
        name=section.text("name", "the process's name"),
        folder=root / section.text("folder", "the folder to run it in", default="."),
        command=section.texts("command", "the command as a list of words"),
        before=tuple(_before(each) for each in section.sections("before")),
        environment={name: environment.text(name, "a value") for name in environment.values},
        address=section.text("address", "where it answers, as a URL", default=""),
        ready=section.text("ready", "a URL that answers 200 once it is ready", default=""),
        access_log=root / log if log else None,
        access_line=_access_line(section) if log else None,
    )
    section.close()
    return process


def _access_line(section: Section) -> re.Pattern[str] | None:
    wanted = "a regular expression with the groups path and trace (32 hex digits)"
    text = section.text("access_line", wanted)
    try:
        line = re.compile(text)
    except re.error as exc:
        section.problem("access_line", f"{shown(text)} ({exc})", wanted)
        return None
    if text and not {"path", "trace"} <= line.groupindex.keys():
        section.problem("access_line", shown(text), wanted)
    return line


def _before(section: Section) -> Before:
    before = Before(
        says=section.text("says", "what it does, in a word or two"),
        command=section.texts("command", "the command as a list of words"),
        once=_flag(section, "once"),
        progress=_flag(section, "progress"),
    )
    section.close()
    return before


def _flag(section: Section, key: str) -> bool:
    raw = section.values.get(key, False) if section.has(key) else False
    if not isinstance(raw, bool):
        section.problem(key, shown(raw), "true or false")
    return raw is True


def _hint(section: Section) -> tuple[str, str]:
    hint = (section.text("command", "a command to try"), section.text("shows", "what it shows"))
    section.close()
    return hint


def _works(section: Section, root: Path) -> Works:
    environment = section.section("environment")
    works = Works(
        folder=root / section.text("folder", "the folder to run it in", default="."),
        command=section.texts("command", "the command as a list of words"),
        environment={name: environment.text(name, "a value") for name in environment.values},
    )
    section.close()
    return works


def _ownership(section: Section, root: Path) -> Ownership:
    move = Ownership(
        capability=section.text("capability", "the capability whose owner moves"),
        paths=section.texts("paths", "paths of the capability"),
        clients=_works(section.section("clients"), root),
        check=_works(section.section("check"), root),
    )
    section.close()
    return move


def _tour(section: Section, root: Path) -> Tour:
    wanted = 'a header that puts a reader into the cohort, as in "X-Beta: 1"'
    header = section.text("cohort_header", wanted)
    name, colon, value = header.partition(":")
    if header and not (colon and name.strip() and value.strip()):
        section.problem("cohort_header", shown(header), wanted)
    tour = Tour(
        capability=section.text("capability", "the capability that moves"),
        cohort=section.text("cohort", "one of its cohorts"),
        cohort_header=(name.strip(), value.strip()),
        paths=section.texts("paths", "paths of the capability"),
        others=section.texts("others", "other paths", default=()),
        writer=_works(section.section("writer"), root) if section.has("writer") else None,
        move=_ownership(section.section("move"), root) if section.has("move") else None,
    )
    section.close()
    return tour
