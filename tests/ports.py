"""Ports that a process finds free again when it is started a second time."""

from __future__ import annotations

import random
import socket
from contextlib import closing
from typing import Final

FIRST: Final = 12_000
END: Final = 32_000
"""Linux gives outgoing connections ports from 32768 on (`net.ipv4.ip_local_port_range`), so none of these."""


def lasting_address(host: str = "127.0.0.1") -> str:
    """Return an address to listen at which nobody else gets while its process is down, as `HOST:PORT`.

    A port that the kernel chose (port 0) is one of those that it gives outgoing connections: any of them may have it
    when the process comes back.
    """
    while True:
        address = f"{host}:{random.randrange(FIRST, END)}"
        if not host.startswith("127.") or _is_free(address):
            return address


def _is_free(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with closing(socket.socket()) as tried:
        try:
            tried.bind((host, int(port)))
        except OSError:
            return False
    return True
