"""Reading TOML so that each mistake is found, named once, and told with what would do."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

from strangler.project.values import Problem, Secret

_VARIABLE: Final = re.compile(r"\$(?:([A-Z_][A-Z0-9_]*)|\{([A-Z_][A-Z0-9_]*)(?::-([^}]*))?\})")
# Written out: user:password@ before any query, or a password among a connection's parameters.
_PASSWORD: Final = re.compile(r"//[^/@:]*:[^@?]+@|(?:^|[?&\s])(?:ssl)?password\s*=\s*[^&\s]", re.IGNORECASE)
# Masking takes too much rather than too little.
_MASKED: Final = re.compile(r"(//).*(@)|(password\s*=\s*)[^&\s]+()", re.IGNORECASE | re.DOTALL)

NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
NAME_WANTED: Final = "lower-case letters, digits, - and _, starting with a letter"
METHOD: Final = re.compile(r"[A-Z][A-Z-]{2,31}")

# Keys under which nothing but a variable may stand.
_SECRETS: Final = ("secret", "second_secret")

T = TypeVar("T")
Check = Callable[[str], object]
"""Raises ``ValueError`` on a value that does not fit; its words, if any, say why."""


class Unset(Exception):
    """A variable that a value refers to has no value."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Variables by name: those of the process, else a file that one names (``NAME_FILE``), else the ``fallback``."""

    variables: Mapping[str, str]
    fallback: Mapping[str, str] = field(default_factory=dict)
    lacking: str = ""
    """The file that the ``fallback`` would come from, where there is none."""

    def resolve(self, text: str) -> str:
        """Return ``text`` with ``$NAME``, ``${NAME}`` and ``${NAME:-default}`` replaced. Raises ``Unset``."""
        return _VARIABLE.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        name = match[1] or match[2]
        for variables in (self.variables, self.fallback):
            value = variables.get(name) or _from_file(name, variables.get(f"{name}_FILE"))
            if value:
                return value
        if match[3] is None:
            raise Unset(f"{name} is not set{self._nor_file()}")
        return match[3]

    def _nor_file(self) -> str:
        return f" (nor is there the env_file, {self.lacking})" if self.lacking else ""


def _from_file(name: str, path: str | None) -> str | None:
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as exc:
        reason = reason_of(exc)
    except ValueError as exc:  # not UTF-8, or no path at all
        reason = "no text in UTF-8" if isinstance(exc, UnicodeDecodeError) else "no path"
    raise Unset(f"{name} ({name}_FILE names {mask(path)}: {reason}) is not set")


