"""A pause is what the slowest write that met it saw, and reads are told apart by what they met."""

from __future__ import annotations

from tests.bench.cutover import Request, Seen, longest, rows

SEEN = Seen(
    requests=[
        Request(10.0, "write", 20.0, 201),  # before
        Request(10.9, "write", 300.0, 201),  # met the first pause, and was there when it ended
        Request(11.1, "write", 50.0, 201),
        Request(11.1, "read", 6.0, 200),
        Request(12.2, "read", 3.0, 200),
        Request(14.05, "write", 90.0, 503),
    ],
    pauses=[(11.0, 11.2), (14.0, 14.1), (15.0, 15.1)],
    idle=[(12.0, 13.0)],
    told_ms=[200.0, 100.0, 100.0],
    steps_ms={"hold": [5.0, 7.0, 6.0]},
    vacuums=30,
)


def test_the_longest_of_the_writes_that_met_a_pause_is_its() -> None:
    assert longest(SEEN) == [300.0, 90.0, 0.0]


def test_rows_tell_what_was_wanted_and_whether_it_is_so() -> None:
    wanted = {
        "the longest that a write waited, p50 of 3 moves": (90.0, 0.6, 1.0, True),
        "the longest that a write waited, p99 of 3 moves": (300.0, 0.6, 1.0, True),
        "reads while writes wait, p99": (6.0, 2.0, 1.5, False),
        "failed requests of 6": (1, 1.0, 0.0, False),
        "step `hold`, p50": (6.0, 0.86, None, True),
    }
    found = {each.name: (each.ours, each.ratio, each.target, each.met) for each in rows(SEEN)}
    assert {name: found[name] for name in wanted} == wanted
