"""Gives an application that reads ``REMOTE_ADDR`` the client's address behind the proxy, not the proxy's own.

Put it first among the middleware, and say in ``STRANGLER_PROXIES`` which addresses the proxy, and balancers in front of
it, come from. From all others ``X-Forwarded-For`` is hearsay and changes nothing. Where it is not set, nothing is done.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Callable, Iterable, Tuple, Union

from django.conf import settings
from django.http import HttpRequest
from django.utils.decorators import sync_and_async_middleware

Networks = Tuple[Union[IPv4Network, IPv6Network], ...]


class ProxiesInvalid(ValueError):
    """``STRANGLER_PROXIES`` has something else than networks; mend the settings."""


@sync_and_async_middleware
def client_address(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Return the middleware. Raises ``ProxiesInvalid``."""
    proxies = networks(getattr(settings, "STRANGLER_PROXIES", ()))

    def name(request: HttpRequest) -> None:
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        if proxies and forwarded:
            request.META["REMOTE_ADDR"] = client_of(request.META.get("REMOTE_ADDR", ""), forwarded, proxies)

    if iscoroutinefunction(get_response):

        async def middleware_async(request: HttpRequest) -> Any:
            name(request)
            return await get_response(request)

        return middleware_async

    def middleware(request: HttpRequest) -> Any:
        name(request)
        return get_response(request)

    return middleware


def networks(values: Iterable[str]) -> Networks:
    """Return the networks that ``values`` name, as ``10.0.0.0/8`` or as single addresses. Raises ``ProxiesInvalid``."""
    if isinstance(values, str):
        raise ProxiesInvalid(f"STRANGLER_PROXIES is {values!r}; it is a list of networks, such as ['10.0.0.0/8']")
    try:
        return tuple(ip_network(value) for value in values)
    except ValueError as error:
        raise ProxiesInvalid(f"STRANGLER_PROXIES: {error}") from error


def client_of(remote: str, forwarded: str, proxies: Networks) -> str:
    """Return the address that a request came from: the last that is none of ``proxies``.

    ``remote`` is who sent it here, empty for a Unix socket, which only the proxy writes to. ``forwarded`` is
    ``X-Forwarded-For``, each proxy having added who it got the request from at the end. What stands before the first
    address that is not believed may be anybody's invention.
    """
    client = remote
    for address in reversed(_split(forwarded)):
        if client and not _is_one_of(client, proxies):
            break
        if not _is_address(address):
            break
        client = address
    return client


def _split(forwarded: str) -> list[str]:
    return [part.strip() for part in forwarded.split(",")]


def _is_one_of(address: str, proxies: Networks) -> bool:
    if not _is_address(address):
        return False
    found = ip_address(address)
    plain = getattr(found, "ipv4_mapped", None) or found  # as sockets for both families write IPv4
    return any(plain in network for network in proxies)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
