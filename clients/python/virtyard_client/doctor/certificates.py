"""The ends of certificates: the caller's own, and those that servers show; read with the standard library alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_SECONDS = 2.0
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x17, 0x18


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate and when it ends."""

    owner: str
    """Whose it is, as people name it."""
    place: str
    """The file, or the address that showed it."""
    end: datetime
    """When it ends."""


def own_certificate(credentials: Path) -> Certificate | None:
    """Return the caller's own certificate; None if it cannot be read."""
    file = credentials / "cert.pem"
    try:
        end = end_of(ssl.PEM_cert_to_DER_cert(_first(file.read_text())))
    except (OSError, ValueError):
        return None
    return Certificate(owner="your own certificate", place=str(file), end=end)


async def shown_certificate(owner: str, address: str, credentials: Path) -> Certificate | None:
    """Return the certificate that a server shows; None if it cannot be reached or shows none that is trusted.

    Args:
        owner: whose it is, as people name it.
        address: host:port.
        credentials: the folder with ca.pem, cert.pem and key.pem of the caller.
    """
    context = ssl.create_default_context(cafile=str(credentials / "ca.pem"))
    context.load_cert_chain(credentials / "cert.pem", credentials / "key.pem")
    context.check_hostname = False  # only its end is of interest, and an address names nobody
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
    except (OSError, ValueError, TimeoutError):
        return None
    try:
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return Certificate(owner=owner, place=address, end=end_of(der))
    finally:
        writer.transport.abort()


def end_of(der: bytes) -> datetime:
    """Return when a certificate ends.

    Args:
        der: the certificate as RFC 5280 encodes it.

    Raises:
        ValueError: it is no certificate.
    """
    ((_, certificate),) = _elements(der)
    _, signed = next(_elements(certificate))
    for tag, content in _elements(signed):
        times = list(_elements(content)) if tag == _SEQUENCE else []
        if len(times) == 2 and all(kind in (_UTC_TIME, _GENERALIZED_TIME) for kind, _ in times):
            kind, text = times[1]
            return _time(kind, text.decode("ascii"))
    raise ValueError("a certificate says from when until when it is valid; this one does not")


def _time(tag: int, text: str) -> datetime:
    if tag == _UTC_TIME:
        # RFC 5280: two digits of a year from 50 on are of the last century.
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (tag, content) of the elements that DER data is made of."""
    place = 0
    while place < len(data):
        tag, length = data[place], data[place + 1]
        place += 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[place : place + count])
            place += count
        if place + length > len(data):
            raise ValueError("the data ends inside an element")
        yield tag, data[place : place + length]
        place += length


def _first(pem: str) -> str:
    """Return the first certificate of a chain."""
    end = "-----END CERTIFICATE-----"
    return pem[: pem.index(end) + len(end)]
