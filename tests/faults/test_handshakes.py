"""Many clients that come and go at once, as commands do: no process dies of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from pathlib import Path

from tests.acceptance.site import Site, open_site

AT_ONCE = 60
ROUNDS = 40
NAMES = ("virtyard-service-inventory", "virtyard-service-jobs", "virtyard-service-locks")


async def connect(address: str, context: ssl.SSLContext, name: str) -> None:
    """Shake hands, read the first frame, and leave."""
    host, _, port = address.rpartition(":")
    # A process that died resets or refuses; whether it did is asked afterwards, where it is told apart.
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        await reader.readexactly(9)
        writer.transport.abort()


def dialler(site: Site) -> ssl.SSLContext:
    """Return what a client with the site's own certificate dials with."""
    folder = site.context.parent / json.loads(site.context.read_text())["credentials"]
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(Path(folder, "cert.pem"), Path(folder, "key.pem"))
    context.set_alpn_protocols(["h2"])
    return context


async def test_a_process_survives_many_handshakes_at_once() -> None:
    """Connections in flocks, each cut in the middle of its use; the process lives, and serves the last as the first."""
    with open_site("embedded", ()) as site:
        context = dialler(site)
        for _ in range(ROUNDS):
            await asyncio.gather(
                *(connect(site.addresses["up"], context, NAMES[number % len(NAMES)]) for number in range(AT_ONCE))
            )
            assert site.is_alive("up"), (site.pids / "up.log").read_text()[-2000:]
