"""The authority: who a certificate says one is, what its files look like, and what it refuses."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509

from virtyard.api.type.v1.annotations_pb2 import Role
from virtyard.kernel.errors import DataLoss, InvalidRequest, NotFound, PermissionDenied
from virtyard.runtime.issued_roles import IssuedRoles, note_file
from virtyard.runtime.peer import NOBODY, principal_of_certificate, principal_of_peer
from virtyard.runtime.pki import Authority, Credentials, dns_name


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return an authority."""
    return Authority.create(tmp_path_factory.mktemp("ca"), "virtyard.test")


def test_authority_is_made_once(authority: Authority) -> None:
    """Asked for again, the authority that is there is loaded, key and all."""
    again = Authority.create(authority.directory, "other.test")
    assert again.domain == "virtyard.test"
    assert stat.S_IMODE((authority.directory / "ca-key.pem").stat().st_mode) == 0o600


def test_certificate_says_who_it_is_for(authority: Authority, tmp_path: Path) -> None:
    """The identity is the URI, the dialled name, and the hosts are alternatives; the key is the owner's alone."""
    authority.issue("agent/s1", tmp_path, hosts=["s1.example", "10.0.0.1"])
    credentials = Credentials.load(tmp_path)
    assert (credentials.identity, credentials.domain) == ("agent/s1", "virtyard.test")
    names = x509.load_pem_x509_certificate(credentials.certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["virtyard-agent-s1", "s1.example"]
    assert [str(address) for address in names.value.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_principal_comes_from_the_certificate(authority: Authority, tmp_path: Path) -> None:
    """A person has the roles of the certificate, a service and an agent that of their kind, a stranger nothing."""

    def principal(identity: str, roles: list[str] | None = None, domain: str = "virtyard.test") -> tuple[str, set[int]]:
        folder = authority.issue(identity, tmp_path / identity, roles=roles)
        found = principal_of_certificate(domain, Credentials.load(folder).certificate)
        return found.identity, set(found.roles)

    assert principal("user/admin") == ("user/admin", {Role.ROLE_ADMINISTRATOR})
    assert principal("user/ann", roles=["viewer", "operator"]) == ("user/ann", {1, 2})
    assert principal("user/bob", roles=[]) == ("user/bob", set())
    assert principal("service/jobs", roles=["administrator"]) == ("service/jobs", {Role.ROLE_SERVICE})
    assert principal("agent/s1") == ("agent/s1", {Role.ROLE_AGENT})
    assert principal("user/eve", domain="elsewhere.test") == ("/", set())
    assert principal_of_peer("virtyard.test", {}) is NOBODY


def test_malformed_identities_are_refused(authority: Authority, tmp_path: Path) -> None:
    """Only agents, services and users with plain names get certificates."""
    for identity in ("", "jobs", "robot/a", "agent/", "agent/A", "agent/a/b", "agent/../x", "user/a b", "agent/-a"):
        with pytest.raises(InvalidRequest):
            authority.issue(identity, tmp_path)
    with pytest.raises(InvalidRequest):
        Authority.create(tmp_path / "new", "Not A Domain")
    assert list(tmp_path.iterdir()) == []


def test_missing_files_are_named(tmp_path: Path) -> None:
    """A folder without credentials or authority says which file is missing."""
    with pytest.raises(NotFound, match=r"ca\.pem"):
        Credentials.load(tmp_path)
    with pytest.raises(NotFound, match=r"ca-key\.pem"):
        Authority.load(tmp_path)


def test_dialled_name_fits_into_a_label() -> None:
    """However long an identity is, its name is one DNS label, and different ones differ."""
    long = "agent/" + "a" * 63
    assert len(dns_name(long)) <= 63
    assert dns_name(long) != dns_name(long + "b")
    assert dns_name("service/jobs") == "virtyard-service-jobs"


def test_the_last_certificate_of_a_person_says_what_is_noted(tmp_path: Path) -> None:
    """A later one takes the place of the earlier; of services and strangers nothing is noted."""
    authority, noted = Authority.create(tmp_path / "ca", "virtyard.test"), IssuedRoles(tmp_path / "ca")
    assert noted.of("user/ann") is None
    authority.issue("user/ann", tmp_path / "first")
    note = note_file(tmp_path / "ca", "ann")
    assert (stat.S_IMODE(note.parent.stat().st_mode), stat.S_IMODE(note.stat().st_mode)) == (0o755, 0o644)
    assert noted.of("user/ann") == frozenset({int(Role.ROLE_ADMINISTRATOR)})
    authority.issue("user/ann", tmp_path / "second", roles=["viewer", "operator"])
    assert noted.of("user/ann") == frozenset({int(Role.ROLE_VIEWER), int(Role.ROLE_OPERATOR)})
    authority.issue("user/ann", tmp_path / "third", roles=[])
    assert noted.of("user/ann") == frozenset()
    authority.issue("service/jobs", tmp_path / "jobs")
    assert noted.of("service/jobs") is None


def test_a_note_that_cannot_be_read_allows_nothing(tmp_path: Path) -> None:
    """It is refused, and not taken for one that was never made."""
    note = note_file(tmp_path, "ann")
    note.parent.mkdir()
    note.write_text("{")
    with pytest.raises(DataLoss):
        IssuedRoles(tmp_path).of("user/ann")
    note.unlink()
    note.mkdir()
    with pytest.raises(PermissionDenied):
        IssuedRoles(tmp_path).of("user/ann")
