"""A connection that failed, in the words of a person: which address, what about the certificate, and what to do.

gRPC tells of all of it as UNAVAILABLE, with a text that is made for those who build it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from virtyard_client.context import Context
from virtyard_client.doctor.certificates import own_certificate
from virtyard_client.errors import ClientError

__all__ = ["in_words", "is_unsent"]

_NOT_CONNECTED = "failed to connect to all addresses"
_ADDRESS = re.compile(r"\bipv[46]:(\S+?):\s")
_FOREIGN = ("CERTIFICATE_VERIFY_FAILED", "certificate signature failure")
_SILENT = ("Failed to connect to remote host", "imeout", "imed out")
_ISSUE = "`virtyard pki issue` on the control plane makes credentials"


def is_unsent(error: ClientError) -> bool:
    """Tell whether there was no connection, so that no service has seen the request."""
    return error.code == "UNAVAILABLE" and _NOT_CONNECTED in error.message


def in_words(error: ClientError, context: Context) -> ClientError:
    """Return the error as it is to be told; one that is about something else than the connection is returned itself.

    Args:
        error: what a call was answered.
        context: where the services are, and with which credentials they were called.
    """
    if not is_unsent(error):
        return error
    found = _ADDRESS.search(error.message)
    where = found[1] if found else "the address of the service"
    folder = context.credentials
    own = own_certificate(folder)
    if own is not None and own.end <= datetime.now(UTC):
        text = f"the certificate {own.place} ended at {own.end:%Y-%m-%d %H:%M} UTC; {_ISSUE}"
        return _told(text, "CERTIFICATE_ENDED")
    if any(each in error.message for each in _FOREIGN):
        text = (
            f"what answers at {where} has no certificate of the authority {folder / 'ca.pem'}, so nothing was said to "
            f"it; the context file {context.source} is of another site, or its authority was made anew: {_ISSUE}"
        )
        return _told(text, "CERTIFICATE_FOREIGN")
    if "security handshaker" in error.message:
        text = f"the certificate and the key in {folder} cannot be used together; {_ISSUE}"
        return _told(text, "CERTIFICATE_UNUSABLE")
    if any(each in error.message for each in _SILENT):
        why = error.message.rpartition(": ")[2].lower()
        return _told(f"nothing answers at {where}, which the context file {context.source} names: {why}", error.reason)
    text = (
        f"what answers at {where} closed the connection: it stops just now, or it does not accept the certificate in "
        f"{folder}, as that of another authority"
    )
    return _told(text, error.reason)


def _told(text: str, reason: str) -> ClientError:
    return ClientError(text, code="UNAVAILABLE", reason=reason)
