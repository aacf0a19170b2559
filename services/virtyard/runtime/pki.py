"""The authority and the credentials: who is who, by certificates for mutual TLS.

An identity is `agent/<server>`, `service/<name>` or `user/<name>`. Its certificate says it three times: as the URI
`spiffe://<domain>/<identity>`, as the DNS name `virtyard-<kind>-<name>` that clients of gRPC check, and as the common
name. A person's roles are the certificate's organisational units.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import cast

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from virtyard.kernel.errors import InvalidRequest, NotFound
from virtyard.runtime.issued_roles import note_file, note_of

__all__ = ["CA_FILE", "Authority", "Credentials", "dns_name", "dns_names_of", "identity_of"]

CA_FILE, CERTIFICATE_FILE, KEY_FILE, CA_KEY_FILE = "ca.pem", "cert.pem", "key.pem", "ca-key.pem"

_IDENTITY = re.compile(r"(?P<kind>agent|service|user)/(?P<name>[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?)")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?")
_LABEL_LENGTH = 63
_EARLY = timedelta(minutes=5)


def dns_name(identity: str) -> str:
    """Return the DNS name under which an identity is dialled, whatever its address."""
    name = "virtyard-" + identity.replace("/", "-")
    return name if len(name) <= _LABEL_LENGTH else f"virtyard-{hashlib.sha256(identity.encode()).hexdigest()[:40]}"


def identity_of(uris: Sequence[str], domain: str = "") -> str:
    """Return the identity that a certificate's URIs give, empty if there is none (of that domain)."""
    for uri in uris:
        found, _, identity = uri.removeprefix("spiffe://").partition("/")
        if uri.startswith("spiffe://") and domain in {"", found} and _IDENTITY.fullmatch(identity):
            return identity
    return ""


def dns_names_of(certificate: bytes) -> frozenset[str]:
    """Return the DNS names that a certificate, as PEM, is good for."""
    names = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return frozenset(names.value.get_values_for_type(x509.DNSName))


