"""The site on disk: where the authority, its certificates and the context file lie.

``PKI/ca-key.pem ca.pem``, ``PKI/service/jobs/{cert,key,ca}.pem``, ``PKI/user/admin/...``: one folder for each identity.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Collection, Mapping
from pathlib import Path

from virtyard.runtime.pki import Authority, Credentials, dns_name

SERVICES = ("inventory", "jobs", "locks")
ADMIN = "user/admin"
CONTROL_PLANE = "service/control"
"""The identity of a process that hosts all services; its certificate names each of them."""
DEFAULT_DOMAIN = "virtyard.internal"


def state_folder() -> Path:
    """Return where state is kept: /var/lib/virtyard for root, else the XDG state folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/virtyard")
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "virtyard"


def context_path() -> Path:
    """Return the context file: VIRTYARD_CONTEXT, else virtyard/context.json in the XDG config folder."""
    named = os.environ.get("VIRTYARD_CONTEXT")
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(named) if named else Path(base) / "virtyard" / "context.json"


def local_hosts(listen: str) -> list[str]:
    """Return the names and addresses under which a server that listens here may be dialled."""
    host = listen.rpartition(":")[0].strip("[]")
    wildcard = host in ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
    return list(dict.fromkeys(["localhost", "127.0.0.1", socket.gethostname() if wildcard else host]))


def prepare_authority(pki: Path, domain: str = DEFAULT_DOMAIN, hosts: Collection[str] = ()) -> Authority:
    """Make the authority, and the certificates of services and first administrator, where they are missing."""
    authority = Authority.create(pki, domain)
    names = list(dict.fromkeys(["localhost", "127.0.0.1", *hosts]))
    for service in SERVICES:
        _issue_once(authority, f"service/{service}", pki, [*names, service])
    _issue_once(authority, CONTROL_PLANE, pki, [*names, *(dns_name(f"service/{service}") for service in SERVICES)])
    _issue_once(authority, ADMIN, pki, [])
    return authority


def credentials_of(pki: Path, identity: str) -> Credentials:
    """Return the credentials of an identity of this site.

    Raises:
        NotFound: none were issued to it here.
    """
    return Credentials.load(pki / identity)


def write_context(file: Path, addresses: Mapping[str, str], pki: Path) -> None:
    """Put addresses into the context file; other processes write theirs at the same time."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = read_context(file) | dict(addresses) | {"credentials": str((pki / ADMIN).resolve())}
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(content, indent=2) + "\n")
        fresh.replace(file)


def read_context(file: Path) -> dict[str, str]:
    """Return what the context file says; nothing if it is missing or being made."""
    try:
        return {str(key): str(value) for key, value in json.loads(file.read_text()).items()}
    except (OSError, ValueError):
        return {}


def _issue_once(authority: Authority, identity: str, pki: Path, hosts: Collection[str]) -> None:
    if not (pki / identity / "cert.pem").exists():
        authority.issue(identity, pki / identity, hosts=hosts)
