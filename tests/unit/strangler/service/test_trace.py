import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.service.trace import read

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def headers(**named: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]


def test_a_caller_s_trace_goes_on_with_a_span_of_our_own() -> None:
    trace = read(headers(traceparent=f"00-{TRACE}-{SPAN}-01"))
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (TRACE, SPAN, True)
    assert trace.span_id != SPAN
    assert trace.traceparent == f"00-{TRACE}-{trace.span_id}-01"


def test_a_later_version_may_carry_more_than_we_know() -> None:
    assert read(headers(traceparent=f"cc-{TRACE}-{SPAN}-03-what-comes")).trace_id == TRACE


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_nonsense_begins_a_fresh_trace(value: str) -> None:
    trace = read(headers(traceparent=value))
    assert trace.trace_id != TRACE
    assert trace.parent_id is None


def test_two_parents_are_none() -> None:
    assert read(headers(traceparent=f"00-{TRACE}-{SPAN}-01") * 2).parent_id is None


def test_the_request_id_is_the_caller_s_when_it_is_harmless() -> None:
    assert read(headers(x_request_id="a1-b2.c3")).request_id == "a1-b2.c3"


@pytest.mark.parametrize("value", ["", "a b", "a\r\nx", '"', "x" * 129])
def test_a_request_id_that_could_do_harm_is_replaced_by_the_trace_id(value: str) -> None:
    trace = read(headers(x_request_id=value))
    assert trace.request_id == trace.trace_id


@given(st.lists(st.tuples(st.sampled_from([b"traceparent", b"x-request-id", b"accept"]), st.binary(max_size=80))))
def test_any_bytes_give_a_valid_trace(found: list[tuple[bytes, bytes]]) -> None:
    trace = read(found)
    assert read(headers(traceparent=trace.traceparent)).trace_id == trace.trace_id
