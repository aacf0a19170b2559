"""The certificate watch: looks at the certificates of a process in their files, and reports when each ends.

It looks at once and then every hour; a certificate is reported when it is first seen, when it was renewed, and once a
day. What cannot be reported is reported with the next look.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path

from cryptography import x509

from virtyard.kernel.errors import VirtyardError
from virtyard.runtime.pki import Credentials

__all__ = ["CertificateWatch", "end_of"]

_log = logging.getLogger(__name__)
_LOOK_EVERY = 3600.0
_REPORT_EVERY = 86_400.0
_FIRST_PAUSE = 1.0

Report = Callable[[str, datetime], Awaitable[None]]
"""Told an identity, and when its certificate ends; raises VirtyardError where that cannot be passed on."""


def end_of(credentials: Credentials) -> datetime:
    """Return when a certificate stops being good, in UTC."""
    return x509.load_pem_x509_certificate(credentials.certificate).not_valid_after_utc


class CertificateWatch:
    """Watches the certificates in some folders."""

    def __init__(self, folders: Callable[[], Iterable[Path]], report: Report) -> None:
        """Look at nothing until `run` runs.

        Args:
            folders: where credentials are, as `Credentials.load` reads them; asked for at each look.
            report: is told of each.
        """
        self._folders = folders
        self._report = report
        self._told: dict[str, tuple[datetime, float]] = {}

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            if await self.look():
                pause = _FIRST_PAUSE
                await asyncio.sleep(_LOOK_EVERY)
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LOOK_EVERY)

    async def look(self) -> bool:
        """Look at every certificate once, and return whether all that was to be reported was."""
        complete = True
        for folder in self._folders():
            try:
                credentials = Credentials.load(folder)
                await self._tell(credentials.identity, end_of(credentials))
            except (VirtyardError, OSError, ValueError) as error:
                _log.debug("the certificate in %s is not reported: %s", folder, error)
                complete = False
        return complete

    async def _tell(self, identity: str, end: datetime) -> None:
        now = asyncio.get_running_loop().time()
        told = self._told.get(identity)
        if told is None or told[0] != end or now - told[1] >= _REPORT_EVERY:
            await self._report(identity, end)
            self._told[identity] = (end, now)
