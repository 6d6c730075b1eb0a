from __future__ import annotations

import hmac
import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strangler.capability import Data, Move, Phase, Stack, Stage, State
from strangler.routing.cohort import Cohort, Source
from strangler.routing.hold import Hold
from strangler.routing.path import Segments
from strangler.routing.protect import Protect, Reach
from strangler.routing.table import (
    MAX_DEPTH,
    Capability,
    Kind,
    Route,
    RoutingTable,
    TableInvalid,
    capability_from_json,
    capability_to_json,
    is_sealed,
    seal,
    state_from_json,
    state_to_json,
    unseal,
)

KEY = b"a key that only the tests know..."
UPSTREAMS = {"monolith": ("http://127.0.0.1:1",), "catalog": ("http://127.0.0.1:2", "http://127.0.0.1:3")}

parts = st.sampled_from(["a", "b", "c", "{x}"])
METHODS = ["GET", "HEAD", "POST"]
HOSTS = ["one.example", "two.example"]
HEADERS = [("x-v", "1"), ("x-v", "2"), ("x-w", "1")]


def named(path: list[str]) -> str:
    """Give each wildcard a name of its own."""
    return "/" + "/".join(part.replace("x", f"x{number}") for number, part in enumerate(path))


routes = st.builds(
    Route,
    path=st.lists(parts, max_size=4).map(named),
    methods=st.frozensets(st.sampled_from(METHODS), max_size=2),
    host=st.none() | st.sampled_from(HOSTS),
    header=st.none() | st.sampled_from(HEADERS),
    kind=st.none() | st.sampled_from(Kind),
)
states = (
    st.builds(
        State,
        epoch=st.integers(0, 2**40),
        stage=st.sampled_from([Stage.MONOLITH, Stage.CANARY]),
        owner=st.just(Stack.MONOLITH),
        share=st.just(0),
        killed=st.none() | st.text(st.characters(codec=None)),
        read_only=st.none() | st.text(st.characters(codec=None)),
        data=st.just(Data.SNAPSHOT),
        data_at=st.datetimes(timezones=st.just(UTC)),
    )
    | st.sampled_from([State(stage=Stage.SYNCING), State(stage=Stage.SHADOW, data=Data.STREAMED)])
    | st.builds(
        lambda epoch, phase: State(
            stage=Stage.SHADOW,
            data=Data.STREAMED,
            move=Move(epoch=epoch, source=Stack.SERVICE if phase is Phase.DONE else Stack.MONOLITH, phase=phase),
        ),
        st.integers(0),
        st.sampled_from([Phase.PREPARED, Phase.ABORTING, Phase.DONE, Phase.ABORTED]),
    )
    | st.builds(
        State,
        stage=st.just(Stage.SERVICE),
        owner=st.just(Stack.SERVICE),
        share=st.integers(0, 10_000),
        cohorts=st.dictionaries(st.text(max_size=5), st.sampled_from(Stack), max_size=3),
        data=st.sampled_from([Data.NONE, Data.ABSENT]),
    )
)
cohorts = st.builds(
    Cohort, name=st.text(max_size=5), source=st.just(Source.QUERY), key=st.text(min_size=1), values=st.tuples(st.text())
) | st.just(Cohort(name="office", source=Source.CIDR, values=("192.0.2.0/24", "2001:db8::/32")))
capabilities = st.builds(
    Capability,
    name=st.text(max_size=5),
    service=st.just("catalog"),
    routes=st.lists(routes, max_size=4).map(tuple),
    cohorts=st.lists(cohorts, max_size=2).map(tuple),
    state=states,
    protect=st.builds(Protect, bulkhead=st.none() | st.integers(1, 100), fallback=st.booleans()),
    hold=st.none() | st.builds(Hold, id=st.integers(0, 99), count=st.integers(0, 1000), bytes=st.integers(0, 1 << 40)),
)
tables = st.builds(
    RoutingTable,
    version=st.integers(0, 2**60),
    upstreams=st.just(UPSTREAMS),
    capabilities=st.lists(capabilities, max_size=3).map(tuple),
    published_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    reach=st.dictionaries(
        st.sampled_from(list(UPSTREAMS)),
        st.builds(Reach, pending=st.none() | st.integers(0, 9), resolve=st.floats(0.001, 9)),
        max_size=2,
    ),
)


