"""How often a client may ask."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.project.limits import By, Rate
from strangler_proxy.http1.head import RequestHead
from strangler_proxy.rates import SECOND, Answer, Meter, Policy, ask, client_of, limit_lines, network_of

policies = st.builds(Policy, interval=st.integers(1, 10 * SECOND), burst=st.integers(1, 50))
gaps = st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=200)


def passed(policy: Policy, gaps: list[int]) -> list[int]:
    """Return when requests came through that came so long after each other."""
    now = whole = 0
    times = []
    for gap in gaps:
        now += gap
        answer = ask(policy, whole, now)
        whole = answer.whole
        if answer.allowed:
            times.append(now)
    return times


@given(policies, gaps)
def test_in_no_window_is_there_more_than_a_burst_and_the_rate(policy: Policy, gaps: list[int]) -> None:
    times = passed(policy, gaps)
    for first in range(len(times)):
        for last in range(first, len(times)):
            window = times[last] - times[first]
            assert last - first + 1 <= policy.burst + window // policy.interval


@given(policies, gaps)
def test_the_wait_is_exact(policy: Policy, gaps: list[int]) -> None:
    now = whole = 0
    for gap in gaps:
        now += gap
        answer = ask(policy, whole, now)
        whole = answer.whole
        assert ask(policy, whole, now + answer.wait).allowed
        assert answer.wait == 0 or not ask(policy, whole, now + answer.wait - 1).allowed


@given(policies, gaps)
def test_as_many_as_are_left_may_follow_at_once(policy: Policy, gaps: list[int]) -> None:
    now = whole = 0
    for gap in gaps:
        now += gap
        answer = ask(policy, whole, now)
        whole = following = answer.whole
    for _ in range(answer.left):
        next_answer = ask(policy, following, now)
        assert next_answer.allowed
        following = next_answer.whole
    assert not ask(policy, following, now).allowed


@given(policies, gaps)
def test_what_is_refused_costs_nothing(policy: Policy, gaps: list[int]) -> None:
    now = whole = 0
    for gap in gaps:
        now += gap
        answer = ask(policy, whole, now)
        assert answer.whole == whole or answer.allowed
        whole = answer.whole


@given(policies)
def test_whoever_was_away_has_the_whole_burst_and_no_more(policy: Policy) -> None:
    late = 10**15
    assert ask(policy, 0, late).left == policy.burst - 1


def test_a_rate_is_rounded_so_that_it_is_never_exceeded() -> None:
    assert Policy.of(Rate(name="x", requests=3)) == Policy(interval=333_333_334, burst=3)
    assert Policy.of(Rate(name="x", requests=10, per=60.0, burst=5)) == Policy(interval=6 * SECOND, burst=5)


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, SECOND)), max_size=100), st.integers(1, 4))
def test_no_more_clients_are_remembered_than_said(requests: list[tuple[int, int]], most: int) -> None:
    meter = Meter(Rate(name="x", requests=1), most)
    now = 0
    latest: dict[str, None] = {}
    for number, gap in requests:
        now += gap
        client = str(number)
        answer = meter.ask(client, now)
        assert answer.allowed or client in list(latest)[-most:]  # whoever is forgotten begins anew
        if answer.allowed:
            meter.spend(client, answer)
            latest.pop(client, None)
            latest[client] = None
        assert len(meter) <= most


def test_what_others_let_a_client_spend_counts_as_far_as_it_is_more() -> None:
    meter = Meter(Rate(name="x", requests=1))
    meter.learn("one", 5 * SECOND)
    meter.learn("one", 3 * SECOND)
    assert meter.ask("one", 0) == Answer(False, 5 * SECOND, 0, 5 * SECOND)


def test_only_what_is_shared_is_kept_for_others() -> None:
    alone, shared = Meter(Rate(name="x", requests=2)), Meter(Rate(name="x", requests=2))
    noticed = list[int]()
    shared.share(lambda: noticed.append(1))
    for meter in (alone, shared):
        meter.spend("one", meter.ask("one", 0))
        meter.spend("one", meter.ask("one", 0))
    assert (alone.take(), shared.take(), shared.take()) == ([], [("one", 2)], [])
    assert noticed == [1, 1]


def test_what_others_do_not_know_of_yet_counts_beside_what_they_tell() -> None:
    meter = Meter(Rate(name="x", requests=1, burst=3))
    meter.share(lambda: None)
    meter.spend("one", meter.ask("one", 0))
    meter.take()
    meter.spend("one", meter.ask("one", 0))
    meter.learn("one", SECOND)  # the first alone
    assert meter.ask("one", 0).left == 0
    meter.learn("one", 2 * SECOND)  # another proxy let one through, too
    assert not meter.ask("one", 0).allowed


def test_a_rate_counts_what_it_says() -> None:
    everything, one = Meter(Rate(name="x", requests=1)), Meter(Rate(name="x", requests=1, capability="catalog"))
    assert [everything.counts(name) for name in (None, "catalog")] == [True, True]
    assert [one.counts(name) for name in (None, "catalog", "reviews")] == [False, True, False]
    assert repr(one) == 'Meter("x";q=1;w=1, clients=0)'


def test_a_client_is_its_address_or_its_network() -> None:
    rate, head = Rate(name="x", requests=1), RequestHead("GET", b"/", 1)
    assert client_of(rate, head, "192.0.2.7", b"sessionid") == "192.0.2.7"
    assert client_of(rate, head, "2001:db8:1:2:3:4:5:6", b"sessionid") == "2001:db8:1:2::/64"
    assert client_of(rate, head, "unix", b"sessionid") == "unix"
    assert len(client_of(rate, head, "x" * 60_000, b"sessionid")) == 64


def test_what_is_no_address_is_a_client_all_the_same() -> None:
    assert [network_of(text) for text in ("fe80::1%eth0", "no:address")] == ["fe80::/64", "no:address"]


def test_a_client_is_its_credential_where_that_is_asked_for() -> None:
    rate = Rate(name="x", requests=1, by=By.CREDENTIAL)

    def client(cookie: bytes = b"", authorization: bytes | None = None) -> str:
        head = RequestHead("GET", b"/", 1)
        head.cookies = (cookie,) if cookie else ()
        head.authorization = authorization
        return client_of(rate, head, "192.0.2.7", b"sessionid")

    assert client() == client(b"theme=dark") == "192.0.2.7"
    found = {client(b"sessionid=one"), client(b"sessionid=other"), client(authorization=b"Token one")}
    assert len(found) == 3
    assert all("one" not in each and len(each) == 64 for each in found)


def test_the_fields_tell_of_each_rate() -> None:
    wide, narrow = Meter(Rate(name="wide", requests=50)), Meter(Rate(name="narrow", requests=10, per=60.0, burst=2))
    answers = [(wide, wide.ask("one", 0)), (narrow, narrow.ask("one", 0))]
    assert limit_lines(answers, 0) == (
        b'RateLimit-Policy: "wide";q=50;w=1, "narrow";q=10;w=60\r\nRateLimit: "wide";r=49;t=1, "narrow";r=1;t=6\r\n'
    )
