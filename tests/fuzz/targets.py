"""What is fuzzed: each target takes bytes, and raises when something is wrong with how they are read.

The first byte of an input says how what follows is cut.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Final

from strangler_proxy.http1.head import _REQUEST_FIELDS, _RESPONSE_FIELDS
from tests.conformance.oracle import compare, compare_response, cut, read_our_response, read_ours
from tests.fuzz.connection import Stage, is_whole

BETWEEN: Final = b"\xfe\xfe"
"""Stands between what the client sends and what the stack answers."""


def request(data: bytes) -> None:
    """A request's head and body: as h11 reads them, and the same in any cutting."""
    cuts, data = _split(data)
    compare(data)
    whole, pieces = read_ours([data]), read_ours(cut(data, cuts))
    assert type(whole) is type(pieces), f"whole {whole}, in pieces {pieces}"
    compare(data, cuts)


def response(data: bytes) -> None:
    """A response's head and body, to HEAD and to GET."""
    cuts, data = _split(data)
    for method in ("GET", "HEAD"):
        compare_response(data, method)
        whole, pieces = read_our_response([data], method), read_our_response(cut(data, cuts), method)
        assert type(whole) is type(pieces), f"whole {whole}, in pieces {pieces}"
        compare_response(data, method, cuts)


def chunks(data: bytes) -> None:
    """A chunked body, behind a head that is well made."""
    cuts, data = _split(data)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    compare(head + data)
    compare(head + data, [len(head) + at for at in cuts])


def connection(data: bytes) -> None:
    """A whole connection: nothing raised, nothing left behind, what arrives is proper HTTP, in any cutting the same."""
    cuts, data = _split(data)
    client, _, answer = data.partition(BETWEEN)
    # Remembered lines would hide from the fuzzer what reads them.
    _REQUEST_FIELDS.known.clear()
    _RESPONSE_FIELDS.known.clear()
    answers = [answer] if answer else []
    for each in _stage().play(cut(client, cuts), answers, early=True)[1]:
        is_whole(each)
    _, arrived = _stage().play([client], answers)
    _, again = _stage().play(cut(client, cuts), answers)
    assert _alike(arrived, again), f"whole {arrived}, in pieces {again}"


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    each.__name__: each for each in (request, response, chunks, connection)
}


@cache
def _stage() -> Stage:
    return Stage()


def _split(data: bytes) -> tuple[list[int], bytes]:
    chance = random.Random(data[:1])
    data = data[1:]
    return [chance.randrange(len(data) + 1) for _ in range(chance.randrange(8))], data


def _alike(whole: list[bytes], pieces: list[bytes]) -> bool:
    """Return whether the same requests arrived.

    The beginning of one whose body turns out to be none arrives only if it was there before the rest.
    """
    one, other = ([_first(each) for each in arrived if is_whole(each)] for arrived in (whole, pieces))
    return one == other


def _first(data: bytes) -> bytes:
    return data.partition(b"\r\n")[0]
