"""Link news: the kernel's word, through rtnetlink, that some interface of this network namespace has changed.

It is a doorbell: what is told is thrown away, and whoever is called reads the interfaces as they are. So nothing is
lost where the kernel had more to say than fits into the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

__all__ = ["LinkNews"]

_RTMGRP_LINK = 1
_BYTES = 65536


class LinkNews:
    """Calls back on the event loop whenever an interface has changed, until it is closed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Listen from now on.

        Raises:
            OSError: the system has no rtnetlink.
        """
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        try:
            self._socket.bind((0, _RTMGRP_LINK))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket.fileno(), self._drain)

    def close(self) -> None:
        """Listen no more."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _drain(self) -> None:
        # Where there was more than the socket holds, it says so once by ENOBUFS and goes on.
        with contextlib.suppress(OSError):
            while self._socket.recv(_BYTES):
                pass
        self._changed()
