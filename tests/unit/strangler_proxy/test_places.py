"""Sockets are dealt to workers so that each has its part."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler_proxy.places import Place, Whose, deal, places


@given(st.integers(1, 20), st.integers(1, 20))
def test_each_socket_is_somebodys_and_each_worker_has_one(sockets: int, workers: int) -> None:
    with closing(socket.socket()) as sock:
        made = [Place("127.0.0.1:0", sock) for _ in range(sockets)]
        dealt = deal(made, workers)
    assert len(dealt) == workers
    assert all(dealt)
    counted = Counter(place for part in dealt for place in part)
    assert set(counted) == set(made)
    assert sockets < workers or set(counted.values()) == {1}


@pytest.mark.parametrize(("before", "after", "sockets"), [(2, 1, 2), (1, 3, 3), (3, 2, 4), (2, 2, 2)])
def test_what_is_inherited_is_kept_and_made_the_same_for_each_worker(before: int, after: int, sockets: int) -> None:
    inherited = places("127.0.0.1:0", before)
    for place in inherited:
        place.share()
    found = places("127.0.0.1:0", after, inherited=inherited)
    try:
        assert found[:before] == inherited
        assert [place.whose for place in found] == [Whose.SHARED] * before + [Whose.OURS] * (sockets - before)
        assert {len(part) for part in deal(found, after)} == {sockets // after}
        ports = {place.listener.getsockname()[1] for place in found}
        assert len(ports) == 1
    finally:
        for place in found:
            place.close()


def test_an_address_that_is_written_otherwise_is_the_same_with_tls() -> None:
    inherited = places("127.0.0.1:0", 1)
    (found,) = places("tls:127.0.0.1:0", 1, inherited=inherited)
    assert found is inherited[0]
    assert found.address == "tls:127.0.0.1:0"
    found.close()
