"""Variables in values, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.project import ProjectInvalid, load
from strangler.project.section import Environment, Unset, mask, shown
from tests.fixtures.project_files import ENV, STRANGLER, write

URL = "redis://127.0.0.1"


def redis(path: Path, text: str, env: Mapping[str, str], env_file: str | None = None) -> str:
    """Return what ``text`` as the value of redis comes to, or the problem of whoever needs it."""
    top = 'env_file = "demo.env"\n' + STRANGLER.replace("$REDIS_URL", text)
    files = {"strangler.toml": top} if env_file is None else {"strangler.toml": top, "demo.env": env_file}
    project = load(write(path, files), {**{key: value for key, value in ENV.items() if key != "REDIS_URL"}, **env})
    try:
        return project.control.redis.reveal()
    except ProjectInvalid as exc:
        return str(exc)


@pytest.mark.parametrize(
    ("text", "env", "expected"),
    [
        (URL, {}, URL),
        ("$A", {"A": URL}, URL),
        ("${A}", {"A": URL}, URL),
        ("$A/3", {"A": URL}, f"{URL}/3"),
        ("${A}0", {"A": URL}, f"{URL}0"),
        ("redis://$A:${B}", {"A": "x", "B": "1"}, "redis://x:1"),
        (f"${{A:-{URL}}}", {}, URL),
        (f"${{A:-{URL}}}", {"A": ""}, URL),
        (f"${{A:-{URL}}}", {"A": "redis://x"}, "redis://x"),
        ("redis://x${A:-}", {}, "redis://x"),
        ("$A", {"A": "redis://$B", "B": "x"}, "redis://$B"),
        ("redis://$a", {"a": "x"}, "redis://$a"),
        ("redis://x/$", {}, "redis://x/$"),
    ],
)
def test_a_variable_stands_for_its_value(text: str, env: dict[str, str], expected: str, tmp_path: Path) -> None:
    assert redis(tmp_path, text, env) == expected


WANTED = 'wanted a variable holding a redis:// URL, as in "$NAME"'
PLACE = "strangler.toml: [control] redis"


@pytest.mark.parametrize("env", [{}, {"A": ""}])
def test_an_unset_variable_is_a_problem_of_whoever_needs_it(env: dict[str, str], tmp_path: Path) -> None:
    assert redis(tmp_path, "redis://$A", env, "B=x") == f"{PLACE}: found redis://$A, and A is not set; {WANTED}"


def test_an_env_file_that_is_not_there_is_named_beside_what_is_unset(tmp_path: Path) -> None:
    nor = "nor is there the env_file, demo.env"
    assert redis(tmp_path, "$A", {}) == f"{PLACE}: found $A, and A is not set ({nor}); {WANTED}"


def test_a_value_left_out_is_a_problem_of_whoever_needs_it(tmp_path: Path) -> None:
    files = {"strangler.toml": STRANGLER.replace('redis = "$REDIS_URL"\n', "")}
    project = load(write(tmp_path, files), ENV)
    with pytest.raises(ProjectInvalid, match=r"^strangler.toml: \[control\] redis: found nothing; wanted a variable"):
        project.control.redis.reveal()


def test_a_variable_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{URL}\n")
    assert redis(tmp_path, "$A", {"A_FILE": str(tmp_path / "secret")}) == URL
    assert redis(tmp_path, "$A", {"A_FILE": str(tmp_path / "secret"), "A": "redis://x"}) == "redis://x"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file or directory"), (b"\xff", "no text in UTF-8")],
)
def test_a_file_of_a_variable_that_cannot_be_read_is_named(content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    told = redis(tmp_path, "$A", {"A_FILE": str(path)})
    assert told == f"{PLACE}: found $A, and A (A_FILE names {path}: {reason}) is not set; {WANTED}"


@pytest.mark.parametrize("path", ["x\0y", "x" * 5_000])
def test_an_impossible_path_is_no_traceback(path: str, tmp_path: Path) -> None:
    assert "is not set" in redis(tmp_path, "$A", {"A_FILE": path})


def test_the_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("redis://file")
    assert redis(tmp_path, "$A", {}, "A=redis://beside") == "redis://beside"
    assert redis(tmp_path, "$A", {"A": URL}, "A=redis://beside") == URL
    assert redis(tmp_path, "$A", {"A_FILE": str(tmp_path / "secret")}, "A=redis://beside") == "redis://file"
    assert redis(tmp_path, "$A", {"A": ""}, "A=redis://beside") == "redis://beside"
    assert redis(tmp_path, "$A", {}, f"A_FILE={tmp_path / 'secret'}") == "redis://file"


@pytest.mark.parametrize(
    "line",
    [
        f"A={URL}",
        f" A = {URL} ",
        f"export A={URL}",
        f'A="{URL}"',
        f"A='{URL}'",
        f"# a comment\n\nA={URL}\n",
        f"A=redis://first\r\nA={URL}\r\n",
    ],
)
def test_a_line_of_the_env_file_is_written_as_in_a_shell(line: str, tmp_path: Path) -> None:
    assert redis(tmp_path, "$A", {}, line) == URL


@pytest.mark.parametrize("line", ["A", "=b", "a b=c", "1A=b", "export", "käse=1"])
def test_a_line_that_is_none_is_named_by_its_number(line: str, tmp_path: Path) -> None:
    with pytest.raises(ProjectInvalid) as invalid:
        redis(tmp_path, URL, {}, f"#\n{line}\n")
    message = "strangler.toml: env_file: found line 2 of demo.env, which is no NAME=value; wanted NAME=value"
    assert str(invalid.value) == message


def test_an_env_file_that_is_not_there_is_for_another_machine(tmp_path: Path) -> None:
    assert redis(tmp_path, URL, {}) == URL


@pytest.mark.parametrize(("name", "reason"), [(".", "is a directory"), ("x" * 5_000, "file name too long")])
def test_an_env_file_that_cannot_be_read_is_a_problem(name: str, reason: str, tmp_path: Path) -> None:
    top = f'env_file = "{name}"\n{STRANGLER}'
    with pytest.raises(ProjectInvalid) as invalid:
        load(write(tmp_path, {"strangler.toml": top}), ENV)
    assert str(invalid.value) == (
        f"strangler.toml: env_file: found {name}, which cannot be read: {reason}; wanted a file with NAME=value lines"
    )


@given(st.text(), st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,3}", fullmatch=True), st.text()))
def test_any_text_is_resolved_or_unset(text: str, variables: dict[str, str]) -> None:
    with suppress(Unset):
        Environment(variables).resolve(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:secret@host/db", "postgresql://***@host/db"),
        ("postgresql://me:se/cr@et@host/db", "postgresql://***@host/db"),
        ("postgresql://host/db?password=secret&x=1", "postgresql://host/db?password=***&x=1"),
        ("host=x password = secret dbname=y", "host=x password = *** dbname=y"),
        ("http://host:8001/path", "http://host:8001/path"),
        ("nothing", "nothing"),
    ],
)
def test_a_password_is_masked(text: str, expected: str) -> None:
    assert mask(text) == expected


def test_a_value_is_shown_on_one_line() -> None:
    assert [shown(each) for each in (True, "a\nb", ["x"] * 40, 0.5)] == [
        "true",
        r"'a\nb'",
        f"{['x'] * 40}"[:77] + "...",
        "0.5",
    ]
