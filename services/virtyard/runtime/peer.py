"""The peer: from a connection's verified certificate to the principal who calls."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from virtyard.kernel.permissions import Principal, role_from
from virtyard.runtime.pki import Credentials, identity_of

__all__ = ["NOBODY", "principal_of_certificate", "principal_of_credentials", "principal_of_peer"]

NOBODY = Principal(kind="", name="")
"""A caller without an identity; every method is refused to it."""

_PEM = "x509_pem_cert"


def principal_of_peer(domain: str, authentication: Mapping[str, Any]) -> Principal:
    """Return who is at the other end of a connection, from what gRPC has verified of it."""
    certificates = authentication.get(_PEM)
    if not certificates:
        return NOBODY
    return principal_of_certificate(domain, bytes(certificates[0]))


def principal_of_credentials(credentials: Credentials) -> Principal:
    """Return whom others take the holder of credentials for."""
    return principal_of_certificate(credentials.domain, credentials.certificate)


@lru_cache(maxsize=1024)
def principal_of_certificate(domain: str, pem: bytes) -> Principal:
    """Return the principal of a certificate that the authority of `domain` signed."""
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return NOBODY
    identity = identity_of(names.get_values_for_type(x509.UniformResourceIdentifier), domain)
    if not identity:
        return NOBODY
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    roles = [role for role in (role_from(str(unit.value)) for unit in units) if role is not None]
    return Principal.of(identity, frozenset(roles))
