"""The site on disk: where the authority, its certificates and the context file lie.

``PKI/ca-key.pem ca.pem``, ``PKI/service/jobs/{cert,key,ca}.pem``, ``PKI/user/admin/...``: one folder for each identity.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from virtyard.kernel.errors import InvalidRequest, NotFound
from virtyard.runtime.context_file import Context
from virtyard.runtime.pki import Authority, Credentials, dns_name, dns_names_of

KEEPERS = ("inventory", "jobs", "locks")
"""The services that have a database."""
SERVICES = (*KEEPERS, "gateway")
ADMIN = "user/admin"
CONTROL_PLANE = "service/control"
"""The identity of a process that hosts all services; its certificate names each of them."""
DEFAULT_DOMAIN = "virtyard.internal"
YEAR = timedelta(days=365)


def local_hosts(listen: str) -> list[str]:
    """Return the names and addresses under which a server that listens here may be dialled."""
    host = listen.rpartition(":")[0].strip("[]")
    wildcard = host in ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
    return list(dict.fromkeys(["localhost", "127.0.0.1", socket.gethostname() if wildcard else host]))


def prepare_authority(
    pki: Path, domain: str = DEFAULT_DOMAIN, hosts: Collection[str] = (), *, lifetime: timedelta = YEAR
) -> Authority:
    """Make the authority, and the certificates of services and first administrator, where they are missing."""
    authority = Authority.create(pki, domain)
    names = list(dict.fromkeys(["localhost", "127.0.0.1", *hosts]))
    for service in SERVICES:
        _issue_once(authority, f"service/{service}", pki, [*names, service], lifetime)
    every = [*names, *(dns_name(f"service/{service}") for service in SERVICES)]
    _issue_once(authority, CONTROL_PLANE, pki, every, lifetime)
    _issue_once(authority, ADMIN, pki, [], lifetime)
    return authority


def credentials_of(pki: Path, identity: str) -> Credentials:
    """Return the credentials of an identity of this site.

    Raises:
        NotFound: none were issued to it here.
    """
    return Credentials.load(pki / identity)


def write_context(
    file: Path, addresses: Mapping[str, str], pki: Path, metrics: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Put addresses, and those of metrics, into the context file; other processes write theirs at the same time."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        context = replace(read_context(file), credentials=str((pki / ADMIN).resolve()))
        for service, address in addresses.items():
            context = context.with_service(service, address)
        for process, address in metrics.items():
            context = context.with_metrics(process, address)
        context.write(file)


def read_context(file: Path) -> Context:
    """Return what the context file says; an empty context if it is missing or being made."""
    with contextlib.suppress(NotFound, InvalidRequest):
        return Context.read(file)
    return Context()


def _issue_once(authority: Authority, identity: str, pki: Path, hosts: Collection[str], lifetime: timedelta) -> None:
    file = pki / identity / "cert.pem"
    # One of a release that knew fewer services does not name those that came after it.
    if not file.exists() or not _names_services(file.read_bytes(), hosts):
        authority.issue(identity, pki / identity, hosts=hosts, lifetime=lifetime)


def _names_services(certificate: bytes, hosts: Collection[str]) -> bool:
    return {host for host in hosts if host.startswith(dns_name("service/"))} <= dns_names_of(certificate)