class Authority:
    """The certificate authority of one Virtyard: a key and a certificate in a folder."""

    def __init__(self, directory: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        """Use `create` or `load`."""
        self.directory = directory
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, directory: Path | str, domain: str, *, now: datetime | None = None) -> Authority:
        """Make the authority of a domain, valid for ten years; one that is there already is loaded instead.

        Raises:
            InvalidRequest: the domain is no DNS name.
        """
        directory = Path(directory)
        if (directory / CA_KEY_FILE).exists():
            return cls.load(directory)
        if not _DOMAIN.fullmatch(domain):
            raise InvalidRequest.of("domain", "must be a DNS name in lower case, as virtyard.example")
        now = now or datetime.now(UTC)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Virtyard {domain}")])
        certificate = (
            _builder(name, name, key.public_key(), now, timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")]), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The key last: a folder with a key is whole.
        _write(directory / CA_FILE, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        _write(directory / CA_KEY_FILE, _key_bytes(key), 0o600)
        return cls(directory, key, certificate)

    @classmethod
    def load(cls, directory: Path | str) -> Authority:
        """Read an authority.

        Raises:
            NotFound: there is none in the folder.
        """
        directory = Path(directory)
        try:
            key = serialization.load_pem_private_key((directory / CA_KEY_FILE).read_bytes(), None)
            certificate = x509.load_pem_x509_certificate((directory / CA_FILE).read_bytes())
        except FileNotFoundError as error:
            raise NotFound(f"there is no authority in {directory}: {error.filename} is missing") from error
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(directory, key, certificate)

    @property
    def domain(self) -> str:
        """Return the trust domain."""
        (uri,) = _uris(self._certificate)
        return uri.removeprefix("spiffe://")

    def issue(
        self,
        identity: str,
        directory: Path | str,
        *,
        hosts: Collection[str] = (),
        roles: Collection[str] | None = None,
        lifetime: timedelta = timedelta(days=365),
        now: datetime | None = None,
    ) -> Path:
        """Write cert.pem, key.pem (readable by the owner only) and ca.pem of an identity into a folder.

        Args:
            identity: as `agent/s1`, `service/jobs`, `user/admin`.
            directory: is made if it is missing; what is in it is replaced.
            hosts: DNS names and addresses under which it is dialled without knowing its identity.
            roles: a person's roles, as `operator`; administrator if not given. What runs in that name has them from
                now on; see `IssuedRoles`.
            lifetime: how long it is valid.
            now: when it begins to be valid.

        Returns: the folder.

        Raises:
            InvalidRequest: the identity is malformed.
        """
        match = _IDENTITY.fullmatch(identity)
        if match is None:
            raise InvalidRequest.of("identity", "must be agent/NAME, service/NAME or user/NAME in lower case")
        if roles is None:
            roles = ("administrator",) if match["kind"] == "user" else ()
        if match["kind"] == "user":
            # First, so that nobody has more than is noted.
            self._note(match["name"], roles)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, identity[:64]),
                *(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role) for role in roles),
            ]
        )
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(f"spiffe://{self.domain}/{identity}"),
            x509.DNSName(dns_name(identity)),
            *(_general_name(host) for host in hosts),
        ]
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = (
            _builder(subject, self._certificate.subject, key.public_key(), now or datetime.now(UTC), lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(usages, critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        directory = Path(directory)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(directory / CA_FILE, self._certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        _write(directory / KEY_FILE, _key_bytes(key), 0o600)
        _write(directory / CERTIFICATE_FILE, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        return directory

    def _note(self, person: str, roles: Collection[str]) -> None:
        """Note a person's roles for the services, whoever they run as: they are no secret."""
        file = note_file(self.directory, person)
        with contextlib.suppress(FileExistsError):
            file.parent.mkdir()
            file.parent.chmod(0o755)
        _write(file, note_of(roles), 0o644)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What one identity needs to speak and to be spoken to."""

    directory: Path
    """Where it comes from; a server reads it again when it has changed."""
    identity: str
    """As `service/jobs`."""
    domain: str
    """The trust domain; nobody of another one is spoken to."""
    authority: bytes
    """The authority's certificate, PEM."""
    certificate: bytes
    """The own certificate, PEM."""
    key: bytes
    """The own key, PEM."""

    @classmethod
    def load(cls, directory: Path | str) -> Credentials:
        """Read what `Authority.issue` wrote.

        Raises:
            NotFound: a file is missing.
            InvalidRequest: the certificate has no identity.
        """
        directory = Path(directory)
        try:
            authority, certificate, key = (
                (directory / name).read_bytes() for name in (CA_FILE, CERTIFICATE_FILE, KEY_FILE)
            )
        except FileNotFoundError as error:
            raise NotFound(f"there are no credentials in {directory}: {error.filename} is missing") from error
        uris = _uris(x509.load_pem_x509_certificate(certificate))
        identity = identity_of(uris)
        if not identity:
            raise InvalidRequest(f"the certificate in {directory} is not one of Virtyard")
        domain = uris[0].removeprefix("spiffe://").partition("/")[0]
        return cls(
            directory=directory,
            identity=identity,
            domain=domain,
            authority=authority,
            certificate=certificate,
            key=key,
        )

    def for_server(self) -> grpc.ServerCredentials:
        """Return what a server needs; every client must show a certificate, and a renewed one of ours is picked up."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self), _Reread(self), require_client_authentication=True
        )

    def for_channel(self) -> grpc.ChannelCredentials:
        """Return what a client needs; a renewed certificate needs a new channel."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)


# What gRPC's own documentation says for no change; its types forget it.
_NOTHING_NEW = cast("grpc.ServerCertificateConfiguration", None)


class _Reread:
    """Gives the server's certificate again when the file has changed; gRPC asks at every handshake.

    What is given replaces the server's TLS context even if it is the same, without a lock against handshakes that
    are using the old one: a process that gave it every time died of a segmentation fault within a few hundred
    connections that came at once (grpcio 1.85.1). So nothing is given unless it is new.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._directory = credentials.directory
        self._seen = self._stamp()
        self._lock = Lock()

    def __call__(self) -> grpc.ServerCertificateConfiguration:
        stamp = self._stamp()
        with self._lock:
            if stamp == self._seen:
                return _NOTHING_NEW
            renewed = _configuration(Credentials.load(self._directory))
            self._seen = stamp
        return renewed

    def _stamp(self) -> int:
        try:
            return (self._directory / CERTIFICATE_FILE).stat().st_mtime_ns
        except OSError:
            return 0


def _configuration(credentials: Credentials) -> grpc.ServerCertificateConfiguration:
    pair = (credentials.key, credentials.certificate)
    return grpc.ssl_server_certificate_configuration([pair], credentials.authority)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + lifetime)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file whole, with its mode from the first byte on."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(descriptor, mode)
    fresh.replace(path)
