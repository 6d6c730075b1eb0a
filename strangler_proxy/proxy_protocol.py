"""The header in which a balancer tells who is at the other end of a connection that it passes on.

HAProxy's PROXY protocol (proxy-protocol.txt, 2020/03/05 and later): a line of text (version 1, section 2.1) or a binary
block (version 2, section 2.2) before anything else. No I/O here: bytes in, a value out.

Whoever may send one may claim to be anybody, so it is read from networks that a team names, and from these it must be
there: "the receiver MUST not try to guess whether the protocol header is present or not" (section 2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from strangler.routing.address import plain_address

Address = tuple[str, int]
"""Host and port; of a Unix socket ``unix:`` with its path, and 0."""

_TEXT: Final = b"PROXY "
_LONGEST_TEXT: Final = 107  # section 2.1: the longest line, its end included
_BINARY: Final = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED: Final = 16  # signature, version and command, family and transport, length
LONGEST: Final = 2048
"""A header may claim 64 kB; addresses, a name, an id and a certificate's subject fit in a quarter of this."""


class HeaderInvalid(ValueError):
    """What came is no header of the PROXY protocol. Have the balancer send one, or take it out of the trusted."""


class Family(Enum):
    """What the addresses are."""

    UNSPEC = 0
    INET = 1
    INET6 = 2
    UNIX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsInfo:
    """What the client and the balancer agreed on (PP2_TYPE_SSL). Empty strings: it was not told."""

    secure: bool  # the client came over TLS
    certificate: bool = False  # it showed a certificate, on this connection or in the session
    verified: bool = False  # and the balancer believes it
    version: str = ""
    name: str = ""  # the certificate's common name
    cipher: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Who is at the other end. Without ``source`` the connection speaks for itself.

    That is so for ``local`` ones, which the balancer makes on its own behalf (health checks), and for those of which it
    knows no address.
    """

    family: Family = Family.UNSPEC
    source: Address | None = None
    destination: Address | None = None
    local: bool = False
    tls: TlsInfo | None = None
    alpn: bytes = b""
    authority: str = ""  # the name that the client asked for by SNI
    unique_id: bytes = field(default=b"", repr=False)


class HeaderReader:
    """Reads one header out of bytes as they come. When it is whole, ``rest`` is what came after it."""

    __slots__ = ("_data", "rest")

    def __init__(self) -> None:
        self._data = b""
        self.rest = b""

    def __repr__(self) -> str:
        return f"<HeaderReader {len(self._data)} bytes>"

    def feed(self, data: bytes) -> Header | None:
        """Return the header once it is whole, None before. Raises ``HeaderInvalid`` as early as can be."""
        self._data += data
        size = _size(self._data)
        if size is None or len(self._data) < size:
            return None
        head, self.rest = self._data[:size], self._data[size:]
        self._data = b""
        return _text(head) if head.startswith(_TEXT) else _binary(head)


def _size(data: bytes) -> int | None:
    """Return how long the header is, None while that cannot be known."""
    if _begins(data, _TEXT):
        end = data.find(b"\r\n", 0, _LONGEST_TEXT)
        if end < 0 and len(data) >= _LONGEST_TEXT:
            raise HeaderInvalid(f"a line of text that does not end within {_LONGEST_TEXT} bytes")
        return end + 2 if end >= 0 else None
    if not _begins(data, _BINARY):
        raise HeaderInvalid("no header of the PROXY protocol")
    if len(data) > 12 and data[12] >> 4 != 2:
        raise HeaderInvalid(f"a binary header of version {data[12] >> 4}; 2 is known")
    if len(data) < _FIXED:
        return None
    size = _FIXED + int.from_bytes(data[14:16])
    if size > LONGEST:
        raise HeaderInvalid(f"a binary header of {size} bytes; {LONGEST} at most are read")
    return size


def _begins(data: bytes, signature: bytes) -> bool:
    return data[: len(signature)] == signature[: len(data)]


# --- text ---


def _text(line: bytes) -> Header:
    family, *fields = line[len(_TEXT) : -2].split(b" ")
    if family == b"UNKNOWN":  # whatever follows is ignored
        return Header()
    if family not in _TEXT_FAMILIES:
        raise HeaderInvalid(f"protocol {_shown(family)}; TCP4, TCP6 and UNKNOWN are known")
    if len(fields) != 4:
        raise HeaderInvalid(f"{len(fields)} fields after {family.decode()}; two addresses and two ports are wanted")
    kind = _TEXT_FAMILIES[family]
    source, destination = (_text_host(each, kind) for each in fields[:2])
    return Header(
        family=kind,
        source=(source, _text_port(fields[2])),
        destination=(destination, _text_port(fields[3])),
    )


_TEXT_FAMILIES: Final = {b"TCP4": Family.INET, b"TCP6": Family.INET6}


def _text_host(text: bytes, family: Family) -> str:
    try:
        if family is Family.INET:
            return str(IPv4Address(text.decode("ascii")))
        if b"%" in text:
            raise ValueError
        return plain_address(str(IPv6Address(text.decode("ascii"))))
    except ValueError:
        raise HeaderInvalid(f"address {_shown(text)}, which is none of {_NAMES[family]}") from None


_NAMES: Final = {Family.INET: "IPv4", Family.INET6: "IPv6"}


def _text_port(text: bytes) -> int:
    if not text.isdigit() or len(text) > 5 or int(text) > 65_535 or (len(text) > 1 and text.startswith(b"0")):
        raise HeaderInvalid(f"port {_shown(text)}; a number from 0 to 65535 without leading zeros is wanted")
    return int(text)


def _shown(text: bytes) -> str:
    return repr(text[:40])[1:]


# --- binary ---

_PLACES: Final = {Family.INET: struct.Struct(">4s4sHH"), Family.INET6: struct.Struct(">16s16sHH")}
_PATHS: Final = struct.Struct(">108s108s")
_STREAM: Final = 1
_TRANSPORTS: Final = (0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32)


def _binary(head: bytes) -> Header:
    command, transport = head[12] & 0x0F, head[13]
    if command > 1:
        raise HeaderInvalid(f"command {command}; LOCAL (0) and PROXY (1) are known")
    if command == 0:  # section 2.2: "discard the protocol block including the family which is ignored"
        return Header(local=True)
    if transport not in _TRANSPORTS:
        raise HeaderInvalid(f"family and transport 0x{transport:02x}, which are reserved")
    if transport & 0x0F != _STREAM:  # of no use to a stream: section 2.2 has it fall back to UNSPEC
        return Header()
    family = Family(transport >> 4)
    return _with_tlvs(*_addresses(family, head), head)


def _addresses(family: Family, head: bytes) -> tuple[Header, int]:
    """Return the header without TLVs, and where they begin."""
    shape = _PATHS if family is Family.UNIX else _PLACES[family]
    end = _FIXED + shape.size
    if len(head) < end:
        raise HeaderInvalid(f"{len(head) - _FIXED} bytes of addresses; {family.name} has {shape.size}")
    source: Address
    destination: Address
    if family is Family.UNIX:
        source, destination = ((_unix(path), 0) for path in shape.unpack_from(head, _FIXED))
    else:
        kind = IPv4Address if family is Family.INET else IPv6Address
        first, second, port, other = shape.unpack_from(head, _FIXED)
        source, destination = (plain_address(str(kind(first))), port), (plain_address(str(kind(second))), other)
    return Header(family=family, source=source, destination=destination), end


def _unix(path: bytes) -> str:
    # One that begins with a NUL has no file: unix(7) calls it abstract, and tools write @ for it.
    name = b"@" + path[1:].rstrip(b"\0") if path.startswith(b"\0") else path.partition(b"\0")[0]
    return f"unix:{name.decode('utf-8', 'backslashreplace')}"


# --- what follows the addresses: type, length, value (section 2.2.1 and on) ---

_ALPN: Final = 0x01
_AUTHORITY: Final = 0x02
_CRC32C: Final = 0x03
_UNIQUE_ID: Final = 0x05
_SSL: Final = 0x20
_SSL_TEXTS: Final = {0x21: "version", 0x22: "name", 0x23: "cipher"}
_LONGEST_AUTHORITY: Final = 255
_LONGEST_UNIQUE_ID: Final = 128


def _with_tlvs(header: Header, start: int, head: bytes) -> Header:
    seen: set[int] = set()
    for kind, at, value in _tlvs(head, start):
        if kind in seen and kind in (_ALPN, _AUTHORITY, _CRC32C, _UNIQUE_ID, _SSL):
            raise HeaderInvalid(f"TLV 0x{kind:02x} twice")
        seen.add(kind)
        if kind == _CRC32C:
            _check_crc(head, at, value)
        else:
            header = _with_tlv(header, kind, value)
    return header


def _with_tlv(header: Header, kind: int, value: bytes) -> Header:
    if kind == _ALPN:
        return replace(header, alpn=value)
    if kind == _AUTHORITY:
        return replace(header, authority=_word("the authority", value, _LONGEST_AUTHORITY))
    if kind == _UNIQUE_ID:
        if len(value) > _LONGEST_UNIQUE_ID:
            raise HeaderInvalid(f"a unique id of {len(value)} bytes; it has {_LONGEST_UNIQUE_ID} at most")
        return replace(header, unique_id=value)
    return replace(header, tls=_tls(value)) if kind == _SSL else header


def _tlvs(data: bytes, start: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield each type, where its value begins, and the value."""
    while start < len(data):
        value = start + 3
        if value > len(data):
            raise HeaderInvalid("a TLV that is cut off in its length")
        end = value + int.from_bytes(data[start + 1 : value])
        if end > len(data):
            raise HeaderInvalid(f"TLV 0x{data[start]:02x} that is longer than its header")
        yield data[start], value, data[value:end]
        start = end