def table_of(*paths: str | Route) -> RoutingTable:
    """Return a table with one capability for each route, named by its path."""
    every = [Route(path=each) if isinstance(each, str) else each for each in paths]
    return RoutingTable(
        version=1,
        upstreams=UPSTREAMS,
        capabilities=tuple(Capability(name=each.path, service="catalog", routes=(each,)) for each in every),
    )


def segments(path: str) -> Segments:
    return tuple(part for part in path.split("/") if part)


def found(table: RoutingTable, path: str, fits: Callable[[Route], bool] = lambda route: True) -> str | None:
    entry = table.find(segments(path), fits)
    return entry[1].path if entry else None


def taken(method: str, host: str, headers: dict[str, str]) -> Callable[[Route], bool]:
    """Return what fits a request, told anew and plainly."""

    def fits(route: Route) -> bool:
        methods = set(route.methods) | ({"HEAD"} if "GET" in route.methods else set())
        return (
            (not methods or method in methods)
            and route.host in (None, host)
            and (route.header is None or headers.get(route.header[0]) == route.header[1])
        )

    return fits


def requests() -> Iterator[Callable[[Route], bool]]:
    for method, host, v, w in product([*METHODS, "PUT"], [*HOSTS, "other"], ["1", "2", ""], ["1", ""]):
        yield taken(method, host, {"x-v": v, "x-w": w})


def rank(route: Route) -> tuple[list[int], int]:
    """Order routes by precedence: literal over wildcard over end, from the left, then by conditions."""
    return [1 if part is None else 2 for part in route.segments], route.conditions


def fits_path(route: Route, path: Segments) -> bool:
    wanted = route.segments
    return len(wanted) <= len(path) and all(
        want in (None, part) for want, part in zip(wanted, path[: len(wanted)], strict=True)
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/catalog", "/api/catalog"),
        ("/api/catalog/7/x", "/api/catalog"),
        ("/api/catalogue", "/api/{name}"),
        ("/api", "/api"),
        ("/api/catalog/special/x", "/api/catalog/special"),
        ("/de/products/x", "/{lang}/products"),
        ("/shop/products", "/shop"),
        ("/shop/x", "/shop"),
        ("/de", None),
        ("/", None),
    ],
)
def test_literal_beats_wildcard_and_longer_beats_shorter(path: str, expected: str | None) -> None:
    table = table_of("/api", "/api/catalog", "/api/{name}", "/api/catalog/special", "/{lang}/products", "/shop")
    assert found(table, path) == expected


def test_the_root_takes_whatever_no_other_route_has() -> None:
    table = table_of("/", "/api")
    assert (found(table, "/"), found(table, "/x/y"), found(table, "/api/1")) == ("/", "/", "/api")


def test_a_route_whose_conditions_fail_gives_way_to_the_next() -> None:
    table = table_of(Route(path="/api/catalog", host="one.example"), Route(path="/api/{name}"), Route(path="/api"))
    assert found(table, "/api/catalog", taken("GET", "one.example", {})) == "/api/catalog"
    assert found(table, "/api/catalog", taken("GET", "two.example", {})) == "/api/{name}"
    assert found(table, "/api", taken("GET", "two.example", {})) == "/api"


@given(st.permutations(range(4)))
def test_of_routes_with_one_path_more_conditions_come_first(order: list[int]) -> None:
    every = [
        Route(path="/a"),
        Route(path="/a", methods=frozenset({"GET"})),
        Route(path="/a", methods=frozenset({"GET"}), host="one.example"),
        Route(path="/a", methods=frozenset({"GET"}), host="one.example", header=("x-v", "1")),
    ]
    table = table_of(*(every[number] for number in order))
    requests = [taken("POST", "", {}), taken("HEAD", "", {}), taken("GET", "one.example", {})]
    requests.append(taken("GET", "one.example", {"x-v": "1"}))
    entries = [table.find(("a",), fits) for fits in requests]
    assert [entry[1] if entry else None for entry in entries] == every


@given(st.lists(routes, max_size=12), st.lists(st.sampled_from(["a", "b", "d"]), max_size=6))
@settings(max_examples=300, deadline=None)
def test_the_trie_finds_what_a_search_through_all_routes_finds(every: list[Route], path: list[str]) -> None:
    table = table_of(*every)
    for fits in (taken("GET", "one.example", {"x-v": "1"}), taken("POST", "other", {}), taken("HEAD", "other", {})):
        fitting = [route for route in every if fits_path(route, tuple(path)) and fits(route)]
        entry = table.find(tuple(path), fits)
        best = max(fitting, key=rank, default=None)
        assert (entry is None) == (best is None)
        if entry is not None and best is not None:
            assert entry[1] in fitting
            assert rank(entry[1]) == rank(best)


