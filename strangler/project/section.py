"""Reading TOML so that each mistake is found, named once, and told with what would do."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from strangler.project.values import Problem, Secret

_VARIABLE: Final = re.compile(r"\$(?:([A-Z_][A-Z0-9_]*)|\{([A-Z_][A-Z0-9_]*)(?::-([^}]*))?\})")
_PASSWORD: Final = re.compile(r"//[^/@:]*:[^/@]+@")


class Unset(Exception):
    """A variable that a value refers to has no value."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Variables by name: from the process, else from a file that one names (``NAME_FILE``)."""

    variables: Mapping[str, str]

    def resolve(self, text: str) -> str:
        """Return ``text`` with ``$NAME``, ``${NAME}`` and ``${NAME:-default}`` replaced. Raises ``Unset``."""
        return _VARIABLE.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        name, default = match[1] or match[2], match[3]
        value = self.variables.get(name) or self._from_file(name) or default
        if value is None:
            raise Unset(name)
        return value

    def _from_file(self, name: str) -> str | None:
        path = self.variables.get(f"{name}_FILE")
        if not path:
            return None
        try:
            return Path(path).read_text().strip()
        except OSError as exc:
            raise Unset(f"{name} ({name}_FILE names {path}: {os.strerror(exc.errno or 0).lower()})") from exc


@dataclass(slots=True)
class Section:
    """A table of a TOML file, being read: every access notes the key, every mistake becomes a problem."""

    file: str
    name: str
    values: Mapping[str, Any]
    environment: Environment
    problems: list[Problem]
    known: list[str] = field(default_factory=list)

    def problem(self, key: str, found: str, wanted: str) -> None:
        place = f"{self.name} {key}".strip()
        self.problems.append(Problem(file=self.file, key=place, found=found, wanted=wanted))

    def has(self, key: str) -> bool:
        self.known.append(key)
        return key in self.values

    def text(self, key: str, wanted: str, default: str | None = None) -> str:
        """Return the string at ``key`` with its variables resolved, or "" after noting what is wrong."""
        if not self.has(key):
            if default is None:
                self.problem(key, "nothing", wanted)
            return default or ""
        return self._resolved(key, self.values[key], wanted)

    def texts(self, key: str, wanted: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return the strings at ``key``; one string alone counts as a list of one."""
        if not self.has(key):
            if default is None:
                self.problem(key, "nothing", wanted)
            return default or ()
        raw = self.values[key]
        items = [raw] if isinstance(raw, str) else raw
        if not isinstance(items, list) or not items:
            self.problem(key, shown(raw), wanted)
            return ()
        return tuple(text for item in items if (text := self._resolved(key, item, wanted)))

    def number(self, key: str, wanted: str, default: int, low: int, high: int) -> int:
        if not self.has(key):
            return default
        raw = self.values[key]
        if not isinstance(raw, int) or isinstance(raw, bool) or not low <= raw <= high:
            self.problem(key, shown(raw), wanted)
            return default
        return raw

    def secret(self, key: str, wanted: str, valid: Callable[[str], bool]) -> Secret:
        """Return the value at ``key``, unset variables included: they are an error only to whoever needs them."""
        if not self.has(key):
            return Secret(value=None, problem=self._missing(key, "nothing", wanted))
        raw = self.values[key]
        if not isinstance(raw, str):
            self.problem(key, shown(raw), wanted)
            return Secret(value=None, problem=self.problems[-1])
        literal = _VARIABLE.sub("", raw)
        if _PASSWORD.search(literal) or (key == "secret" and literal):
            self.problem(key, "a secret written into the file", 'a variable, as in "$NAME"')
            return Secret(value=None, problem=self.problems[-1])
        try:
            value = self.environment.resolve(raw)
        except Unset as exc:
            return Secret(value=None, problem=self._missing(key, f"{raw}, and {exc} is not set", wanted))
        if not valid(value):
            self.problem(key, f"{raw}, whose value does not fit (not shown)", wanted)
            return Secret(value=None, problem=self.problems[-1])
        return Secret(value=value)

    def section(self, key: str) -> Section:
        """Return the table at ``key``, empty when it is missing."""
        raw = self.values.get(key, {}) if self.has(key) else {}
        if not isinstance(raw, dict):
            self.problem(key, shown(raw), f"a table [{key}]")
            raw = {}
        name = f"{self.name[1:-1]}.{key}" if self.name else key
        return Section(self.file, f"[{name}]", raw, self.environment, self.problems)

    def sections(self, key: str) -> Iterator[Section]:
        """Yield the tables of the array at ``key``."""
        raw = self.values.get(key, []) if self.has(key) else []
        if not isinstance(raw, list) or not all(isinstance(each, dict) for each in raw):
            self.problem(key, shown(raw), f"tables [[{key}]]")
            return
        for number, each in enumerate(raw, 1):
            yield Section(self.file, f"[[{key}]] {number}", each, self.environment, self.problems)

    def close(self) -> None:
        """Note the keys that nobody asked for: a misspelt key must not be a silent default."""
        for key in self.values.keys() - set(self.known):
            near = get_close_matches(key, self.known, n=1)
            wanted = f"{near[0]!r} perhaps" if near else f"one of {', '.join(sorted(set(self.known)))}"
            self.problem("", f"unknown key {key!r}", wanted)

    def _resolved(self, key: str, raw: object, wanted: str) -> str:
        if not isinstance(raw, str):
            self.problem(key, shown(raw), wanted)
            return ""
        try:
            return self.environment.resolve(raw)
        except Unset as exc:
            self.problem(key, f"{raw}, and {exc} is not set", wanted)
            return ""

    def _missing(self, key: str, found: str, wanted: str) -> Problem:
        return Problem(file=self.file, key=f"{self.name} {key}".strip(), found=found, wanted=wanted)


def shown(raw: object) -> str:
    """Return ``raw`` as a TOML author would know it, without passwords, cut to a line."""
    text = _PASSWORD.sub("//***@", repr(raw)) if not isinstance(raw, bool) else str(raw).lower()
    return text if len(text) <= 80 else text[:77] + "..."


def read(path: Path, shown_as: str, environment: Environment, problems: list[Problem]) -> Section:
    """Return the file at ``path`` as its outermost section, empty after noting that it cannot be read."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(Problem(file=shown_as, key="", found="no such file", wanted="a TOML file"))
        values = {}
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(Problem(file=shown_as, key="", found=str(exc), wanted="a readable TOML file in UTF-8"))
        values = {}
    except tomllib.TOMLDecodeError as exc:
        problems.append(Problem(file=shown_as, key="", found=f"a mistake in the TOML: {exc}", wanted="valid TOML"))
        values = {}
    return Section(shown_as, "", values, environment, problems)