def _tls(value: bytes) -> TlsInfo:
    """Section 2.2.6: a byte of flags, a word that is 0 for a certificate believed, and TLVs of its own."""
    if len(value) < 5:
        raise HeaderInvalid(f"TLS information of {len(value)} bytes; it has 5 at least")
    flags, verify = value[0], int.from_bytes(value[1:5])
    texts = {
        _SSL_TEXTS[kind]: _word("TLS information", text, 255) for kind, _, text in _tlvs(value, 5) if kind in _SSL_TEXTS
    }
    certificate = bool(flags & 0x06)
    return TlsInfo(secure=bool(flags & 0x01), certificate=certificate, verified=certificate and verify == 0, **texts)


def _word(what: str, value: bytes, longest: int) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise HeaderInvalid(f"{what} is no UTF-8") from None
    if len(value) > longest or not text.isprintable():
        raise HeaderInvalid(f"{what} is longer than {longest} bytes, or not printable")
    return text


def _check_crc(head: bytes, at: int, value: bytes) -> None:
    if len(value) != 4:
        raise HeaderInvalid(f"a checksum of {len(value)} bytes; CRC32C has 4")
    found = crc32c(head[:at] + b"\0\0\0\0" + head[at + 4 :])
    if found != int.from_bytes(value):
        raise HeaderInvalid("a checksum that does not fit: the header was damaged on its way")


def _crc_table() -> tuple[int, ...]:
    table = list(range(256))
    for _ in range(8):
        table = [each >> 1 ^ (0x82F63B78 if each & 1 else 0) for each in table]
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc32c(data: bytes) -> int:
    """Return the Castagnoli checksum of ``data`` (RFC 9260 appendix A; section 2.2.3)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