@given(routes, routes)
@settings(max_examples=300, deadline=None)
def test_routes_overlap_exactly_where_a_request_fits_both_and_neither_takes_precedence(one: Route, two: Route) -> None:
    same = Route(path=one.path, methods=two.methods, host=two.host, header=two.header, kind=two.kind)
    for other in (two, same):
        assert one.overlaps(other) == other.overlaps(one)
        both = any(fits(one) and fits(other) for fits in requests())
        level = one.segments == other.segments and one.conditions == other.conditions
        assert one.overlaps(other) == (level and both)


def test_get_and_head_overlap() -> None:
    get, head = (Route(path="/a", methods=frozenset({method})) for method in ("GET", "HEAD"))
    assert get.overlaps(head)
    assert head.overlaps(get)


def asking(path: str) -> Route:
    """Return a route that a request must be asked about, so that finding it does not end the search."""
    return Route(path=path, methods=frozenset({"GET"}))


def visits(table: RoutingTable, path: Segments) -> int:
    """Count the nodes that a search steps on."""
    count = 0

    def note(frame: FrameType, event: str, called: object) -> None:
        nonlocal count
        count += event == "c_call" and getattr(called, "__name__", "") == "get" and "_find" in frame.f_code.co_name

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        table.find(path, lambda route: False)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.interpreted
def test_the_cost_does_not_follow_the_number_of_routes() -> None:
    few = table_of("/api/{name}/x", *(asking(f"/api/c{number}/x") for number in range(10)))
    many = table_of("/api/{name}/x", *(asking(f"/api/c{number}/x") for number in range(3_000)))
    path = ("api", "c7", "x", "y")
    assert visits(few, path) == visits(many, path) == 6


