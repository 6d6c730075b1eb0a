from __future__ import annotations

import pytest

from strangler.parity.exempt import Exemption, Kind, declared


def exemption(what: str) -> Exemption:
    return Exemption(what=what, reason="because")


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("Date", Kind.HEADER),
        ("set-cookie:visitor", Kind.MEMBER),
        ("$.a[0].b", Kind.JSON),
        ("$", Kind.JSON),
        ("$['a b'][*].*", Kind.JSON),
        ("html whitespace", Kind.SPACE),
        ("html input[name=csrfmiddlewaretoken]@value", Kind.ATTRIBUTE),
        ("html time@datetime", Kind.ATTRIBUTE),
    ],
)
def test_an_exemption_says_what_it_names(what: str, kind: Kind) -> None:
    assert exemption(what).kind is kind


@pytest.mark.parametrize("what", ["", "a b", "$.a..b", "$.a[x]", "html a", "html a[b]@c", "x:", ":x"])
def test_what_names_nothing_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match="names nothing that can be exempt"):
        exemption(what)


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_exemption_needs_a_reason(reason: str) -> None:
    with pytest.raises(ValueError, match="'date' is exempt without a reason"):
        declared({"date": reason})


@pytest.mark.parametrize(
    ("what", "path", "held"),
    [
        ("$", ("a",), True),
        ("$.a", ("a",), True),
        ("$.a", ("a", 0, "b"), True),
        ("$.a", ("b",), False),
        ("$.a.b", ("a",), False),
        ("$.a[*].b", ("a", 7, "b"), True),
        ("$.a[1].b", ("a", 7, "b"), False),
        ("$[*]", ("a",), True),
        ("$['a b']", ("a b",), True),
    ],
)
def test_a_path_holds_what_lies_below_it(what: str, path: tuple[str | int, ...], held: bool) -> None:
    assert exemption(what).holds(path) is held
