# mypy: disable-error-code="misc"
# ruff: noqa: PT009, PT027 -- run by Django's own runner, whose asserts explain what they found
from __future__ import annotations

import asyncio
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, SimpleTestCase, override_settings

from strangler_django.addresses import ProxiesInvalid, client_address, client_of, networks

PROXIES = ("10.0.0.0/24", "fd00::1")


def answer(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.META["REMOTE_ADDR"])


class Addresses(SimpleTestCase):
    def client_of(self, remote: str, forwarded: str) -> str:
        return client_of(remote, forwarded, networks(PROXIES))

    def test_only_proxies_are_believed(self) -> None:
        self.assertEqual(self.client_of("10.0.0.1", "192.0.2.7"), "192.0.2.7")
        self.assertEqual(self.client_of("198.51.100.1", "192.0.2.7"), "198.51.100.1")
        self.assertEqual(self.client_of("fd00::1", "192.0.2.7"), "192.0.2.7")
        self.assertEqual(self.client_of("::ffff:10.0.0.1", "192.0.2.7"), "192.0.2.7")
        self.assertEqual(self.client_of("", "192.0.2.7"), "192.0.2.7")

    def test_what_stands_before_a_client_is_its_own_invention(self) -> None:
        self.assertEqual(self.client_of("10.0.0.1", "6.6.6.6, 192.0.2.7"), "192.0.2.7")
        self.assertEqual(self.client_of("10.0.0.1", "6.6.6.6, 192.0.2.7, 10.0.0.9"), "192.0.2.7")
        self.assertEqual(self.client_of("10.0.0.1", "10.0.0.2,10.0.0.3"), "10.0.0.2")

    def test_what_is_no_address_is_nobody(self) -> None:
        for invented in ("", "unknown", "192.0.2.7:80", "192.0.2.7, ", "a, b", "_hidden", "1.2.3"):
            self.assertEqual(self.client_of("10.0.0.1", invented), "10.0.0.1")

    def test_the_application_is_told(self) -> None:
        request = {"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.7"}
        for proxies, told in ((PROXIES, b"192.0.2.7"), ((), b"10.0.0.1")):
            with override_settings(STRANGLER_PROXIES=proxies):
                self.assertEqual(client_address(answer)(RequestFactory().get("/", **request)).content, told)

    def test_the_application_is_told_on_a_loop(self) -> None:
        async def answer_on_loop(request: HttpRequest) -> HttpResponse:
            return answer(request)

        async def asked() -> Any:
            return await client_address(answer_on_loop)(RequestFactory().get("/", HTTP_X_FORWARDED_FOR="192.0.2.7"))

        with override_settings(STRANGLER_PROXIES=["127.0.0.1"]):
            self.assertEqual(asyncio.run(asked()).content, b"192.0.2.7")

    def test_settings_that_name_no_networks_are_refused(self) -> None:
        for wrong in ("10.0.0.1", ["10.0.0.1/8"], ["proxy"]):
            with override_settings(STRANGLER_PROXIES=wrong), self.assertRaises(ProxiesInvalid):
                client_address(answer)
