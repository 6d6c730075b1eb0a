"""Settings that every service has."""

from __future__ import annotations

import pytest

from strangler.service import SettingRefused
from strangler.service.asked import Site
from strangler.service.settings import listed, log_level, site, whole


def test_a_service_is_reachable_on_this_machine_unless_told_otherwise() -> None:
    assert site({}) == Site()


def test_names_and_peers_are_the_monoliths() -> None:
    told = site(
        {
            "ALLOWED_HOSTS": "shop.example, .shop.example",
            "FORWARDED_ALLOW_IPS": "10.0.0.1",
            "SECURE_PROXY_SSL_HEADER": "X-Forwarded-Proto: https",
        }
    )
    assert told == Site(
        hosts=("shop.example", ".shop.example"), trusted=("10.0.0.1",), tls_header=("x-forwarded-proto", "https")
    )


@pytest.mark.parametrize(("text", "each"), [("", ()), (" , ", ()), ("a", ("a",)), ("a, b ,,c", ("a", "b", "c"))])
def test_what_is_listed(text: str, each: tuple[str, ...]) -> None:
    assert listed(text) == each


def test_a_whole_number_is_the_usual_one_or_what_is_said() -> None:
    assert [whole("SIZE", env, usual=10, most=100) for env in ({}, {"SIZE": "1"}, {"SIZE": "100"})] == [10, 1, 100]


@pytest.mark.parametrize("text", ["", "0", "101", "-1", "1.5", "ten", "١", "9" * 5_000])
def test_no_other_number_will_do(text: str) -> None:
    with pytest.raises(SettingRefused, match="write a whole number from 1 to 100"):
        whole("SIZE", {"SIZE": text}, usual=10, most=100)


def test_a_log_level_is_one_of_four() -> None:
    assert [log_level({}), log_level({"LOG_LEVEL": "debug"})] == ["INFO", "DEBUG"]
    with pytest.raises(SettingRefused, match="LOG_LEVEL is 'loud'"):
        log_level({"LOG_LEVEL": "loud"})
