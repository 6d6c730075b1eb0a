"""How the proxy lets clients in: addresses, TLS on both sides, and balancers that tell of their clients."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final

from strangler.project.section import Section
from strangler.project.values import Tls
from strangler.routing.address import Listen, parse_listen

NETWORKS: Final = 'networks such as ["10.0.0.0/8"]'
_LISTEN: Final = 'an address such as "127.0.0.1:8000", "[::]:8000", "tls:[::]:8443" or "unix:/run/shop.sock"'
_ADMIN: Final = 'an address such as "127.0.0.1:8900" or "[::1]:8900"'
_MODE: Final = "who may connect to Unix sockets, as a file's mode such as 0o660"
_PEM: Final = "the path of a PEM file"


def listen_of(section: Section, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Return where ``[proxy]`` listens."""
    addresses = section.texts("listen", _LISTEN, default=usual, check=_check_listen)
    places = [_place(parse_listen(each)) for each in addresses]
    for place, count in Counter(places).items():
        if count > 1:
            section.problem("listen", f"{place} twice", "an address for each")
    for place in places:
        if place.startswith("[::]:") and f"0.0.0.0:{place[5:]}" in places:
            section.problem("listen", f"{place} and 0.0.0.0:{place[5:]}", f"{place} alone: it takes IPv4 too")
    return addresses


def plain_of(section: Section, key: str, usual: str) -> str:
    """Return where metrics and the like are asked for, over plain TCP."""
    return section.text(key, _ADMIN, default=usual, check=_check_admin)


def socket_mode_of(section: Section, usual: int) -> int:
    """Return the mode of Unix sockets' files."""
    return section.number("socket_mode", _MODE, usual, 0, 0o777)


def networks_of(section: Section, key: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the networks at ``key``, none by default."""
    return tuple(map(ip_network, section.texts(key, NETWORKS, default=(), check=check_network)))


def tls_of(proxy: Section, root: Path, listen: tuple[str, ...]) -> Tls:
    """Return the files that ``[proxy.tls]`` names; that they are there is for the proxy's own host to say."""
    section = proxy.section("tls")
    tls = Tls(
        certificate=_file(section, "certificate", root),
        key=_file(section, "key", root),
        ca=_file(section, "ca", root),
        client_certificate=_file(section, "client_certificate", root),
        client_key=_file(section, "client_key", root),
    )
    _want_both(section, "certificate", "key")
    _want_both(section, "client_certificate", "client_key")
    secure = any(each.startswith("tls:") for each in listen)
    if secure and not {"certificate", "key"} & section.values.keys():
        section.problem("certificate", "nothing", f"{_PEM}, since listen has a tls: address")
    if tls.certificate and not secure and not proxy.problems:  # nobody should believe to have TLS who has none
        proxy.problem("listen", "no tls: address", "one, or no certificate in [proxy.tls]")
    section.close()
    return tls


def check_network(text: str) -> None:
    """Raise ``ValueError`` saying what is wrong with a network."""
    try:
        ip_network(text)
    except ValueError as exc:
        raise ValueError(str(exc).removeprefix(repr(text)).removeprefix(text).strip()) from exc


def _file(section: Section, key: str, root: Path) -> Path | None:
    name = section.text(key, _PEM, default="")
    return root / name if name else None


def _want_both(section: Section, certificate: str, key: str) -> None:
    for one, other in ((certificate, key), (key, certificate)):
        if one in section.values and other not in section.values:
            section.problem(other, "nothing", f"{_PEM}, since there is a {one}")


def _place(listen: Listen) -> str:
    return str(listen).removeprefix("tls:")


def _check_listen(text: str) -> None:
    address = parse_listen(text)
    if not address.path and address.port == 0:
        raise ValueError("nobody would know which port 0 becomes")


def _check_admin(text: str) -> None:
    _check_listen(text)
    if text.startswith(("unix:", "tls:")):
        raise ValueError("it is asked over plain TCP")
