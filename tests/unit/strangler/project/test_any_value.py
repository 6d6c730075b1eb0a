"""Any value at any place: a project or its problems, and never a secret told."""

from __future__ import annotations

import copy
import tomllib
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strangler.project import Project, ProjectInvalid, Secret, load
from strangler.project.values import Problem
from tests.fixtures.project_files import ENV, FILES, PASSWORD, STRANGLER, toml, write

PLENTY = {
    **FILES,
    "strangler.toml": 'env_file = "demo.env"\ncapabilities = "migrations"\n'
    + STRANGLER.replace(
        "[proxy]",
        '[proxy]\nadmin = "127.0.0.1:8900"\nworkers = 2\ntrusted = ["10.0.0.0/8"]\nstate = "x"\naccess_log = "-"',
    )
    + 'health = "/h"\nhealth_interval = 1\nconnections = 5\ntotal_timeout = 1.5\nresolve = 0\n'
    '[identity]\nsecret = "$STRANGLER_SECRET"\nsession_cookie = "s"\npath = "/.strangler/x/"\n'
    'permissions = ["a.b"]\n',
    "migrations/catalog/capability.toml": """\
service = "catalog"
[[route]]
path = "/api/catalog"
methods = ["GET"]
host = "shop.example"
header = "X-Api-Version: 2"
kind = "reads"
[[cohort]]
name = "german"
segment = "lang"
values = ["de"]
[[cohort]]
name = "office"
cidr = ["192.0.2.0/24"]
[[route]]
path = "/{lang}/products"
[protect]
bulkhead = 3
fallback = true
timeout = 1.5
""",
}
TREE: dict[str, Any] = {name: tomllib.loads(text) for name, text in PLENTY.items()}
Place = tuple[str | int, ...]


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*above, key)
        yield from places(each, (*above, key))


PLACES = [place for place in places(TREE) if len(place) > 1]
SECRET_KEYS = [place for place in PLACES if place[-1] in ("database", "redis", "secret")]


def changed(*changes: tuple[Place, object]) -> dict[str, str]:
    """Return the files with a value put at each place, as long as there still is one."""
    tree = copy.deepcopy(TREE)
    for place, value in changes:
        with suppress(LookupError, TypeError):
            spot: Any = tree
            for key in place[:-1]:
                spot = spot[key]
            spot[place[-1]] = value
    return {name: toml(values) for name, values in tree.items()}


def loaded(folder: Path, files: dict[str, str]) -> Project | ProjectInvalid:
    try:
        return load(write(folder, files), {**ENV, "DE_FILE": "/"})
    except ProjectInvalid as exc:
        return exc


WORDS = (
    "$ ${A} $A ${A:-b} $DE $REDIS_URL //a:b@c / // . .. {x} [x] http:// http://a:99999 http://[ ::1 10.0.0.0/8 "
    "127.0.0.1:1 GET reads catalog monolith a.b.c x:y :"
)
texts = (
    st.sampled_from(WORDS.split()) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.just("x" * 300)
)
toml_values = st.recursive(
    texts
    | st.integers()
    | st.sampled_from([0, 1, 65])
    | st.just(5_000).map(lambda digits: 0xF**digits)
    | st.floats()
    | st.booleans()
    | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.tuples(st.sampled_from(PLACES), toml_values), min_size=1, max_size=3))
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_value_at_any_place_gives_a_project_or_its_problems(
    tmp_path: Path, changes: list[tuple[Place, object]]
) -> None:
    result = loaded(tmp_path, changed(*changes))
    if isinstance(result, ProjectInvalid):
        assert result.problems
        assert all(each.found and each.wanted and str(each).isprintable() for each in result.problems)
    else:
        assert result.bootstrap_table().version == 0


@pytest.mark.parametrize("place", [place for place in PLACES if isinstance(place[-1], str)], ids=str)
def test_a_key_spelt_wrong_is_never_ignored(place: Place, tmp_path: Path) -> None:
    files = changed(((*place[:-1], f"{place[-1]}s_"), 1))
    result = loaded(tmp_path, files)
    if place[-2] in ("service", "key", "forward", "reverse"):
        return  # names of the team's own choosing
    assert isinstance(result, ProjectInvalid)
    assert any(f"unknown key '{place[-1]}s_'" in each.found for each in result.problems)


def told(result: Project | ProjectInvalid) -> str:
    """Return everything that could reach a log, bar values that stand where no secret belongs and yet are good."""
    if isinstance(result, Project):
        return f"{result.monolith} {result.services} {result.control} {list(map(refused, secrets(result)))}"
    trace = "".join(traceback.format_exception(result))
    return f"{result} {result!r} {result.problems!r} {trace}"


def secrets(project: Project) -> list[Secret]:
    control = project.control
    services = [each.database for each in project.services.values()]
    return [project.monolith.database, *services, control.database, control.redis, control.secret]


def refused(secret: Secret) -> str:
    try:
        return str(len(secret.reveal()))
    except ProjectInvalid as exc:
        return told(exc)


SECRETS = [
    f"http://me:{PASSWORD}@127.0.0.1:8001",
    f"postgresql://me:{PASSWORD}@127.0.0.1/shop",
    f"postgresql://me:a\n/{PASSWORD}@127.0.0.1/shop",
    f"postgresql://127.0.0.1/shop?password={PASSWORD}",
    f"host=127.0.0.1 password = {PASSWORD}",
    f"postgresql://me:{PASSWORD}@$NOWHERE/shop",
    f"postgresql://$NOWHERE/shop?password={PASSWORD}",
    f"host=$NOWHERE password = {PASSWORD}",
    "$MONOLITH_DATABASE_URL",
    "x${MONOLITH_DATABASE_URL}y",
    "$STRANGLER_SECRET",
    f"${{NOWHERE:-postgresql://me:{PASSWORD}@127.0.0.1/shop}}",
]


@given(st.sampled_from(PLACES), st.sampled_from(SECRETS), st.sampled_from([str, lambda x: [x], lambda x: {"x": x}]))
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_a_secret_is_never_told_wherever_it_stands(tmp_path: Path, place: Place, text: str, shape: Any) -> None:
    assert PASSWORD not in told(loaded(tmp_path, changed((place, shape(text)))))


@pytest.mark.parametrize("place", SECRET_KEYS, ids=str)
@pytest.mark.parametrize("value", [PASSWORD, [PASSWORD], {"x": PASSWORD}, f"${{NOWHERE:-{PASSWORD}}}"], ids=str)
def test_the_value_of_a_secret_key_is_never_told_whatever_it_is(place: Place, value: object, tmp_path: Path) -> None:
    assert PASSWORD not in told(loaded(tmp_path, changed((place, value))))


def test_a_secret_prints_whether_it_is_there_and_no_more() -> None:
    problem = Problem(file="a", key="b", found="c", wanted="d")
    assert f"{Secret(value='x')} {Secret(value=None)!r} {Secret(value=None, problem=problem)}" == (
        "Secret(***) Secret(unset) Secret(unset)"
    )