@pytest.mark.interpreted
def test_backtracking_is_bounded_by_the_depth() -> None:
    """The worst table there is: at each depth both the literal and the wildcard lead on."""
    depth = 8
    every = [
        named([("a", "{x}")[bit] for bit in bits])
        for length in range(depth + 1)
        for bits in product((0, 1), repeat=length)
    ]
    assert visits(table_of(*map(asking, every)), ("a",) * 4_000) == 2 ** (depth + 1) - 1
    assert MAX_DEPTH == 12


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "a path starts with /"),
        ("api", "a path starts with /"),
        ("//", "segment '' is neither literal nor a {name}"),
        ("/a//b", "segment '' is neither literal nor a {name}"),
        ("/a/../b", "segment '..' is neither literal nor a {name}"),
        ("/a/.", "segment '.' is neither literal nor a {name}"),
        ("/a%2Fb", "segment 'a%2Fb' is neither literal nor a {name}"),
        ("/a?b", "segment 'a?b' is neither literal nor a {name}"),
        ("/a b", "segment 'a b' is neither literal nor a {name}"),
        ("/käse", "segment 'käse' is neither literal nor a {name}"),
        ("/{Lang}", "segment '{Lang}' is neither literal nor a {name}"),
        ("/{lang", "segment '{lang' is neither literal nor a {name}"),
        ("/x{lang}", "segment 'x{lang}' is neither literal nor a {name}"),
        ("/*", None),
        ("/{a}/{a}", "a {name} stands twice"),
        ("/" + "/".join("abcdefghijkl"), None),
        ("/" + "/".join("abcdefghijklm"), "a path has at most 12 segments"),
        ("/.well-known", None),
        ("/a/", None),
        ("/", None),
    ],
)
def test_a_path_is_whole_segments(path: str, message: str | None) -> None:
    if message is None:
        assert Route(path=path).path == path
    else:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            Route(path=path)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Route(path="/a", host="Shop.example"), "host 'Shop.example' is not in lower case"),
        (lambda: Route(path="/a", header=("x v", "1")), "'x v' is no name of a header"),
        (lambda: RoutingTable(version=1, upstreams={}), "the monolith has no endpoint"),
        (lambda: RoutingTable(version=1, upstreams={"monolith": ()}), "the monolith has no endpoint"),
        (
            lambda: RoutingTable(
                version=1,
                upstreams={"monolith": ("http://127.0.0.1:1",)},
                capabilities=(Capability(name="catalog", service="shelf", routes=()),),
            ),
            "catalog: service 'shelf' has no endpoint",
        ),
        (
            lambda: RoutingTable(version=1, upstreams=UPSTREAMS, reach={"shelf": Reach(pending=1)}),
            "'shelf' is reached in a way of its own, and has no endpoint",
        ),
    ],
)
def test_a_value_refuses_to_be_built_wrong(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build()


@given(tables)
@settings(deadline=None)
def test_a_table_comes_back_as_sealed(table: RoutingTable) -> None:
    assert unseal(seal(table, KEY), KEY) == table


@given(capabilities, states)
@settings(deadline=None)
def test_what_the_ledger_keeps_comes_back(capability: Capability, state: State) -> None:
    assert capability_from_json(json.loads(json.dumps(capability_to_json(capability)))) == capability
    assert state_from_json(json.loads(json.dumps(state_to_json(state)))) == state


SEALED = seal(
    RoutingTable(
        version=7,
        upstreams=UPSTREAMS,
        published_at=datetime(2025, 3, 1, 12, tzinfo=UTC),
        capabilities=(
            Capability(
                name="catalog",
                service="catalog",
                routes=(
                    Route(path="/{lang}/products", methods=frozenset({"GET"}), header=("x-v", "1"), kind=Kind.READS),
                ),
                cohorts=(Cohort(name="german", source=Source.SEGMENT, key="lang", values=("de",)),),
                state=State(share=2_500, data=Data.SNAPSHOT, data_at=datetime(2025, 3, 1, tzinfo=UTC)),
            ),
        ),
    ),
    KEY,
)


def test_a_table_with_nothing_unusual_is_what_releases_before_wrote_byte_for_byte() -> None:
    assert SEALED.partition(b"\n")[2] == (
        b'{"version":7,"published_at":"2025-03-01T12:00:00+00:00",'
        b'"upstreams":{"monolith":["http://127.0.0.1:1"],"catalog":["http://127.0.0.1:2","http://127.0.0.1:3"]},'
        b'"capabilities":[{"name":"catalog","service":"catalog","routes":[{"path":"/{lang}/products","methods":["GET"],'
        b'"host":null,"header":["x-v","1"],"kind":"reads"}],'
        b'"cohorts":[{"name":"german","source":"segment","key":"lang","values":["de"]}],'
        b'"state":{"epoch":0,"stage":"monolith","owner":"monolith","share":2500,"cohorts":{},"killed":null,'
        b'"data":"snapshot","data_at":"2025-03-01T00:00:00+00:00"}}]}'
    )


def test_only_what_is_unusual_stands_in_a_table() -> None:
    one = Capability(name="one", service="catalog", routes=(), protect=Protect(fallback=True))
    two = Capability(name="two", service="catalog", routes=(), protect=Protect())
    reach = {"catalog": Reach(requests=9), "monolith": Reach()}
    table = RoutingTable(version=1, upstreams=UPSTREAMS, capabilities=(one, two), reach=reach)
    raw = json.loads(seal(table, KEY).partition(b"\n")[2])
    assert raw["reach"] == {"catalog": {"requests": 9}}
    assert [each.get("protect") for each in raw["capabilities"]] == [{"fallback": True}, None]
    assert [each.keys() & {"hold"} for each in raw["capabilities"]] == [set(), set()]
    assert [table.reach_of(name) for name in UPSTREAMS] == [Reach(), Reach(requests=9)]


def test_a_hold_says_whose_it_is_and_what_is_unusual() -> None:
    held = Capability(name="one", service="catalog", routes=(), hold=Hold(id=7, seconds=2.5))
    raw = capability_to_json(held)
    assert raw["hold"] == {"id": 7, "seconds": 2.5}
    assert capability_from_json(raw) == held


def test_a_table_cut_anywhere_is_refused() -> None:
    for length in range(len(SEALED)):
        with pytest.raises(TableInvalid, match="the seal does not match"):
            unseal(SEALED[:length], KEY)


def test_a_table_with_any_byte_changed_is_refused() -> None:
    for position in range(len(SEALED)):
        changed = bytearray(SEALED)
        changed[position] ^= 1
        with pytest.raises(TableInvalid, match="the seal does not match"):
            unseal(bytes(changed), KEY)


@given(st.binary())
def test_whatever_arrives_is_a_table_or_refused(message: bytes) -> None:
    with pytest.raises(TableInvalid):
        unseal(message, KEY)


def test_a_table_of_another_secret_is_refused() -> None:
    message = "the seal does not match: it was cut short, or sealed with another secret"
    with pytest.raises(TableInvalid, match=f"^{message}$"):
        unseal(SEALED, b"another key")


def test_a_table_of_any_secret_that_is_believed_is_read() -> None:
    assert unseal(SEALED, b"another key", KEY) == unseal(SEALED, KEY)
    assert (is_sealed(SEALED, KEY), is_sealed(SEALED, b"another key")) == (True, False)
    with pytest.raises(TableInvalid, match="the seal does not match"):
        unseal(SEALED)


def resealed(value: object) -> bytes:
    """Seal any JSON as if it were a table, as a newer or broken publisher might."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return hmac.new(KEY, body, "sha256").hexdigest().encode() + b"\n" + body


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))


def at(tree: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        tree = tree[key]
    return tree


PLAIN = json.loads(SEALED.partition(b"\n")[2])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(list(places(PLAIN))), json_values)
@settings(max_examples=500, deadline=None)
def test_foreign_json_at_any_place_is_read_whole_or_refused(place: tuple[Any, ...], value: object) -> None:
    tree: Any = {"root": json.loads(json.dumps(PLAIN))}
    *above, last = ("root", *place)
    at(tree, tuple(above))[last] = value
    try:
        table = unseal(resealed(tree["root"]), KEY)
    except TableInvalid:
        return
    assert unseal(seal(table, KEY), KEY) == table


@pytest.mark.parametrize("place", [place for place in places(PLAIN) if place and isinstance(place[-1], str)])
def test_a_missing_key_is_refused(place: tuple[Any, ...]) -> None:
    tree = json.loads(json.dumps(PLAIN))
    del at(tree, place[:-1])[place[-1]]
    with pytest.raises(TableInvalid, match="its content cannot be read: "):
        unseal(resealed(tree), KEY)


@pytest.mark.parametrize(
    "place", [place for place in places(PLAIN) if isinstance(at(PLAIN, place), dict) and "cohorts" not in place[-1:]]
)
def test_a_key_that_this_version_does_not_know_is_refused(place: tuple[Any, ...]) -> None:
    tree = json.loads(json.dumps(PLAIN))
    at(tree, place)["shadow"] = "service"
    with pytest.raises(TableInvalid):
        unseal(resealed(tree), KEY)


def test_a_newer_table_is_refused_in_words_that_say_so() -> None:
    message = "it says more than this version understands; a newer one published it"
    with pytest.raises(TableInvalid, match=f"^{message}$"):
        unseal(resealed({**PLAIN, "ramps": []}), KEY)


@pytest.mark.parametrize("body", [b"", b"[", b"\xff", b"[" * 100_000, b'{"version": Infinity}', b"null"])
def test_a_body_that_is_no_table_is_refused(body: bytes) -> None:
    with pytest.raises(TableInvalid, match="its content cannot be read: "):
        unseal(resealed(body), KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"reach": {}},
        {"reach": {"catalog": {}}},
        {"reach": {"catalog": {"colour": 1}}},
        {"reach": {"catalog": {"requests": 9, "colour": 1}}},
        {"reach": {"catalog": {"health_interval": 5.0}}},
        {"reach": {"shelf": {"requests": 9}}},
        {"reach": {"catalog": {"requests": 0}}},
        {"reach": [{"requests": 9}]},
        {"reach": {"catalog": 9}},
    ],
)
def test_a_way_to_a_stack_that_is_not_understood_whole_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TableInvalid, match=r"cannot be read|says more than this version understands"):
        unseal(resealed({**PLAIN, **change}), KEY)


@given(json_values)
@settings(deadline=None)
def test_a_hold_is_read_whole_or_refused(value: object) -> None:
    tree = json.loads(json.dumps(PLAIN))
    tree["capabilities"][0]["hold"] = value
    try:
        table = unseal(resealed(tree), KEY)
    except TableInvalid:
        return
    assert unseal(seal(table, KEY), KEY) == table


@given(json_values)
@settings(deadline=None)
def test_a_protection_is_read_whole_or_refused(value: object) -> None:
    tree = json.loads(json.dumps(PLAIN))
    tree["capabilities"][0]["protect"] = value
    try:
        table = unseal(resealed(tree), KEY)
    except TableInvalid:
        return
    assert unseal(seal(table, KEY), KEY) == table