@dataclass(slots=True)
class Section:
    """A table of a TOML file, being read: every access notes the key, every mistake becomes a problem."""

    file: str
    name: str
    values: Mapping[str, Any]
    environment: Environment
    problems: list[Problem]
    known: list[str] = field(default_factory=list)
    missing: dict[str, Problem] = field(default_factory=dict)

    def problem(self, key: str, found: str, wanted: str) -> Problem:
        problem = self._problem(key, found, wanted)
        self.problems.append(problem)
        return problem

    def has(self, key: str) -> bool:
        self.known.append(key)
        return key in self.values

    def text(self, key: str, wanted: str, default: str | None = None, check: Check = str) -> str:
        """Return the string at ``key`` with its variables resolved, or "" after noting what is wrong.

        An empty one counts as left out.
        """
        value = self._resolved(key, self.values[key], wanted, check) if self.has(key) else ""
        if value == "" and default is None:
            self._absent(key, wanted)
        return value or default or ""

    def texts(
        self, key: str, wanted: str, default: tuple[str, ...] | None = None, check: Check = str
    ) -> tuple[str, ...]:
        """Return the strings at ``key``; one string alone counts as a list of one, and empty ones as left out."""
        raw = self.values[key] if self.has(key) else []
        items = [raw] if isinstance(raw, str) else raw
        if not isinstance(items, list):
            self.problem(key, shown(raw), wanted)
            return ()
        values = [self._resolved(key, item, wanted, check) for item in items]
        if default is None and all(value == "" for value in values):
            self._absent(key, wanted)
        return tuple(filter(None, values)) or default or ()

    def number(self, key: str, wanted: str, default: T, low: int, high: int) -> int | T:
        if not self.has(key):
            return default
        raw = self.values[key]
        if not isinstance(raw, int) or isinstance(raw, bool) or not low <= raw <= high:
            self.problem(key, shown(raw), wanted)
            return default
        return raw

    def seconds(self, key: str, wanted: str, default: T, low: float, high: float) -> float | T:
        if not self.has(key):
            return default
        raw = self.values[key]
        if not isinstance(raw, int | float) or isinstance(raw, bool) or not low <= raw <= high:
            self.problem(key, shown(raw), wanted)
            return default
        return float(raw)

    def flag(self, key: str, default: bool) -> bool:
        if not self.has(key):
            return default
        raw = self.values[key]
        if not isinstance(raw, bool):
            self.problem(key, shown(raw), "true or false")
            return default
        return raw

    def secret(self, key: str, wanted: str, valid: Callable[[str], bool]) -> Secret:
        """Return the value at ``key``, unset variables included: they are an error only to whoever needs them."""
        if not self.has(key):
            return Secret(value=None, problem=self._problem(key, "nothing", wanted))
        raw = self.values[key]
        if not isinstance(raw, str):
            return Secret(value=None, problem=self.problem(key, "a value that is no text (not shown)", wanted))
        literal = _VARIABLE.sub(lambda match: match[3] or "", raw)
        if _PASSWORD.search(literal) or (key in _SECRETS and literal):
            found = "a secret written into the file"
            return Secret(value=None, problem=self.problem(key, found, 'a variable, as in "$NAME"'))
        try:
            value = self.environment.resolve(raw)
        except Unset as exc:
            return Secret(value=None, problem=self._problem(key, f"{mask(raw)}, and {exc}", wanted))
        if "\0" in value or not valid(value):
            return Secret(value=None, problem=self.problem(key, _unfit(raw), wanted))
        return Secret(value=value)

    def optional_secret(self, key: str, wanted: str, valid: Callable[[str], bool]) -> Secret | None:
        """Return the value at ``key`` as ``secret`` does, and None where it is left out or empty."""
        found = self.secret(key, wanted, lambda value: value == "" or valid(value)) if key in self.values else None
        self.known.append(key)
        return None if found is None or found.value == "" else found

    def section(self, key: str) -> Section:
        """Return the table at ``key``, empty when it is missing, and mute when it is no table."""
        name = f"{self.name[1:-1]}.{key}" if self.name else key
        raw = self.values.get(key, {}) if self.has(key) else {}
        if isinstance(raw, dict):
            return Section(self.file, f"[{name}]", raw, self.environment, self.problems)
        self.problem(key, shown(raw), f"a table [{name}]")
        return Section(self.file, f"[{name}]", {}, self.environment, [])

    def sections(self, key: str) -> Iterator[Section]:
        """Yield the tables of the array at ``key``."""
        raw = self.values.get(key, []) if self.has(key) else []
        if not isinstance(raw, list) or not all(isinstance(each, dict) for each in raw):
            self.problem(key, shown(raw), f"tables [[{key}]]")
            return
        for number, each in enumerate(raw, 1):
            yield Section(self.file, f"{self.name} [[{key}]] {number}".strip(), each, self.environment, self.problems)

    def close(self) -> None:
        """Note the keys that nobody asked for: a misspelt key must not be a silent default."""
        known = sorted(set(self.known))
        for key in self.values:
            if key in self.known:
                continue
            near = get_close_matches(key, known, n=1)
            self.problem("", f"unknown key {key!r}", f"{near[0]!r} perhaps" if near else f"one of {', '.join(known)}")
            absence = self.missing.pop(near[0], None) if near else None
            if absence is not None:  # it is there, misspelt: one mistake, one message
                self.problems.remove(absence)

    def _absent(self, key: str, wanted: str) -> None:
        found = shown(self.values[key]) if key in self.values else "nothing"
        self.missing[key] = self.problem(key, found, wanted)

    def _resolved(self, key: str, raw: object, wanted: str, check: Check) -> str | None:
        """Return the value of ``raw``, None after noting what is wrong with it."""
        if not isinstance(raw, str):
            self.problem(key, shown(raw), wanted)
            return None
        try:
            value = self.environment.resolve(raw)
            if value:
                _refuse_nul(value)
                check(value)
        except Unset as exc:
            self.problem(key, f"{mask(raw)}, and {exc}", wanted)
            return None
        except ValueError as exc:
            told = f"{shown(raw)} ({exc})".removesuffix(" ()")
            self.problem(key, _unfit(raw) if _VARIABLE.search(raw) else told, wanted)
            return None
        return value

    def _problem(self, key: str, found: str, wanted: str) -> Problem:
        return Problem(file=self.file, key=f"{self.name} {key}".strip(), found=found, wanted=wanted)


def _refuse_nul(value: str) -> None:
    if "\0" in value:
        raise ValueError("it holds a NUL")


def _unfit(raw: str) -> str:
    """Say that a value does not fit without telling it: only the names of its variables."""
    names = " and ".join(f"${match[1] or match[2]}" for match in _VARIABLE.finditer(raw))
    return f"{names}, whose value does not fit (not shown)" if names else "a value that does not fit (not shown)"


def reason_of(exc: OSError) -> str:
    """Return why the system refused, in its words and without the path."""
    return os.strerror(exc.errno or 0).lower()


def mask(text: str) -> str:
    """Return ``text`` without the passwords of URLs."""
    return _MASKED.sub(r"\1\3***\2\4", text)


def shown(raw: object) -> str:
    """Return ``raw`` as a TOML author would know it, without passwords, cut to a line."""
    try:
        text = mask(repr(raw)) if not isinstance(raw, bool) else str(raw).lower()
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        return "a number too long to show"
    return text if len(text) <= 80 else text[:77] + "..."


def read(path: Path, shown_as: str, environment: Environment, problems: list[Problem]) -> Section:
    """Return the file at ``path`` as its outermost section; empty and mute after noting that it cannot be read."""

    def unreadable(found: str, wanted: str) -> Section:
        problems.append(Problem(file=shown_as, key="", found=found, wanted=wanted))
        return Section(shown_as, "", {}, environment, [])

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return unreadable("no such file", "a TOML file")
    except OSError as exc:
        return unreadable(reason_of(exc), "a readable TOML file")
    except UnicodeDecodeError as exc:
        return unreadable(str(exc), "UTF-8")
    except (ValueError, RecursionError) as exc:  # beyond TOML's own: a number or a nesting that is too long
        return unreadable(f"a mistake in the TOML: {exc}", "valid TOML")
    return Section(shown_as, "", values, environment, problems)
